#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""assay compare from outside, on reports made up here: verdicts, exit status, what is said, and what
of reports that are not right.

    compare.py ASSAY [TEST...]
"""
import copy
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

ASSAY = pathlib.Path(sys.argv[1]).resolve()
KERNELS = [("ref", "ref", "f32"), ("fast", "avx2", "f32"), ("quick", "avx512vnni", "i8")]
failures = []
checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        failures.append(what)
        print("FAILED:", what)


# ---- reports ----

class Noise:
    """Log-normal: of samples within a block, of blocks, and of the whole run."""

    def __init__(self, sample=0.002, block=0.001, run=0.0):
        self.sample, self.block, self.run = sample, block, run


def key_of(n):
    return f"op_a n={n} k=256 fill=model seed=1"


def result(n, kernel, tier, numerics):
    return {"case": key_of(n), "kernel": f"op_a/{kernel}", "library": "assay", "tier": tier,
            "numerics": numerics, "verdict": "PASS", "reason": None, "explanation": None,
            "layers": [], "smallest_failing": None, "output_hash": f"{n * 7919 + len(kernel):016x}",
            "judgement": {
                "judged": 17, "excused": 0, "bad": 0, "utilisation_max": 0.41,
                "utilisation_p99": 0.3, "utilisation_median": 0.1, "utilisation_histogram": None,
                "nmse": 1.25e-14, "max_ulp": 3.0, "z_mean_square": None, "z_mean": None,
                "tie_swaps": 0, "worst": None}}


def timing(rng, n, kernel, mode, base_ns, factor, noise, blocks, passes, aa=False):
    parts, true_ns = [], base_ns * factor
    for number in range(passes):
        for _ in range(blocks):
            level = true_ns * math.exp(rng.gauss(0, noise.block))
            ns = [level * math.exp(rng.gauss(0, noise.sample)) for _ in range(8)]
            parts.append({"pass": number, "chain_ghz": 3.5, "ns": ns, "disturbed": []})
    samples = sorted(x for part in parts for x in part["ns"])
    middle = samples[len(samples) // 2]
    return {"case": key_of(n), "kernel": f"op_a/{kernel}", "mode": mode, "threads": 2, "aa": aa,
            "calls_per_sample": 12, "blocks": parts, "samples": len(samples), "discarded": 0,
            "noisy": False, "median_ns": middle, "interval_ns": [samples[0], samples[-1]],
            "interval_coverage": 0.95, "mad_ns": middle / 500,
            "quantiles_ns": [samples[0], samples[1], samples[-2], samples[-1]],
            "minimum_ns": samples[0], "prepare_ns": None, "flop": 512.0 * n, "products": 256.0 * n,
            "read_bytes": 144.0 * n, "written_bytes": 4.0 * n, "gflops": 1.0, "gb_per_s": 1.0,
            "ceiling": {"name": "f32 FMA, avx2", "kind": "f32", "ns": base_ns / 2, "fraction": 0.5}}


def report(seed, cases=4, noise=None, blocks=1, passes=5, slower=None, first=1000):
    """`slower`: {kernel: factor}. The timings' order is fixed, and their noise follows the seed."""
    rng, noise = random.Random(seed), noise or Noise()
    shift = math.exp(rng.gauss(0, noise.run))
    made = {
        "assay_report": 2, "complete": True, "command": "assay bench cases", "context": {
            "cpu": "Made Up 9000", "machine": "Linux 6.1.0 x86_64", "cpus": 2,
            "features": "avx2 fma", "l1d_bytes": 32768, "l2_bytes": 1048576, "llc_bytes": None,
            "memory_bytes": 8589934592, "governor": None, "load_1min": 0.25, "steal_share": 0.0,
            "time": "2026-11-25T03:00:00Z",
            "build": {"commit": "0123abc", "compiler": "GNU 12.2.0", "flags": "-O3"}},
        "ceilings": None, "noise": {
            "chain_ghz_best": 3.5, "chain_ghz_median": 3.5, "samples": 400, "disturbed": 0,
            "switched": 0, "slowed": 0, "gated": 0, "steal_share": 0.0, "aa_spread": 0.001,
            "too_noisy": False},
        "elapsed_seconds": 10.0, "cases": [], "results": [], "timings": []}
    for number in range(cases):
        n = first - number  # the order of the file is not that of the alphabet
        made["cases"].append({"key": key_of(n), "name": f"made_{n}", "where": "made.json: cases[0]",
                              "op": "op_a", "shape": {"n": n, "k": 256}, "source": None, "seed": 1,
                              "margins": None, "coverage": {}})
        for kernel, tier, numerics in KERNELS:
            made["results"].append(result(n, kernel, tier, numerics))
            base = n * {"ref": 100, "fast": 10, "quick": 5}[kernel]
            factor = shift * (slower or {}).get(kernel, 1)
            for mode in "hot", "cold":
                made["timings"].append(timing(rng, n, kernel, mode, base, factor, noise, blocks,
                                              passes))
        factor = shift * (slower or {}).get("quick", 1)
        made["timings"].append(timing(rng, n, "quick", "hot", n * 5, factor, noise, blocks, passes,
                                      True))
    return made


