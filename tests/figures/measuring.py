# SPDX-License-Identifier: MIT
"""The figures that goals ask of reports, and their verdicts."""
import itertools
import random
import re
import statistics

from reading import Bad

RESAMPLES = 1000
SAME_MEMORY = 1.15  # plain reads differ by less between calls that can be compared
OVER = 1.03  # no share of a ceiling is above this, as harness/ceilings.h has it


class Missing(Exception):
    """Why something was not measured."""


# ---- what was measured ----

def samples_of(timing):
    """Those that count, block by block."""
    return [[ns for i, ns in enumerate(block["ns"])
             if timing["noisy"] or i not in block["disturbed"]] for block in timing["blocks"]]


def quantile(ordered, fraction):
    at = fraction * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def ratio_interval(above, below, paired):
    """95 % interval of the ratio of two medians by the bootstrap: blocks are drawn with replacement, then
    samples within them. Of kernels that were timed in the same blocks, the same blocks are drawn."""
    a, b = samples_of(above), samples_of(below)
    if paired and len(a) == len(b):
        both = [(x, y) for x, y in zip(a, b) if x and y]
        a, b = [x for x, _ in both], [y for _, y in both]
    else:
        paired = False
        a, b = [x for x in a if x], [y for y in b if y]
    if not a or not b:
        raise Missing("no two samples were taken in peace")
    rng = random.Random(1)
    ratios = []
    for _ in range(RESAMPLES):
        rows = [rng.randrange(len(a)) for _ in a]
        columns = rows if paired else [rng.randrange(len(b)) for _ in b]
        top = [ns for i in rows for ns in rng.choices(a[i], k=len(a[i]))]
        bottom = [ns for i in columns for ns in rng.choices(b[i], k=len(b[i]))]
        ratios.append(statistics.median(top) / statistics.median(bottom))
    ratios.sort()
    return quantile(ratios, 0.025), quantile(ratios, 0.975)


class Measured:
    """The reports' timings and checks, by case, kernel and mode."""

    def __init__(self, reports):
        self.timings, self.failed, self.verdicts, self.homes = {}, {}, {}, {}
        for report in reports:
            for result in report["results"]:
                key, name = result["case"], result["kernel"].split("/", 1)[1]
                self.verdicts[key, name] = result
                if result["verdict"] not in ("PASS", "SKIPPED"):
                    self.failed.setdefault(result["kernel"], result)
            for timing in report["timings"]:
                if timing["aa"]:
                    continue
                key, name = timing["case"], timing["kernel"].split("/", 1)[1]
                where = key, name, timing["mode"]
                if where in self.timings:
                    raise Bad(f"{report['path']}: {timing['kernel']} on '{key}' was timed in "
                              f"{self.homes[where]['path']}, too")
                self.timings[where], self.homes[where] = timing, report

    def matching(self, key, pattern, mode):
        """All timings of kernels of that name; why there is none, if there is none."""
        found = [(name, timing) for (case, name, of), timing in self.timings.items()
                 if case == key and of == mode and re.fullmatch(pattern, name)]
        good = [pair for pair in found if pair[1]["kernel"] not in self.failed]
        if good:
            return good
        for name, timing in found:
            result = self.failed[timing["kernel"]]
            raise Missing(f"{name} {result['verdict']} on `{result['case']}`")
        for (case, name), result in self.verdicts.items():
            if case == key and re.fullmatch(pattern, name) and result["verdict"] != "PASS":
                raise Missing(f"{name} {result['verdict']}: {result['reason'] or 'no reason given'}")
        raise Missing(f"no kernel `{pattern}` was timed {mode}")

    def fastest(self, key, pattern, mode):
        return min(self.matching(key, pattern, mode), key=lambda pair: pair[1]["median_ns"])

    def home(self, key, name, mode):
        return self.homes[key, name, mode]

    def cases(self):
        return sorted({case for case, _, _ in self.timings})


# ---- goals ----

def expand(template):
    """The keys of a template: {1,2} and {1..3} stand for each of these."""
    parts = re.split(r"\{([^}]*)\}", template)
    choices = []
    for text in parts[1::2]:
        span = re.fullmatch(r"(\d+)\.\.(\d+)", text)
        choices.append([str(i) for i in range(int(span[1]), int(span[2]) + 1)] if span
                       else text.split(","))
    for chosen in itertools.product(*choices):
        yield "".join(itertools.chain(*zip(parts[::2], [*chosen, ""])))


class Figure:
    """One measurement for a goal, or why there is none."""

    def __init__(self, key, mode):
        self.key, self.mode = key, mode
        self.value = self.interval = self.name = self.timing = self.missing = self.other = None
        self.noisy = False

    def fill(self, name, timing, value, interval, other=None):
        self.name, self.timing, self.value = name, timing, value
        self.interval = interval
        self.other = other[0] if other else None
        self.noisy = timing["noisy"] or bool(other and other[1]["noisy"])


