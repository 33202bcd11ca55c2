#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The table of figures: made-up reports with known figures give known verdicts, bad input one line and
exit 2, and the goals are of cases that exist.

    test.py ASSAY SOURCE_DIR
"""
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

ASSAY, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
TABLE = SOURCE / "tests/figures/table.py"
GOALS = SOURCE / "tests/figures/goals.json"
FAILURES = []

sys.dont_write_bytecode = True  # beside the sources
sys.path.insert(0, str(TABLE.parent))
from measuring import expand, ratio_interval  # noqa: E402
from reading import read_goals  # noqa: E402


def complain(text):
    print(f"FAILED: {text}")
    FAILURES.append(text)


def timing(key, kernel, ns, threads=1, noisy=False, flop=1e6, spread=0.001, kind="int8"):
    """Three blocks of five samples about `ns`; the ceiling allows 1 ms."""
    blocks = [{"pass": 0, "chain_ghz": 3.5, "disturbed": [0],
               "ns": [ns * 3, *(ns * (1 + spread * (i - 1)) for i in range(3))]} for _ in range(3)]
    return {"case": key, "kernel": kernel, "mode": "cold", "threads": threads, "aa": False,
            "noisy": noisy, "blocks": blocks, "median_ns": ns,
            "interval_ns": [ns * (1 - spread), ns * (1 + spread)], "flop": flop,
            "written_bytes": 2e6, "read_bytes": 3e6, "plain_read_gb_per_s": 2.0,
            "ceiling": {"name": "int8 dot", "kind": kind, "ns": 1e6, "fraction": 1e6 / ns}}


def report(timings, results=()):
    passed = [{"case": t["case"], "kernel": t["kernel"], "verdict": "PASS", "reason": None}
              for t in timings]
    return {
        "assay_report": 2, "complete": True, "command": "bench", "elapsed_seconds": 60.0,
        "context": {"cpu": "made up", "machine": "none", "cpus": 2, "l1d_bytes": 1, "l2_bytes": 2,
                    "llc_bytes": 3, "load_1min": 0.5, "steal_share": 0.01, "time": "now",
                    "build": {"commit": "abc", "compiler": "cc", "flags": ""}},
        "ceilings": {"peaks": [], "threads": [
            {"threads": 1, "read": [{"bytes": 1, "gb_per_s": 30.0}], "nt_store_gb_per_s": 20.0,
             "fork_join_ns": None}]},
        "noise": {"samples": 100, "disturbed": 20, "too_noisy": False, "aa_spread": 0.0123},
        "results": [*passed, *results], "timings": list(timings)}


def goals(*items):
    sets = {"one": ["op n=1 threads=1 seed=1"], "two": ["op n={1,2} threads=1 seed=1"],
            "threads": ["op n=1 threads={1,2} seed=1"], "steps": ["op n={1..3} threads=1 seed=1"],
            "slower memory": ["op n={2..4} threads=1 seed=1"]}
    plain = {"cases": "one", "mode": "cold", "kernel": "ours.*"}
    return {"sets": sets, "goals": [{"work": f"w{i}", **plain, **item}
                                    for i, item in enumerate(items)]}


def run(aims, reports, directory):
    paths = []
    for i, item in enumerate(reports):
        paths.append(directory / f"r{i}.json")
        paths[-1].write_text(item if isinstance(item, str) else json.dumps(item))
    (directory / "goals.json").write_text(aims if isinstance(aims, str) else json.dumps(aims))
    out = directory / "out.md"
    out.unlink(missing_ok=True)
    done = subprocess.run([sys.executable, TABLE, directory / "goals.json", out, *paths],
                          capture_output=True, text=True, check=False)
    return done, out.read_text() if out.exists() else None


def key(n, threads=1):
    return f"op n={n} threads={threads} seed=1"


def base():
    """Ours takes 2 ms with one thread and 1.25 ms with two; the peer 4 ms, its slower form 8 ms."""
    return report([
        timing(key(1), "op/ours", 2e6), timing(key(1), "op/ours-slow", 9e6),
        timing(key(1), "op/peer:a", 4e6), timing(key(1), "op/peer:b", 8e6),
        timing(key(1), "op/loud", 2e6, noisy=True), timing(key(1), "op/wide", 2e6, spread=0.3),
        timing(key(1), "op/fast", 0.96e6),
        timing(key(1, 2), "op/ours", 1.25e6, threads=2),
        timing(key(2), "op/ours", 2.5e6, flop=2e6), timing(key(3), "op/ours", 4e6, flop=2.5e6),
        {**timing(key(4), "op/ours", 9e6, flop=2.5e6), "plain_read_gb_per_s": 1.7}])


def check_verdicts(directory):
    """Each a goal, and what its line must say; 2 and 0.5 tell a ratio from its inverse."""
    cases = [
        ({"faster_than": "peer.*", "at_least": 1.9, "note": "no wall"}, ["2 x [", "**reached**"]),
        ({"faster_than": "peer.*", "at_least": 2.1, "note": "a wall"}, ["2 x [", "**not reached**"]),
        ({"faster_than": "peer:b", "at_least": 3.9}, ["4 x [", "**reached**"]),
        ({"kernel": "peer.*", "faster_than": "ours", "at_least": 0.6}, ["0.5 x [", "**not reached**"]),
        ({"faster_than": "other"}, ["**not measured**", "no kernel `other`"]),
        ({"faster_than": "peer.*"}, ["2 x [", "shown"]),
        ({"share_of": "int8", "at_least": 0.49}, ["0.5 [", "**reached**"]),
        ({"share_of": "int8", "at_least": 0.51}, ["0.5 [", "**not reached**"]),
        ({"share_of": "read", "at_least": 0.1}, ["**not measured**", "what binds it is int8 dot"]),
        ({"kernel": "fast", "share_of": "int8", "at_least": 0.5},
         ["**not measured**", "at 1.04 of the ceiling"]),
        ({"share_of": "plain_read", "at_least": 0.74}, ["0.75 [", "**reached**"]),
        ({"share_of": "plain_read", "at_least": 0.76}, ["0.75 [", "**not reached**"]),
        ({"share_of": "nt_store", "at_least": 0.04}, ["0.05 [", "**reached**"]),
        ({"share_of": "nt_store", "at_least": 0.06}, ["0.05 [", "**not reached**"]),
        ({"ns_each": 1000, "at_most": 2100}, ["2000 ns [", "**reached**"]),
        ({"ns_each": 1000, "at_most": 1900}, ["2000 ns [", "**not reached**"]),
        ({"cases": "threads", "scaling": True, "at_least": 1.5}, ["1.6 x [", "**reached**"]),
        ({"cases": "threads", "scaling": True, "at_least": 1.7}, ["1.6 x [", "**not reached**"]),
        # 0.5 GFLOP/s, 0.8, 0.625: up by 1.6, down by 0.78
        ({"cases": "steps", "steps": True, "at_least": 0.75}, ["0.781 [0.78", "to 1.6", "**reached**"]),
        ({"cases": "steps", "steps": True, "at_least": 0.8}, ["**not reached**: 1 of 2"]),
        ({"cases": "slower memory", "steps": True, "at_least": 0.75},
         ["**reached** where measured, 1 of 2", "1 not measured: memory itself became"]),
        ({"cases": "two", "faster_than": "peer.*", "at_least": 1.9},
         ["**reached** where measured, 1 of 2", "1 not measured"]),
        ({"kernel": "loud", "share_of": "int8", "at_least": 0.4}, ["**reached**", "some noisy"]),
        ({"kernel": "wide", "share_of": "int8", "at_least": 0.49}, ["**reached**", "some close"]),
        ({"kernel": "wide", "faster_than": "ours", "at_least": 1.1, "within_noise": True},
         ["**reached**"]),
        ({"kernel": "peer:a", "faster_than": "ours", "at_least": 1, "within_noise": True},
         ["**not reached**"]),
        ({"cases": "*", "every": True, "kernel": "peer.*", "faster_than": "ours", "at_least": 0.3},
         ["0.25 x [", "to 0.5", "**not reached**: 1 of 2"]),
    ]
    done, text = run(goals(*(item for item, _ in cases)), [base()], directory)
    if done.returncode != 0 or not text:
        complain(f"made-up report: exit {done.returncode}: {done.stderr}")
        return
    for i, (item, wanted) in enumerate(cases):
        line = next(line for line in text.splitlines() if line.startswith(f"| w{i} "))
        for words in wanted:
            if words not in line:
                complain(f"{item}: no \"{words}\" in: {line}")
    if "- w1, ≥ 2.1 x `peer.*`: a wall" not in text or "no wall" in text:
        complain("the notes are not those of what is not reached")
    for words in ("made up", "Commit abc", "0.50 | 1 % | 20 % | 1.2 %", "NT fill 20.0 GB/s"):
        if words not in text:
            complain(f"context: no \"{words}\"")


def check_failed(directory):
    """What failed a check, in whichever report, is not measured."""
    checked = report([], [{"case": "odd", "kernel": "op/ours", "verdict": "FAIL", "reason": "x"}])
    checked["noise"] = checked["ceilings"] = None
    for item, wanted in (({"share_of": "int8", "kernel": "ours", "at_least": 0.1}, "ours FAIL on `odd`"),
                         ({"share_of": "int8", "at_least": 0.1}, "0.111 [")):
        done, text = run(goals(item), [base(), checked], directory)
        if done.returncode != 0 or wanted not in text:
            complain(f"a failed check: exit {done.returncode} {done.stderr}, no \"{wanted}\"")


def check_interval():
    """Of a ratio: about it, wider where samples scatter, and of blocks drawn in pairs narrower where
    these differ."""
    calm = timing("c", "op/a", 2e6), timing("c", "op/b", 1e6)
    low, high = ratio_interval(*calm, True)
    if not 1.99 < low <= 2 <= high < 2.01:
        complain(f"the interval of 2 is {low} to {high}")
    for factor, *blocks in ((1.0,), *zip((1.5, 2.0), calm[0]["blocks"][1:], calm[1]["blocks"][1:])):
        for block in blocks:
            block["ns"] = [factor * ns for ns in block["ns"]]
    paired = ratio_interval(*calm, True)
    alone = ratio_interval(*calm, False)
    if paired[1] - paired[0] > 0.05 or alone[1] - alone[0] < 0.5:
        complain(f"blocks that differ: {paired} in pairs, {alone} else")


def check_bad(directory):
    """Each must be refused with one line that names file and place."""
    good, aims = base(), goals({"share_of": "int8", "at_least": 0.1})

    def spoilt(change):
        item = copy.deepcopy(good)
        change(item)
        return item

    def aim(**more):
        return goals({"share_of": "int8", **more})

    other = spoilt(lambda r: r["context"]["build"].update(commit="def"))
    bad = [
        (aims, ["{"], "r0.json: is not JSON"),
        (aims, ["[]"], "r0.json: is not a report"),
        (aims, [spoilt(lambda r: r.update(assay_report=3))], "is not a report of version 2"),
        (aims, [spoilt(lambda r: r.pop("results"))], "r0.json: has no member results"),
        (aims, [spoilt(lambda r: r["timings"][1].update(median_ns="2"))], "timings[1].median_ns"),
        (aims, [spoilt(lambda r: r["timings"][1].update(median_ns=True))], "timings[1].median_ns"),
        (aims, [spoilt(lambda r: r["timings"][0]["blocks"][1]["ns"].append(0))], "timings[0]: has a time"),
        (aims, [spoilt(lambda r: r.update(noise=None))], "noise: is of the wrong type"),
        (aims, [spoilt(lambda r: r["timings"].append(r["timings"][0]))], "was timed in"),
        (aims, [good, other], "r1.json: is of another commit"),
        (aims, [spoilt(lambda r: r.update(timings=[]))], "no report has timings"),
        ("{", [good], "goals.json: is not JSON"),
        (aim(at_lest=1), [good], "goals[0]: has an unknown member at_lest"),
        (aim(cases="none"), [good], "goals[0].cases: there is no set"),
        (aim(steps=True), [good], "goals[0]: must have one of"),
        (aim(mode="warm"), [good], "goals[0].mode"),
        (aim(share_of="gold"), [good], "goals[0].share_of"),
        (aim(note=1), [good], "goals[0].note: is of the wrong type"),
        (aim(at_least="1"), [good], "goals[0].at_least: is of the wrong type"),
        (aim(at_least=1, at_most=2), [good], "goals[0]: has both"),
        (aim(kernel="("), [good], "goals[0].kernel"),
    ]
    for aims_given, reports, wanted in bad:
        done, text = run(aims_given, reports, directory)
        if done.returncode != 2 or done.stderr.count("\n") != 1 or wanted not in done.stderr or text:
            complain(f"{wanted}: exit {done.returncode}: {done.stderr.strip()}")
    done = subprocess.run([sys.executable, TABLE], capture_output=True, text=True, check=False)
    if done.returncode != 2 or "usage" not in done.stderr:
        complain(f"no arguments: exit {done.returncode}")
    if sorted(path.name for path in directory.iterdir() if ".md" in path.name):
        complain("a half-written table is left")


def check_goals():
    """The goals' cases exist, so no line of theirs says that it was not timed for want of one."""
    listed = subprocess.run([ASSAY, "list", SOURCE / "cases/figures"], capture_output=True,
                            text=True, check=True).stdout
    keys = {line.strip() for line in listed.splitlines()}
    sets, _ = read_goals(GOALS)
    for name, templates in sets.items():
        for template in templates:
            for case in expand(template):
                if case not in keys:
                    complain(f"set \"{name}\": cases/figures has no {case}")


with tempfile.TemporaryDirectory() as name:
    check_verdicts(pathlib.Path(name))
    check_failed(pathlib.Path(name))
    check_interval()
    check_bad(pathlib.Path(name))
    check_goals()
if not FAILURES:
    print("all as it should be")
sys.exit(bool(FAILURES))
