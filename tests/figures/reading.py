# SPDX-License-Identifier: MIT
"""Reads goals and reports, strictly as far as the table uses them."""
import json
import re

REPORT_VERSION = 2
NUMBER = (int, float)
MEASURES = ("share_of", "faster_than", "ns_each", "scaling", "steps")
SHARES = ("int8", "f32", "read", "plain_read", "store", "nt_store", "any")
GOAL_KEYS = {"work": str, "cases": str, "mode": str, "kernel": str, "share_of": str,
             "faster_than": str, "ns_each": NUMBER, "scaling": bool, "steps": bool, "every": bool,
             "at_least": NUMBER, "at_most": NUMBER, "stretch": NUMBER, "within_noise": bool,
             "note": str}
OPTIONAL = type(None)


class Bad(Exception):
    """Bad input: file, place and rule."""


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise Bad(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise Bad(f"{path}: is not JSON: {error}") from error


def expect(where, item, kinds):
    """The members `kinds` of an object, each of its type."""
    if not isinstance(item, dict):
        raise Bad(f"{where}: must be an object")
    for key, kind in kinds.items():
        if key not in item:
            raise Bad(f"{where}: has no member {key}")
        is_bool = isinstance(item[key], bool)
        accepts_bool = kind is bool or isinstance(kind, tuple) and bool in kind
        if not isinstance(item[key], kind) or (is_bool and not accepts_bool):
            raise Bad(f"{where}.{key}: is of the wrong type")
    return item


# ---- goals ----

def check_goal(where, goal, sets):
    expect(where, goal, {key: GOAL_KEYS[key] for key in ("work", "cases", "mode", "kernel")})
    for key in goal:
        if key not in GOAL_KEYS:
            raise Bad(f"{where}: has an unknown member {key}")
    expect(where, goal, {key: GOAL_KEYS[key] for key in goal})
    if sum(key in goal for key in MEASURES) != 1:
        raise Bad(f"{where}: must have one of {', '.join(MEASURES)}")
    if "at_least" in goal and "at_most" in goal:
        raise Bad(f"{where}: has both at_least and at_most")
    if goal["mode"] not in ("hot", "cold"):
        raise Bad(f"{where}.mode: must be hot or cold")
    if goal.get("share_of", "any") not in SHARES:
        raise Bad(f"{where}.share_of: must be one of {', '.join(SHARES)}")
    if goal.get("ns_each", 1) <= 0:
        raise Bad(f"{where}.ns_each: must be above 0")
    if goal["cases"] != "*" and goal["cases"] not in sets:
        raise Bad(f"{where}.cases: there is no set \"{goal['cases']}\"")
    for key in ("kernel", "faster_than"):
        try:
            re.compile(goal.get(key, ""))
        except re.error as error:
            raise Bad(f"{where}.{key}: {error}") from error


def read_goals(path):
    root = expect(path, load(path), {"sets": dict, "goals": list})
    for name, templates in root["sets"].items():
        if not isinstance(templates, list) or not templates or \
                not all(isinstance(template, str) for template in templates):
            raise Bad(f"{path}: sets.{name}: must be a list of case keys")
    for i, goal in enumerate(root["goals"]):
        check_goal(f"{path}: goals[{i}]", goal, root["sets"])
    return root["sets"], root["goals"]


# ---- reports ----

def check_timing(where, timing):
    expect(where, timing, {
        "case": str, "kernel": str, "mode": str, "threads": int, "aa": bool, "noisy": bool,
        "median_ns": NUMBER, "interval_ns": list, "blocks": list, "flop": (*NUMBER, OPTIONAL),
        "written_bytes": (*NUMBER, OPTIONAL), "read_bytes": (*NUMBER, OPTIONAL),
        "plain_read_gb_per_s": (*NUMBER, OPTIONAL), "ceiling": (dict, OPTIONAL)})
    if "/" not in timing["kernel"]:
        raise Bad(f"{where}.kernel: must be OP/NAME")
    times = [timing["median_ns"], *timing["interval_ns"]]
    for i, block in enumerate(timing["blocks"]):
        expect(f"{where}.blocks[{i}]", block, {"ns": list, "disturbed": list})
        times += block["ns"]
    if not timing["blocks"] or len(timing["interval_ns"]) != 2 or \
            not all(isinstance(ns, NUMBER) and ns > 0 for ns in times):
        raise Bad(f"{where}: has a time that is not above 0, or none")
    if timing["ceiling"]:
        expect(f"{where}.ceiling", timing["ceiling"],
               {"name": str, "kind": str, "ns": NUMBER, "fraction": NUMBER})


def check_ceilings(where, ceilings):
    expect(where, ceilings, {"peaks": list, "threads": list})
    for i, peak in enumerate(ceilings["peaks"]):
        expect(f"{where}.peaks[{i}]", peak,
               {"tier": str, "threads": int, "f32_gflops": NUMBER, "int8_gops": NUMBER})
    for i, level in enumerate(ceilings["threads"]):
        at = f"{where}.threads[{i}]"
        expect(at, level, {"threads": int, "read": list, "nt_store_gb_per_s": NUMBER,
                           "fork_join_ns": (*NUMBER, OPTIONAL)})
        if not level["read"]:
            raise Bad(f"{at}.read: is empty")
        expect(f"{at}.read", level["read"][-1], {"gb_per_s": NUMBER})


def read_report(path):
    root = load(path)
    if not isinstance(root, dict) or root.get("assay_report") != REPORT_VERSION:
        raise Bad(f"{path}: is not a report of version {REPORT_VERSION}")
    expect(path, root, {"complete": bool, "context": dict, "elapsed_seconds": NUMBER,
                        "ceilings": (dict, OPTIONAL), "noise": (dict, OPTIONAL), "results": list,
                        "timings": list})
    optional = (*NUMBER, OPTIONAL)
    context = expect(f"{path}: context", root["context"], {
        "cpu": str, "machine": str, "cpus": int, "l1d_bytes": optional, "l2_bytes": optional,
        "llc_bytes": optional, "load_1min": NUMBER, "steal_share": optional, "time": str,
        "build": dict})
    expect(f"{path}: context.build", context["build"], {"commit": str, "compiler": str})
    for i, result in enumerate(root["results"]):
        expect(f"{path}: results[{i}]", result,
               {"case": str, "kernel": str, "verdict": str, "reason": (str, OPTIONAL)})
    for i, timing in enumerate(root["timings"]):
        check_timing(f"{path}: timings[{i}]", timing)
    if root["timings"]:
        expect(path, root, {"ceilings": dict, "noise": dict})
        check_ceilings(f"{path}: ceilings", root["ceilings"])
        expect(f"{path}: noise", root["noise"], {"samples": int, "disturbed": int, "too_noisy": bool,
                                                 "aa_spread": optional})
    root["path"] = path
    return root


def read_reports(paths):
    """All of one build, some of them timed."""
    reports = [read_report(path) for path in paths]
    first = reports[0]["context"]
    for report in reports[1:]:
        for key in ("commit", "compiler"):
            if report["context"]["build"][key] != first["build"][key]:
                raise Bad(f"{report['path']}: is of another {key} than {reports[0]['path']}")
    if not any(report["timings"] for report in reports):
        raise Bad(f"{reports[0]['path']}: no report has timings")
    return reports