def share(figure, goal, measured, name, timing):
    """Of the time that a ceiling allows at least: the ceiling's time over the kernel's."""
    low, high = timing["interval_ns"]
    if goal["share_of"] == "nt_store":
        level = [level for level in measured.home(figure.key, name, figure.mode)["ceilings"]["threads"]
                 if level["threads"] == timing["threads"]]
        if not level or not level[0]["nt_store_gb_per_s"]:
            raise Missing("the ceilings have no non-temporal store")
        least = timing["written_bytes"] / level[0]["nt_store_gb_per_s"]
    elif goal["share_of"] == "plain_read":
        if not timing["plain_read_gb_per_s"]:
            raise Missing("no plain reads were timed beside it")
        least = timing["read_bytes"] / timing["plain_read_gb_per_s"]
    else:
        ceiling = timing["ceiling"]
        if not ceiling:
            raise Missing("its ceiling is not known")
        if goal["share_of"] not in ("any", ceiling["kind"]):
            raise Missing(f"what binds it is {ceiling['name']}")
        least = ceiling["ns"]
    value = least / timing["median_ns"]
    if value > OVER and goal["share_of"] != "plain_read":
        raise Missing(f"at {value:.3g} of the ceiling, which was measured in a worse moment")
    figure.fill(name, timing, value, (least / high, least / low))


def speed(figure, goal, measured, name, timing):
    """How many times as fast as the other: the other's time over the kernel's."""
    other = measured.fastest(figure.key, goal["faster_than"], figure.mode)
    paired = measured.home(figure.key, name, figure.mode) is \
        measured.home(figure.key, other[0], figure.mode)
    if not paired:
        raise Missing("the two were not timed in one run")
    figure.fill(name, timing, other[1]["median_ns"] / timing["median_ns"],
                ratio_interval(other[1], timing, True), other)


def figures_of_kernels(goal, keys, measured):
    """For each case the fastest kernel of the goal's name, or every one."""
    for key in keys:
        try:
            found = measured.matching(key, goal["kernel"], goal["mode"])
        except Missing as why:
            if goal["cases"] != "*":
                figure = Figure(key, goal["mode"])
                figure.missing = str(why)
                yield figure
            continue
        if not goal.get("every"):
            found = [min(found, key=lambda pair: pair[1]["median_ns"])]
        for name, timing in found:
            figure = Figure(key, goal["mode"])
            try:
                if "share_of" in goal:
                    share(figure, goal, measured, name, timing)
                elif "faster_than" in goal:
                    speed(figure, goal, measured, name, timing)
                else:
                    each = goal["ns_each"]
                    figure.fill(name, timing, timing["median_ns"] / each,
                                tuple(ns / each for ns in timing["interval_ns"]))
            except Missing as why:
                if goal["cases"] == "*":
                    continue
                figure.missing, figure.name = str(why), name
            yield figure


def same_memory(first, second):
    """Whether memory was as fast beside one as beside the other, as far as that was measured."""
    speeds = first["plain_read_gb_per_s"], second["plain_read_gb_per_s"]
    return not all(speeds) or max(speeds) < SAME_MEMORY * min(speeds)


def change(before, after, goal, measured, by_work):
    """From one case to the next: times as fast, or, by work, as many GFLOP/s."""
    figure = Figure(after, goal["mode"])
    try:
        _, first = measured.fastest(before, goal["kernel"], goal["mode"])
        name, second = measured.fastest(after, goal["kernel"], goal["mode"])
        if by_work and not same_memory(first, second):
            raise Missing("memory itself became faster or slower between the two cases")
        work = second["flop"] / first["flop"] if by_work else 1
        low, high = ratio_interval(first, second, False)
        figure.fill(name, second, work * first["median_ns"] / second["median_ns"],
                    (work * low, work * high), (name, first))
        figure.other = None
    except Missing as why:
        figure.missing = str(why)
    return figure


def figures_of(goal, sets, measured):
    keys = measured.cases() if goal["cases"] == "*" else \
        [key for template in sets[goal["cases"]] for key in expand(template)]
    if goal.get("steps"):
        return [change(before, after, goal, measured, True)
                for before, after in zip(keys, keys[1:])]
    if goal.get("scaling"):
        return [change(key, key.replace(" threads=1 ", " threads=2 "), goal, measured, False)
                for key in keys if " threads=1 " in key]
    return list(figures_of_kernels(goal, keys, measured))


def wants_more(goal):
    return "at_most" not in goal and "ns_each" not in goal


def meets(goal, value):
    if "at_most" in goal:
        return value <= goal["at_most"]
    return value >= goal["at_least"]


def verdict(goal, figure):
    if figure.missing:
        return f"not measured: {figure.missing}"
    if "at_least" not in goal and "at_most" not in goal:
        return "shown" + (", noisy" if figure.noisy else "")
    low, high = figure.interval
    best = high if goal.get("within_noise") else figure.value
    words = "reached" if meets(goal, best) else "not reached"
    if not goal.get("within_noise") and meets(goal, low) != meets(goal, high):
        words += ", close"
    return words + (", noisy" if figure.noisy else "")
