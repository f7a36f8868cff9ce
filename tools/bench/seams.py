#!/usr/bin/env python3
"""Seams at block faces: how much more the error steps over a face of two blocks than inside them.

    seams.py DATA [DATA ...] --hgv target/release/hgv --out seams.csv [--crop 192] [--codecs a,b]
             [--picture seams.png --of VOLUME]
    seams.py --table seams.csv > seams.md

With e = decoded - original, an axis' seam = RMS of e[i+1] - e[i] over all faces between blocks,
divided by the same over all other neighbours along that axis; pooled = the same over all axes
together. 1 = no seam. Every codec codes 64^3 blocks on their own (hgv: one quality level) and is
driven to the ratios of --ratios within 2 %; the codecs are those of peers.py, hgv's whole file
counts. `edge` = RMS error of voxels at such a face / RMS error of all others: 1.4 and no more
would be the seam of an error that is independent from block to block but no larger at faces.

Crop: central, each side the largest multiple of 64 in min(side, --crop); where that leaves one
block only, z keeps its length (the last block is shorter). Finished rows of --out are kept.
"""
import argparse, csv, math, sys
from collections import defaultdict
from pathlib import Path

import numpy as np

import peers

AXES = ("z", "y", "x")
COLUMNS = ["dataset", "dims", "codec", "target", "param", "ratio", "psnr", "seam_x", "seam_y", "seam_z",
           "seam", "edge"]
CODECS = "hgv-balanced,hgv-best,x265,sperr,sz3,zfp-acc"
RATIOS = "30,100"


# ------------------------------------------------------------------ measures

def steps(error, axis):
    """Sum of squared steps and their number, over faces and elsewhere, along an axis."""
    square = np.diff(error, axis=axis) ** 2
    at = np.arange(peers.BLOCK - 1, square.shape[axis], peers.BLOCK)
    face = np.take(square, at, axis=axis)
    inside = square.sum() - face.sum()
    return np.array([face.sum(), face.size, inside, square.size - face.size])


def seam(sums):
    """RMS over faces / RMS elsewhere; NaN without faces."""
    face, n, inside, m = sums
    return math.sqrt(face / n / (inside / m)) if n and inside > 0 else math.nan


def edge(error):
    """RMS error of voxels at a face between blocks / RMS error of the others."""
    at = np.zeros(error.shape, bool)
    for axis, side in enumerate(error.shape):
        face = [i for f in range(peers.BLOCK, side, peers.BLOCK) for i in (f - 1, f)]
        at[(slice(None),) * axis + (face,)] = True
    return math.sqrt((error[at] ** 2).mean() / (error[~at] ** 2).mean()) if at.any() else math.nan


def measures(original, decoded):
    error = decoded.astype(np.float64) - original.astype(np.float64)
    sums = [steps(error, axis) for axis in range(3)]
    row = {f"seam_{name}": seam(s) for name, s in zip(AXES, sums)}
    return {**row, "seam": seam(sum(sums)), "edge": edge(error)}


# ------------------------------------------------------------------ codecs

class Point:
    """One codec on one volume: what comes back at a quality index, and how many bytes it takes."""

    def __init__(self, volume, codec):
        self.volume, self.codec = volume, codec
        mode = "whole" if isinstance(codec, peers.Hgv) else "chunk64"
        codec.start(volume, mode)
        full = volume.form(codec.form)
        self.slices = peers.blocks_of(full.shape, mode)
        self.blocks = [np.ascontiguousarray(full[s]) for s in self.slices]
        self.done = {}

    def ratio(self, u):
        if u not in self.done:
            payloads = [b"\0\0\0\0\0" if b.min() == b.max() else self.codec.encode(b, u) for b in self.blocks]
            self.done[u] = (self.volume.data.nbytes / self.codec.size(payloads), payloads)
        return self.done[u][0]

    def decoded(self, u):
        full = None
        for where, block, payload in zip(self.slices, self.blocks, self.done[u][1]):
            constant = block.min() == block.max()
            values = np.full(block.shape, block.flat[0]) if constant else self.codec.decode(payload, block.shape)
            if full is None:
                full = np.empty(self.volume.data.shape, values.dtype)
            full[where] = values
        return self.volume.unform(full, self.codec.form)

    def nearest(self, target, guess=None, tries=9):
        """The quality index whose ratio is within 2 % of a target, or the nearest one tried."""
        c = self.codec
        off = lambda u: math.log(self.ratio(u) / target)
        lo, hi, u = c.umin, c.umax, c.u0
        if guess is not None:
            u = guess
        elif self.done:
            u = min(self.done, key=lambda k: abs(off(k)))
        for _ in range(tries):
            if abs(off(u)) < 0.02:
                break
            lo, hi = (u, hi) if off(u) > 0 else (lo, u)
            u = self.between(target, lo, hi)
        return min(self.done, key=lambda k: abs(off(k)))

    def between(self, target, lo, hi):
        """Where to look next: on the line through the two points next to the target."""
        off = lambda u: math.log(self.ratio(u) / target)
        if lo in self.done and hi in self.done and off(lo) > off(hi):
            share = off(lo) / (off(lo) - off(hi))
            return lo + (hi - lo) * min(max(share, 0.05), 0.95)
        near = lo if lo in self.done else hi
        step = self.codec.du * off(near) / 1.5
        return min(max(near + step, lo + 0.02 * (hi - lo)), hi - 0.02 * (hi - lo))


