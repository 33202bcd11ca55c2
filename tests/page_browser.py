#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The page of `assay report` in headless Chromium, as its readers use it.

    page_browser.py ASSAY SOURCE_DIR

Exits with 77 if there is no Chromium, chromedriver, selenium or gnuplot.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ASSAY, SOURCE = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
UNITS = {"ns": 1, "\u00b5s": 1e3, "ms": 1e6, "s": 1e9}
SECONDS = 10  # that 10,000 results may take, to be made into a page and to be shown; also when busy
failures = []
checks = 0


def skip(reason):
    print(reason)
    sys.exit(77)


try:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select
except ImportError:
    skip("python3-selenium is not installed")


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        failures.append(what)
        print("FAILED:", what)


def start():
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        skip("chromium or chromium-driver is not installed")
    options = Options()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                     "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


def make(directory, *options):
    subprocess.run([sys.executable, SOURCE / "tests/make_reports.py", directory, *options],
                   check=True)
    page = directory.with_suffix(".html")
    begin = time.monotonic()
    subprocess.run([ASSAY, "report", directory, "-o", page], check=True, capture_output=True)
    return page, time.monotonic() - begin


def show(driver, page, width=1280, height=900, scheme="light", media=""):
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]})
    begin = time.monotonic()
    driver.get(page.as_uri())
    # Sections out of sight have no layout, and this is about all of them.
    driver.execute_script("for (const op of document.querySelectorAll('.op'))"
                          " op.style.contentVisibility = 'visible'")
    return time.monotonic() - begin


def silent(driver, where):
    log = driver.get_log("browser")
    check(not log, f"{where}: the console says {log}")
    loaded = driver.execute_script("return performance.getEntriesByType('resource').length")
    check(loaded == 0, f"{where}: the page loads {loaded} other files")


def number(text):
    """A cell's text as a number; None: not known."""
    found = re.match(r"([-\u2212+]?[\d.,]+(?:e[-+]?\d+)?) ?(ns|\u00b5s|ms|s)?\b", text)
    if not found:
        return None
    return float(found.group(1).replace(",", "").replace("\u2212", "-")) * \
        UNITS.get(found.group(2), 1)


class Table:
    def __init__(self, driver, name):
        self.driver, self.name = driver, name
        self.place = driver.find_element(By.CSS_SELECTOR, f"[data-table={name}]")

    def heads(self):
        return {head.text.strip(): head
                for head in self.place.find_elements(By.CSS_SELECTOR, "thead th")}

    def column(self, title):
        index = list(self.heads()).index(title) + 1
        return self.driver.execute_script(
            "return [...arguments[0].querySelectorAll(`tbody tr > :nth-child(${arguments[1]})`)]"
            ".map(cell => cell.textContent)", self.place, index)

    def count(self):
        """Shown, and all."""
        text = self.place.find_element(By.TAG_NAME, "output").text
        return tuple(int(word.replace(",", "")) for word in text.split(" of "))

    def control(self, label):
        for element in self.place.find_elements(By.TAG_NAME, "label"):
            if element.text.split("\n")[0].strip() == label:
                return element.find_element(By.CSS_SELECTOR, "input, select")
        raise LookupError(label)


def in_order(values, descending):
    """Rounded figures in order, unknown ones last."""
    known = [value for value in values if value is not None]
    tail = values[len(known):]
    pairs = zip(known, known[1:])
    return all(value is None for value in tail) and \
        all((a >= b if descending else a <= b) for a, b in pairs)


def test_sorting(driver):
    for name, title in (("results", "NMSE"), ("results", "error / tolerance"),
                        ("timings", "a call"), ("timings", "\u00d7 reference"),
                        ("timings", "of ceiling")):
        table = Table(driver, name)
        head = table.heads()[title]
        button = head.find_element(By.TAG_NAME, "button")
        button.click()
        first = [number(text) for text in table.column(title)]
        check(head.get_attribute("aria-sort") == "ascending", f"{title}: aria-sort")
        check(in_order(first, False), f"{title} ascending: {first[:20]}")
        button.send_keys(Keys.ENTER)  # as a keyboard does it
        second = [number(text) for text in table.column(title)]
        check(head.get_attribute("aria-sort") == "descending", f"{title}: aria-sort")
        check(in_order(second, True) and second[0] > first[0], f"{title} descending: {second[:20]}")
    table = Table(driver, "results")
    table.heads()["case"].find_element(By.TAG_NAME, "button").click()
    tokens = [int(found.group(1)) for text in table.column("case")
              if (found := re.match(r"experts=8 m=14336 k=4096 top_k=8 tokens=(\d+) ", text))]
    check(tokens == sorted(tokens), f"text is not sorted by its numbers: {tokens}")


