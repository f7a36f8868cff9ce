#!/usr/bin/env python3
"""Asks hgv for every kind of quality target, and holds the files against what was asked for.

    targets.py VOLUME... --hgv target/release/hgv --out targets.csv [--presets fast balanced]
               [--crop 128] [--only REGEX] [--work DIR]
    targets.py --report targets.csv... > targets.md

For each volume and preset: encode with each target (list: TARGETS), measure the file with
`hgv compare --json`, which knows nothing of the encoder's own report, and check:

* psnr       0 to 0.3 dB over the target
* ratio      0 to 5 % smaller than asked for; the same for bytes (raw size over 15, 40, 120)
* ssim       smallest margin of the four 0 to 0.01
* max-error-rel, lossless: hold for every voxel

A target may have no encode within tolerance in a volume (SSIM of 1 at all four levels of a float
volume). hgv then says that it is unreachable, or gives integers back exactly; both are listed as
such, with the size, and do not count as a miss. `cost` is the encoder's own: voxels coded over voxels
of the volume, all samples, surveys and choices before the encode included (`EncodeReport::cost`).

Resumable: rows that are in the CSV are not measured again. Volumes: as peers.py; --crop N takes the
centre, sides cut to multiples of 64 up to N. Exit status 1 if anything misses its tolerance.
"""
import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FIELDS = ["volume", "extent", "dtype", "preset", "target", "value", "achieved", "margin", "verdict",
          "passes", "cost", "bytes", "ratio", "psnr", "seconds"]
SSIM = ["0.9,0.95,0.98,0.99", "0.95,0.98,0.99,0.995", "0.8,0.85,0.9,0.95"]
TARGETS = ([("psnr", str(v)) for v in (35, 42, 50)]
           + [("ratio", str(v)) for v in (10, 30, 100)]
           + [("bytes", f"raw/{v}") for v in (15, 40, 120)]
           + [("ssim", v) for v in SSIM]
           + [("max-error-rel", v) for v in ("0.05", "0.01", "0.001")]
           + [("lossless", "")])
