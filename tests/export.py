#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""export and judge from outside: what is exported passes when it comes back as a result, what is
off by more than its tolerance fails with its place, and files that are not right are refused.

    export.py ASSAY SOURCE_DIR [TEST...]
"""
import json
import math
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

ASSAY, SOURCE = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
FORMATS = {"U8": "B", "I8": "b", "I16": "h", "BF16": "H", "I32": "i", "U32": "I", "I64": "q",
           "F32": "f", "F64": "d"}
SAMPLE = 6  # cases of an op and fill
GEMV = "q4_K_gemv n=17 k=256 fill=edge seed=1"
failures = []
checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        failures.append(what)
        print("FAILED:", what)


def run(*arguments):
    done = subprocess.run([ASSAY, *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def passes(*arguments):
    status, out, err = run(*arguments)
    check(status == 0 and not err, f"{arguments}: exit {status}, {err}{out[-800:]}")
    return out


def fails(text, *arguments):
    """Exit status 1, and the text on stdout."""
    status, out, err = run(*arguments)
    check(status == 1 and not err and text in out and "replay" not in out,
          f"{arguments}: exit {status}, no \"{text}\": {err}{out[-800:]}")


def refuses(message, *arguments):
    """Exit status 2, and exactly this line on stderr."""
    status, out, err = run(*arguments)
    check(status == 2 and err == f"assay: {message}\n",
          f"{arguments}: exit {status}\n  {err}  is not\n  assay: {message}")
    check("PASS" not in out, f"{arguments}: {out}")


class Tensor:
    def __init__(self, dtype, shape, values):
        self.dtype, self.shape, self.values = dtype, list(shape), list(values)

    def copy(self):
        return Tensor(self.dtype, self.shape, self.values)


def load(path):
    """Reads a file that must also be laid out as a mapping reader wants it."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    check(length % 8 == 0 and data[8:9] == b"{", f"{path}: header")
    check(all(isinstance(v, str) for v in header.pop("__metadata__").values()), f"{path}: metadata")
    tensors, covered = {}, 0
    for name, at in header.items():
        begin, end = at["data_offsets"]
        size = struct.calcsize("<" + FORMATS[at["dtype"]])
        check(begin == covered and begin % size == 0 and
              end - begin == math.prod(at["shape"]) * size, f"{path}: {name}")
        covered = end
        values = struct.unpack(f"<{(end - begin) // size}{FORMATS[at['dtype']]}",
                               data[8 + length + begin:8 + length + end])
        tensors[name] = Tensor(at["dtype"], at["shape"], values)
    check(8 + length + covered == len(data), f"{path}: its data are covered")
    return tensors


def save(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        begin = len(data)
        data += struct.pack(f"<{len(tensor.values)}{FORMATS[tensor.dtype]}", *tensor.values)
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape,
                        "data_offsets": [begin, len(data)]}
    raw(path, json.dumps(header), data)


def raw(path, header, data=b"", length=None):
    text = header.encode() if isinstance(header, str) else header
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def f32(value):
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def next_f32(value):
    """The f32 after this one, away from zero."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return struct.unpack("<f", struct.pack("<I", bits + 1))[0]


def manifest(directory):
    return json.loads((directory / "manifest.json").read_text())


def expectations(directory, case):
    return load(directory / case["expected"]["file"])


def results(directory, cases, form=""):
    """What a kernel would give that is right; `form`: ".twin.i8" or ".f16", where there is one."""
    made = {}
    for case in cases:
        expected = expectations(directory, case)
        for output in case["outputs"]:
            name = output["name"].removeprefix(case["id"] + "/")
            values, judged = expected[name].values, expected.get(name + ".columns")
            if name + form in expected:
                values = expected[name + form].values
            if output["dtype"] == "F32":
                values = [f32(value) for value in values]
            if judged:
                rows, columns = output["shape"]
                whole = [math.nan] * (rows * columns)
                for row in range(rows):
                    for i, column in enumerate(judged.values):
                        whole[row * columns + column] = values[row * len(judged.values) + i]
                values = whole
            made[output["name"]] = Tensor(output["dtype"], output["shape"], values)
    return made


def off_by(expected, i, share, numerics):
    """An f32 at least, or at most, this share of the tolerance away from expected element i."""
    suffix = f".tolerance.{numerics}"
    name = next(n.removesuffix(suffix) for n in expected if n.endswith(suffix))
    value = expected[name + (".f16" if numerics == "f16" else "")].values[i]
    tolerance = expected[f"{name}.tolerance.{numerics}"].values[i]
    got = f32(value + math.copysign(share * tolerance, value))
    if share > 1 and got == f32(value):
        got = next_f32(got)
    return name, got, abs(got - value) / tolerance if tolerance else math.inf


def sample():
    """Keys of smoke cases: of every op and fill some, evenly spread."""
    groups = {}
    for key in passes("list", SOURCE / "cases/smoke").splitlines():
        if fill := re.search(r" fill=(\w+)", key):
            groups.setdefault((key.split()[0], fill.group(1)), []).append(key)
    return [keys[i] for keys in groups.values()
            for i in sorted({round(j * (len(keys) - 1) / (SAMPLE - 1)) for j in range(SAMPLE)})]


def writes_nothing(directory, case):
    """Whether no output element is compared: the contract leaves all of them alone."""
    stored = load(directory / case["expected"]["file"])
    rules = [t for name, t in stored.items() if name.endswith(".rule")]
    return bool(rules) and not any(any(t.values) for t in rules)


def round_trip(tmp):
    directory, got = tmp / "all", tmp / "all.safetensors"
    out = passes("export", *sample(), "--dir", directory, "--numerics", "f32,i8,f16,i16,i24")
    cases = manifest(directory)["cases"]
    check(f"{len(cases)} cases: {directory}/manifest.json" in out, out)
    ops = {path.stem for path in (SOURCE / "cases/smoke").glob("*.json")}
    check({(case["op"], case["fill"]) for case in cases} ==
          {(op, fill) for op in ops for fill in ("exact", "model", "edge")}, "all ops and fills")
    for case in cases:
        for part in "inputs", "expected":
            stored = load(directory / case[part]["file"])
            check([(t["name"], t["dtype"], t["shape"]) for t in case[part]["tensors"]] ==
                  [(n, t.dtype, t.shape) for n, t in
                   sorted(stored.items(), key=lambda item: [t["name"] for t in
                                                            case[part]["tensors"]].index(item[0]))],
                  f"{case['id']}: {part} as in the manifest")
    save(got, results(directory, cases))
    out = passes("judge", directory, "--got", got, "--json", tmp / "report.json")
    empty = {case["key"] for case in cases if writes_nothing(directory, case)}
    check(f"{len(cases) - len(empty)} passed, 0 failed, {len(empty)} skipped" in out, out)
    report = json.loads((tmp / "report.json").read_text())
    check(len(report["results"]) == len(cases) and
          all(r["verdict"] == ("SKIPPED" if r["case"] in empty else "PASS")
              and r["library"] == str(got) for r in report["results"]),
          "the report")
    excused = {r["case"]: r["judgement"]["excused"] for r in report["results"]}
    check(any(excused.values()), "an output may overflow")

    for case in cases:
        if case["op"] == "q4_K_gemv":
            check(case["depth"] == case["shape"]["k"] + 16, "the default depth")
            expected = expectations(directory, case)
            check(expected["y.rule"].values.count(0) == excused[case["key"]], "excused elements")
            tolerances = expected["y.tolerance.f32"].values
            check(case["fill"] == "edge" or (case["fill"] == "exact") == (max(tolerances) == 0),
                  "exact tolerances are 0")

    integer(tmp, directory, cases, "i8", 0.9, 1.1)
    integer(tmp, directory, cases, "i16", 0.9, 1.1)
    integer(tmp, directory, cases, "i24", 0.005, 1.0)  # of a serial sum's depth
    rounded(tmp, directory, cases)
    one_element(tmp, directory, cases)
    left_alone(tmp, directory, cases)
    ties(tmp, directory, cases)


def integer(tmp, directory, cases, name, low, high):
    """The twin of an integer class passes everywhere, its mean square lies between low and high, and
    the oracle's value passes where no statistics are taken."""
    got = tmp / f"{name}.safetensors"
    known = [case for case in cases
             if any(f".tolerance.{name}" in t["name"] for t in case["expected"]["tensors"])]
    only = ["-c", "^(" + "|".join(sorted({case["op"] for case in known})) + ") "]
    check(len(known) > 50, f"cases of class {name}")
    save(got, results(directory, known, f".twin.{name}"))
    passes("judge", directory, "--got", got, "--numerics", name, *only)
    if name != "i24":  # whose errors are those of f32
        fails("out of tolerance", "judge", directory, "--got", got, *only)
    twins = [case for case in known
             if any(f".twin.{name}" in t["name"] for t in case["expected"]["tensors"])]
    twins_only = ["-c", "^(" + "|".join(sorted({case["op"] for case in twins})) + ") "]
    passes("judge", directory, "--got", got, "--numerics", name, "--twin", *twins_only)
    z = []
    for case in twins:
        expected = expectations(directory, case)
        output = case["outputs"][0]["name"].removeprefix(case["id"] + "/")
        columns = [expected[output + part].values for part in
                   (".rule", "", f".twin.{name}", f".tolerance.{name}", f".sigma.{name}")]
        for rule, value, twin, tolerance, sigma in zip(*columns):
            if rule == 1:
                check(abs(twin - value) <= tolerance, f"{case['key']}: the twin is off")
            if rule == 1 and case["fill"] == "model":
                z.append((twin - value) / sigma)
    mean_square = sum(v * v for v in z) / len(z)
    check(len(z) > 1000 and low < mean_square < high, f"sigma of {name}: {mean_square}")
    save(got, results(directory, known))
    passes("judge", directory, "--got", got, "--numerics", name, *only)
    fails("differ from the scalar twin", "judge", directory, "--got", got, "--numerics", name,
          "--twin", *twins_only)


def rounded(tmp, directory, cases):
    """Class f16 is judged by expectations of its own, and has tolerances for them."""
    got = tmp / "rounded.safetensors"
    f16 = [case for case in cases
           if any(".tolerance.f16" in t["name"] for t in case["expected"]["tensors"])]
    ops = {case["op"] for case in f16}
    check(ops == {op for op in (case["op"] for case in cases) if op.startswith("q4_K_gem")},
          f"class f16: {ops}")
    only = ["-c", "^(" + "|".join(sorted(ops)) + ") "]
    save(got, results(directory, f16, ".f16"))
    passes("judge", directory, "--got", got, "--numerics", "f16", *only)
    fails("out of tolerance", "judge", directory, "--got", got, *only)
    save(got, results(directory, f16))
    fails("out of tolerance", "judge", directory, "--got", got, "--numerics", "f16", *only)
    tried, infinite = set(), 0
    for case in f16:
        expected = expectations(directory, case)
        name = case["outputs"][0]["name"].removeprefix(case["id"] + "/")
        rules = expected[name + ".rule.f16"].values
        infinite += sum(a == 1 and b == 2 for a, b in zip(expected[name + ".rule"].values, rules))
        if case["op"] in tried or case["fill"] != "edge" or 1 not in rules:
            continue
        i = max(i for i, rule in enumerate(rules) if rule == 1)
        made, output = results(directory, [case], ".f16"), case["outputs"][0]["name"]
        for share, status in (0.99, 0), (1.01, 1):
            _, made[output].values[i], used = off_by(expected, i, share, "f16")
            if (used < 0.999) == (status == 0) and used != math.inf:
                done = judge_one(tmp, directory, case, made, "--numerics", "f16")
                check(done[0] == status, f"{case['key']}: {share} of the tolerance: {done[1]}")
                tried.add(case["op"])
    check(tried == ops, f"f16 tried {tried}")
    check(infinite > 0, "f16 overflows where f32 does not")


def judge_one(tmp, directory, case, made, *more):
    got = tmp / "one.safetensors"
    save(got, made)
    return run("judge", directory, "--got", got, "-c", "^" + re.escape(case["key"]) + "$", "-v",
               *more)


def failed_at(done, case, name, i):
    status, out, _ = done
    columns = next(o["shape"][1] for o in case["outputs"] if o["name"].endswith("/" + name))
    place = f"worst: {name}[{i // columns}, {i % columns}] = "
    check(status == 1 and place in out, f"{case['key']}: exit {status}, no \"{place}\": {out}")


def one_element(tmp, directory, cases):
    """A last element just inside its tolerance passes, just outside it fails with its place."""
    tried = set()
    for case in cases:
        if (case["op"], case["fill"]) in tried:
            continue
        expected, made = expectations(directory, case), results(directory, [case])
        for output in case["outputs"]:
            name = output["name"].removeprefix(case["id"] + "/")
            tensor = made[output["name"]]
            at = [i for i, rule in enumerate(expected[name + ".rule"].values) if rule == 1]
            if not at:
                continue
            right = tensor.values[at[-1]]
            if not any(n.startswith(name + ".tolerance") for n in expected):
                tensor.values[at[-1]] = right ^ 1 if tensor.dtype != "F32" else math.pi
                done = judge_one(tmp, directory, case, made)
                failed_at(done, case, name, at[-1])
                check(f"1 of {len(tensor.values)} elements of {name} differ" in done[1], done[1])
                tensor.values[at[-1]] = right
                tried.add((case["op"], case["fill"]))
                continue
            _, outside, share = off_by(expected, at[-1], 1.01, "f32")
            if share < 1.001:
                continue
            tensor.values[at[-1]] = outside
            failed_at(judge_one(tmp, directory, case, made), case, name, at[-1])
            _, inside, share = off_by(expected, at[-1], 0.99, "f32")
            if share < 0.999 and case["fill"] == "edge":
                tensor.values[at[-1]] = inside
                done = judge_one(tmp, directory, case, made)
                check(done[0] == 0, f"{case['key']}: within tolerance, yet {done[1]}")
                tried.add((case["op"], "inside"))
            tensor.values[at[-1]] = right
            tried.add((case["op"], case["fill"]))
    for op in {case["op"] for case in cases}:
        check(sum(name == op for name, _ in tried) >= 2, f"one_element tried {op}: {tried}")
    check(sum(fill == "inside" for _, fill in tried) >= 2, f"inside the tolerance: {tried}")


def left_alone(tmp, directory, cases):
    """Elements that are not compared may hold anything; those that must not be finite, no number."""
    not_compared, not_finite = 0, 0
    for case in cases:
        if not_compared > 3 and not_finite > 3:
            break
        expected, made = expectations(directory, case), results(directory, [case])
        found = 0
        for output in case["outputs"]:
            rules = expected[output["name"].removeprefix(case["id"] + "/") + ".rule"].values
            for i, rule in enumerate(rules):
                if rule == 0:
                    made[output["name"]].values[i] = 77
                    found += 1
        if found:
            done = judge_one(tmp, directory, case, made)
            check(done[0] == 0, f"{case['key']}: not compared, yet {done[1]}")
            not_compared += 1
        for output in case["outputs"]:
            name = output["name"].removeprefix(case["id"] + "/")
            if 2 in expected[name + ".rule"].values:
                i = expected[name + ".rule"].values.index(2)
                made[output["name"]].values[i] = 0.5
                done = judge_one(tmp, directory, case, made)
                failed_at(done, case, name, i)
                check("finite where an input is not" in done[1], done[1])
                not_finite += 1
    check(not_compared > 3 and not_finite > 3, f"{not_compared}, {not_finite} cases")


def ties(tmp, directory, cases):
    """Near ties in either order pass, others do not."""
    permitted, refused = 0, 0
    for case in cases:
        if not case["choice"] or case["fill"] != "edge" or permitted > 2 and refused > 2:
            continue
        logits = load(directory / case["inputs"]["file"])["logits"].values
        experts, top_k = case["shape"]["experts"], case["shape"]["top_k"]
        ids, weights = (case["id"] + "/" + name for name in ("ids", "weights"))
        right = results(directory, [case])
        for slot in range(len(right[ids].values) - 1):
            made = {name: tensor.copy() for name, tensor in right.items()}
            at, row = made[ids].values, slot // top_k * experts
            if slot % top_k == top_k - 1 or at[slot] < 0 or at[slot + 1] < 0:
                continue
            a, b = logits[row + at[slot]], logits[row + at[slot + 1]]
            near = a != b and abs(a - b) < 2 ** -24
            far = a - b > 1e-3
            if not (near and permitted < 3 or far and refused < 3):
                continue
            for values in at, made[weights].values:
                values[slot], values[slot + 1] = values[slot + 1], values[slot]
            done = judge_one(tmp, directory, case, made)
            check(done[0] == (0 if near else 1), f"{case['key']}: slot {slot}: {done[1]}")
            permitted, refused = permitted + near, refused + far
    check(permitted > 0 and refused > 0, f"{permitted}, {refused} swaps")


def sampled(tmp):
    directory, got = tmp / "large", tmp / "large.safetensors"
    key = "q4_K_gemm_moe_id experts=2 m=64 k=2048 top_k=2 tokens=2048 routing=uniform fill=model"
    passes("export", key, "--dir", directory)
    case = manifest(directory)["cases"][0]
    columns = expectations(directory, case)["dst.columns"].values
    check(case["outputs"][0]["shape"] == [4096, 64] and 16 <= len(columns) < 64 and
          columns == sorted(columns), f"columns {columns}")
    made = results(directory, [case])
    save(got, made)
    out = passes("judge", directory, "--got", got)
    check("1 case was judged on a sample of columns" in out, out)
    made[case["id"] + "/dst"].values[64 * 4095 + columns[-1]] += 1
    save(got, made)
    fails(f"worst: dst[4095, {columns[-1]}]", "judge", directory, "--got", got)


def directories(tmp):
    directory = tmp / "one"
    passes("export", GEMV, "--dir", directory)
    passes("export", GEMV, "--dir", directory)
    (directory / "notes").write_text("mine")
    passes("export", GEMV, "--dir", directory, "--seed", "2")
    check([c["key"] for c in manifest(directory)["cases"]] ==
          ["q4_K_gemv n=17 k=256 fill=edge seed=2"], "the new manifest")
    check(not [p for p in directory.iterdir() if p.name.count(".") > 2], "nothing temporary is left")
    case = manifest(directory)["cases"][0]
    got = tmp / "one.safetensors"
    save(got, results(directory, [case]))
    blocked = directory / case["expected"]["file"]
    blocked.unlink()
    blocked.mkdir()
    refuses(f"{blocked}: cannot write: Is a directory", "export", GEMV, "--dir", directory,
            "--seed", "2")
    refuses(f"{directory}/manifest.json: cases: is empty: the export did not come to its end",
            "judge", directory, "--got", got)
    check(not [p for p in directory.iterdir() if p.name.count(".") > 2], "nothing temporary is left")
    foreign = tmp / "foreign"
    foreign.mkdir()
    (foreign / "notes").write_text("mine")
    for text in None, "{}", '{"assay_report": 1}':
        if text:
            (foreign / "manifest.json").write_text(text)
        before = sorted(foreign.iterdir())
        refuses(f"{foreign}: is not empty, and not an export of assay", "export", GEMV, "--dir",
                foreign)
        check(sorted(foreign.iterdir()) == before, "a foreign directory stays as it was")
    refuses(f"{foreign}/notes: is not empty, and not an export of assay", "export", GEMV, "--dir",
            foreign / "notes")
    refuses(f"{tmp}/none/deep: cannot make it: No such file or directory", "export", GEMV, "--dir",
            tmp / "none/deep")
    refuses("export: --dir is missing", "export", GEMV)
    refuses("no case file or directory given", "export", "--dir", tmp / "new")
    refuses('key: "fill" is missing', "export", "q4_K_gemv n=1 k=256", "--dir", tmp / "new")
    refuses("nosuch n=1: cannot be read: No such file or directory", "export", "nosuch n=1",
            "--dir", tmp / "new")
    refuses("--numerics: unknown class \"f8\"", "export", GEMV, "--dir", tmp / "new", "--numerics",
            "f32,f8")
    refuses("--numerics: unknown class \"\"", "export", GEMV, "--dir", tmp / "new", "--numerics",
            "f32,")
    refuses("--depth: \"0\" is not an integer from 1 to 1048576", "export", GEMV, "--dir",
            tmp / "new", "--depth", "0")
    refuses("--dir is for export", "check", SOURCE / "cases/smoke", "--dir", tmp / "new")
    refuses("--got is for judge", "export", GEMV, "--dir", tmp / "new", "--got", "x")
    refuses("--numerics and --depth are for export and judge", "list", "--depth", "3")
    refuses("--twin is for judge with --numerics i8, i16 or i24", "judge", directory, "--got", "x", "--twin")
    refuses("judge: --numerics must name one class", "judge", directory, "--got", "x",
            "--numerics", "f32,i8")
    refuses("-k and --kernels are not for export and judge", "export", GEMV, "--dir", tmp / "new",
            "-k", "ref")
    refuses("--seed is not for judge: exported cases have theirs", "judge", directory, "--got",
            "x", "--seed", "2")
    refuses("judge: --got is missing", "judge", directory)
    refuses("judge: name one exported directory", "judge", "--got", "x")
    refuses("export: --json is for check, bench and judge", "export", GEMV, "--dir", tmp / "new",
            "--json", tmp / "x.json")
    router = "moe_router_topk_softmax experts=4 top_k=2 tokens=3 fill=model seed=1"
    refuses(f"moe_router_topk_softmax has no class i8: {router}", "export", router, "--dir",
            tmp / "new", "--numerics", "i8")
    refuses("--gguf is for list, check and bench", "export", "--gguf", "x", "--layer", "0", "--dir",
            tmp / "new")
    status, _, err = run("export", SOURCE / "cases/smoke", "--dir", tmp / "new", "--memory", "1K")
    check(status == 2 and "over the memory budget" in err, err)
    check(not (tmp / "new").exists(), "refusals make no directory")


def depths(tmp):
    """The tolerance follows the depth, in export and judge alike."""
    found = []
    for depth in "10", "1000":
        directory = tmp / f"depth{depth}"
        passes("export", GEMV, "--dir", directory, "--depth", depth)
        case = manifest(directory)["cases"][0]
        check(case["depth"] == int(depth), "the manifest has the depth")
        found.append(expectations(directory, case))
    value, tolerance = found[0]["y"].values, found[0]["y.tolerance.f32"].values
    at = max((i for i, v in enumerate(value) if v and found[0]["y.rule"].values[i] == 1),
             key=lambda i: tolerance[i] / abs(value[i]))
    check(90 < found[1]["y.tolerance.f32"].values[at] / tolerance[at] < 110, "the depth counts")
    made = results(directory, [case])
    made[case["id"] + "/y"].values[at] = off_by(found[1], at, 0.9, "f32")[1]
    got = tmp / "depth.safetensors"
    save(got, made)
    passes("judge", directory, "--got", got, "--depth", "1000")
    fails("out of tolerance", "judge", directory, "--got", got, "--depth", "10")


def manifests(tmp):
    directory, got = tmp / "manifests", tmp / "manifests.safetensors"
    passes("export", GEMV, "--dir", directory)
    path = directory / "manifest.json"
    good = path.read_text()
    case = manifest(directory)["cases"][0]
    save(got, results(directory, [case]))
    judge = ("judge", directory, "--got", got)
    passes(*judge)

    def edited(message, edit):
        value = json.loads(good)
        edit(value)
        path.write_text(json.dumps(value))
        refuses(f"{path}: {message}", *judge)
        path.write_text(good)

    version = "assay_vectors: must be 1: only directories of assay export are judged"
    edited(version, lambda m: m.update(assay_vectors=2))
    edited(version, lambda m: m.pop("assay_vectors"))
    edited("cases: must be an array", lambda m: m.pop("cases"))
    edited("cases: is empty: the export did not come to its end", lambda m: m.update(cases=[]))
    edited("cases[0].key: must be a string", lambda m: m["cases"][0].update(key=3))
    edited("cases[0]: key: unknown op \"nosuch\"", lambda m: m["cases"][0].update(key="nosuch n=1"))
    own = re.search(r"assay (\S+)", run("--version")[1]).group(1)
    made_by = f"{GEMV}: x is not what assay {own} makes of the key; exported by {own}"
    edited(made_by, lambda m: m["cases"][0]["inputs"]["tensors"][1].update(hash="0" * 16))
    edited(made_by.replace(": x", ": w", 1), lambda m: m["cases"][0].pop("inputs"))
    edited(made_by[:-len(own)] + "an unknown version",
           lambda m: (m.pop("commit"), m["cases"][0]["inputs"]["tensors"][1].update(hash=1)))
    # A key of other inputs of the same shape: what an assay that makes other inputs would find.
    value = json.loads(good)
    value["cases"][0]["key"] = GEMV.replace("seed=1", "seed=2")
    path.write_text(json.dumps(value))
    status, _, err = run(*judge)
    check(status == 2 and "is no output of a case" in err, err)
    for text, message in ("", "is empty"), ("{", "'}' expected near end of file"), ("[]", version):
        path.write_text(text)
        status, _, err = run(*judge)
        check(status == 2 and err.startswith(f"assay: {path}:") and message in err and
              err.count("\n") == 1, err)
    path.unlink()
    refuses(f"{path}: cannot be read: No such file or directory", *judge)
    path.write_text(good)

    inputs = directory / case["inputs"]["file"]
    stored = inputs.read_bytes()
    inputs.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
    refuses(f"{inputs}: w is not as it was exported", *judge)
    inputs.write_bytes(stored[:-1])
    status, _, err = run(*judge)
    check(status == 2 and err.startswith(f"assay: {inputs}:") and err.count("\n") == 1, err)
    tensors = load(directory / case["expected"]["file"])
    save(inputs, {"x": Tensor("F32", [1], [0]), "w": Tensor("U8", [1], [0])})
    refuses(f"{inputs}: has no w of the exported type and size", *judge)
    inputs.unlink()
    refuses(f"{inputs}: cannot be read: No such file or directory", *judge)
    check("y" in tensors, "expectations")


def given(tmp):
    """Files of results that are not as they should be."""
    directory, got = tmp / "given", tmp / "given.safetensors"
    keys = [GEMV, "moe_ids_tpe experts=4 top_k=2 tokens=5 routing=uniform fill=exact seed=1"]
    passes("export", *keys, "--dir", directory)
    cases = manifest(directory)["cases"]
    right = results(directory, cases)
    y, tpe = (cases[i]["outputs"][0]["name"] for i in range(2))
    judge = ("judge", directory, "--got", got)

    def changed(edit):
        made = {name: tensor.copy() for name, tensor in right.items()}
        edit(made)
        save(got, made)

    changed(lambda made: None)
    passes(*judge)
    refuses(f"{tmp}/nosuch: cannot be read: No such file or directory", "judge", directory, "--got",
            tmp / "nosuch")
    refuses(f"{directory}: is not a regular file", "judge", directory, "--got", directory)
    for gone, case in (y, cases[0]), (tpe, cases[1]):
        changed(lambda made, gone=gone: made.pop(gone))
        fails(f"{got} has no tensor {gone.split('/')[1]} of this case", *judge)
        fails("1 passed", *judge)
        passes(*judge, "-c", cases[case is cases[0]]["key"])
    changed(lambda made: made.update(more=made[y]))
    refuses(f"{got}: \"more\" is no output of a case of {directory}", *judge)
    changed(lambda made: made.update(y=made.pop(y)))
    refuses(f"{got}: \"y\" is no output of a case of {directory}", *judge)
    changed(lambda made: made.update({y: Tensor("I32", [17], [0] * 17)}))
    refuses(f"{got}: \"{y}\" is I32 and must be F32", *judge)
    for shape in [17, 1], [18], [16], [], [0]:
        changed(lambda made, shape=shape: made.update(
            {y: Tensor("F32", shape, [0] * math.prod(shape))}))
        refuses(f"{got}: \"{y}\" is not of shape [1, 17]", *judge)
    for shape in [17], [1, 1, 17]:
        changed(lambda made, shape=shape: made.update({y: Tensor("F32", shape, made[y].values)}))
        passes(*judge)
    refuses("no case is selected", *judge, "-c", "nosuch")
    single = tmp / "single"
    passes("export", GEMV, "--dir", single)
    save(got, {"y": right[y]})
    passes("judge", single, "--got", got)
    save(got, {y: right[y]})
    passes("judge", single, "--got", got)
    save(got, {y: right[y], "y": right[y]})
    refuses(f"{got}: \"{y}\" is no output of a case of {single}", "judge", single, "--got", got)
    router = tmp / "router"
    key = "moe_router_topk_softmax experts=4 top_k=2 tokens=3 fill=model seed=1"
    passes("export", key, "--dir", router)
    save(got, results(router, manifest(router)["cases"]))
    refuses(f"moe_router_topk_softmax has no class i8: {key}", "judge", router, "--got", got,
            "--numerics", "i8")
    refuses(f"moe_router_topk_softmax has no class f16: {key}", "judge", router, "--got", got,
            "--numerics", "f16")
    whole = tmp / "whole"
    key = ("moe_ffn experts=3 hidden=256 ffn=256 top_k=2 tokens=2 routing=uniform fill=edge "
           "seed=1")
    passes("export", key, "--dir", whole, "--numerics", "f32,i8")
    save(got, results(whole, manifest(whole)["cases"]))
    check(manifest(whole)["cases"][0]["depth"] == 3 + 256 + 256 + 2 + 32, "the depth of a chain")
    passes("judge", whole, "--got", got, "--numerics", "i8")
    refuses(f"moe_ffn has no scalar twin: {key}", "judge", whole, "--got", got, "--numerics", "i8",
            "--twin")
    hostile(tmp, single, got, right[y])


def stored(tmp):
    """Cases with weights of a file are neither exported nor judged."""
    model, got = tmp / "model.gguf", tmp / "stored.safetensors"
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0)
    head += struct.pack("<Q", 1) + b"w" + struct.pack("<IQQIQ", 2, 256, 17, 12, 0)
    model.write_bytes(head + bytes(-len(head) % 32) + bytes(17 * 144))
    key = f"q4_K_gemv n=17 k=256 fill=edge weights={model}:w seed=1"
    refuses(f"weights of a file are not for export and judge: {key}", "export", key, "--dir",
            tmp / "stored")
    check(not (tmp / "stored").exists(), "refusals make no directory")
    passes("export", GEMV, "--dir", tmp / "stored")
    path = tmp / "stored/manifest.json"
    value = json.loads(path.read_text())
    save(got, results(tmp / "stored", value["cases"]))
    value["cases"][0]["key"] = key
    path.write_text(json.dumps(value))
    refuses(f"{path}: cases[0]: weights of a file are not for export and judge: {key}", "judge",
            tmp / "stored", "--got", got)


