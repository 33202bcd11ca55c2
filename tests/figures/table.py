#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the goals say of reports of `assay bench` and `assay check`: a table in Markdown.

    table.py GOALS.json OUT.md REPORT.json...

A kernel that failed any check of any of the reports counts as not measured. Exit status: 0 the table
is written, whatever it says; 2 bad input.
"""
import os
import sys

sys.dont_write_bytecode = True  # beside the sources

from measuring import Measured, figures_of, verdict, wants_more  # noqa: E402
from reading import Bad, read_goals, read_reports  # noqa: E402


# ---- words ----

def number(value):
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def span(goal, figure):
    unit = " ns" if "ns_each" in goal else " x" if "faster_than" in goal or goal.get("scaling") \
        else ""
    low, high = figure.interval
    return f"{number(figure.value)}{unit} [{number(low)}, {number(high)}]"


def aim(goal):
    what = {"int8": "of the int8 peak", "f32": "of the FMA peak", "read": "of the read ceiling",
            "plain_read": "of plain reads in the same rounds",
            "store": "of the store ceiling", "nt_store": "of NT fill",
            "any": "of the ceiling that binds"}.get(goal.get("share_of"))
    if "faster_than" in goal:
        what = f"x `{goal['faster_than']}`"
    elif "ns_each" in goal:
        what = "ns"
    elif not what:
        what = "x one thread" if goal.get("scaling") else "of the step before"
    text = what
    if "at_least" in goal:
        text = f"≥ {goal['at_least']:g} {what}"
    elif "at_most" in goal:
        text = f"≤ {goal['at_most']:g} {what}"
    if goal.get("within_noise"):
        text += ", within the noise"
    return text + (f"; stretch {goal['stretch']:g}" if "stretch" in goal else "")


def short(key):
    """A case without what all cases of a model have in common."""
    drop = ("experts=128", "top_k=8", "routing=uniform", "fill=model", "seed=1", "seed=2")
    return " ".join(word for word in key.split() if word not in drop)


def time_of(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def summary_line(goal, figures):
    there = [figure for figure in figures if not figure.missing]
    why = sorted({figure.missing for figure in figures if figure.missing})
    if not there:
        reason = "; ".join(why) or "there is no such case"
        return f"| {goal['work']} | {aim(goal)} | - | - | **not measured**: {reason} |"
    order = sorted(there, key=lambda figure: figure.value, reverse=not wants_more(goal))
    worst, best = order[0], order[-1]
    has_goal = "at_least" in goal or "at_most" in goal
    reached = sum(verdict(goal, figure).startswith("reached") for figure in there)
    if not has_goal:
        words = "shown"
    elif reached == len(figures):
        words = "**reached**"
    elif reached == len(there):
        words = f"**reached** where measured, {reached} of {len(figures)}"
    else:
        words = f"**not reached**: {reached} of {len(figures)} are"
    if has_goal and any(", close" in verdict(goal, figure) for figure in there):
        words += ", some close"
    if any(figure.noisy for figure in there):
        words += ", some noisy"
    if why:
        words += f"; {len(figures) - len(there)} not measured: {'; '.join(why)}"
    where = f"{short(worst.key)}" if len(there) > 1 else "-"
    values = span(goal, worst) if len(there) == 1 else \
        f"{span(goal, worst)} to {number(best.value)}"
    return f"| {goal['work']} | {aim(goal)} | {values} | {where} | {words} |"


def note_line(goal, figures):
    """What is known where a goal is not reached; None where it is, or nothing is known."""
    missed = any(verdict(goal, figure).startswith("not reached") for figure in figures)
    return f"- {goal['work']}, {aim(goal)}: {goal['note']}" if missed and "note" in goal else None


def detail_line(goal, figure):
    if figure.missing:
        return f"| {short(figure.key)} | {figure.mode} | {figure.name or '-'} | - | - | - " \
            f"| {verdict(goal, figure)} |"
    timing = figure.timing
    ceiling = timing["ceiling"]
    of = f"{ceiling['fraction']:.3f} {ceiling['name']}" if ceiling else "-"
    low, high = timing["interval_ns"]
    call = f"{time_of(timing['median_ns'])} [{time_of(low)}, {time_of(high)}]"
    value = span(goal, figure) + (f", {figure.other}" if figure.other else "")
    return f"| {short(figure.key)} | {figure.mode} | {figure.name} | {call} | {of} | {value} " \
        f"| {verdict(goal, figure)} |"


def percent(value):
    return "unknown" if value is None else f"{100 * value:.2g} %"


def context_lines(reports):
    timed = [report for report in reports if report["timings"]]
    context = timed[0]["context"]
    build = context["build"]
    yield f"{context['cpu']}, {context['cpus']} CPUs, {context['machine']}; caches " \
        f"{context['l1d_bytes']}, {context['l2_bytes']}, {context['llc_bytes']} bytes. Commit " \
        f"{build['commit']}, {build['compiler']}."
    yield ""
    yield "| report | when | minutes | checks | load at start | steal | samples disturbed | A/A |"
    yield "|---|---|---|---|---|---|---|---|"
    for report in reports:
        noise, about = report["noise"], report["context"]
        bad = sum(r["verdict"] not in ("PASS", "SKIPPED") for r in report["results"])
        skipped = sum(r["verdict"] == "SKIPPED" for r in report["results"])
        checks = f"{len(report['results']) - skipped - bad} passed, {bad} failed, {skipped} skipped"
        words = ["-", "-"]
        if noise:
            words = [percent(noise["disturbed"] / max(1, noise["samples"])),
                     percent(noise["aa_spread"]) + (", too noisy" if noise["too_noisy"] else "")]
        yield f"| {os.path.basename(report['path'])}{'' if report['complete'] else ' (partial)'} " \
            f"| {about['time']} | {report['elapsed_seconds'] / 60:.1f} | {checks} " \
            f"| {about['load_1min']:.2f} | {percent(about['steal_share'])} " \
            f"| {words[0]} | {words[1]} |"
    yield ""
    for report in timed:
        yield f"Ceilings of {os.path.basename(report['path'])}: " + "; ".join(ceilings(report)) + "."


def ceilings(report):
    for peak in report["ceilings"]["peaks"]:
        if peak["tier"] in ("avx2", "avx512vnni"):
            yield f"{peak['tier']}, {peak['threads']} threads: FMA {peak['f32_gflops']:.0f} " \
                f"GFLOP/s, int8 {peak['int8_gops']:.0f} GOP/s"
    for level in report["ceilings"]["threads"]:
        yield f"{level['threads']} threads: memory read {level['read'][-1]['gb_per_s']:.1f}, NT " \
            f"fill {level['nt_store_gb_per_s']:.1f} GB/s" + \
            (f", fork and join {level['fork_join_ns']:.0f} ns" if level["fork_join_ns"] else "")


INTRODUCTION = """# Figures