def crop(a, limit):
    small = peers.prepare(a, limit)
    if max(small.shape) > peers.BLOCK:
        return small
    z = min(a.shape[0], limit)
    y, x = ((s - n) // 2 for s, n in zip(a.shape[1:], small.shape[1:]))
    return np.ascontiguousarray(a[:z, y:y + small.shape[1], x:x + small.shape[2]], dtype=small.dtype)


def rows(volume, codec, targets, guesses={}):
    point = Point(volume, codec)
    for target in targets:
        u = point.nearest(target, guesses.get(target))
        decoded = point.decoded(u)
        error = decoded.astype(np.float64) - volume.data.astype(np.float64)
        psnr = 20 * math.log10(volume.range / math.sqrt((error ** 2).mean()))
        yield decoded, {"dataset": volume.name, "dims": "x".join(map(str, volume.data.shape[::-1])),
                        "codec": codec.name, "target": target, "param": codec.param(u),
                        "ratio": point.ratio(u), "psnr": psnr, **measures(volume.data, decoded)}


def sweep(args):
    names, targets = args.codecs.split(","), [float(r) for r in args.ratios.split(",")]
    codecs = [c for c in peers.CODECS if c.name in names]
    out = Path(args.out)
    done = list(csv.DictReader(out.open())) if out.exists() else []
    have = {(r["dataset"], r["codec"]) for r in done}
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not have:
            writer.writeheader()
        for volume in volumes(args):
            for kind in codecs:
                if (volume.name, kind.name) in have or not kind().usable(volume.data.shape):
                    continue
                guesses = {}
                if issubclass(kind, peers.Hgv):      # Another preset's quality is a good start.
                    own = [r for r in done if r["dataset"] == volume.name and r["codec"].startswith("hgv")]
                    guesses = {float(r["target"]): float(r["param"]) for r in own}
                for _, row in rows(volume, kind(), targets, guesses):
                    done.append(row)
                    writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
                    print(*(f"{v:.3f}" if isinstance(v, float) else v for v in row.values()), file=sys.stderr)
                file.flush()


def volumes(args):
    for split, name, a in peers.volumes(args.data, args.only):
        yield peers.Volume(name, split, crop(a, args.crop))


# ------------------------------------------------------------------ results

def table(path):
    """Pooled seams per volume and codec, and who is lowest among the peers."""
    seams = defaultdict(dict)
    for r in csv.DictReader(open(path)):
        seams[float(r["target"]), r["dataset"]][r["codec"]] = r
    for target in sorted({t for t, _ in seams}):
        columns = sorted({c for (t, _), v in seams.items() if t == target for c in v},
                         key=lambda c: (not c.startswith("hgv"), c))
        print(f"\n## {target:g}:1\n\n| volume | " + " | ".join(columns) + " | lowest peer |")
        print("|---" * (len(columns) + 2) + "|")
        for (t, name), found in sorted(seams.items()):
            if t == target:
                print(f"| {name} | " + " | ".join(cell(found.get(c)) for c in columns)
                      + f" | {lowest(found)} |")


def cell(row):
    if row is None:
        return "-"
    away = abs(math.log(float(row["ratio"]) / float(row["target"]))) > 0.1
    note = f" at {float(row['ratio']):.0f}:1" if away else ""
    return f"{float(row['seam']):.2f} ({float(row['psnr']):.1f} dB{note})"


def lowest(found):
    near = [r for c, r in found.items() if not c.startswith("hgv")
            and abs(math.log(float(r["ratio"]) / float(r["target"]))) <= 0.1]
    best = min(near, key=lambda r: float(r["seam"]), default=None)
    return f"{best['codec']} {float(best['seam']):.2f}" if best else "-"


def picture(args):
    """Original, hgv and the best peer around a crossing of faces, contrast raised."""
    from PIL import Image
    volume = next(v for v in volumes(args) if v.name == args.of)
    names = args.codecs.split(",")
    kinds = sorted((c for c in peers.CODECS if c.name in names), key=lambda c: names.index(c.name))
    shown = [volume.data] + [next(rows(volume, kind(), [float(args.ratios.split(",")[-1])]))[0] for kind in kinds]
    window = lambda a: centre(a[a.shape[0] // 2]).astype(np.float64)
    low, high = np.percentile(window(volume.data), [2, 98])
    tiles = [np.clip((window(a) - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8) for a in shown]
    gap = np.full((tiles[0].shape[0], 2), 255, np.uint8)
    line = np.concatenate([p for t in tiles for p in (t, gap)][:-1], axis=1)
    Image.fromarray(line).resize((line.shape[1] * 3, line.shape[0] * 3), Image.NEAREST).save(args.picture)


def centre(plane):
    """96 voxels a side around the block face nearest to the middle, along both axes."""
    where = []
    for side in plane.shape:
        face = max(round(side / 2 / peers.BLOCK), 1) * peers.BLOCK if side > peers.BLOCK else side // 2
        start = min(max(face - 48, 0), max(side - 96, 0))
        where.append(slice(start, start + 96))
    return plane[tuple(where)]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("data", nargs="*", help="file or folder of volumes")
    ap.add_argument("--out", default="seams.csv")
    ap.add_argument("--hgv", default="target/release/hgv")
    ap.add_argument("--codecs", default=CODECS)
    ap.add_argument("--ratios", default=RATIOS)
    ap.add_argument("--crop", type=int, default=192)
    ap.add_argument("--only", help="part of the name of the volume")
    ap.add_argument("--table", metavar="CSV", help="print the table of measured rows")
    ap.add_argument("--picture", metavar="PNG")
    ap.add_argument("--of", help="volume of the picture")
    args = ap.parse_args()
    peers.Hgv.binary = args.hgv
    if args.table:
        table(args.table)
    elif args.picture:
        picture(args)
    else:
        sweep(args)


if __name__ == "__main__":
    peers.import_codecs()
    main()