def hostile(tmp, directory, got, y):
    judge = ("judge", directory, "--got", got)

    def entry(dtype='"F32"', shape="[17]", offsets="[0,68]", more=""):
        return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}{more}}}'

    data = b"\0" * 68
    empty = entry(shape="[0]", offsets="[0,0]")
    for header, length, message in [
            ("{}", 71, "is shorter than its header of 71 bytes"),
            ("{}", 2 ** 63, f"its header's length, {2 ** 63}, is above 100000000"),
            ("{}", 2 ** 64 - 1, f"its header's length, {2 ** 64 - 1}, is above 100000000"),
            ("{}", 0, "its header does not begin with {"),
            (" {}", None, "its header does not begin with {"),
            ("[]", None, "its header does not begin with {"),
            ("{}", None, "its tensors cover 0 of 68 bytes of data"),
            ('{"y":3}', None, '"y": must be an object, not a number'),
            ('{"y":{}}', None, '"y".dtype: "" is no type that this reads'),
            (f'{{"y":{entry(dtype="3")}}}', None, '"y".dtype: "" is no type that this reads'),
            (f'''{{"y":{entry(dtype='"F4"')}}}''', None,
             '"y".dtype: "F4" is no type that this reads'),
            (f'{{"y":{entry(shape="3")}}}', None, '"y".shape: must be an array, not a number'),
            (f'{{"y":{entry(shape="[-1]")}}}', None,
             '"y".shape[0]: must be 0 to 9223372036854775807, not -1'),
            (f'{{"y":{entry(shape="[17.0]")}}}', None,
             '"y".shape[0]: must be an integer, not a real number'),
            (f'{{"y":{entry(shape="[1,1,1,1,1,1,1,1,17]")}}}', None,
             '"y".shape: has 9 dimensions, more than 8'),
            (f'{{"y":{entry(shape="[4611686018427387904,4]")}}}', None,
             '"y".data_offsets: hold 68 bytes, which dtype and shape do not make'),
            (f'{{"y":{entry(shape="[16]")}}}', None,
             '"y".data_offsets: hold 68 bytes, which dtype and shape do not make'),
            (f'{{"y":{entry(offsets="[0,69]")}}}', None,
             '"y".data_offsets[1]: must be 0 to 68, not 69'),
            (f'{{"y":{entry(offsets="[-1,68]")}}}', None,
             '"y".data_offsets[0]: must be 0 to 68, not -1'),
            (f'{{"y":{entry(offsets="[68,0]")}}}', None,
             '"y".data_offsets[1]: must be 68 to 68, not 0'),
            (f'{{"y":{entry(offsets="[0]")}}}', None, '"y".data_offsets: must be an array of two'),
            (f'''{{"y":{entry(more=',"z":1')}}}''', None,
             '"y": unknown key "z", known: dtype, shape, data_offsets'),
            (f'{{"y":{entry(shape="[16]", offsets="[0,64]")}}}', None,
             "its tensors cover 64 of 68 bytes of data"),
            (f'{{"y":{entry(shape="[16]", offsets="[4,68]")}}}', None,
             '"y" begins at byte 4 of the data, after a hole at 0'),
            (f'{{"y":{entry()},"z":{entry()}}}', None,
             'begins at byte 0 of the data, inside another that ends at 68'),
            (f'{{"y":{entry()},"z":{empty.replace("[0,0]", "[4,4]")}}}', None,
             '"z" begins at byte 4 of the data, inside another that ends at 68'),
            (f'{{"__metadata__":3,"y":{entry()}}}', None,
             "__metadata__: must be an object, not a number"),
            (f'{{"__metadata__":{{"a":3}},"y":{entry()}}}', None,
             '__metadata__: "a" is not a string'),
            (f'{{"z":{empty},"y":{entry()}}}', None,
             f'"z" is no output of a case of {directory}'),
            (f'{{"a\\nb":{empty},"y":{entry()}}}', None,
             f'"a?b" is no output of a case of {directory}'),
            (f'{{"y":{entry()}}}x', None, "end of file expected near 'x'"),
            (f'{{"y":{entry()},"y":{entry()}}}', None, "duplicate object key near '\"y\"'"),
            (f'{{"y":{entry()}'.encode() + b"\xff}", None, "unable to decode byte 0xff"),
            ('{"y":' + "[" * 5000, None, "maximum parsing depth reached near '['"),
    ]:
        raw(got, header, data, length)
        status, out, err = run(*judge)
        check(status == 2 and err.startswith(f"assay: {got}:") and err.count("\n") == 1 and
              message in err and not out, f"{header[:80]}: exit {status}, no \"{message}\": {err}")
    for header in f'{{"y":{entry()}}}   ', f'{{"__metadata__":{{"a":"b"}},"y":{entry()}}}':
        raw(got, header, data)
        check(run(*judge)[0] == 1, f"{header} can be read")
    for size in 0, 5:
        got.write_bytes(b"\1" * size)
        refuses(f"{got}: ends too early", *judge)
    raw(got, f'{{"y":{entry()}}}', data[:-1])
    refuses(f'{got}: "y".data_offsets[1]: must be 0 to 67, not 68', *judge)
    mutated(got, judge, y)


