#!/usr/bin/env python3
"""What each part of the codec is worth: bytes at equal PSNR, part by part, and who chooses what.

    ablation.py DATA [DATA ...] --out ablation.csv [--blocks 8] [--binary target/release/hgv-rd]
    ablation.py --table ablation.csv > ablation.md

Rows (names of hgv-rd): each adds one part to the one before it; the last is the learned model for
all blocks. Blocks, steps and crop: as `rd --quick`, see rd_quick.py; --steps takes its saved
points for the same steps. Change = Bjontegaard delta rate against the first row, ratios 8 to 250;
negative = fewer bytes. Finished rows of --out are kept.
"""
import argparse, csv, math, sys, tempfile
from collections import defaultdict
from pathlib import Path

import bdrate, peers, rd_quick

ROWS = (("dense-fast", "wavelets, coder R, plain dead zone (fast)"),
        ("dense", "+ rate-distortion search, dead zone by neighbours, clamped voxels set free (balanced)"),
        ("dense-m", "+ coder M"),
        ("dense-best", "+ search of four rounds and groups"),
        ("curve-best", "+ value curve"),
        ("curve-filter-best", "+ in-block filter"),
        ("auto-curve-filter-best", "+ learned grids where cheaper (best)"),
        ("hashgrid-best", "learned grids in every block"))


def saved_steps(path):
    steps = defaultdict(list)
    if path and path.exists():
        for r in csv.DictReader(path.open()):
            steps[r["dataset"]].append(float(r["param"]))
    return steps


def measure(args):
    steps = saved_steps(args.steps)
    binary = args.binary or rd_quick.build()
    have = {(r["dataset"], r["codec"]) for r in csv.DictReader(args.out.open())} if args.out.exists() else set()
    with tempfile.TemporaryDirectory() as folder, args.out.open("a", newline="") as file:
        for volume in rd_quick.crops(args.data, Path(folder)):
            wanted = sorted(steps[volume.stem]) or rd_quick.steps(binary, volume)
            for name in args.rows.split(","):
                if (volume.stem, name) in have:
                    continue
                rows = rd_quick.run(binary, name, volume, "--steps", ",".join(map(str, wanted)), blocks=args.blocks)
                writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerows(rows)
                file.flush()
                print(volume.stem, name, file=sys.stderr)


# ------------------------------------------------------------------ results

def table(path):
    found = defaultdict(dict)
    for r in csv.DictReader(open(path)):
        found[r["dataset"]].setdefault(r["codec"], []).append(r)
    volumes = sorted(found)
    print("Bytes at equal PSNR against the first row, percent.\n\n| | " + " | ".join(volumes) + " | mean (volumes) |")
    print("|---" * (len(volumes) + 2) + "|")
    for name, label in ROWS:
        changes = [change(found[v], name) for v in volumes]
        logs = [math.log1p(c / 100) for c in changes if c is not None]
        mean = f"{100 * math.expm1(sum(logs) / len(logs)):+.1f} ({len(logs)})" if logs else "-"
        cells = ("-" if c is None else f"{c:+.1f}" for c in changes)
        print(f"| {label}: `{name}` | " + " | ".join(cells) + f" | {mean} |")
    shares(found, volumes)


def change(rows, name):
    if name not in rows or ROWS[0][0] not in rows:
        return None
    curve = bdrate.curve(rd_quick.points(rows[name]), 7, 270)
    base = bdrate.curve(rd_quick.points(rows[ROWS[0][0]]))
    return bdrate.delta(curve, [base]) if curve and base else None


def shares(found, volumes):
    """Kinds of blocks of the row with the choice, at the finest and coarsest steps and in between."""
    print("\nBlocks that `auto-curve-filter-best` codes as wavelets / learned grids / one value, by ratio.\n")
    print("| volume | ratio: wavelets / grids / one value |\n|---|---|")
    for v in volumes:
        rows = sorted(found[v].get("auto-curve-filter-best", []), key=lambda r: -float(r["ratio"]))
        cells = (f"{float(r['ratio']):.0f}:1: {r['wavelet']} / {r['grid']} / {r['constant']}" for r in rows)
        if rows:
            print(f"| {v} | " + ", ".join(cells) + " |")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("data", nargs="*", help="volume or folder")
    ap.add_argument("--out", type=Path, default=Path("ablation.csv"))
    ap.add_argument("--blocks", type=int, default=rd_quick.BLOCKS)
    ap.add_argument("--rows", default=",".join(name for name, _ in ROWS))
    ap.add_argument("--steps", type=Path, default=rd_quick.HERE / "results/rd-quick.csv")
    ap.add_argument("--binary", type=Path, help="hgv-rd, if it is built already")
    ap.add_argument("--table", metavar="CSV", help="print the tables of measured rows")
    args = ap.parse_args()
    table(args.table) if args.table else measure(args)


if __name__ == "__main__":
    peers.import_codecs()
    main()