TOLERANCE = {"psnr": 0.3, "ratio": 0.05, "bytes": 0.05, "ssim": 0.01}
SIZES = {"uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "float32": 4}


def run(hgv, *words):
    """Result of a command as (JSON, error line)."""
    done = subprocess.run([hgv, *map(str, words), "--json", "--threads", "1"],
                          capture_output=True, text=True)
    if done.returncode == 2 or not done.stdout.strip():
        return None, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no output"
    return json.loads(done.stdout), ""


def margin(kind, value, raw, encoded, compared):
    """(what was reached, how far it is on the right side of the target)."""
    if kind == "psnr":
        got = compared["psnr"]
        return got, None if got is None else got - float(value)
    if kind in ("ratio", "bytes"):
        most = raw / float(value) if kind == "ratio" else float(value)
        return encoded["file_bytes"], 1.0 - encoded["file_bytes"] / most
    if kind == "ssim":
        pairs = [(s, float(w)) for s, w in zip(compared["ssim"], value.split(",")) if s is not None]
        return " ".join(f"{s:.4f}" for s, _ in pairs), min(s - w for s, w in pairs)
    if kind == "max-error-rel":
        return compared["max_rel_error"], float(value) - compared["max_rel_error"]
    return compared["identical"], 0.0 if compared["identical"] else -1.0


def verdict(kind, over, identical):
    if identical and kind in ("psnr", "ssim"):
        return "exact"
    within = over is not None and 0.0 <= over <= TOLERANCE.get(kind, float("inf"))
    return "ok" if within else "MISSED"


def measure(hgv, path, name, preset, kind, value, work):
    """One row."""
    output = work / "out.hgv"
    row = dict.fromkeys(FIELDS, "")
    row |= {"volume": name, "preset": preset, "target": kind, "value": value}
    words = [f"--{kind}"] + ([asked(path, value)] if value else [])
    encoded, error = run(hgv, "encode", path, "-o", output, "--force", "--preset", preset, *words)
    if encoded is None:
        return row | {"achieved": error, "verdict": "unreachable" if "target" in error.lower() else "FAILED"}
    compared, error = run(hgv, "compare", path, output)
    if compared is None:
        return row | {"achieved": error, "verdict": "FAILED"}
    extent, (_, dtype) = encoded["extent"], raw_size(path)
    raw = encoded["ratio"] * encoded["file_bytes"]
    got, over = margin(kind, asked(path, value), raw, encoded, compared)
    output.unlink()
    return row | {"extent": "x".join(map(str, extent)), "dtype": dtype, "achieved": got, "margin": over,
                  "verdict": verdict(kind, over, compared["identical"]), "passes": encoded["passes"],
                  "cost": round(encoded["cost"], 3), "bytes": encoded["file_bytes"],
                  "ratio": round(encoded["ratio"], 3), "psnr": compared["psnr"],
                  "seconds": round(encoded["seconds"], 2)}


def raw_size(path):
    """Bytes of the voxels and their type, from the header of a .npy file."""
    with open(path, "rb") as f:
        head = f.read(256)
    shape = re.search(rb"'shape': \(([^)]*)\)", head)[1]
    dtype = {b"u1": "uint8", b"i1": "int8", b"u2": "uint16", b"i2": "int16",
             b"f4": "float32"}[re.search(rb"'descr': '.(..)'", head)[1]]
    voxels = 1
    for n in shape.split(b","):
        voxels *= int(n) if n.strip() else 1
    return voxels * SIZES[dtype], dtype


def asked(path, value):
    """A value as hgv takes it: raw/40 becomes bytes."""
    if value.startswith("raw/"):
        return str(raw_size(path)[0] // int(value[4:]))
    return value


def as_npy(path, limit, work):
    """The volume, or its centre, as a .npy file."""
    if path.suffix == ".npy" and not limit:
        return path
    import numpy as np
    from peers import import_codecs, load, name_of, prepare
    import_codecs()
    whole = load(path)
    out = work / f"{name_of(path)}.npy"
    np.save(out, np.ascontiguousarray(prepare(whole, limit) if limit else whole))
    return out


def sweep(args):
    done = set()
    if args.out.exists():
        with open(args.out, newline="") as f:
            done = {key(r) for r in csv.DictReader(f)}
    with tempfile.TemporaryDirectory(dir=args.work) as work, open(args.out, "a", newline="") as f:
        table = csv.DictWriter(f, FIELDS)
        if not done and f.tell() == 0:
            table.writeheader()
        for preset in args.presets:
            for volume in args.volumes:
                one_volume(args, volume, preset, done, table, f, Path(work))


def one_volume(args, volume, preset, done, table, f, work):
    name = volume.name.split(".")[0]
    left = [(k, v) for k, v in TARGETS if (name, preset, k, v) not in done
            and re.search(args.only, f"{name} {preset} {k} {v}")]
    if not left:
        return
    path = as_npy(volume, args.crop, work)
    for kind, value in left:
        row = measure(args.hgv, path, name, preset, kind, value, work)
        table.writerow(row)
        f.flush()
        print(*(row[k] for k in ("volume", "preset", "target", "value", "margin", "cost", "verdict")),
              file=sys.stderr)


def key(row):
    return row["volume"], row["preset"], row["target"], row["value"]


# ------------------------------------------------------------------ report

def cell(row):
    if row is None:
        return "-"
    if row["verdict"] in ("unreachable", "FAILED"):
        return row["verdict"]
    if row["verdict"] == "exact":
        return f"exact, {float(row['ratio']):.1f}:1 ({float(row['cost']):.2f})"
    number = float(row["margin"])
    text = {"psnr": f"{number:+.2f} dB", "ssim": f"{number:+.4f}", "max-error-rel": f"{number:+.2e}",
            "lossless": f"{float(row['ratio']):.2f}:1"}.get(row["target"], f"{100 * number:+.1f} %")
    return f"{text} ({float(row['cost']):.2f})" + ("" if row["verdict"] == "ok" else " **MISSED**")


def report(rows):
    """Markdown: one table for each kind of target and preset."""
    by = {key(r): r for r in rows}
    volumes = list(dict.fromkeys(r["volume"] for r in rows))
    presets = list(dict.fromkeys(r["preset"] for r in rows))
    extents = {(r["volume"], r["preset"]): r["extent"] for r in rows if r["extent"]}
    for preset in presets:
        print(f"\n## Preset {preset}\n")
        print(summary([r for r in rows if r["preset"] == preset]))
        for kind in dict.fromkeys(k for k, _ in TARGETS):
            values = [v for k, v in TARGETS if k == kind]
            if not any(r["preset"] == preset and r["target"] == kind for r in rows):
                continue
            print(f"\n| {kind} | voxels | " + " | ".join(v or "lossless" for v in values) + " |")
            print("|---|---|" + "---|" * len(values))
            for volume in volumes:
                cells = [cell(by.get((volume, preset, kind, v))) for v in values]
                if cells != ["-"] * len(values):
                    print(f"| {volume} | {extents.get((volume, preset), '')} | " + " | ".join(cells) + " |")


def summary(rows):
    lines = ["| target | encodes | within tolerance | exact or unreachable | missed | mean cost | largest cost |",
             "|---|---|---|---|---|---|---|"]
    for kind in dict.fromkeys(k for k, _ in TARGETS):
        mine = [r for r in rows if r["target"] == kind]
        costs = [float(r["cost"]) for r in mine if r["cost"]]
        count = lambda *words: sum(r["verdict"] in words for r in mine)
        if mine and costs:
            lines.append(f"| {kind} | {len(mine)} | {count('ok')} | {count('exact', 'unreachable')} | "
                         f"{count('MISSED', 'FAILED')} | {sum(costs) / len(costs):.2f} | {max(costs):.2f} |")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("volumes", nargs="*", type=Path)
    p.add_argument("--hgv", type=Path, default=Path("target/release/hgv"))
    p.add_argument("--presets", nargs="+", default=["fast", "balanced"])
    p.add_argument("--crop", type=int, default=0, help="side of the centre that is taken; 0 = everything")
    p.add_argument("--only", default="", help="regular expression over 'volume preset target value'")
    p.add_argument("--out", type=Path, default=Path("targets.csv"))
    p.add_argument("--work", type=Path, help="folder for temporary files")
    p.add_argument("--report", nargs="+", type=Path, help="print tables of these CSV files instead")
    args = p.parse_args()
    files = args.report or [args.out]
    if not args.report:
        sweep(args)
    rows = []
    for path in files:
        with open(path, newline="") as f:
            rows += list(csv.DictReader(f))
    if args.report:
        report(rows)
    return 1 if any(r["verdict"] in ("MISSED", "FAILED") for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
