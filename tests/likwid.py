#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares the ceilings with those that likwid-bench finds (Debian's package likwid), in turns.

likwid.py CEILINGS-PROGRAM [TURNS] [FILE]

A turn takes half a minute, most of which likwid-bench sleeps. The best of all turns counts, with
FILE also those of earlier calls, which are kept there. likwid-bench's arrays have small pages, so
the ceilings are measured with small pages too; the last column has those with huge pages, as they
are in reports. Threads are pinned in all. Fails if one of ours is more than 5 % lower.
"""
import json
import os
import re
import subprocess
import sys

program = sys.argv[1]
turns = int(sys.argv[2]) if len(sys.argv) > 2 else 2
file = sys.argv[3] if len(sys.argv) > 3 else os.devnull
environment = dict(os.environ, OMP_PROC_BIND="true", OMP_PLACES="cores")
TEAMS = [1, 2]
SIZES = {"L1": 32 << 10, "L2": 512 << 10, "L3": 8 << 20, "memory": 64 << 20}
TESTS = {"read": "load_avx", "store": "store_avx", "copy": "copy_avx", "nt_store": "store_mem_avx"}
SAMPLE_BYTES = 4e8  # of each thread: some ms


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return done.stdout


def ours(*pages):
    for team in json.loads(run(program, "0.8", str(max(TEAMS)), *pages))["threads"]:
        for level, size in SIZES.items():
            for stream in "read", "store", "copy":
                point = min(team[stream], key=lambda p: abs(p["bytes"] - size))
                yield f"{stream} {level} {team['threads']}", point["gb_per_s"]
        yield f"nt_store memory {team['threads']}", team["nt_store_gb_per_s"]


def theirs():
    for stream, test in TESTS.items():
        for level, size in SIZES.items():
            for threads in TEAMS:
                if stream == "nt_store" and level != "memory":
                    continue
                out = run("likwid-bench", "-t", test, "-w",
                          f"N:{size * threads // 1000}kB:{threads}",
                          "-i", str(max(10, int(SAMPLE_BYTES / size))))
                rate = float(re.search(r"MByte/s:\s+([\d.]+)", out)[1]) / 1000
                yield f"{stream} {level} {threads}", rate


best = [{}, {}, {}]
if os.path.isfile(file):
    with open(file) as kept:
        best = json.load(kept)
for _ in range(turns):
    for found, source in zip(best, (ours("small"), theirs(), ours("huge"))):
        for key, rate in source:
            found[key] = max(rate, found.get(key, 0))
with open(file, "w") as kept:
    json.dump(best, kept)
low = 0
print(f"{'GB/s, threads':22}{'assay':>8}{'likwid':>8}{'ratio':>8}{'huge':>8}")
for key, rate in best[1].items():
    ratio = best[0][key] / rate
    low += ratio < 0.95
    print(f"{key:22}{best[0][key]:8.1f}{rate:8.1f}{ratio:8.3f}{best[2][key]:8.1f}")
sys.exit(low > 0)
