#!/usr/bin/env python3
"""Does a change of the encoder pay? Rate and distortion against saved points.

    tools/bench/rd --quick DATA [DATA ...]          percent of bytes at equal PSNR, per volume
    tools/bench/rd --quick DATA [DATA ...] --save   replaces the saved points by those of now
    tools/bench/rd DATA [DATA ...]                  the full sweep beside the peers: compare_peers.py

DATA: volumes or folders of them. --quick builds hgv-rd and encodes eight 64^3 blocks of each volume
(central crop of 256^3), evenly from the quietest to the busiest by their variance, without a
container, at six steps that give ratios of about 250 to 8:1; both are fixed by the saved points
(--reference), so that runs compare. Negative = fewer bytes than the saved points. --name says what
is measured (hgv-rd --help); a name may be compared with saved points of another one.
"""
import argparse, csv, io, math, os, subprocess, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import bdrate, peers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RATIOS = (250, 125, 62, 31, 16, 8)
BLOCKS = 8


def build():
    subprocess.run(["cargo", "build", "--release", "-q", "-p", "hgv-bench", "--bin", "hgv-rd"], check=True, cwd=ROOT)
    return ROOT / "target/release/hgv-rd"


def run(binary, name, volume, *options, blocks=BLOCKS):
    done = subprocess.run([binary, name, "64", "1", "1", volume, "--strata", str(blocks), *options],
                          check=True, stdout=subprocess.PIPE, text=True)
    return list(csv.DictReader(io.StringIO(done.stdout)))


def steps(binary, volume):
    """Six steps: where preset fast, which takes seconds, has the wanted ratios."""
    rows = run(binary, "dense-fast", volume)
    rows.sort(key=lambda r: float(r["ratio"]))
    at = np.interp(np.log(RATIOS), [math.log(float(r["ratio"])) for r in rows], [float(r["param"]) for r in rows])
    return sorted({round(float(e), 3) for e in at})


def measure(binary, name, volume, saved):
    wanted = sorted({float(r["param"]) for r in saved}) or steps(binary, volume)
    return run(binary, name, volume, "--steps", ",".join(map(str, wanted)))


def points(rows):
    return [(float(r["psnr"]), math.log(float(r["bytes"])), float(r["ratio"])) for r in rows]


def crops(data, folder):
    for _, path in peers.find(data):
        a = peers.load(path)
        if a is not None and a.ndim == 3:
            np.save(folder / f"{peers.name_of(path)}.npy", peers.prepare(a, 256))
    return sorted(folder.glob("*.npy"))


def report(results, saved):
    logs = []
    for name, rows in sorted(results.items()):
        old = bdrate.curve(points(saved.get(name, [])))
        change = bdrate.delta(bdrate.curve(points(rows)), [old]) if old else None
        print(f"{name:24s} " + ("no saved points" if change is None else f"{change:+.2f} %"))
        if change is not None:
            logs.append(math.log1p(change / 100))
    if logs:
        print(f"{'geometric mean':24s} {100 * math.expm1(sum(logs) / len(logs)):+.2f} %")


def quick(args):
    saved = {}
    if args.reference.exists():
        for r in csv.DictReader(args.reference.open()):
            saved.setdefault(r["dataset"], []).append(r)
    binary = args.binary or build()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        volumes = crops(args.data, Path(folder))
        work = {v.stem: pool.submit(measure, binary, args.name, v, saved.get(v.stem, [])) for v in volumes}
        results = {name: job.result() for name, job in work.items()}
    report(results, saved)
    if args.save or args.out:
        out = args.reference if args.save else args.out
        rows = [r for name, found in sorted({**(saved if args.save else {}), **results}.items()) for r in found]
        with out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("data", nargs="+", help="volume or folder")
    ap.add_argument("--quick", action="store_true", help="what this file does")
    ap.add_argument("--name", default="dense-best", help="what hgv-rd measures")
    ap.add_argument("--reference", type=Path, default=HERE / "results/rd-quick.csv")
    ap.add_argument("--save", action="store_true", help="replace the saved points of these volumes")
    ap.add_argument("--out", type=Path, help="write the points of now here")
    ap.add_argument("--binary", type=Path, help="hgv-rd, if it is built already")
    ap.add_argument("--jobs", type=int, default=os.cpu_count())
    quick(ap.parse_args())


if __name__ == "__main__":
    peers.import_codecs()
    main()
