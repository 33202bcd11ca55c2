#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Made-up reports of version 2: of a machine with two threads on which kernels are as fast as a
roofline and a few cliffs let them be. For tests of what reads reports, and of how much they can read.

    make_reports.py DIRECTORY [--reports N] [--results N] [--seed N] [--hostile] [--bare]

--results N   so many of them in each report, or a few more
--hostile     names and reasons that would harm a page that took them for markup
--bare        what a check without timings leaves: no ceilings, no noise, no timings
"""
import argparse
import datetime
import hashlib
import json
import math
import pathlib
import random
import statistics

PEAKS = {"ref": (2.1, None), "avx2": (112.0, 240.0), "avx512vnni": (205.0, 810.0)}
LEVELS = [(16384, 210.0), (131072, 118.0), (524288, 96.0), (4194304, 52.0), (16777216, 41.0),
          (134217728, 18.5)]
KERNELS = [  # name, library, tier, numerics, digits of int8, share of the peak
    ("ref", "assay", "ref", "f32", 0, 0.95),
    ("avx2-f32", "assay", "avx2", "f32", 0, 0.62),
    ("avx2-f16", "assay", "avx2", "f16", 0, 0.55),
    ("avx2-i8", "assay", "avx2", "i8", 1, 0.57),
    ("avx512vnni-f32", "assay", "avx512vnni", "f32", 0, 0.58),
    ("avx512vnni-i8", "assay", "avx512vnni", "i8", 1, 0.51),
    ("avx512vnni-i8-packed", "assay", "avx512vnni", "i8", 1, 0.74),
    ("avx512vnni-i16", "assay", "avx512vnni", "i16", 2, 0.61),
    ("ggml:vec_dot", "ggml", "avx512vnni", "i8", 1, 0.44),
]
HOSTILE = "</script><script>document.title='harmed'</script><img src=x onerror=alert(1)>"
TOKENS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
MODELS = [("Qwen3-30B-A3B", 128, 768, 2048), ("Mixtral-8x7B", 8, 14336, 4096),
          ("DeepSeek-V3", 256, 2048, 7168)]


def shapes_of(op, experts, m, k, tokens):
    """The op's dimensions, and its flop, bytes of weights and bytes of activations."""
    touched = min(experts, 8 * tokens)
    if op == "q4_K_gemv":
        return {"n": m, "k": k}, 2 * m * k, m * k * 0.5625, 4 * (m + k)
    if op == "q4_K_gemm":
        return ({"m": m, "k": k, "tokens": tokens}, 2 * m * k * tokens, m * k * 0.5625,
                4 * tokens * (m + k))
    if op == "q4_K_gemm_moe_id":
        return ({"experts": experts, "m": m, "k": k, "top_k": 8, "tokens": tokens},
                2 * m * k * 8 * tokens, touched * m * k * 0.5625, 4 * tokens * (8 * m + k))
    if op == "moe_router_topk_softmax":
        return {"experts": experts, "top_k": 8, "norm": 1, "tokens": tokens}, 0, 0, \
            4 * tokens * (experts + 16)
    return {"digits": 1, "k": k, "rows": tokens}, 3 * k * tokens, 0, 5 * k * tokens


def cases_of(count, rng):
    """Distinct cases, at most `count`: the same ones in every report."""
    cases, seed = [], 1
    while True:
        for model, experts, m, k in MODELS:
            for op in ("q4_K_gemv", "q4_K_gemm", "q4_K_gemm_moe_id", "moe_router_topk_softmax",
                       "activation_quantize"):
                for tokens in TOKENS[:1] if op == "q4_K_gemv" else TOKENS:
                    shape, flop, weights, activations = shapes_of(op, experts, m, k, tokens)
                    routing = " routing=uniform" if op.endswith("moe_id") else ""
                    words = " ".join(f"{key}={value}" for key, value in shape.items())
                    key = f"{op} {words}{routing} fill=model seed={seed}"
                    if any(case["key"] == key for case in cases[-60:]):
                        continue
                    cases.append({
                        "key": key, "name": f"{model}.{op}", "where": f"cases/{model}.json: cases[0]",
                        "op": op, "shape": shape, "source": f"{model} config.json", "seed": seed,
                        "margins": None,
                        "coverage": {"columns": m, "judged_columns": m, "which": "all"},
                        "work": (flop, weights, activations, rng.random())})
                    if len(cases) == count:
                        return cases
        seed += 1


def runs(case, kernel):
    """Whether the made-up kernel computes the op."""
    op, (name, _, _, numerics, _, _) = case["op"], kernel
    if op in ("moe_router_topk_softmax", "activation_quantize"):
        return numerics == "f32"
    return name != "avx2-f16" or op != "q4_K_gemv"


def label(case, kernel):
    return f"{case['op']}/{kernel[0]}"


