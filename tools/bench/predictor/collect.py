#!/usr/bin/env python3
"""Collects what the predictor learns from: our own encodes of many small volumes, and their features.

    collect.py cut VOLUME.npy ... --work WORK [--side 128] [--whole]
    collect.py generate HGV_GENERATE --work WORK [--side 128]
    collect.py points --work WORK --hgv HGV --out points.csv [--preset balanced] [--only GLOB] [--exponents E,E..]
    collect.py features --work WORK --hgv HGV --out features.csv

* cut       cuts patches of at most side^3 voxels out of volumes (.npy, [z, y, x]; `hgv decode x.hgv -o x.npy`
            makes one of any volume), at most two along an axis, every other one as on a chess board; with
            --whole each volume too
* generate  makes volumes of the three kinds of `hgv-generate`
* points    encodes each file of WORK at the given log2(range / step), decodes and compares: one row for each encode
* features  `hgv analyze --json` of each file of WORK: one row for each file

WORK holds files named group.part.npy. A group is what is left out of training together: all of one volume.
`points` and `features` go on where they stopped: rows that are in the output are not made again.
Single-threaded; needs numpy. Prints one line for each file.
"""
import argparse
import csv
import itertools
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

EXPONENTS = [1.5, 3.0, 4.5, 6.0, 7.5, 9.0]
POINTS = ["group", "part", "voxels", "exponent", "bytes", "bits_per_voxel", "psnr", "ssim0", "ssim1", "ssim2", "ssim3"]
SHAPES = [
    ("porous", "porous", ["--noise", "1", "--feature", "24"], "uint8"),
    ("porous", "porous", ["--noise", "3", "--feature", "12"], "uint8"),
    ("porous", "porous", ["--noise", "8", "--feature", "32"], "uint8"),
    ("porous", "porous", ["--noise", "2", "--feature", "48"], "uint16"),
    ("porous", "porous", ["--noise", "5", "--feature", "16"], "uint16"),
    ("turbulence", "turbulence", ["--feature", "96"], "float32"),
    ("turbulence", "turbulence", ["--feature", "48"], "float32"),
    ("turbulence", "turbulence", ["--feature", "24"], "float32"),
    ("phantom", "phantom", ["--noise", "4"], "int16"),
    ("phantom", "phantom", ["--noise", "12"], "int16"),
    ("phantom", "phantom", ["--noise", "40"], "int16"),
]


def quality_of(exponent):
    """`--quality` of log2(range / step): the inverse of the encoder's open loop."""
    return (exponent - 0.5) * 10 if exponent <= 6.5 else 60 + (exponent - 6.5) * 4


def numbers(text):
    return [float(word) for word in text.split(",")]


def run(*words):
    return subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True).stdout


# ------------------------------------------------------------------ files

def starts(length, side):
    """First voxels of one or two patches along an axis."""
    return [0] if length < 1.25 * side else [0, length - side]


def chess_board(axes):
    """Every other combination of the starts of three axes."""
    for index in itertools.product(*(range(len(a)) for a in axes)):
        if sum(index) % 2 == 0:
            yield [a[i] for a, i in zip(axes, index)]


def cut(args):
    args.work.mkdir(parents=True, exist_ok=True)
    for path in args.volumes:
        volume = np.load(path, mmap_mode="r")
        if args.whole:
            np.save(args.work / f"{path.stem}.whole.npy", volume)
        side = args.side
        for z, y, x in chess_board([starts(length, side) for length in volume.shape]):
            patch = volume[z : z + side, y : y + side, x : x + side]
            if patch.shape != volume.shape and patch.min() < patch.max():
                np.save(args.work / f"{path.stem}.{x}-{y}-{z}-{side}.npy", patch)


def generate(args):
    args.work.mkdir(parents=True, exist_ok=True)
    size = ",".join([str(args.side)] * 3)
    for i, (group, kind, words, dtype) in enumerate(SHAPES):
        out = args.work / f"{group}.{i}.npy"
        run(args.generator, kind, "--size", size, "--dtype", dtype, "--seed", i + 1, *words, "-o", out, "--quiet", "--force")


# ------------------------------------------------------------------ rows

def done(out, key):
    """Keys of the rows that are there."""
    if not out.exists():
        return set()
    with out.open() as f:
        return {tuple(row[k] for k in key) for row in csv.DictReader(f)}


def append(out, names, row):
    fresh = not out.exists()
    with out.open("a", newline="") as f:
        writer = csv.DictWriter(f, names, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def files(work, only="*"):
    for path in sorted(work.glob(f"{only}.npy")):
        group, part = path.stem.split(".", 1)
        yield path, group, part


def encode(hgv, path, exponent, preset, folder):
    """One encode and its comparison, as a row without group and part."""
    out = Path(folder) / "x.hgv"
    words = ["--preset", preset, "--quality", f"{quality_of(exponent):.6g}", "--threads", 1, "--force", "--quiet", "--json"]
    report = json.loads(run(hgv, "encode", path, "-o", out, *words))
    compared = json.loads(run(hgv, "compare", path, out, "--threads", 1, "--quiet", "--json"))
    row = {"exponent": exponent, "bytes": report["file_bytes"], "voxels": compared["voxels"]}
    row["bits_per_voxel"] = f"{report['bits_per_voxel']:.5f}"
    row["psnr"] = "" if compared["psnr"] is None else f"{compared['psnr']:.3f}"
    for lod, value in enumerate(compared["ssim"]):
        row[f"ssim{lod}"] = "" if value is None else f"{value:.7f}"
    return row


def points(args):
    have = done(args.out, ["group", "part", "exponent"])
    with tempfile.TemporaryDirectory() as folder:
        for path, group, part in files(args.work, args.only):
            for exponent in args.exponents:
                if (group, part, str(exponent)) in have:
                    continue
                row = encode(args.hgv, path, exponent, args.preset, folder)
                append(args.out, POINTS, {"group": group, "part": part, **row})
                if row["psnr"] == "":
                    break
            print(group, part, flush=True)


def flat(value, name=""):
    """Numbers of nested objects and lists, with dotted names."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {name: value}
    out = {}
    for key, inner in items:
        out |= flat(inner, f"{name}.{key}" if name else str(key))
    return out


def features(args):
    have = done(args.out, ["group", "part"])
    for path, group, part in files(args.work):
        if (group, part) in have:
            continue
        analysis = json.loads(run(args.hgv, "analyze", path, "--threads", 1, "--quiet", "--json"))
        row = {"group": group, "part": part, **flat(analysis["features"])}
        append(args.out, list(row), row)
        print(group, part, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function in [("cut", cut), ("generate", generate), ("points", points), ("features", features)]:
        command = commands.add_parser(name)
        command.set_defaults(run=function)
        command.add_argument("--work", type=Path, required=True)
        if name == "cut":
            command.add_argument("volumes", type=Path, nargs="+")
            command.add_argument("--whole", action="store_true")
        if name == "generate":
            command.add_argument("generator")
        if name in ("cut", "generate"):
            command.add_argument("--side", type=int, default=128)
        else:
            command.add_argument("--hgv", required=True)
            command.add_argument("--out", type=Path, required=True)
        if name == "points":
            command.add_argument("--preset", default="balanced")
            command.add_argument("--only", default="*", help="files of WORK, without .npy")
            command.add_argument("--exponents", type=numbers, default=EXPONENTS)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
