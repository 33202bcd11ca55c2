#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A Python project's test against assay's vectors, with the standard library alone:

    assay export cases/smoke/q4_K_gemv.json --dir vectors
    python3 vectors.py vectors got.safetensors   # asserts by the exported tolerances
    assay judge vectors --got got.safetensors    # and by all of assay's rules
"""
import json
import math
import pathlib
import struct
import sys

FORMATS = {"U8": "B", "I32": "i", "U32": "I", "I64": "q", "F32": "f", "F64": "d"}


def load(path):
    """What safetensors.numpy.load_file gives, but tuples instead of arrays."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, at in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in at["data_offsets"])
            size = struct.calcsize("<" + FORMATS[at["dtype"]])
            tensors[name] = struct.unpack(f"<{(end - begin) // size}{FORMATS[at['dtype']]}",
                                          data[begin:end])
    return tensors


def save(path, tensors):
    """Like save_file; tensors: name -> (dtype, shape, values)."""
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        begin = len(data)
        data += struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def f32(value):
    """Rounded, overflow to infinity."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def dequantize(block):
    """The 256 weights of a Q4_K block."""
    d, dmin = struct.unpack_from("<ee", block)
    scales, digits = block[4:16], block[16:]
    weights = []
    for j in range(8):
        if j < 4:
            sc, m = scales[j] & 63, scales[j + 4] & 63
        else:
            sc = scales[j + 4] & 15 | scales[j - 4] >> 6 << 4
            m = scales[j + 4] >> 4 | scales[j] >> 6 << 4
        for q in digits[j // 2 * 32:j // 2 * 32 + 32]:
            weights.append(d * sc * (q >> 4 if j % 2 else q & 15) - dmin * m)
    return weights


def gemv(shape, w, x):
    """The code under test."""
    w = bytes(w[shape["w_offset"]:])
    row = shape["k"] // 256 * 144
    y = []
    for r in range(shape["n"]):
        blocks = [w[b:b + 144] for b in range(r * row, (r + 1) * row, 144)]
        weights = [value for block in blocks for value in dequantize(block)]
        y.append(f32(sum(a * b for a, b in zip(weights, x))))
    return y


def first_wrong(expected, got, name, numerics="f32"):
    """The first element that is wrong, or None."""
    for i, rule in enumerate(expected[name + ".rule"]):
        if rule == 1:
            tolerance = expected[f"{name}.tolerance.{numerics}"][i]
            good = abs(got[i] - expected[name][i]) <= tolerance
        else:
            good = rule == 0 or not math.isfinite(got[i])
        if not good:
            return i
    return None


def main(directory, output):
    directory, results, failures = pathlib.Path(directory), {}, 0
    for case in json.loads((directory / "manifest.json").read_text())["cases"]:
        if case["op"] != "q4_K_gemv":
            continue
        inputs = load(directory / case["inputs"]["file"])
        expected = load(directory / case["expected"]["file"])
        y = gemv(case["shape"], inputs["w"], inputs["x"])
        wrong = first_wrong(expected, y, "y")
        if wrong is not None:
            failures += 1
            print(f"{case['key']}: y[{wrong}] = {y[wrong]}, expected {expected['y'][wrong]}")
        results[case["outputs"][0]["name"]] = ("F32", [len(y)], y)
    save(pathlib.Path(output), results)
    return failures > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