def test_filters(driver, report):
    results = report["results"]
    table = Table(driver, "results")
    check(table.count()[0] == len(results), f"count {table.count()}")
    failed = sum(result["verdict"] == "FAIL" for result in results)
    verdict = Select(table.control("verdict"))
    verdict.select_by_visible_text("FAIL")
    check(failed > 0 and table.count()[0] == failed, f"{table.count()} are shown as FAIL")
    check(set(table.column("verdict")) == {"FAIL"}, "other verdicts than FAIL")
    verdict.select_by_visible_text("all")
    text = table.control("contains")
    text.send_keys("GEMM_moe i8-packed")
    wanted = sum("gemm_moe" in r["kernel"] and "i8-packed" in r["kernel"] for r in results)
    check(wanted > 0 and table.count()[0] == wanted, f"{table.count()[0]} contain it, not {wanted}")
    check(set(table.column("kernel")) == {"avx512vnni-i8-packed"}, "other kernels")
    text.send_keys(" nowhere")
    check(table.count()[0] == 0 and not table.column("kernel"), "rows that contain nothing of it")
    text.clear()
    text.send_keys(Keys.SPACE)
    Select(table.control("op")).select_by_visible_text("q4_K_gemv")
    wanted = sum(result["case"].startswith("q4_K_gemv ") for result in results)
    check(table.count()[0] == wanted, f"{table.count()[0]} of the op, not {wanted}")
    Select(table.control("op")).select_by_visible_text("all")


def test_scrolling(driver):
    table = Table(driver, "timings")
    before = len(table.column("op"))
    check(before < table.count()[0], "all rows are made at once")
    driver.execute_script("const s = arguments[0].querySelector('.scroll');"
                          "s.scrollIntoView(); s.scrollTop = s.scrollHeight", table.place)
    for _ in range(50):
        if len(table.column("op")) > before:
            break
        time.sleep(0.1)
    check(len(table.column("op")) > before, "no more rows when scrolled to the end")


# Of every plot that is shown: its marks, how many of them and of its texts lie outside of it, and
# the length of its paths.
PLOTS = """
return [...document.querySelectorAll("figure svg")].filter(svg => svg.getClientRects().length)
  .map(svg => {
    const box = svg.getBoundingClientRect();
    const outside = element => {
      const own = element.getBoundingClientRect();
      return own.left < box.left - 3 || own.right > box.right + 3 || own.top < box.top - 3 ||
        own.bottom > box.bottom + 3;
    };
    const marks = [...svg.querySelectorAll("g use, polygon")].filter(e => !e.closest("defs"));
    const texts = [...svg.querySelectorAll("text")];
    return {
      name: svg.getAttribute("aria-label"), role: svg.getAttribute("role"),
      title: svg.closest("figure").querySelector("strong").textContent,
      width: box.width, height: box.height, marks: marks.length,
      empty: marks.filter(e => e.getBoundingClientRect().width < 1).length,
      outside: [...marks, ...texts].filter(outside).map(e => e.outerHTML.slice(0, 160)),
      paths: [...svg.querySelectorAll("path")].filter(e => !e.closest("defs"))
        .reduce((sum, path) => sum + path.getTotalLength(), 0),
      tips: [...svg.querySelectorAll("g title")].map(title => title.textContent),
      smallest: Math.min(...texts.map(e => parseFloat(getComputedStyle(e).fontSize) *
        box.width / svg.viewBox.baseVal.width)),
    };
  });
"""


def test_plots(driver, where, report):
    plots = driver.execute_script(PLOTS)
    check(len(plots) > 15, f"{where}: {len(plots)} plots")
    for plot in plots:
        name = f"{where}: {plot['title']}: {plot['name'][:60]}"
        check(plot["role"] == "img" and len(plot["name"]) > 30, f"{name}: no alternative text")
        check(plot["width"] > 300 and plot["height"] > 60, f"{name}: {plot['width']} wide")
        check(plot["marks"] >= 2 and plot["empty"] == 0, f"{name}: {plot['marks']} marks")
        check(plot["paths"] > 500, f"{name}: paths of {plot['paths']} pixels")
        check(not plot["outside"], f"{name}: outside of it: {plot['outside'][:3]}")
        check(len(plot["tips"]) >= 2 and all(plot["tips"]), f"{name}: no tips")
        check(plot["smallest"] > 7.5, f"{name}: letters of {plot['smallest']} pixels")
    titles = {plot["title"] for plot in plots}
    for title in ("Roofline, 2 threads", "Speed", "Speed over tokens", "Error over speed",
                  "Errors as shares of the tolerance", "Speed over reports"):
        check(title in titles, f"{where}: no plot \"{title}\"")
    tips = "\n".join(next(plot for plot in plots if "Roofline" in plot["title"])["tips"])
    timed = {t["kernel"] for t in report["timings"] if t["flop"] > 0}
    missing = [kernel for kernel in timed if f"{kernel}," not in tips]
    check(not missing, f"{where}: not on the roofline: {missing}")


def test_narrow(driver, where):
    """Nothing but what scrolls by itself is wider than the screen."""
    size = driver.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth,"
        " [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') &&"
        "  !e.closest('svg') && e.getBoundingClientRect().right > innerWidth + 1)"
        "  .map(e => e.outerHTML.slice(0, 120))]")
    check(size[0] <= size[1] and not size[2], f"{where}: {size}")