def verdict_of(rng, case, kernel, hostile):
    if kernel[2] == "ref":
        return "PASS", None
    if kernel[0] == "avx2-i8" and case["shape"].get("k") == 7168 and rng.random() < 0.2:
        return "FAIL", HOSTILE if hostile else \
            "3 of 6144 judged elements of y are out of tolerance"
    if kernel[0] == "ggml:vec_dot" and case["op"] == "q4_K_gemm_moe_id" and \
            case["shape"]["tokens"] == 512:
        return "CRASHED", "reads 0x7f3a0010, 16 bytes past the end of w"
    if kernel[0] == "avx512vnni-i16" and case["op"] == "q4_K_gemv":
        return "SKIPPED", "k must be a multiple of 512"
    return "PASS", None


def histogram(rng, count, spread):
    bins = [0] * 11
    for _ in range(200):
        value = abs(rng.gauss(0, spread))
        bins[10 if value > 1 else min(9, int(value * 10))] += max(1, count // 200)
    return bins


def result_of(rng, case, kernel, hostile):
    name, library, tier, numerics, digits, _ = kernel
    verdict, reason = verdict_of(rng, case, kernel, hostile)
    crashed = verdict in ("CRASHED", "SKIPPED")
    spread = {0: 0.06, 1: 0.22, 2: 0.12}[digits]
    worst = None if verdict == "PASS" or crashed else {
        "tensor": "y", "row": 3, "column": 17, "got": 1.25, "expected": 1.0, "tolerance": 0.01}
    utilisation = 3.7 if verdict == "FAIL" else min(0.97, spread * (2.5 + rng.random()))
    nmse = {0: 2e-14, 1: 3.1e-5, 2: 4e-9}[digits] * math.exp(rng.gauss(0, 0.3))
    bins = histogram(rng, 6144, spread)
    bins[10] = 3 if verdict == "FAIL" else 0
    return {
        "case": case["key"], "kernel": label(case, kernel), "library": library, "tier": tier,
        "numerics": numerics, "verdict": verdict, "reason": reason,
        "explanation": "in columns 16..31, with 3 threads" if verdict == "FAIL" else None,
        "layers": ["bound"] if verdict == "FAIL" else ["crash"] if verdict == "CRASHED" else [],
        "smallest_failing": None,
        "output_hash": hashlib.sha256(f"{case['key']}{name}".encode()).hexdigest()[:16],
        "judgement": {
            "judged": 0 if crashed else 6144, "excused": 0, "bad": 3 if verdict == "FAIL" else 0,
            "utilisation_max": None if crashed else utilisation,
            "utilisation_p99": None if crashed else utilisation * 0.8,
            "utilisation_median": None if crashed else utilisation * 0.24,
            "utilisation_histogram": None if crashed else bins,
            "nmse": None if crashed else nmse, "max_ulp": None if crashed else 40.0,
            "z_mean_square": 1.02 if digits else None, "z_mean": 0.001 if digits else None,
            "tie_swaps": 0, "worst": worst}}


def best(points, size):
    """GB/s of a working set."""
    return next((rate for bytes_, rate in points if size <= bytes_), points[-1][1])


def time_of(case, kernel, mode, threads, speed):
    """A call's ns and the bound that binds it."""
    flop, weights, activations, taste = case["work"]
    _, _, tier, _, digits, share = kernel
    f32, int8 = PEAKS[tier]
    rate = (int8 if digits and int8 else f32) * threads / max(1, digits)
    cached = sum((weights, activations))
    memory = LEVELS[-1][1] if mode == "cold" else best(LEVELS, cached / threads)
    arithmetic, traffic = flop / rate, cached / memory / (1.3 if cached > 1e7 else threads)
    tokens = case["shape"].get("tokens", 1)
    cliff = 1.6 if tokens % 64 == 0 and digits and tokens > 64 else 1.0
    small = 1 + 2.5 / tokens if "gemm" in case["op"] else 1
    ns = max(arithmetic / share * small * cliff, traffic * 1.12) * (0.97 + 0.06 * taste) + 400
    kind = "read" if traffic >= arithmetic else "int8" if digits and int8 else "f32"
    names = {"read": f"read at {int(cached) >> 10} KiB", "int8": f"int8 dot, {tier}",
             "f32": f"f32 FMA, {tier}"}
    return max(ns / speed, 1.01 * max(arithmetic, traffic)), {"name": names[kind], "kind": kind, "ns": max(arithmetic, traffic)}


def timing_of(rng, case, kernel, mode, threads, speed, again=False):
    true, ceiling = time_of(case, kernel, mode, threads, speed)
    count = 2 if kernel[2] == "ref" else 6
    blocks = []
    for _ in range(5):
        level = true * math.exp(rng.gauss(0, 0.004))
        ns = [round(level * math.exp(abs(rng.gauss(0, 0.006))), 1) for _ in range(count)]
        blocks.append({"pass": 0, "chain_ghz": round(3.5 + rng.gauss(0, 0.01), 4), "ns": ns,
                       "disturbed": [0] if rng.random() < 0.05 else []})
    samples = sorted(x for block in blocks for i, x in enumerate(block["ns"])
                     if i not in block["disturbed"])
    discarded = sum(len(block["disturbed"]) for block in blocks)
    middle = statistics.median(samples)
    share = [statistics.quantiles(samples, n=20, method="inclusive")[i] for i in (0, 4, 14, 18)]
    flop, weights, activations, _ = case["work"]
    return {
        "case": case["key"], "kernel": label(case, kernel), "mode": mode, "threads": threads,
        "aa": again, "calls_per_sample": 12, "blocks": blocks, "samples": len(samples),
        "discarded": discarded, "noisy": rng.random() < 0.01, "median_ns": middle,
        "interval_ns": [middle * 0.992, middle * 1.011], "interval_coverage": 0.95,
        "mad_ns": middle * 0.004,
        "quantiles_ns": share,
        "minimum_ns": samples[0], "prepare_ns": 52000.0 if kernel[0].endswith("packed") else None,
        "flop": flop, "products": flop / 2 if weights else 0, "read_bytes": weights + activations,
        "written_bytes": activations / 4, "gflops": flop / middle,
        "gb_per_s": (weights + activations * 1.25) / middle,
        "ceiling": None if kernel[2] == "ref" else
        ceiling | {"fraction": ceiling["ns"] / middle}}


def ceilings():
    def scaled(factor, threads):
        return [{"bytes": size, "gb_per_s": rate * factor * (threads if size < 1e7 else 1.3)
                 if threads > 1 else rate * factor} for size, rate in LEVELS]
    return {
        "call_ns": 1.9,
        "threads": [{"threads": n, "read": scaled(1, n), "store": scaled(0.55, n),
                     "copy": scaled(0.8, n), "nt_store_gb_per_s": 14.0 + n,
                     "fork_join_ns": None if n == 1 else 900.0} for n in (1, 2)],
        "peaks": [{"tier": tier, "threads": n, "f32_gflops": f32 * n,
                   "int8_gops": int8 * n if int8 else None}
                  for tier, (f32, int8) in PEAKS.items() for n in (1, 2)]}


def report(index, cases, options):
    rng = random.Random(options.seed * 1000 + index)
    when = datetime.datetime(2026, 11, 3, 9, 14, tzinfo=datetime.timezone.utc) + \
        datetime.timedelta(hours=31 * index)
    commit = hashlib.sha256(str(index).encode()).hexdigest()[:12]
    results, timings = [], []
    for case in cases:
        for kernel in KERNELS:
            if not runs(case, kernel):
                continue
            results.append(result_of(rng, case, kernel, options.hostile))
            if options.bare or results[-1]["verdict"] != "PASS":
                continue
            faster = 1 + 0.06 * index if kernel[0] == "avx512vnni-i8-packed" else 1
            slower = 0.93 if kernel[0] == "avx2-i8" and index >= 3 else 1
            for mode in ("cold",) if kernel[2] == "ref" else ("hot", "cold"):
                timings.append(timing_of(rng, case, kernel, mode, 2, faster * slower))
        if not options.bare:
            timings.append(timing_of(rng, case, KERNELS[4], "hot", 2, 1, True))
    cpu = HOSTILE if options.hostile else "AMD EPYC 9354"
    return {
        "assay_report": 2, "command": "assay bench cases/models --tag perf --json made.json",
        "complete": True,
        "context": {
            "cpu": cpu, "machine": "Linux 6.1.0 x86_64", "cpus": 2,
            "features": "avx2 fma f16c bmi2 avx512f avx512vnni", "l1d_bytes": 32768,
            "l2_bytes": 1048576, "llc_bytes": 33554432, "memory_bytes": 6537031680,
            "governor": None, "load_1min": 0.4, "steal_share": 0.001,
            "time": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "build": {"commit": commit, "compiler": "GNU 12.2.0", "flags": "-O3 -DNDEBUG"}},
        "ceilings": None if options.bare else ceilings(),
        "noise": None if options.bare else {
            "chain_ghz_best": 3.52, "chain_ghz_median": 3.49, "samples": 30 * len(timings),
            "disturbed": len(timings), "switched": len(timings) // 2, "slowed": len(timings) // 3,
            "gated": len(timings) - len(timings) // 2 - len(timings) // 3, "steal_share": 0.001,
            "aa_spread": 0.004, "too_noisy": False},
        "elapsed_seconds": 180.0,
        "cases": [{key: value for key, value in case.items() if key != "work"} for case in cases],
        "results": results, "timings": timings}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--reports", type=int, default=1)
    parser.add_argument("--results", type=int, default=900)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    kernels = KERNELS
    if options.hostile:
        KERNELS.append(("\"><svg/onload=alert(2)>'`date`@$x\\n:k", "evil", "avx2", "f32", 0, 0.5))
    cases = cases_of(-(-options.results // (len(kernels) - 3)), random.Random(options.seed))
    options.directory.mkdir(parents=True, exist_ok=True)
    for index in range(options.reports):
        path = options.directory / f"report_{index:02}.json"
        path.write_text(json.dumps(report(index, cases, options), indent=1) + "\n")


if __name__ == "__main__":
    main()
