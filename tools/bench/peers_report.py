#!/usr/bin/env python3
"""The report tools/bench/results/peers.md from measured points.

    peers_report.py --hgv hgv.csv --peers peers-points.csv --same-run peers-same-run.csv \
        --blocks block-speed.csv > peers.md

`--blocks` is what hgv-block-speed prints for the crops that `peers.py --dump-crops` writes: its kinds dense, dense-balanced and
dense-best, one after the other. `--peers` are the points that sizes are compared with; speeds compare within one run only, so the
peers' speeds come from `--same-run`, measured in turns with hgv. `peers_notes.md` beside this
script is the part in words.
"""
import argparse, csv, math, statistics, subprocess, sys
from collections import defaultdict
from pathlib import Path

import bdrate
from large import machine

HERE = Path(__file__).resolve().parent
CODECS = ("hgv-fast", "hgv-balanced", "hgv-best", "hgv-balanced-l3", "hgv-best-l3", "hgv-balanced-b128",
          "hgv-best-b128")
KINDS = {"dense": "fast", "dense-balanced": "balanced", "dense-best": "best"}
METRICS = ("psnr", "ssim")
MODES = ("chunk64", "whole")


def geometric(percents):
    return 100 * (math.exp(statistics.mean(math.log1p(p / 100) for p in percents)) - 1)


def table(heads, rows, left=1):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * left + "---:|" * (len(heads) - left)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def deltas(hgv, peers, codec, metric):
    """{volume: {(peer, mode) or ("best", mode): percent}} of one hgv codec."""
    ours, theirs = bdrate.curves(hgv, metric), bdrate.curves(peers, metric)
    strong, out = bdrate.STRONG.split(","), {}
    for volume in sorted({k[0] for k in ours if k[1] == codec}):
        mine = bdrate.curve(ours[volume, codec, "whole"], 8, 250)
        if mine is None:
            continue
        got = {(p, m): bdrate.curve(theirs[volume, p, m]) for m in MODES for p in strong if (volume, p, m) in theirs}
        row = {key: bdrate.delta(mine, [c]) for key, c in got.items() if c}
        for mode in MODES:
            row["best", mode] = bdrate.delta(mine, [c for (_, m), c in got.items() if m == mode and c])
        out[volume] = {k: v for k, v in row.items() if v is not None}
    return out


def summary(all_deltas):
    """Geometric means over the volumes."""
    peers = [("best", m) for m in MODES] + [(p, m) for m in MODES for p in bdrate.STRONG.split(",")]
    rows = []
    for (codec, metric), by_volume in all_deltas.items():
        cells = []
        for peer in peers:
            values = [row[peer] for row in by_volume.values() if peer in row]
            cells.append(f"{geometric(values):+.1f}" if values else "-")
        rows.append([codec, metric.upper(), str(len(by_volume)), *cells])
    return table(["codec", "at equal", "volumes", *(f"{p} {m}" for p, m in peers)], rows, 3)


def losses(all_deltas):
    """For each volume, the peers that need fewer bytes than hgv-best and hgv-balanced."""
    rows, codecs = [], ("hgv-best", "hgv-balanced")
    for metric in METRICS:
        for volume in sorted({v for c in codecs for v in all_deltas[c, metric]}):
            rows.append([volume, metric.upper()])
            for codec in codecs:
                row = all_deltas[codec, metric].get(volume, {})
                lost = sorted(((v, f"{p} {m}") for (p, m), v in row.items() if v > 0 and p != "best"), reverse=True)
                rows[-1].append(", ".join(f"{name} ({v:+.1f} %)" for v, name in lost) or ("nobody" if row else "-"))
    return table(["volume", "at equal", *(f"fewer bytes than {c} (what hgv needs more)" for c in codecs)], sorted(rows), 4)


def measured(hgv):
    """Codecs of ours that have points, in order."""
    with open(hgv) as file:
        found = {row["codec"] for row in csv.DictReader(file)}
    return [c for c in CODECS if c in found]


def inside(hgv):
    """What the presets and the levels cost, against hgv-balanced."""
    rows = []
    curves = {m: bdrate.curves(hgv, m) for m in METRICS}
    for codec in measured(hgv):
        if codec == "hgv-balanced":
            continue
        for metric in METRICS:
            found = {}
            for volume in sorted({k[0] for k in curves[metric]}):
                pair = [bdrate.curve(curves[metric][volume, c, "whole"], 8, 250) for c in (codec, "hgv-balanced")]
                found[volume] = bdrate.delta(pair[0], [pair[1]]) if all(pair) else None
            values = [v for v in found.values() if v is not None]
            rows.append([codec, metric.upper(), f"{geometric(values):+.1f}", f"{min(values):+.1f}", f"{max(values):+.1f}"])
    return table(["codec", "at equal", "mean", "least", "most"], rows, 2)


BYTES = {"uint8": 1, "int8": 1, "int16": 2, "uint16": 2, "float32": 4}


def near_30(path):
    """{volume: {(codec, mode): row nearest 30:1}}."""
    out = defaultdict(dict)
    with open(path) as file:
        for row in csv.DictReader(file):
            distance, key = abs(math.log(float(row["ratio"]) / 30)), (row["codec"], row["mode"])
            if key not in out[row["dataset"]] or distance < out[row["dataset"]][key][0]:
                out[row["dataset"]][key] = (distance, row)
    return {v: {k: row for k, (_, row) in rows.items()} for v, rows in out.items()}