By `tests/figures/run.sh`; the goals are in `tests/figures/goals.json`. What is compared was timed
interleaved, in one part of the run. A share is the time that the machine's ceiling, measured at the start of that part,
allows at least over the kernel's; "x" is how many times as fast, the other's median over ours. In
brackets are 95 % intervals: of a time as the report has it, of a ratio by the same bootstrap over blocks and the
samples in them (1000 times; of kernels in one run the same blocks are drawn for both). "close": the goal lies
within the interval. "noisy": too many samples were disturbed, and all are used. Of several kernels
of a name the fastest counts, on both sides.
"""


def write(path, lines):
    beside = f"{path}.{os.getpid()}"
    try:
        with open(beside, "w", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")
        os.replace(beside, path)
    except OSError as error:
        if os.path.exists(beside):
            os.unlink(beside)
        raise Bad(f"{path}: cannot write: {error.strerror}") from error


def main(arguments):
    if len(arguments) < 3:
        raise Bad("usage: table.py GOALS.json OUT.md REPORT.json...")
    sets, goals = read_goals(arguments[0])
    reports = read_reports(arguments[2:])
    measured = Measured(reports)
    lines = [INTRODUCTION, *context_lines(reports), "", "## Goals", "",
             "| work | goal | worst to best | worst at | |", "|---|---|---|---|---|"]
    notes, details = [], ["", "## Each case"]
    for goal in goals:
        figures = figures_of(goal, sets, measured)
        lines.append(summary_line(goal, figures))
        notes.append(note_line(goal, figures))
        details += ["", f"{goal['work']}: {aim(goal)}", "",
                    "| case | mode | kernel | a call | of ceiling | measured | |",
                    "|---|---|---|---|---|---|---|",
                    *(detail_line(goal, figure) for figure in figures)]
    notes = ["", "## What is not reached, and what was tried", "", *filter(None, notes)] \
        if any(notes) else []
    write(arguments[1], lines + notes + details)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Bad as bad:
        print(f"table.py: {bad}", file=sys.stderr)
        sys.exit(2)
