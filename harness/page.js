// SPDX-License-Identifier: MIT
// The tables of a page: rows from the JSON in #data, sorted, filtered, and made as they are scrolled to.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const CHUNK = 100, PRINTED = 400;
  const collator = new Intl.Collator("en", { numeric: true });
  const unknown = "\u2013";

  // ---- figures: three digits and a unit ----
  const digits = x => x.toFixed(Math.abs(x) < 9.995 ? 2 : Math.abs(x) < 99.95 ? 1 : 0);
  const figure = x => x === null ? unknown
    : x !== 0 && Math.abs(x) < 0.01 ? x.toExponential(1)
    : Math.abs(x) >= 9999.5 ? x.toExponential(2) : digits(x);
  const time = ns => {
    if (ns === null) return unknown;
    const units = ["ns", "\u00b5s", "ms", "s"];
    let unit = 0;
    for (; Math.abs(ns) >= 999.5 && unit < 3; unit++) ns /= 1000;
    return `${digits(ns)} ${units[unit]}`;
  };
  const change = ratio => ratio === 1 ? "0 %"
    : `${ratio < 1 ? "\u2212" : "+"}${digits(100 * Math.abs(ratio - 1))} %`;
  const percent = x => x === null ? unknown : `${digits(100 * x)} %`;
  const count = x => x.toLocaleString("en");

  // ---- what the rows have: positions as in harness/page_data.c ----
  const op = row => data.cases[row[0]][0], words = row => data.cases[row[0]][1];
  const kernel = row => data.kernels[row[1]];
  const report = row => data.reports[row[2]];
  const verdictClass = verdict =>
    verdict === "PASS" ? "pass" : verdict === "SKIPPED" ? "skipped" : "fail";
  const shared = [
    { title: "op", value: op, pick: true },
    { title: "case", value: words, name: "key" },
    { title: "kernel", value: row => kernel(row)[0], head: true },
  ];
  const commit = { title: "commit", value: row => report(row)[1], rare: true };
  const tables = {
    results: {
      caption: "Checks: a row for each kernel and case",
      columns: [
        { title: "verdict", value: row => row[4], pick: true, name: row => verdictClass(row[4]), inside: true },
        ...shared,
        { title: "class", value: row => kernel(row)[3], pick: true },
        { title: "error / tolerance", value: row => row[5], show: figure },
        { title: "99 %", value: row => row[6], show: figure },
        { title: "NMSE", value: row => row[7], show: figure },
        { title: "max ULP", value: row => row[8], rare: true, show: x =>
          x !== null && x < 1e6 ? count(x) : figure(x) },
        { title: "why", value: row => row[9] || "", name: "why" },
        commit,
      ],
    },
    timings: {
      caption: "Timings: a row for each kernel, case, mode and number of threads",
      columns: [
        ...shared,
        { title: "mode", value: row => row[4], pick: true },
        { title: "threads", value: row => row[5], show: String },
        { title: "a call", value: row => row[6], show: time },
        { title: "95 % interval", value: row => row[8] / row[7], // by its width
          show: (_, row) => `${change(row[7] / row[6])} \u2026 ${change(row[8] / row[6])}` },
        { title: "GFLOP/s", value: row => row[9], show: figure },
        { title: "GB/s", value: row => row[10], show: figure },
        { title: "\u00d7 reference", value: row => row[11], show: figure },
        { title: "of ceiling", value: row => row[12], show: percent, share: true },
        { title: "ceiling", value: row => row[13] < 0 ? "" : data.bounds[row[13]], name: "bound" },
        { title: "samples", value: row => row[14], show: String, rare: true },
        { title: "discarded", value: row => row[15], show: String, rare: true },
        { title: "notes", value: row => row[16] },
        commit,
      ],
    },
  };

  const make = (tag, parent, text) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };

  const cell = (column, row, tr) => {
    const value = column.value(row);
    const td = make(column.head ? "th" : "td", tr);
    if (column.head) td.scope = "row";
    if (column.show) td.className = "n";
    if (column.rare) td.classList.add("rare");
    const text = column.show ? column.show(value, row) : value;
    const name = typeof column.name === "function" ? column.name(row) : column.name;
    const inner = column.inside ? make("span", td, text) : td;
    if (inner === td) td.textContent = text;
    if (name) inner.classList.add(name);
    if (column.share && value !== null) {
      td.classList.add("share");
      td.style.setProperty("--filled", `${Math.min(100, 100 * value)}%`);
    }
  };

  // Unknown figures come last, whichever the direction.
  const order = (column, sign) => (a, b) => {
    const x = column.value(a), y = column.value(b);
    if (x === y) return 0;
    if (x === null || x !== x) return 1;
    if (y === null || y !== y) return -1;
    return sign * (typeof x === "number" ? x - y : collator.compare(x, y));
  };

  class Table {
    constructor(place, rows, { caption, columns }) {
      this.place = place;
      this.all = rows;
      this.columns = columns;
      this.filters = [];
      this.sorted = null;
      const form = make("form", place);
      form.className = "filters";
      form.setAttribute("role", "search");
      form.addEventListener("submit", event => event.preventDefault());
      this.text = this.control(form, "contains", make("input"));
      this.text.type = "search";
      this.text.placeholder = "words of case, kernel, reason";
      this.texts = new Map();
      for (const column of columns.filter(column => column.pick)) this.picker(form, column);
      this.ages(form);
      this.count = make("output", form);
      this.count.setAttribute("aria-live", "polite");
      this.scroll = make("div", place);
      this.scroll.className = "scroll";
      this.scroll.tabIndex = 0;
      this.scroll.setAttribute("role", "region");
      this.scroll.setAttribute("aria-label", caption);
      this.table(caption);
      this.update();
    }

    control(form, title, control) {
      const label = make("label", form, title);
      label.append(control);
      control.addEventListener(control.tagName === "SELECT" ? "change" : "input", () => this.update());
      return control;
    }

    option(select, text, value) {
      make("option", select, text).value = value;
    }

    picker(form, column) {
      const values = [...new Set(this.all.map(column.value))].sort(collator.compare);
      if (values.length < 2) return;
      const select = this.control(form, column.title, make("select"));
      this.option(select, "all", "");
      for (const value of values) this.option(select, value, value);
      this.filters.push(row => !select.value || column.value(row) === select.value);
    }

    ages(form) {
      if (this.all.every(row => row[3])) return;
      const select = this.control(form, "reports", make("select"));
      this.option(select, "newest of each", "newest");
      this.option(select, "all", "all");
      data.reports.forEach(([when, commit], i) => this.option(select, `${commit}, ${when}`, i));
      this.filters.push(row => select.value === "newest" ? row[3]
        : select.value === "all" || row[2] === Number(select.value));
    }

    table(caption) {
      const table = make("table", this.scroll);
      make("caption", table, caption).className = "skip"; // for those who hear it
      const head = make("tr", make("thead", table));
      this.heads = this.columns.map((column, i) => {
        const th = make("th", head);
        th.scope = "col";
        th.setAttribute("aria-sort", "none");
        if (column.show) th.className = "n";
        if (column.rare) th.classList.add("rare"); // left out in print
        th.dataset.title = column.title;
        make("button", th, column.title).addEventListener("click", () => this.sort(i));
        return th;
      });
      this.body = make("tbody", table);
      this.end = make("div", this.scroll);
      new IntersectionObserver(entries => entries.some(entry => entry.isIntersecting) && this.more(),
        { root: this.scroll, rootMargin: "600px" }).observe(this.end);
    }

    sort(i) {
      const up = this.heads[i].getAttribute("aria-sort") !== "ascending";
      for (const th of this.heads) th.setAttribute("aria-sort", "none");
      this.heads[i].setAttribute("aria-sort", up ? "ascending" : "descending");
      this.sorted = order(this.columns[i], up ? 1 : -1);
      this.update();
    }

    textOf(row) {
      if (!this.texts.has(row)) {
        const texts = this.columns.filter(column => !column.show).map(column => column.value(row));
        this.texts.set(row, texts.join(" ").toLowerCase());
      }
      return this.texts.get(row);
    }

    update() {
      const wanted = this.text.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.rows = this.all.filter(row => this.filters.every(filter => filter(row)) &&
        wanted.every(word => this.textOf(row).includes(word)));
      if (this.sorted) this.rows.sort(this.sorted);
      this.count.value = `${count(this.rows.length)} of ${count(this.all.length)}`;
      this.body.replaceChildren();
      this.scroll.scrollTop = 0;
      this.more();
    }

    more(wanted = CHUNK) {
      const from = this.body.rows.length, some = document.createDocumentFragment();
      for (const row of this.rows.slice(from, from + wanted)) {
        const tr = make("tr", some);
        for (const column of this.columns) cell(column, row, tr);
      }
      this.body.append(some);
    }
  }

  const shown = [];
  for (const place of document.querySelectorAll("[data-table]")) {
    const rows = data[place.dataset.table];
    if (rows.length > 0) shown.push(new Table(place, rows, tables[place.dataset.table]));
    else make("p", place, "There are none.").className = "note";
  }
  window.addEventListener("beforeprint", () => {
    for (const table of shown) table.more(PRINTED - table.body.rows.length);
  });
})();
