#!/usr/bin/env python3
"""Markdown tables from the CSV that peers.py writes.

    peers_summary.py results.csv > tables.md

Numbers at a given ratio are interpolated: PSNR linear in log(ratio), SSIM as
-log10(1 - SSIM) linear in log(ratio), along the Pareto front (PSNR, ratio) of
the measured points. Nothing is extrapolated: "-" where the sweep has no point
on one side. "~" where the two points used are more than a factor 3 apart and
neither is near.
"""
import csv, math, statistics, sys
from collections import defaultdict

ORDER = ["hgv-fast", "hgv-balanced", "hgv-balanced-l3", "hgv-best", "hgv-best-l3", "hgv-balanced-b128", "hgv-best-b128", "hgv-hashgrid",
         "zfp-rate", "zfp-acc", "sz3", "mgard", "sperr", "tthresh", "htj2k-2d", "x265",
         "x265-slow"]
LOSSLESS = ["zstd3", "blosc2-zstd5-bitshuffle"]


def front(rows, q="psnr"):
    pts = sorted(((float(r["ratio"]), float(r["psnr"]), r) for r in rows
                  if math.isfinite(float(r["psnr"]))), key=lambda t: (-t[0], -t[1]))
    out, best = [], -1e9
    for ratio, p, r in pts:                    # from the highest ratio down
        if p > best + 1e-6:
            out.append((ratio, p, r)); best = p
    return out[::-1]                           # ratio ascending


def lerp(x, xs, ys):
    for (x0, y0), (x1, y1) in zip(zip(xs, ys), zip(xs[1:], ys[1:])):
        if min(x0, x1) <= x <= max(x0, x1):
            t = 0 if x1 == x0 else (x - x0) / (x1 - x0)
            return y0 + t * (y1 - y0)
    return None


class Rough(float):
    """interpolated over a wide gap"""


def wide(f, lo, hi, key):
    """are the neighbours of this value more than 3x apart in ratio?"""
    for a, b in zip(f, f[1:]):
        if min(key(a), key(b)) <= lo <= max(key(a), key(b)):
            if b[0] / a[0] <= 3:
                return False
            d = abs(key(b) - key(a))             # close to one end is good enough
            return min(abs(lo - key(a)), abs(lo - key(b))) > 0.15 * d
    return False


def nines(s):
    return -math.log10(max(1 - s, 1e-7))


def at_ratio(rows, ratio, col):
    f = front(rows)
    if not f:
        return None
    xs = [math.log(t[0]) for t in f]
    x = math.log(ratio)
    for t in f:                                # a point within 1.5 % is taken as it is
        if abs(math.log(t[0]) - x) < 0.015:
            return float(t[2][col])
    kind = Rough if wide(f, x, x, lambda t: math.log(t[0])) else float
    if col.startswith("psnr"):
        y = lerp(x, xs, [float(t[2][col]) for t in f])
        return None if y is None else kind(y)
    v = [float(t[2][col]) for t in f]
    if any(math.isnan(s) for s in v):
        return None
    y = lerp(x, xs, [nines(s) for s in v])
    return None if y is None else kind(1 - 10 ** -y)


def ratio_at(rows, psnr):
    f = front(rows)
    y = lerp(psnr, [t[1] for t in f], [math.log(t[0]) for t in f]) if len(f) > 1 else None
    kind = Rough if wide(f, psnr, psnr, lambda t: t[1]) else float
    return None if y is None else kind(math.exp(y))


def speed(rows, col, ratio=30):
    ok = [r for r in rows if r[col]]
    if not ok:
        return None
    r = min(ok, key=lambda r: abs(math.log(float(r["ratio"]) / ratio)))
    return float(r[col])


def memory(rows, col):
    """the one measured point; None in files without the column"""
    v = [float(r[col]) for r in rows if r.get(col)]
    return max(v, default=None)


def fmt(v, f):
    return "-" if v is None or math.isnan(v) else ("~" if isinstance(v, Rough) else "") + format(float(v), f)