def luminance(color):
    rgb = [float(x) / 255 for x in re.findall(r"[\d.]+", color)[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


COLORS = """
const of = (selector, property) => {
  const element = document.querySelector(selector);
  return element && getComputedStyle(element)[property];
};
return {
  paper: of("body", "backgroundColor"), ink: of("body", "color"),
  text: of("figure svg text", "fill"), link: of("nav a", "color"), note: of(".note", "color"),
  marks: [...new Set([...document.querySelectorAll(".legend use")]
    .map(use => getComputedStyle(use).color))],
  fail: [of(".fail", "color"), of(".fail", "backgroundColor")],
  pass: [of(".pass", "color"), of(".pass", "backgroundColor")],
};
"""


def test_colors(driver, where):
    colors = driver.execute_script(COLORS)
    for name in ("ink", "text", "link", "note"):
        check(contrast(colors[name], colors["paper"]) >= 4.5, f"{where}: contrast of {name}")
    for name in ("fail", "pass"):
        check(contrast(*colors[name]) >= 4.5, f"{where}: contrast of {name}")
    check(len(colors["marks"]) >= 4, f"{where}: kernels' colours {colors['marks']}")
    for color in colors["marks"]:
        check(contrast(color, colors["paper"]) >= 3, f"{where}: contrast of {color}")
    return colors


def test_access(driver):
    bare = driver.execute_script(
        "return [...document.querySelectorAll('th')].filter(th => !th.scope).length")
    check(bare == 0, f"{bare} table heads without a scope")
    controls = driver.execute_script(
        "return [...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length")
    check(controls == 0, f"{controls} controls without a label")
    check(driver.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en", "no language")
    levels = driver.execute_script(
        "return [...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    check(levels[0] == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:])), f"heads {levels}")


def test_print(driver, page):
    show(driver, page, media="print")
    shown = driver.execute_script(
        "return [...document.querySelectorAll('.filters, nav')].filter(e => e.offsetHeight).length")
    check(shown == 0, "controls are printed")
    show(driver, page, scheme="dark", media="print")
    paper = driver.execute_script(COLORS)["paper"]
    check(luminance(paper) > 0.9, f"a dark screen prints on {paper}")
    show(driver, page)
    pdf = driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    check(len(pdf) > 100000, "the print is empty")


def test_hostile(driver, work):
    page, _ = make(work / "hostile", "--hostile", "--results", "1000")
    show(driver, page)
    check(driver.title.startswith("Kernels on </script>"), f"title {driver.title}")
    silent(driver, "hostile names")
    planted = driver.execute_script(
        "return document.querySelectorAll('img, [onload], [onerror], [onmousemove]').length")
    check(planted == 0, f"{planted} elements out of names")
    table = Table(driver, "results")
    table.control("contains").send_keys("onload=alert(2)")
    check(table.count()[0] > 0, "a name is not found as it is")
    silent(driver, "hostile names, filtered")


def test_many(driver, work):
    page, made = make(work / "many", "--results", "10000")
    shown = show(driver, page)
    table = Table(driver, "results")
    check(table.count()[0] >= 10000, f"{table.count()}")
    begin = time.monotonic()
    table.control("contains").send_keys("k=7168 tokens=64")
    table.heads()["NMSE"].find_element(By.TAG_NAME, "button").click()
    check(0 < table.count()[0] < 10000, f"{table.count()}")
    filtered = time.monotonic() - begin
    silent(driver, "10,000 results")
    print(f"10,000 results, {page.stat().st_size / 1e6:.1f} MB: made in {made:.1f} s, shown in "
          f"{shown:.1f} s, filtered and sorted in {filtered:.1f} s")
    check(max(made, shown, filtered) < SECONDS, "10,000 results take too long")


def main():
    if not shutil.which("gnuplot"):
        skip("gnuplot is not installed")
    driver = start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            work = pathlib.Path(directory)
            page, _ = make(work / "six", "--reports", "6", "--results", "700")
            report = json.loads(sorted((work / "six").iterdir())[-1].read_text())
            show(driver, page)
            test_access(driver)
            test_plots(driver, "desktop", report)
            test_narrow(driver, "desktop")
            light = test_colors(driver, "light")
            test_filters(driver, report)
            test_sorting(driver)
            test_scrolling(driver)
            silent(driver, "desktop")
            show(driver, page, width=390, height=844)
            test_plots(driver, "phone", report)
            test_narrow(driver, "phone")
            show(driver, page, scheme="dark")
            dark = test_colors(driver, "dark")
            for name in ("paper", "ink", "text"):
                check(light[name] != dark[name], f"{name} is the same on a dark screen")
            check(luminance(dark["paper"]) < 0.05, f"a dark screen is {dark['paper']}")
            test_print(driver, page)
            test_hostile(driver, work)
            test_many(driver, work)
    finally:
        driver.quit()
    print(f"{checks} checks, {len(failures)} failed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
