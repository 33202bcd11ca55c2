#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Holds cases/schema.json against the parser: it must accept the case files, and refuse the corpus
of malformed ones except those in schema_blind.txt, which no JSON Schema can refuse."""
import json
import pathlib
import sys

try:
    import jsonschema
except ImportError:
    print("python3-jsonschema is not installed; nothing was tested")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parent.parent
BAD = ROOT / "tests" / "bad_cases"


def refusal(validator, path):
    """The reason why the file is refused, or None."""
    try:
        value = json.loads(path.read_bytes().decode("utf-8"))
    except ValueError as error:
        return f"not JSON: {error}"
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    if error is None:
        return None
    return "/".join(str(part) for part in error.absolute_path) + ": " + error.message


def main():
    schema = json.loads((ROOT / "cases" / "schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    blind = set((BAD / "schema_blind.txt").read_text().split())
    good = sorted(path for path in (ROOT / "cases").rglob("*.json") if path.name != "schema.json")
    bad = sorted(BAD.glob("*.json"))
    failures = [f"{name}: in schema_blind.txt, but not in the corpus"
                for name in sorted(blind - {path.name for path in bad})]
    if not good or not bad:
        failures.append("no case files found")
    for path in good:
        reason = refusal(validator, path)
        if reason is not None:
            failures.append(f"{path.relative_to(ROOT)}: refused: {reason}")
    for path in bad:
        reason = refusal(validator, path)
        if path.name not in blind and reason is None:
            failures.append(f"{path.relative_to(ROOT)}: accepted")
        if path.name in blind and reason is not None and not reason.startswith("not JSON"):
            failures.append(f"{path.relative_to(ROOT)}: not blind: {reason}")
    for failure in failures:
        print(failure)
    print(f"{len(good)} case files, {len(bad)} malformed files ({len(blind)} that a schema cannot "
          f"refuse): {len(failures)} failures")
    return 1 if failures else 0


sys.exit(main())
