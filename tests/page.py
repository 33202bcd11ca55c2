#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`assay report` from outside, without a browser: what it writes and what it refuses.

    page.py ASSAY SOURCE_DIR
"""
import html.parser
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
import zlib

ASSAY, SOURCE = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
SVG = "{http://www.w3.org/2000/svg}"
failures = []
checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        failures.append(what)
        print("FAILED:", what)


def run(*arguments, **environment):
    done = subprocess.run([ASSAY, "report", *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False,
                          env=os.environ | environment)
    return done.returncode, done.stdout, done.stderr


def passes(*arguments, **environment):
    status, out, err = run(*arguments, **environment)
    check(status == 0 and not err, f"{arguments}: exit {status}, {err}")
    return out


def refuses(pattern, *arguments, **environment):
    """Exit status 2, and one line on stderr that matches."""
    status, out, err = run(*arguments, **environment)
    check(status == 2 and re.fullmatch(f"assay: {pattern}\n", err) and not out,
          f"{arguments}: exit {status}\n  {err}  is not\n  assay: {pattern}")


def make(directory, *options):
    subprocess.run([sys.executable, SOURCE / "tests/make_reports.py", directory, *options],
                   check=True)
    return directory


def edited(source, target, edit):
    report = json.loads(source.read_text())
    edit(report)
    target.write_text(json.dumps(report))
    return target


class Page(html.parser.HTMLParser):
    """Parsed, and checked to be whole and to need nothing else."""
    VOID = {"meta", "br", "link", "input", "img", "hr"}

    def __init__(self, path):
        super().__init__()
        self.open, self.ids, self.tags, self.text, self.links = [], [], [], "", []
        self.handlers, self.files = [], []
        self.scripts, self.sound = 0, True
        self.source = path.read_text()
        self.feed(self.source)
        self.close()
        check(not self.open, f"{path.name}: not closed: {self.open}")
        check(not self.handlers, f"{path.name}: handlers {self.handlers}")
        check(not self.files, f"{path.name}: refers to {self.files}")

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        self.scripts += tag == "script"
        self.handlers += [name for name in attributes if name.startswith("on")]
        self.files += [attributes[name] for name in ("src", "href", "xlink:href")
                       if not attributes.get(name, "#").startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.sound and (not self.open or self.open.pop() != tag):
            self.sound = False # and so would be all that follow
            check(False, f"</{tag}> out of place at {self.getpos()}")

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def data(self):
        found = re.search(r'id="data">(.*?)</script>', self.source, re.S)
        return json.loads(found.group(1))


def test_page(work):
    reports = make(work / "six", "--reports", "6", "--results", "300")
    page = work / "six.html"
    out = passes(reports, "-o", page)
    check(out == f"page: {page}\n", out)
    parsed = Page(page)
    twice = [i for i in parsed.ids if parsed.ids.count(i) > 1]
    check(not twice, f"ids twice: {twice}")
    dead = [link for link in parsed.links if link[1:] not in parsed.ids]
    check(not dead, f"links to nowhere: {dead}")
    check(parsed.scripts == 2, f"{parsed.scripts} scripts")
    check("://" not in re.sub(r"http://www.w3.org\S*", "", parsed.source), "an address in the page")
    for word in ("Roofline", "Speed over tokens", "Error over speed", "Speed over reports",
                 "Ceilings: bandwidth", "6 reports", "AMD EPYC 9354", "GNU 12.2.0"):
        check(word in parsed.text, f'no "{word}"')
    data = parsed.data()
    newest = [row for row in data["results"] if row[3]]
    whole = [json.loads(path.read_text()) for path in sorted(reports.glob("*.json"))]
    check(len(data["results"]) == sum(len(r["results"]) for r in whole), "results are missing")
    check(len(newest) == len(whole[-1]["results"]), "newest results")
    check({row[2] for row in newest} == {5}, "the newest are not of the last report")
    check(len(data["timings"]) == sum(not t["aa"] for r in whole for t in r["timings"]), "timings")
    passed = sum(r["verdict"] == "PASS" for r in whole[-1]["results"])
    check(f"{passed} of {len(newest)} checks passed" in parsed.text, "the summary's count")
    return reports, whole


def test_ratios(work, reports):
    """Against the reference of the same report, case and threads: worked out again here."""
    report = json.loads((reports / "report_00.json").read_text())
    path = work / "one.html"
    passes(reports / "report_00.json", "-o", path)
    data = Page(path).data()
    reference = {t["case"]: t["median_ns"] for t in report["timings"]
                 if t["kernel"].endswith("/ref") and not t["aa"]}
    expected = {(t["case"], t["kernel"], t["mode"]): reference[t["case"]] / t["median_ns"]
                for t in report["timings"] if not t["aa"]}
    for row in data["timings"]:
        op, words = data["cases"][row[0]]
        key = (f"{op} {words}", f"{op}/{data['kernels'][row[1]][0]}", row[4])
        ratio = expected.pop(key)
        check(abs(row[11] / ratio - 1) < 1e-3, f"{key}: {row[11]} times the reference, not {ratio}")
    check(not expected, f"{len(expected)} timings are not in the table")


def png_size(data):
    """Width and height, and how many different rows of pixels there are."""
    check(data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG")
    width, height = struct.unpack(">II", data[16:24])
    pixels, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        pixels += data[at + 8:at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    rows = zlib.decompress(pixels)
    stride = len(rows) // height
    return width, height, len({rows[i * stride:(i + 1) * stride] for i in range(height)})


def test_plots(work, reports):
    names = passes(reports, "--plot", "list").split()
    for name in ("roofline-2", "speed-q4_K_gemm", "sweep-q4_K_gemm-1", "accuracy-q4_K_gemm",
                 "errors-q4_K_gemm", "trend-q4_K_gemm"):
        check(name in names, f"{name} is not listed: {names}")
        svg, png = work / f"{name}.svg", work / f"{name}.png"
        out = passes(reports, "--plot", name, "--svg", svg, "--png", png)
        check(out == f"{name}: {png}\n{name}: {svg}\n", out)
        root = xml.parse(svg).getroot()
        drawn = len(root.findall(f".//{SVG}use")) + len(root.findall(f".//{SVG}polygon"))
        texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
        check(drawn > 10, f"{name}: {drawn} marks")
        check(any("avx512vnni" in text for text in texts), f"{name}: no key: {texts}")
        width, height, rows = png_size(png.read_bytes())
        check(width > 900 and height > 500 and rows > 100, f"{name}: {width} x {height}, {rows}")
    check(not (pathlib.Path.cwd() / "report.html").exists(), "a page that nobody asked for")


def test_hostile(work):
    """Names and reasons as bad as can be mean themselves."""
    reports = make(work / "hostile", "--hostile", "--reports", "2", "--results", "1000")
    page, mark = work / "hostile.html", work / "mark"
    evil = f"'; system('touch {mark}') # \\"
    for path in reports.glob("*.json"):
        edited(path, path, lambda report: report["context"]["build"].update(commit=evil))
    passes(reports, "-o", page)
    parsed = Page(page)
    check(parsed.scripts == 2 and "img" not in parsed.tags, "markup from a report")
    for text in ("</script><script>document.title=", '"><svg/onload=alert(2)>', "touch"):
        check(text in parsed.text, f'"{text}" is not shown as it is')
    data = json.dumps(parsed.data())
    check("<img src=x onerror=alert(1)>" in data, "a reason is not in the data")
    svg = work / "hostile.svg"
    passes(reports, "--plot", "trend-q4_K_gemm", "--svg", svg)
    xml.parse(svg)
    check(not mark.exists(), "a name in a report was run as a command")


def test_partial(work, reports):
    """Reports without ceilings, noise or timings; interrupted, noisy and miscounted ones."""
    bare = make(work / "bare", "--bare", "--results", "100")
    passes(bare, "-o", work / "bare.html")
    text = Page(work / "bare.html").text
    check("Nothing was timed" in text and "Roofline" not in text, "a bare report")

    def spoil(report):
        report["complete"] = False
        report["noise"]["too_noisy"] = True
        over = next(t for t in report["timings"] if t["ceiling"])
        over["ceiling"]["fraction"] = 1.5
    spoilt = edited(reports / "report_00.json", work / "spoilt.json", spoil)
    passes(spoilt, "-o", work / "spoilt.html")
    text = Page(work / "spoilt.html").text
    check("was interrupted" in text, "an interrupted report is not named")
    check("1 timing is above the ceiling" in text and "150" in text, "a miscount is not named")
    spoilt = edited(spoilt, spoilt, lambda report: report.update(complete=True))
    passes(spoilt, "-o", work / "spoilt.html")
    check("too noisy to time" in Page(work / "spoilt.html").text, "a noisy report is not named")

    other = edited(reports / "report_00.json", work / "other.json",
                   lambda report: report["context"].update(cpu="Another CPU"))
    passes(other, reports / "report_00.json", "-o", work / "both.html")
    parsed = Page(work / "both.html")
    check("Kernels on 2 machines" in parsed.text, "two machines")
    check(all(row[3] for row in parsed.data()["results"]), "a machine's results hide another's")
    check("Speed over reports" not in parsed.text, "a trend over machines")

    def forget(report):
        report["timings"] = [t for t in report["timings"] if not t["kernel"].endswith("/ref")]
    passes(edited(reports / "report_00.json", work / "noref.json", forget), "-o", work / "nr.html")
    parsed = Page(work / "nr.html")
    check(all(row[11] is None for row in parsed.data()["timings"]), "speeds against nothing")
    check("times as fast as its reference" not in parsed.text, "a summary against nothing")


def test_errors(work, reports):
    one = reports / "report_00.json"
    refuses("report: name the reports, or a directory of them")
    refuses(r".*/none\.json: .*", work / "none.json")
    refuses(r'--plot: there is no plot "speed"; --plot list prints the names', one, "--plot",
            "speed", "--png", work / "x.png")
    refuses("--plot is for --png and --svg", one, "--plot", "roofline-2")
    (work / "mine.txt").write_text("dear diary")
    refuses(".*/mine.txt: exists and is not what would be written there", one, "-o",
            work / "mine.txt")
    refuses(".*/mine.txt: exists and is not what would be written there", one, "--png",
            work / "mine.txt")
    check((work / "mine.txt").read_text() == "dear diary", "a file was overwritten")
    refuses(f"{work}: is not a regular file", one, "-o", work)
    refuses(".*: cannot write: No such file or directory", one, "-o", work / "no/page.html")
    refuses("gnuplot is not installed; it draws the plots: apt install gnuplot-nox", one, "-o",
            work / "new.html", PATH=str(work))
    check(not (work / "new.html").exists(), "half a page")
    fake = work / "bin"
    fake.mkdir()
    (fake / "gnuplot").write_text("#!/bin/sh\necho 'line 7: no such terminal' >&2\nexit 1\n")
    (fake / "gnuplot").chmod(0o755)
    refuses("gnuplot failed: line 7: no such terminal", one, "-o", work / "new.html",
            PATH=str(fake))
    (fake / "gnuplot").write_text("#!/bin/sh\nexit 0\n")
    refuses(".*: gnuplot drew nothing", one, "-o", work / "new.html", PATH=str(fake))
    left = [path.name for path in work.iterdir() if "assay-plots" in path.name or
            path.name.startswith("new.html")]
    check(not left, f"left behind: {left}")


def main():
    if not shutil.which("gnuplot"):
        print("gnuplot is not installed")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        os.environ["TMPDIR"] = str(work)
        os.chdir(work)
        reports, _ = test_page(work)
        test_ratios(work, reports)
        test_plots(work, reports)
        test_hostile(work)
        test_partial(work, reports)
        test_errors(work, reports)
    print(f"{checks} checks, {len(failures)} failed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