def mutated(got, judge, y):
    """Damaged files are judged or refused with one line."""
    save(got, {"y": y})
    whole, numbers, seen = got.read_bytes(), random.Random(1), set()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(numbers.randint(1, 3)):
            data[numbers.randrange(len(data))] = numbers.choice(b'\0\xff{}[]",:0919e-. \n')
        if numbers.random() < 0.2:
            del data[numbers.randrange(len(data)):]
        got.write_bytes(data)
        status, _, err = run(*judge)
        seen.add(status)
        check(status in (0, 1, 2) and (err.count("\n") == 1) == (status == 2),
              f"{bytes(data)}: exit {status}: {err}")
    check({1, 2} <= seen, f"exit statuses {seen}")


def example(tmp, command, directory, output):
    """The example computes, asserts and writes; then assay judges. With a line broken, neither."""
    status = subprocess.run([*command, directory, output], check=False,
                            stdout=subprocess.DEVNULL).returncode
    return status, run("judge", directory, "--got", output)[0]


def examples(tmp):
    directory, output = tmp / "example", tmp / "example.safetensors"
    passes("export", SOURCE / "cases/smoke/q4_K_gemv.json", "--dir", directory)
    source = SOURCE / "tests/example/vectors.py"
    check(example(tmp, [sys.executable, source], directory, output) == (0, 0), "vectors.py")
    broken = tmp / "broken.py"
    broken.write_text(source.read_text().replace("- dmin * m", "+ dmin * m"))
    check(example(tmp, [sys.executable, broken], directory, output) == (1, 1), "broken vectors.py")
    rustc = shutil.which("rustc")
    if not rustc:
        print("SKIPPED: the Rust example: there is no rustc")
        return
    source = SOURCE / "tests/example/vectors.rs"
    broken = tmp / "broken.rs"
    broken.write_text(source.read_text().replace("- dmin *", "+ dmin *"))
    for text, result in (source, (0, 0)), (broken, (1, 1)):
        done = subprocess.run([rustc, "--edition", "2021", "-O", "-o", tmp / "vectors", text],
                              capture_output=True, text=True, check=False)
        check(done.returncode == 0 and not done.stderr, f"rustc {text}: {done.stderr}")
        check(example(tmp, [tmp / "vectors"], directory, output) == result, str(text))


def main():
    with tempfile.TemporaryDirectory() as name:
        tests = round_trip, sampled, directories, depths, manifests, given, stored, examples
        for test in tests:
            if test.__name__ in sys.argv[3:] or len(sys.argv) == 3:
                test(pathlib.Path(name))
    print(f"{checks} checks, {len(failures)} failures")
    return len(failures) > 0


if __name__ == "__main__":
    sys.exit(main())