def main():
    data = defaultdict(lambda: defaultdict(list))
    info = {}
    for path in sys.argv[1:]:
        for r in csv.DictReader(open(path)):
            data[r["dataset"]][(r["codec"], r["mode"])].append(r)
            info[r["dataset"]] = (r["split"], r["dtype"], r["dims"], int(r["raw_bytes"]))
    names = sorted(data, key=lambda n: (info[n][0], n))
    wins = defaultdict(lambda: defaultdict(list))
    for mode in ("whole", "chunk64"):
        for tgt in (8, 16, 30, 60, 100, 200):
            for n in names:
                v = {c: at_ratio(data[n][(c, mode)], tgt, "psnr")
                     for c in ORDER if data[n].get((c, mode))}
                v = sorted(((p, c) for c, p in v.items() if p is not None), reverse=True)
                if v:
                    gap = v[0][0] - v[1][0] if len(v) > 1 else float("nan")
                    wins[mode][tgt].append((n, v[0][1], v[0][0], v[1][1] if len(v) > 1 else "-", gap))
    print("## Best PSNR at a given ratio (best codec: dB, +margin to second)\n")
    for mode in ("whole", "chunk64"):
        print(f"### {mode}\n")
        t = [8, 16, 30, 60, 100, 200]
        print("| dataset | " + " | ".join(f"{r}:1" for r in t) + " |")
        print("|---|" + "---|" * len(t))
        for n in names:
            cells = []
            for r in t:
                w = next((w for w in wins[mode][r] if w[0] == n), None)
                cells.append(f"{w[1]} {fmt(w[2], '.1f')} (+{w[4]:.1f} {w[3]})" if w else "-")
            print(f"| {n} | " + " | ".join(cells) + " |")
        print()
    print("## Mean over datasets\n")
    print("gap = mean of (PSNR - best codec's PSNR in the same mode and dataset), dB; n = datasets "
          "where the codec reaches that ratio; block cost = mean of (chunk64 - whole), dB.\n")
    print("| codec | " + " | ".join(f"{m} gap {r}:1 (n)" for m in ("whole", "chunk64")
                                  for r in (8, 30, 100)) + " | block cost 30:1 | block cost 100:1 |")
    print("|---|" + "---:|" * 8)
    best = {(m, r, n): max([v for c in ORDER if data[n].get((c, m)) and
                            (v := at_ratio(data[n][(c, m)], r, "psnr")) is not None], default=None)
            for m in ("whole", "chunk64") for r in (8, 30, 100) for n in names}
    for c in ORDER:
        if not any((c, "whole") in data[n] for n in names):
            continue
        cells = []
        for m in ("whole", "chunk64"):
            for r in (8, 30, 100):
                g = [v - best[(m, r, n)] for n in names if data[n].get((c, m)) and
                     (v := at_ratio(data[n][(c, m)], r, "psnr")) is not None]
                cells.append(f"{statistics.mean(g):.1f} ({len(g)})" if g else "-")
        for r in (30, 100):
            g = []
            for n in names:
                a, b = (at_ratio(data[n].get((c, m), []), r, "psnr") for m in ("whole", "chunk64"))
                if a is not None and b is not None and info[n][3] > 3e6:
                    g.append(b - a)
            cells.append(f"{statistics.mean(g):.1f} ({len(g)})" if g else "-")
        print(f"| {c} | " + " | ".join(cells) + " |")
    print()
    print("## Per dataset\n")
    for n in names:
        split, dt, dims, raw = info[n]
        ll = "; ".join(f"{c} {m} {float(data[n][(c, m)][0]['ratio']):.2f}:1"
                       for c in LOSSLESS for m in ("whole", "chunk64") if data[n].get((c, m)))
        print(f"### {n} ({split}; {dt}, {dims}, {raw/1e6:.1f} MB)\n")
        print(f"Lossless: {ll}\n")
        print("| codec | mode | PSNR 30:1 | SSIM 30:1 | PSNR 100:1 | SSIM 100:1 | SSIM/2 100:1 "
              "| SSIM/4 100:1 | SSIM/8 100:1 | ratio 40 dB | ratio 45 dB | ratio 50 dB "
              "| enc MB/s | dec MB/s |")
        print("|---|---|" + "---:|" * 12)
        for c in ORDER:
            for m in ("whole", "chunk64"):
                rows = data[n].get((c, m))
                if not rows:
                    continue
                print(f"| {c} | {m} | {fmt(at_ratio(rows, 30, 'psnr'), '.1f')} "
                      f"| {fmt(at_ratio(rows, 30, 'ssim'), '.4f')} "
                      f"| {fmt(at_ratio(rows, 100, 'psnr'), '.1f')} "
                      f"| {fmt(at_ratio(rows, 100, 'ssim'), '.4f')} "
                      f"| {fmt(at_ratio(rows, 100, 'ssim_l1'), '.4f')} "
                      f"| {fmt(at_ratio(rows, 100, 'ssim_l2'), '.4f')} "
                      f"| {fmt(at_ratio(rows, 100, 'ssim_l3'), '.4f')} "
                      f"| {fmt(ratio_at(rows, 40), '.0f')} | {fmt(ratio_at(rows, 45), '.0f')} "
                      f"| {fmt(ratio_at(rows, 50), '.0f')} "
                      f"| {fmt(speed(rows, 'enc_mb_s'), '.3g')} "
                      f"| {fmt(speed(rows, 'dec_mb_s'), '.3g')} |")
        print()
    print("## Speed near 30:1, million voxels per CPU second (median over datasets)\n")
    print("| codec | mode | encode | decode | encode, zfp-acc = 1 | decode, zfp-acc = 1 |")
    print("|---|---|---:|---:|---:|---:|")
    base = {}
    for c in ["zfp-acc"] + [c for c in LOSSLESS + ORDER if c != "zfp-acc"]:
        for m in ("whole", "chunk64"):
            e, d, re_, rd = [], [], [], []
            for n in names:
                rows = data[n].get((c, m))
                if not rows or info[n][3] < 2e6:
                    continue
                size = {"uint8": 1, "int8": 1, "int16": 2, "uint16": 2}.get(info[n][1], 4)
                x, y = speed(rows, "enc_mb_s") / size, speed(rows, "dec_mb_s") / size
                if c == "zfp-acc":
                    base[(n, m)] = (x, y)
                e.append(x); d.append(y)
                if (n, m) in base:
                    re_.append(x / base[(n, m)][0]); rd.append(y / base[(n, m)][1])
            if e:
                md = statistics.median
                print(f"| {c} | {m} | {md(e):.3g} | {md(d):.3g} | "
                      f"{md(re_) if re_ else float('nan'):.3g} | {md(rd) if rd else float('nan'):.3g} |")
    print("\n## Peak memory near 30:1, bytes per byte of the volume (median over datasets)\n")
    print("| codec | mode | encode | decode |")
    print("|---|---|---:|---:|")
    for c in LOSSLESS + ORDER:
        for m in ("whole", "chunk64"):
            both = [[v * 2**20 / info[n][3] for n in names if info[n][3] >= 2e6
                     and (v := memory(data[n].get((c, m), []), col)) is not None]
                    for col in ("enc_peak_mib", "dec_peak_mib")]
            if both[0] and both[1]:
                print(f"| {c} | {m} | {statistics.median(both[0]):.2f} | {statistics.median(both[1]):.2f} |")


if __name__ == "__main__":
    main()