def speeds(row):
    """Encode and decode, million voxels per CPU second."""
    voxels = int(row["raw_bytes"]) / BYTES[row["dtype"]] / 1e6
    return [f"{voxels / float(row[c]):.3g}" for c in ("enc_s", "dec_s")]


def memory(rows, codec, mode):
    return [f"{float(v):.0f}" if (v := rows[codec, mode].get(c)) else "-" for c in ("enc_peak_mib", "dec_peak_mib")]


def with_peaks(path, near):
    """The one row of a sweep that has peaks may lie beside the one nearest 30:1."""
    with open(path) as file:
        for row in csv.DictReader(file):
            best = near[row["dataset"]][row["codec"], row["mode"]]
            for column in ("enc_peak_mib", "dec_peak_mib"):
                best[column] = best.get(column) or row.get(column)
    return near


def speed_table(path):
    near, rows, codecs = with_peaks(path, near_30(path)), [], measured(path)
    for volume, found in sorted(near.items()):
        cells = [volume]
        for codec in codecs:
            cells += speeds(found[codec, "whole"]) if (codec, "whole") in found else ["-", "-"]
        cells += memory(found, "hgv-balanced", "whole")
        cells.append(f"{int(found['hgv-balanced', 'whole']['raw_bytes']) / 2**20:.0f}")
        rows.append(cells)
    medians = [f"{statistics.median(float(r[i]) for r in rows if r[i] != '-'):.3g}" for i in range(1, 1 + 2 * len(codecs))]
    rows.append(["median", *medians, "", "", ""])
    heads = ["volume"] + [f"{c[4:]} {w}" for c in codecs for w in ("enc", "dec")]
    return table([*heads, "balanced enc MiB", "balanced dec MiB", "volume MiB"], rows)


def same_run(hgv, path):
    near, ours, rows = with_peaks(path, near_30(path)), with_peaks(hgv, near_30(hgv)), []
    for volume, found in sorted(near.items()):
        both = found if any(c.startswith("hgv") for c, _ in found) else {**found, **ours[volume]}
        for key in sorted(both):
            row = both[key]
            rows.append([volume, *key, f"{float(row['ratio']):.0f}", f"{float(row['psnr']):.1f}", *speeds(row), *memory(both, *key)])
    return table(["volume", "codec", "mode", "ratio", "PSNR", "encode", "decode", "enc MiB", "dec MiB"], rows, 3)


def block_table(path, types):
    """Encode and decode of blocks in memory on the widest vectors; means over volumes of integers."""
    found = defaultdict(dict)
    with open(path) as file:
        for row in csv.DictReader(file):
            found[row["volume"]][KINDS.get(row["kind"])] = row     # the widest vectors come last
    kinds = [k for k in KINDS.values() if any(k in rows for rows in found.values())]
    columns = [(kind, key) for kind in kinds for key in ("encode_mvoxel_s", "decode_mvoxel_s")]
    value = lambda volume, column: float(found[volume][column[0]][column[1]])
    rows = [[v, *(f"{value(v, c):.3g}" if c[0] in found[v] else "-" for c in columns)] for v in sorted(found)]
    integers = [v for v in found if types.get(v, "float32") != "float32"]
    means = [statistics.geometric_mean(value(v, c) for v in integers if c[0] in found[v]) for c in columns]
    rows.append(["geometric mean, integers", *(f"{m:.3g}" for m in means)])
    return table(["volume", *(f"{kind} {key[:6]}" for kind, key in columns)], rows)


def types_of(path):
    with open(path) as file:
        return {row["dataset"]: row["dtype"] for row in csv.DictReader(file)}


def full(hgv, peers, codec, metric):
    done = subprocess.run([sys.executable, HERE / "bdrate.py", hgv, "--codec", codec, "--peers", peers,
                           "--metric", metric], check=True, capture_output=True, text=True)
    return done.stdout.rstrip().splitlines()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--hgv", required=True)
    ap.add_argument("--peers", required=True)
    ap.add_argument("--same-run", required=True)
    ap.add_argument("--blocks", required=True)
    a = ap.parse_args()
    found = {(c, m): deltas(a.hgv, a.peers, c, m) for m in METRICS for c in measured(a.hgv)}
    out = ["# hgv beside other codecs", "", f"Written by `tools/bench/peers_report.py`. Machine: {machine()}.", ""]
    out += (HERE / "peers_notes.md").read_text().rstrip().splitlines()
    out += ["", "## Bytes at equal quality: geometric means, percent more (+) or fewer (-) than the peer", "",
            *summary(found), "", "## What a preset and three levels cost, percent of the bytes of hgv-balanced", "",
            *inside(a.hgv), "", "## Who needs fewer bytes, by volume", "", *losses(found),
            "", "## Speed near 30:1 (million voxels per CPU second, one thread) and peak memory", "",
            *speed_table(a.hgv), "", "## The codec alone near 30:1: blocks in memory, million voxels per CPU second, one thread", "",
            *block_table(a.blocks, types_of(a.hgv)), "", "## Speed and memory of peers in the same run", "", *same_run(a.hgv, a.same_run)]
    for (codec, metric) in found:
        out += ["", f"## {codec}: bytes at equal {metric.upper()}, percent", "", *full(a.hgv, a.peers, codec, metric)]
    print("\n".join(out))


if __name__ == "__main__":
    main()