def write(path, made):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made))
    return path


# ---- the command ----

def run(*arguments):
    done = subprocess.run([ASSAY, "compare", *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def exits(wanted, *arguments):
    status, out, err = run(*arguments)
    check(status == wanted and not err,
          f"{arguments}: exit {status}, not {wanted}\n{err}{out[-300:]}")
    return out


def refuses(message, *arguments):
    status, out, err = run(*arguments)
    check(status == 2 and err == f"assay: {message}\n" and not out,
          f"{arguments}: exit {status}\n  {err}  is not\n  assay: {message}")


class Pair:
    """Two reports in files, and what JSON says of them."""

    def __init__(self, tmp, old, new, wanted, *options):
        paths = write(tmp / "old.json", old), write(tmp / "new.json", new)
        (tmp / "out.json").unlink(missing_ok=True)
        self.out = exits(wanted, *paths, "--json", tmp / "out.json", *options)
        self.json = json.loads((tmp / "out.json").read_text())
        self.counts = self.json["counts"]

    def verdicts(self, kernel=None):
        return [item["speed"]["verdict"] for item in self.json["comparisons"] if item["speed"] and
                (not kernel or item["kernel"] == f"op_a/{kernel}")]

    def reasons(self, kernel):
        return {item["speed"]["reason"] for item in self.json["comparisons"] if item["speed"] and
                item["kernel"] == f"op_a/{kernel}"}

    def says(self, text):
        check(text in self.out, f"\"{text}\" is not said:\n{self.out[-300:]}")


# ---- speed ----

def same(tmp):
    pair = Pair(tmp, report(1), report(2), 0)
    check(pair.verdicts() == ["SAME"] * 24, f"{pair.verdicts()}")
    pair.says("24 comparisons: 0 slower, 0 faster, 0 unclear, 24 the same; 0 outputs changed")
    check([item["case"] for item in pair.json["comparisons"][::6]] ==
          [key_of(1000 - i) for i in range(4)], "the order of cases is not the report's")
    check([(item["kernel"], item["speed"]["mode"]) for item in pair.json["comparisons"][:4]] ==
          [("op_a/ref", "hot"), ("op_a/ref", "cold"), ("op_a/fast", "hot"), ("op_a/fast", "cold")],
          "the order of kernels is not the report's")
    check(pair.json["assay_comparison"] == 1 and pair.json["rule"]["tests"] == 24, "JSON")
    itself = Pair(tmp, report(1), report(1), 0)
    check(set(itself.verdicts()) == {"SAME"}, "a report and itself")


def slower(tmp):
    pair = Pair(tmp, report(1), report(2, slower={"quick": 1.03}), 3)
    check(pair.verdicts("quick") == ["SLOWER"] * 8, f"{pair.verdicts('quick')}")
    check(pair.verdicts("fast") == ["SAME"] * 8, f"{pair.verdicts('fast')}")
    for item in pair.json["comparisons"]:
        speed = item["speed"]
        low, high = speed["interval"]
        true = 1.03 if item["kernel"] == "op_a/quick" else 1
        check(low < true < high and low < speed["ratio"] < high, f"{speed}")
        check(abs(speed["new_ns"] / speed["old_ns"] / speed["ratio"] - 1) < 1e-6, f"{speed}")
    check(re.search(r"quick +hot +2 +5\.\d\d us +5\.\d\d us +1\.0[23]\d +1\.0[12]\d \.\. 1\.0[34]\d"
                    r" +SLOWER +at least [12]\.\d % more time", pair.out), pair.out[:1500])
    pair = Pair(tmp, report(2, slower={"quick": 1.03}), report(1), 0)
    check(pair.verdicts("quick") == ["FASTER"] * 8, f"{pair.verdicts('quick')}")
    paths = tmp / "new.json", tmp / "old.json"
    for fail_on, status in ("none", 0), ("unclear", 0), ("accuracy", 0), ("slower", 3), \
            ("unclear,slower", 3):
        exits(status, *paths, "--fail-on", fail_on)


def unclear(tmp):
    """Wide noise; few blocks; and a change that one comparison would show, but not one of 400."""
    wide = Noise(0.02, 0.03)
    pair = Pair(tmp, report(1, noise=wide), report(2, noise=wide), 4)
    check(set(pair.verdicts()) == {"UNCLEAR"}, f"{pair.verdicts()}")
    check(any("is wider than +-2 %: more passes" in reason for reason in pair.reasons("ref")),
          f"{pair.reasons('ref')}")
    exits(0, tmp / "old.json", tmp / "new.json", "--fail-on", "slower,accuracy")
    exits(4, tmp / "old.json", tmp / "new.json", "--fail-on", "unclear")
    pair = Pair(tmp, report(1, blocks=2, passes=1), report(2, blocks=2, passes=1), 4)
    check(pair.reasons("quick") == {"2 of the 3 blocks that are needed"}, f"{pair.reasons('quick')}")
    pair = Pair(tmp, report(1, blocks=2, passes=2), report(2, passes=5), 4)
    check(pair.reasons("quick") == {"2 of the 3 passes that are needed"}, f"{pair.reasons('quick')}")
    mild = Noise(0.001, 0.005)
    few = Pair(tmp, report(5, 1, mild), report(6, 1, mild, slower={"quick": 1.04}), 3)
    many = Pair(tmp, report(5, 70, mild), report(6, 70, mild, slower={"quick": 1.04}), 4,
                "--fail-on", "unclear")
    first = [item["speed"] for item in many.json["comparisons"]
             if item["case"] == key_of(1000) and item["kernel"] == "op_a/quick"]
    check("SLOWER" in few.verdicts("quick"), f"{few.verdicts('quick')}")
    check(any("one of 420 comparisons may by chance" in speed["reason"] for speed in first),
          f"{first}")


def large(tmp):
    """10,000 timings of equal code: no verdict is wrong, and it takes seconds."""
    paths = [write(tmp / f"{i}.json", report(i, 1667, first=3000)) for i in (1, 2)]
    start = time.monotonic()
    status, out, _ = run(*paths, "--json", tmp / "out.json", "--markdown", tmp / "out.md")
    seconds = time.monotonic() - start
    check(status in (0, 4) and seconds < 60, f"exit {status} after {seconds} s")
    counts = json.loads((tmp / "out.json").read_text())["counts"]
    check(counts["faster"] == 0 and counts["slower"] == 0 and counts["same"] > 9000, f"{counts}")
    text = (tmp / "out.md").read_text()
    check(len(text) < 65536 and "more are not shown here" in text, f"{len(text)} characters")
    check(text.count("<details>") == text.count("</details>"), "a fold is not closed")


def disturbed(tmp):
    """What the writer flagged is not used; the same samples without the flags count."""
    new = report(2)
    for timing_ in new["timings"]:
        for block in timing_["blocks"]:
            for i in (0, 2, 3, 5, 6):
                block["ns"][i] *= 40
                block["disturbed"].append(i)
    pair = Pair(tmp, report(1), new, 0)
    check(set(pair.verdicts()) == {"SAME"}, f"{pair.verdicts()}")
    for timing_ in new["timings"]:
        for block in timing_["blocks"]:
            block["ns"] = [x * (40 if i % 2 else 1) for i, x in enumerate(block["ns"])]
            block["disturbed"] = []
    pair = Pair(tmp, report(1), new, 3)
    check(set(pair.verdicts()) == {"SLOWER"}, f"{pair.verdicts()}")


def noisy(tmp):
    new = report(2, slower={"quick": 1.5})
    for timing_ in new["timings"]:
        timing_["noisy"] = timing_["kernel"] == "op_a/quick"
    pair = Pair(tmp, report(1), new, 4)
    check(set(pair.verdicts("quick")) == {"UNCLEAR"}, f"{pair.verdicts('quick')}")
    check(set(pair.verdicts("fast")) == {"SAME"}, f"{pair.verdicts('fast')}")
    check(pair.reasons("quick") == {"new: fewer than half of the samples wanted were undisturbed"},
          f"{pair.reasons('quick')}")
    new = report(2, slower={"quick": 1.5})
    new["noise"]["too_noisy"] = True
    for sides, which in ((report(1), new), "new"), ((new, report(1)), "old"):
        pair = Pair(tmp, *sides, 4)
        check(set(pair.verdicts()) == {"UNCLEAR"}, f"{pair.verdicts()}")
        check(pair.reasons("quick") == {f"{which}: the machine was too noisy"},
              f"{pair.reasons('quick')}")
        pair.says(f"{which}.json: the machine was too noisy: 0 of 400 samples were disturbed")


def floor(tmp):
    """The A/A arm of either run is a floor under the spread; a bad block among them is not."""
    def shaken(share, factor):
        rng, made = random.Random(3), report(2, slower={"quick": 1.03})
        for timing_ in made["timings"]:
            for block in timing_["blocks"] if timing_["aa"] else ():
                if rng.random() < share:
                    by = factor if rng.random() < 0.5 else 1 / factor
                    block["ns"] = [x * by for x in block["ns"]]
        return made
    for sides in (report(1), shaken(1, 1.05)), (shaken(1, 1.05), report(1)):
        pair = Pair(tmp, *sides, 4)
        check(all(re.fullmatch(r"the A/A arm differs from itself by [67]\.\d %", reason)
                  for reason in pair.reasons("quick")), f"{pair.reasons('quick')}")
    pair = Pair(tmp, report(1), shaken(0.3, 1.5), 3)
    check(set(pair.verdicts("quick")) == {"SLOWER"}, f"{pair.verdicts('quick')}")
    new = report(2, slower={"quick": 1.03})
    new["timings"] = [one for one in new["timings"] if not one["aa"]]
    Pair(tmp, report(1), new, 3)
    new["noise"]["aa_spread"] = 0.05  # counts where there are no arms to look at
    pair = Pair(tmp, report(1), new, 4)
    check(pair.reasons("quick") == {"the A/A arm differs from itself by 5.1 %"},
          f"{pair.reasons('quick')}")
    new["noise"]["aa_spread"] = None
    Pair(tmp, report(1), new, 3)
    new["noise"] = None
    Pair(tmp, report(1), new, 3)


def drift(tmp):
    """A machine whose ceiling fell by 6 % explains a kernel that is 5 % slower, but no faster one."""
    new = report(2, slower={"quick": 1.05, "fast": 0.95})
    for timing_ in new["timings"]:
        timing_["ceiling"]["ns"] *= 1.06
    pair = Pair(tmp, report(1), new, 4)
    check(pair.reasons("quick") == {"the machine's f32 peak moved by 6.0 %"},
          f"{pair.reasons('quick')}")
    check(set(pair.verdicts("fast")) == {"FASTER"}, f"{pair.verdicts('fast')}")
    for change in ("kind", "int8"), ("work", None), ("none", None):  # then nothing is known of it
        changed = copy.deepcopy(new)
        for timing_ in changed["timings"]:
            if change[0] == "kind":
                timing_["ceiling"]["kind"] = change[1]
            elif change[0] == "work":
                timing_["flop"] *= 2
            else:
                timing_["ceiling"] = None
        pair = Pair(tmp, report(1), changed, 3)
        check(set(pair.verdicts("quick")) == {"SLOWER"}, f"{change}: {pair.verdicts('quick')}")
    for timing_ in new["timings"]:
        timing_["ceiling"] = None
        for block in timing_["blocks"]:
            block["chain_ghz"] = 3.5 / 1.07
    pair = Pair(tmp, report(1), new, 4)
    check(pair.reasons("quick") == {"the machine's clock moved by 7.0 %"},
          f"{pair.reasons('quick')}")


def sets(tmp):
    """Runs that differ by 3 % although each of them is steady: one pair misleads, sets do not."""
    def one(seed, **options):
        return report(seed, blocks=5, passes=1, **options)
    between = Noise(0.001, 0.0005, 0.03)
    for side, first in ("old", 10), ("new", 20):
        for i in range(4):
            write(tmp / "sets" / side / f"{i}.json", one(first + i, noise=between))
    old, new = tmp / "sets/old", tmp / "sets/new"
    misled = [run(old / f"{i}.json", new / f"{i}.json")[1] for i in range(4)]
    check(any("seems slower" in out or "seems faster" in out for out in misled), misled[0][:800])
    for sides in (old, new), (f"{old}/", ",".join(str(new / f"{i}.json") for i in range(4))):
        out = exits(4, *sides)
        check(" 0 slower, 0 faster, 24 unclear, 0 the same" in out, out[-500:])
    check("0.json" in out and "and 1 more: commit 0123abc" in out, out[:500])
    for sides in ((old, new / "0.json"), (new / "0.json", old)):
        out = exits(4, *sides)
        check(out.count("1 of the 3 reports that are needed") == 24, out[-500:])
    for i in range(4):
        write(tmp / "sets/slow" / f"{i}.json", one(30 + i, slower={"quick": 1.05}))
        write(tmp / "sets/even" / f"{i}.json", one(40 + i))
    out = exits(3, tmp / "sets/even", tmp / "sets/slow")
    check(" 8 slower, 0 faster, 0 unclear, 16 the same" in out, out[-500:])
    wild = one(50, slower={"quick": 3, "fast": 3, "ref": 3})
    wild["noise"]["too_noisy"] = True
    write(tmp / "sets/slow/9.json", wild)  # is left out
    out = exits(3, tmp / "sets/even", tmp / "sets/slow")
    check(" 8 slower, 0 faster, 0 unclear, 16 the same" in out and "was too noisy" in out,
          out[-500:])
    refuses(f"{old}/1.json: is there twice, also as {old}/1.json", old, f"{new},{old},{old}/1.json")


def passes(tmp):
    """Blocks of a pass are not independent: passes count, and one of them says little."""
    old, new = report(1, blocks=5, passes=4), report(2, blocks=5, passes=4)
    rng = random.Random(3)
    for number in range(4):
        shift = math.exp(rng.gauss(0, 0.03))
        for timing_ in new["timings"]:
            for block in timing_["blocks"]:
                if block["pass"] == number:
                    block["ns"] = [x * shift for x in block["ns"]]
    pair = Pair(tmp, old, new, 4)
    check(set(pair.verdicts()) == {"UNCLEAR"}, f"{pair.verdicts()}")
    check(any("more passes" in reason for reason in pair.reasons("ref")), f"{pair.reasons('ref')}")
    pair = Pair(tmp, old, report(2, blocks=5, passes=4, slower={"quick": 1.05}), 3)
    check(pair.verdicts("quick") == ["SLOWER"] * 8, f"{pair.verdicts('quick')}")
    for factor, word in (1.5, "slower"), (0.7, "faster"):
        pair = Pair(tmp, report(1, blocks=5, passes=1),
                    report(2, blocks=5, passes=1, slower={"quick": factor}), 4)
        check(pair.verdicts("ref") == ["SAME"] * 8, f"{pair.verdicts('ref')}")
        check(pair.verdicts("quick") == ["UNCLEAR"] * 8, f"{pair.verdicts('quick')}")
        check(pair.reasons("quick") == {f"seems {word}, but that may be the machine in one pass: "
                                        "bench --rounds 3 or more"}, f"{pair.reasons('quick')}")


# ---- accuracy ----

def accuracy(tmp):
    new = report(2)
    changed = new["results"][1]
    changed["output_hash"] = "00000000deadbeef"
    changed["judgement"]["utilisation_max"] = 0.97
    changed["judgement"]["nmse"] = 5e-14
    pair = Pair(tmp, report(1), new, 0)
    pair.says("output changed, utilisation 0.41 -> 0.97, NMSE 1.25e-14 -> 5e-14")
    pair.says("; 1 output changed")
    check(pair.json["comparisons"][2]["accuracy"] == {
        "old_check": "PASS", "new_check": "PASS", "output_changed": True,
        "utilisation": [0.41, 0.97], "nmse": [1.25e-14, 5e-14]}, f"{pair.json['comparisons'][2]}")
    check(pair.json["comparisons"][3]["accuracy"] is None, "accuracy is told twice")
    Pair(tmp, report(1), new, 1, "--fail-on", "accuracy")
    Pair(tmp, report(1), new, 1, "--fail-on", "slower,unclear,accuracy")
    old, plain = write(tmp / "old.json", report(1)), write(tmp / "plain.json", report(3))
    both = f"{plain},{write(tmp / 'new.json', new)}"  # the second report of a set counts too
    check("; 1 output changed" in exits(1, old, both, "--fail-on", "accuracy"), "a set's output")
    skipped = report(4)
    skipped["results"][1].update(verdict="SKIPPED", output_hash="0" * 16)
    both = f"{write(tmp / 'skipped.json', skipped)},{plain}"  # nor does what was skipped hide a pass
    exits(0, old, both, "--fail-on", "accuracy", "--json", tmp / "out.json")
    made = json.loads((tmp / "out.json").read_text())["comparisons"][2]["accuracy"]
    check(made["new_check"] == "PASS" and made["output_changed"] is False, f"{made}")
    changed["output_hash"] = "0" * 16  # it did not return
    pair = Pair(tmp, report(1), new, 0, "--fail-on", "accuracy")
    check(pair.json["comparisons"][2]["accuracy"]["output_changed"] is None, "no output")


def verdicts(tmp):
    for old, new, status in ("PASS", "FAIL", 1), ("SKIPPED", "CRASHED", 1), ("FAIL", "PASS", 0), \
            ("FAIL", "TIMEOUT", 0), ("PASS", "SKIPPED", 0), ("PASS", "MISTRUSTED", 1):
        reports = report(1), report(2)
        for made, verdict in zip(reports, (old, new)):
            made["results"][4]["verdict"] = verdict
            made["timings"] = [timing_ for timing_ in made["timings"]
                               if timing_["case"] != key_of(999) or
                               timing_["kernel"] != "op_a/fast" or verdict == "PASS"]
        pair = Pair(tmp, *reports, status, "--fail-on", "none")
        pair.says(f"fast                   {old} -> {new}, utilisation")
        check(("1 newly fails" in pair.out) == (status == 1), f"{old} {new}")
        check(pair.json["counts"]["newly_failing"] == (status == 1), f"{old} {new}")
    checked = [report(1), report(2)]
    for made in checked:
        made["timings"], made["noise"] = [], None
    pair = Pair(tmp, *checked, 0)
    pair.says("0 comparisons: 0 slower, 0 faster, 0 unclear, 0 the same; 0 outputs changed")
    check(len(pair.json["comparisons"]) == 12, "reports of the check alone")


# ---- what differs ----

def machines(tmp):
    old = write(tmp / "old.json", report(1))
    for name, value in ("cpu", "Other 1"), ("machine", "Linux 6.1.0 aarch64"), ("cpus", 4), \
            ("features", "avx2"), ("l1d_bytes", 49152), ("l2_bytes", None), ("llc_bytes", 1 << 25):
        made = report(2)
        was = str(made["context"][name] or 0).split()[-1 if name == "machine" else 0:]
        made["context"][name] = value
        new = write(tmp / "new.json", made)
        now = str(value or 0).split()[-1 if name == "machine" else 0:]
        refuses(f"{new}: context.{name}: is \"{' '.join(now)}\", in {old} \"{' '.join(was)}\": "
                "another machine; --any-machine compares them all the same", old, new)
        out = exits(0, old, new, "--any-machine")
        check(f"note: another machine: {name} is" in out, out[:500])
        refuses(f"{new}: context.{name}: is \"{' '.join(now)}\", in {old} \"{' '.join(was)}\": "
                "another machine; --any-machine compares them all the same", f"{old},{new}", new)


def builds(tmp):
    new = report(2)
    new["context"]["machine"] = "Linux 6.2.0 x86_64"
    new["context"]["governor"] = "performance"
    new["context"]["build"] = {"commit": "4567def", "compiler": "Clang 14.0.6", "flags": "-O2"}
    new["complete"] = False
    pair = Pair(tmp, report(1), new, 0)
    for text in ("commit 0123abc, GNU 12.2.0", "commit 4567def, Clang 14.0.6",
                 "different compiler: old \"GNU 12.2.0\", new \"Clang 14.0.6\"",
                 "different flags: old \"-O3\", new \"-O2\"",
                 "new.json was interrupted and is not complete",
                 "different governor: old \"unknown\", new \"performance\"",
                 "different operating system: old \"Linux 6.1.0 x86_64\""):
        pair.says(text)
        check(any(text in line for line in pair.json["notes"] + [pair.json["old"], pair.json["new"]]),
              f"{text} is not in JSON")
    write(tmp / "other.json", new)
    out = exits(0, f"{tmp}/old.json,{tmp}/other.json", tmp / "new.json")
    check("different commit within old: \"0123abc\" and \"4567def\"" in out, out[:800])


def one_side(tmp):
    old, new = report(1, 3), report(2, 4)
    old["results"] = [one for one in old["results"] if one["kernel"] != "op_a/quick"]
    old["timings"] = [one for one in old["timings"] if one["kernel"] != "op_a/quick"]
    new["timings"] = [one for one in new["timings"] if one["kernel"] != "op_a/ref" or
                      one["mode"] == "hot"]
    pair = Pair(tmp, old, new, 0)
    check(len(pair.verdicts()) == 9, f"{pair.verdicts()}")
    unmatched = [(u["only_in"], u["kernel"], u["case"], u["mode"]) for u in pair.json["unmatched"]]
    check(("old", "op_a/ref", key_of(1000), "cold") in unmatched, f"{unmatched}")
    check(("new", "op_a/quick", key_of(1000), None) in unmatched, f"{unmatched}")
    check(("new", "op_a/fast", key_of(997), None) in unmatched, f"{unmatched}")
    check(len(unmatched) == 3 + 3 + 3, f"{unmatched}")
    pair.says("only in old:\n  op_a/ref  op_a n=1000 k=256 fill=model seed=1  cold, 2 threads\n")
    pair.says("; 9 only on one side")
    new["cases"] = new["cases"][3:]
    new["results"], new["timings"] = new["results"][9:], []
    paths = write(tmp / "old.json", old), write(tmp / "new.json", new)
    refuses("no case and kernel is on both sides", *paths)


# ---- output ----

def markdown(tmp):
    new = report(2, slower={"quick": 1.03})
    new["results"][1]["output_hash"] = "00000000deadbeef"
    sides = report(1), new
    for made in sides:  # what Markdown could take for itself
        text = json.dumps(made).replace("op_a/ref", "op_a/r|e`f").replace(
            "op_a n=1000 ", "op_a n=1000 <b>|*_@x").replace("Made Up", "|[x](y)")
        made.clear()
        made.update(json.loads(text))
    sides[1]["context"]["build"]["compiler"] = "a <script> & *b* | `c` @d"
    paths = write(tmp / "old.json", sides[0]), write(tmp / "new.json", sides[1])
    out = exits(3, *paths, "--markdown", "-")
    lines = out.splitlines()
    check(lines[0] == "<!-- assay comparison -->" and lines[1] ==
          "**8 slower, 0 faster, 0 unclear, 16 the same; 1 output changed**", f"{lines[:2]}")
    rows = [line for line in lines if re.match(r"\| (SLOWER|SAME|UNCLEAR) ", line)]
    check(len(rows) == 24, f"{len(rows)} rows")
    check(all(row.startswith("| SLOWER | `op_a/quick`") for row in rows[:8]), f"{rows[:8]}")
    check(rows[8].startswith("| SAME | `op_a/fast` |") and "**output changed**" in rows[8], rows[8])
    check(lines.index("<details><summary>15 the same</summary>") > lines.index(rows[8]), "order")
    for row in rows:
        check(len(re.findall(r"(?<!\\)\|", row)) == 9, f"columns of {row}")
        check(row.count("`") % 2 == 0, f"backquotes of {row}")
    outside = re.sub(r"`[^`]*`", "", out)
    check("<b>" not in outside and "<script>" not in outside and "@" not in outside, outside[:800])
    exits(3, *paths, "--markdown", tmp / "out.md")
    check((tmp / "out.md").read_text() == out, "a file and standard output")
    table = exits(3, *paths, "--markdown", tmp / "out.md")
    check(table.startswith("old: "), "the table beside the file")


def files(tmp):
    paths = write(tmp / "old.json", report(1)), write(tmp / "new.json", report(2))
    before = paths[1].read_text()
    refuses(f"{paths[1]}: exists and is something else", *paths, "--json", paths[1])
    check(paths[1].read_text() == before, "a report was overwritten")
    refuses(f"{tmp}: is not a regular file", *paths, "--json", tmp)
    refuses(f"{tmp}/none/x.json: cannot write: No such file or directory", *paths, "--json",
            tmp / "none/x.json")
    refuses("the path of an output is empty", *paths, "--markdown", "")
    (tmp / "empty.json").touch()
    for _ in range(2):  # an empty file, and then a comparison
        exits(0, *paths, "--json", tmp / "empty.json")
    check(len(json.loads((tmp / "empty.json").read_text())["comparisons"]) == 24, "JSON")
    check(json.loads(exits(0, *paths, "--json", "-"))["assay_comparison"] == 1, "JSON on stdout")
    check(sorted(path.name for path in tmp.iterdir() if path.is_file()) ==
          ["empty.json", "new.json", "old.json"], "files are left")
    refuses("--json and --markdown cannot both be standard output", *paths, "--json", "-",
            "--markdown", "-")
    name = (str(tmp) + "/k\udcff.json").encode(errors="surrogateescape")  # a path that is not UTF-8
    with open(name, "wb") as file:
        file.write(before.encode())
    done = subprocess.run([ASSAY, "compare", paths[0], name, "--json", "-"], capture_output=True,
                          check=False)
    check(done.returncode == 0 and json.loads(done.stdout)["new"].endswith("GNU 12.2.0"),
          f"{done}")


def colors(tmp):
    new = report(2, slower={"quick": 1.03})
    new["results"][4]["verdict"] = "FAIL"
    new["results"][4]["reason"] = "\x1b[31m\nred"
    new["context"]["cpu"] = "Made Up 9000"
    new["context"]["build"]["commit"] = "\x1b]0;title\x07"
    paths = write(tmp / "old.json", report(1)), write(tmp / "new.json", new)
    plain = exits(1, *paths)
    check("\x1b" not in plain and "commit ?]0;title?" in plain, repr(plain[:300]))
    out = exits(1, *paths, "--color", "always")
    check("\x1b[31mSLOWER \x1b[0m" in out and "\x1b]0" not in out, repr(out[:300]))
    check(re.sub(r"\x1b\[\d+m", "", out) == plain, "colour changes the text")
    check(exits(1, *paths, "--color", "never") == plain, "--color never")


def usage(tmp):
    path = write(tmp / "old.json", report(1))
    for arguments in (), (path,):
        refuses("compare: name two reports, or two sets of them: OLD and NEW", *arguments)
    refuses("compare: more than two arguments: \"c\"; a set of reports is a comma-separated list or "
            "a directory", path, path, "c")
    for text in "slow", "", "slower,", ",", "none,slower", "slower unclear":
        bad = next(word for word in text.split(",") if word not in ("slower", "unclear", "accuracy"))
        refuses(f"--fail-on: \"{bad}\" is none of slower, unclear, accuracy, nor is it \"none\" "
                "alone", path, path, "--fail-on", text)
    refuses("--color: \"red\" is not auto, always or never", path, path, "--color", "red")
    refuses(f"{tmp}/none: cannot be read: No such file or directory", path, tmp / "none")
    (tmp / "empty").mkdir()
    refuses(f"{tmp}/empty: there is no *.json file in it", tmp / "empty", path)
    refuses("the path of a report is empty", f"{path},", path)
    out = exits(0, "--help")
    check("Usage: assay compare [OPTION...] OLD NEW" in out and "--fail-on" in out, out)
    old = write(tmp / "one.json", {"assay_report": 1})
    refuses(f"{old}: assay_report: is version 1, and this assay reads version 2: measure again",
            path, old)
    refuses(f"{old}: assay_report: is version 1, and this assay reads version 2: measure again",
            path, f"{path},{old}")


# ---- reports that are not right ----

def spoil(rng, text):
    """A few changes to a text."""
    words = ["0", "-1", "1e308", "9223372036854775807", "null", "true", "[]", "{}", "\"\"", "\"PASS\"",
             "\"\\u0000\"", "\"\\ud800\"", "1e-320", "[[[[", ",", ":", "\"op_a/ref\"", "\xff"]
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text))
        kind = rng.randrange(6)
        if kind == 0:
            text = text[:at]
        elif kind == 1:
            text = text[:at] + rng.choice(words) + text[at + rng.randrange(6):]
        elif kind == 2:  # in a value's place
            place = re.compile(r"[:\[,] *(\"[^\"]*\"|[-\d.e+]+|null|true|false)").search(text, at)
            if place:
                text = text[:place.start(1)] + rng.choice(words) + text[place.end(1):]
        elif kind == 3:
            text = text[:at] + text[at + rng.randrange(30):]
        elif kind == 4:
            text = text[:at] + chr(rng.randrange(1, 256)) + text[at + 1:]
        else:  # another digit
            place = re.compile(r"\d").search(text, at)
            if place:
                text = text[:place.start()] + str(rng.randrange(10)) + text[place.end():]
        text = text or " "
    return text


