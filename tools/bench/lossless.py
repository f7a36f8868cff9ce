#!/usr/bin/env python3
"""Bytes of hgv --lossless beside zstd -19 and blosc2, and of hgv --max-error-rel 0.001.

    lossless.py DATA [DATA ...] --hgv target/release/hgv --out lossless.csv [--crop 256]
    lossless.py --table lossless.csv > lossless.md

Every encoded volume is decoded and compared voxel by voxel: lossless rows must be equal bit for
bit, bounded rows must have max |error| <= bound * (max - min); a row that fails stops the run.
zstd: level 19, one call for the volume. blosc2: zstd level 9, shuffle and bitshuffle, 2 MiB
chunks of Python's blosc2. hgv: whole file, 64^3 blocks, one quality level. Crop: central, as in
peers.py; --crop 0 takes whole volumes. Rows that --out has are not measured again.
"""
import argparse, csv, subprocess, sys, tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

import peers

COLUMNS = ["dataset", "dtype", "dims", "raw_bytes", "codec", "bytes", "largest_error_rel"]
PRESETS = ("fast", "balanced", "best")
BOUND = 0.001
GENERAL = {"zstd -19": lambda a: zstd(a, 19), "blosc2 shuffle": lambda a: blosc(a, "SHUFFLE"),
           "blosc2 bitshuffle": lambda a: blosc(a, "BITSHUFFLE")}


def zstd(a, level):
    import zstandard
    packed = zstandard.ZstdCompressor(level=level).compress(a.tobytes())
    return len(packed), np.frombuffer(zstandard.ZstdDecompressor().decompress(packed), a.dtype)


def blosc(a, filter_name):
    import blosc2
    size, out = 0, []
    flat, chunk = a.reshape(-1), (2 << 20) // a.itemsize
    for i in range(0, flat.size, chunk):
        packed = blosc2.compress2(np.ascontiguousarray(flat[i:i + chunk]), typesize=a.itemsize,
                                  codec=blosc2.Codec.ZSTD, clevel=9,
                                  filters=[getattr(blosc2.Filter, filter_name)], nthreads=1)
        size += len(packed)
        out.append(np.frombuffer(blosc2.decompress2(packed, nthreads=1), a.dtype))
    return size, np.concatenate(out)


def hgv(binary, a, *options):
    """Bytes of the file, and what comes back."""
    with tempfile.TemporaryDirectory() as d:
        np.save(f"{d}/i.npy", a)
        common = ("--threads", "1", "--quiet", "--backend", "cpu")
        subprocess.run([binary, "encode", f"{d}/i.npy", "-o", f"{d}/c.hgv", "--block", "64", "--levels", "1",
                        *options, *common], check=True)
        subprocess.run([binary, "decode", f"{d}/c.hgv", "-o", f"{d}/o.npy", *common], check=True)
        return Path(f"{d}/c.hgv").stat().st_size, np.load(f"{d}/o.npy")


def largest_error(a, b):
    """max |b - a| / (max - min); 0 only if all bits are equal."""
    if a.tobytes() == b.tobytes():
        return 0.0
    wide = a.astype(np.float64)
    error = np.abs(b.reshape(a.shape).astype(np.float64) - wide).max() / (wide.max() - wide.min())
    return max(float(error), np.finfo(np.float64).tiny)


def measurements(a, binary, presets):
    """Name, bound, and a function to bytes and voxels, of everything that is measured."""
    for name, run in GENERAL.items():
        yield name, 0.0, lambda run=run: run(a)
    for preset in presets:
        options = ("--preset", preset)
        yield f"hgv {preset}", 0.0, lambda o=options: hgv(binary, a, *o, "--lossless")
    for preset in presets:
        options = ("--preset", preset, "--max-error-rel", str(BOUND))
        yield f"hgv {preset}, {BOUND}", BOUND, lambda o=options: hgv(binary, a, *o)


def sweep(args):
    out = Path(args.out)
    have = {(r["dataset"], r["codec"]) for r in csv.DictReader(out.open())} if out.exists() else set()
    with out.open("a", newline="") as file:
        writer = csv.writer(file)
        if not have:
            writer.writerow(COLUMNS)
        for name, a in volumes(args):
            head = [name, a.dtype, "x".join(map(str, a.shape[::-1])), a.nbytes]
            for codec, bound, run in measurements(a, args.hgv, args.presets.split(",")):
                if (name, codec) in have:
                    continue
                size, back = run()
                error = largest_error(a, back)
                if error > bound:
                    sys.exit(f"{name}, {codec}: largest error {error:g} of the range, not {bound:g}")
                writer.writerow([*head, codec, size, f"{error:.6g}"])
                file.flush()
                print(name, codec, size, f"{a.nbytes / size:.3f}:1", f"{error:.6g}", file=sys.stderr)


def volumes(args):
    for _, name, a in peers.volumes(args.data, args.only):
        yield name, peers.prepare(a, args.crop) if args.crop else np.ascontiguousarray(a)


# ------------------------------------------------------------------ results

def table(path):
    found = defaultdict(dict)
    for r in csv.DictReader(open(path)):
        found[r["dataset"], r["dtype"], r["dims"]][r["codec"]] = r
    lossless(found)
    bounded(found)


def lossless(found):
    heads = [*GENERAL, *(f"hgv {p}" for p in PRESETS)]
    print("Bytes, lossless. Last column: the smallest hgv against the smaller of zstd and blosc2.\n")
    print("| volume | type | " + " | ".join(heads) + " | hgv against the best |\n" + "|---" * (len(heads) + 3) + "|")
    for (name, dtype, dims), rows in sorted(found.items()):
        size = {h: int(rows[h]["bytes"]) for h in heads if h in rows}
        other = min((v for h, v in size.items() if h in GENERAL), default=None)
        own = min((v for h, v in size.items() if h not in GENERAL), default=None)
        change = f"{100 * (own / other - 1):+.1f} %" if own and other else "-"
        cells = (f"{size[h]:,}" if h in size else "-" for h in heads)
        print(f"| {name} {dims} | {dtype} | " + " | ".join(cells) + f" | {change} |")


def bounded(found):
    heads = [f"hgv {p}, {BOUND}" for p in PRESETS]
    print(f"\nNo voxel off by more than {BOUND} of max - min: bytes (ratio; largest error found, of max - min).\n")
    print("| volume | type | " + " | ".join(PRESETS) + " |\n" + "|---" * 5 + "|")
    for (name, dtype, dims), rows in sorted(found.items()):
        cell = lambda r: (f"{int(r['bytes']):,} ({int(r['raw_bytes']) / int(r['bytes']):.2f}:1; "
                          f"{float(r['largest_error_rel']):.6f})") if r else "-"
        print(f"| {name} {dims} | {dtype} | " + " | ".join(cell(rows.get(h)) for h in heads) + " |")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("data", nargs="*", help="file or folder of volumes")
    ap.add_argument("--hgv", default="target/release/hgv")
    ap.add_argument("--out", default="lossless.csv")
    ap.add_argument("--crop", type=int, default=256)
    ap.add_argument("--presets", default=",".join(PRESETS))
    ap.add_argument("--only", help="part of the name of the volume")
    ap.add_argument("--table", metavar="CSV", help="print the tables of measured rows")
    args = ap.parse_args()
    table(args.table) if args.table else sweep(args)


if __name__ == "__main__":
    peers.import_codecs()
    main()
