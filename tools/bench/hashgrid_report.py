#!/usr/bin/env python3
"""The report tools/bench/results/hashgrid.md from measured points, all in tools/bench/results:

    peers.py dev=FOLDER --modes whole --codecs hgv-hashgrid --hgv BIN --out hashgrid-points.csv
    peers.py dev=FOLDER --dump-crops CROPS --list --out /dev/null
    for NAME in hashgrid hashgrid-t17 hashgrid-t15 plain:
        hgv-rd NAME 64 1 EVERY CROPS/*.npy >> hashgrid-blocks.csv        (EVERYth block)
    for NAME in dense auto-best:
        hgv-rd NAME 64 1 AUTO CROPS/*.npy >> hashgrid-blocks.csv
    hgv-block-speed hashgrid CROPS/*.npy > hashgrid-speed.csv
    hashgrid_report.py --every EVERY --auto AUTO > hashgrid.md

`peers-points.csv` holds the points of the peers.
"""
import argparse, csv
from collections import defaultdict
from pathlib import Path

import bdrate
from large import machine
from peers_report import geometric, table

RESULTS = Path(__file__).resolve().parent / "results"


def rows(name):
    with open(RESULTS / name) as file:
        return [r for r in csv.DictReader(file) if r.get("codec") != "codec"]


def near(points, ratio):
    """The point whose ratio is nearest, as a factor."""
    return min(points, key=lambda r: abs(max(float(r["ratio"]), ratio) / min(float(r["ratio"]), ratio)))


def against(mine, theirs):
    """Percent more bytes at equal PSNR, over the ratios 8 to 250 of `mine`."""
    ours, peer = bdrate.curve(mine, 8, 250), bdrate.curve(theirs)
    return bdrate.delta(ours, [peer]) if ours and peer else None


def signed(value):
    return "-" if value is None else f"{value:+.1f}"


def mean(values):
    known = [v for v in values if v is not None]
    return f"**{geometric(known):+.1f}**" if known else "-"


def files():
    """Whole files beside SPERR on independent blocks."""
    ours = bdrate.curves(RESULTS / "hashgrid-points.csv", "psnr")
    peers = bdrate.curves(RESULTS / "peers-points.csv", "psnr")
    dense = bdrate.curves(RESULTS / "hgv.csv", "psnr")
    points = defaultdict(list)
    for r in rows("hashgrid-points.csv"):
        points[r["dataset"]].append(r)
    out, sums = [], defaultdict(list)
    for volume in sorted(points):
        mine = ours[volume, "hgv-hashgrid", "whole"]
        sperr = against(mine, peers[volume, "sperr", "chunk64"])
        wavelets = against(mine, dense[volume, "hgv-balanced", "whole"])
        sums["sperr"].append(sperr)
        sums["dense"].append(wavelets)
        p = near(points[volume], 30.0)
        voxels = 8 * float(p["bytes"]) / float(p["bpv"]) / 1e6
        out.append([volume, signed(sperr), signed(wavelets), f"{float(p['ratio']):.0f}:1",
                    f"{float(p['bpv']):.3f}", f"{float(p['psnr']):.1f}",
                    f"{voxels / float(p['enc_s']):.2f}", f"{voxels / float(p['dec_s']):.0f}"])
    out.append(["geometric mean", mean(sums["sperr"]), mean(sums["dense"])] + [""] * 5)
    heads = ["volume", "% bytes against SPERR-64³", "against `dense`", "point near 30:1", "bits/voxel",
             "PSNR dB", "encode Mvoxel/s", "decode Mvoxel/s"]
    return table(heads, out)


def blocks():
    """Methods on the same blocks, payloads only."""
    curves = bdrate.curves(RESULTS / "hashgrid-blocks.csv", "psnr")
    pairs = [("plain", "hashgrid"), ("hashgrid-t17", "hashgrid"), ("hashgrid-t15", "hashgrid"),
             ("auto-best", "dense")]
    volumes = sorted({k[0] for k in curves})
    out, sums = [], defaultdict(list)
    for volume in volumes:
        row = [volume]
        for mine, base in pairs:
            value = against(curves.get((volume, mine, "whole"), []),
                            curves.get((volume, base, "whole"), []))
            sums[mine].append(value)
            row.append(signed(value))
        out.append(row)
    out.append(["geometric mean", *(mean(sums[m]) for m, _ in pairs)])
    return table(["volume", *(f"`{a}` against `{b}`" for a, b in pairs)], out)


def speed():
    by = defaultdict(list)
    for r in rows("hashgrid-speed.csv"):
        by[r["volume"]].append(r)
    levels = list(dict.fromkeys(r["decode_level"] for r in rows("hashgrid-speed.csv")))
    out = []
    for volume, found in sorted(by.items()):
        speeds = {r["decode_level"]: r["decode_mvoxel_s"] for r in found}
        out.append([volume, f"{found[0]['ratio']}:1", found[0]["encode_mvoxel_s"],
                    *(speeds.get(level, "-") for level in levels)])
    return table(["volume", "ratio", "encode Mvoxel/s", *(f"decode, {level}" for level in levels)], out)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, required=True, help="which blocks hgv-rd was given")
    parser.add_argument("--auto", type=int, required=True, help="the same for dense and auto-best")
    args = parser.parse_args()
    text = (Path(__file__).resolve().parent / "hashgrid_notes.md").read_text()
    text = text.replace("MACHINE", machine()).replace("EVERY", str(args.every))
    text = text.replace("AUTO", str(args.auto))
    for name, lines in (("FILES", files), ("BLOCKS", blocks), ("SPEED", speed)):
        text = text.replace(f"TABLE {name}", "\n".join(lines()))
    print(text, end="")


if __name__ == "__main__":
    main()