def spoilt(tmp):
    rng, statuses = random.Random(7), {}
    old, new = report(1, 1), report(2, 1)
    for timing_ in new["timings"]:
        for block in timing_["blocks"]:
            block["ns"] = [round(x) for x in block["ns"][:2]]
    good, whole = write(tmp / "old.json", old), json.dumps(new)
    path = tmp / "new.json"
    for i in range(400):
        text = spoil(rng, whole)
        path.write_bytes(text.encode("utf-8" if rng.random() < 0.8 else "latin-1", "replace"))
        status, out, err = run(*((good, path) if i % 2 else (path, good)), "--json", "-")
        statuses[status] = statuses.get(status, 0) + 1
        line = err.startswith("assay: ") and err.endswith("\n") and err.count("\n") == 1
        check(status in (0, 1, 3, 4) and not err or status == 2 and line and "new.json" in err or
              status == 2 and line and "no case and kernel" in err, f"{i}: {status} {err!r}")
        if status != 2:
            json.loads(out)
    check(statuses.get(2, 0) > 200 and len(statuses) > 2, f"{statuses}")


def main():
    tests = (same, slower, unclear, large, disturbed, noisy, floor, drift, sets, passes, accuracy,
             verdicts, machines, builds, one_side, markdown, files, colors, usage, spoilt)
    for test in tests:
        if test.__name__ in sys.argv[2:] or len(sys.argv) == 2:
            with tempfile.TemporaryDirectory() as name:
                test(pathlib.Path(name))
    print(f"{checks} checks, {len(failures)} failures")
    return len(failures) > 0


if __name__ == "__main__":
    sys.exit(main())
