#!/usr/bin/env python3
"""stream.csv, stream.md and stream-*.png from the sessions in a work folder.

    report.py WORK RESULTS --side 2048 --patience 120
"""

import argparse
import csv
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib import ticker  # noqa: E402

FORMATS = ["hgv", "raw", "zarr", "precomputed"]
LABELS = {
    "hgv": "hgv",
    "raw": "raw bricks",
    "zarr": "OME-Zarr, blosc-zstd",
    "precomputed": "precomputed, jpeg",
}
COLOURS = {"hgv": "#c0392b", "raw": "#7f8c8d", "zarr": "#2980b9", "precomputed": "#27ae60"}
VOLUMES = ["ct", "em", "porous"]
MISSED = " **miss**"


def sessions(work):
    """All sessions by (volume, link, format)."""
    found = {}
    for path in sorted(work.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            s = json.loads(line)
            found[s["volume"], (s["mbit"], s["ms"]), s["format"]] = s
    return found


def sizes(work):
    """Bytes of each volume in each format."""
    out = {}
    for site in (work / "site").iterdir():
        for name in FORMATS:
            place = site / ("volume.hgv" if name == "hgv" else name)
            files = [place] if place.is_file() else place.rglob("*")
            out[site.name, name] = sum(f.stat().st_size for f in files if f.is_file())
    return out


def at(session, key, what):
    moment = session[key]
    return None if moment is None else moment[what]


def number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def mega(value):
    return "-" if value is None else f"{value / 1e6:.3f}" if value < 1e7 else f"{value / 1e6:.1f}"


def write_csv(found, path):
    columns = ["volume", "mbit", "ms", "format"]
    moments = ["first", "there", "there_decoded", "last", "end"]
    with open(path, "w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        names = [f"{m}_{w}" for m in moments for w in ("s", "bytes")]
        table.writerow(columns + names + ["ssim_end", "settled", "requests", "connections"])
        for s in found.values():
            row = [s[c] for c in columns]
            for m in moments:
                seconds = at(s, m, "seconds")
                row += ["" if seconds is None else f"{seconds:.3f}", at(s, m, "bytes")]
            row += [f"{s['ssim']:.4f}", int(s["settled"]), s["requests"], s["connections"]]
            table.writerow(row)


def rank(found, volume, link):
    """Seconds to the first picture of every format on a link."""
    here = {f: found.get((volume, link, f)) for f in FORMATS}
    return {f: at(s, "first", "seconds") for f, s in here.items() if s}


def claims(found, volumes, links):
    """How hgv stands on each link, with what it misses."""
    lines = [
        "| volume | link | bytes of hgv / raw bricks | / OME-Zarr | / precomputed | first to the first picture |",
        "|---|---|---:|---:|---:|---|",
    ]
    for volume in volumes:
        for link in links:
            own = found.get((volume, link, "hgv"))
            if not own:
                continue
            cells = []
            for peer, most in (("raw", 0.1), ("zarr", 0.25), ("precomputed", None)):
                other = found.get((volume, link, peer))
                cells.append(ratio(own, other, most))
            first = rank(found, volume, link)
            best = min((t for t in first.values() if t is not None), default=None)
            mine = first.get("hgv")
            is_first = mine is not None and mine == best
            cells.append("yes" if is_first else "no" + MISSED)
            lines.append(f"| {volume} | {link[0]} Mbit/s, {link[1]} ms | " + " | ".join(cells) + " |")
    return lines


def ratio(own, other, most):
    mine = at(own, "there", "bytes")
    theirs = other and at(other, "there", "bytes")
    if mine is None:
        return "hgv not there" + (MISSED if most else "")
    if theirs is None:
        # What the peer had taken when its time was over is less than what it would have taken.
        if not other:
            return "-"
        bound = mine / at(other, "last", "bytes")
        return f"< {bound:.3f}" + (MISSED if most and bound > most else "")
    value = mine / theirs
    return f"{value:.3f}" + (MISSED if most and value > most else "")


def table(found, volume, links):
    lines = [
        "| link | format | first picture s | MB | SSIM 0.95 s | MB | with decoding s | all s | MB | requests | SSIM at the end |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for link in links:
        for name in FORMATS:
            s = found.get((volume, link, name))
            if not s:
                continue
            end = number(at(s, "end", "seconds"), 1) if s["settled"] else "not done"
            cells = [
                f"{link[0]} Mbit/s, {link[1]} ms" if name == "hgv" else "",
                LABELS[name],
                number(at(s, "first", "seconds"), 2),
                mega(at(s, "first", "bytes")),
                number(at(s, "there", "seconds"), 2),
                mega(at(s, "there", "bytes")),
                number(at(s, "there_decoded", "seconds"), 2),
                end,
                mega(at(s, "end", "bytes")),
                str(s["requests"]),
                f"{s['ssim']:.4f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def plot(found, volumes, links, path, over_time):
    grid, axes = plt.subplots(
        len(volumes), len(links), figsize=(3.4 * len(links), 2.7 * len(volumes)), squeeze=False
    )
    for row, volume in zip(axes, volumes):
        for axis, link in zip(row, links):
            for name in FORMATS:
                s = found.get((volume, link, name))
                if not s or not s["curve"]:
                    continue
                x = [p[0] if over_time else p[1] / 1e6 for p in s["curve"]]
                axis.plot(x, [p[2] for p in s["curve"]], color=COLOURS[name], label=LABELS[name])
            axis.axhline(0.95, color="black", linewidth=0.5, linestyle=":")
            axis.set_xscale("log")
            axis.xaxis.set_minor_formatter(ticker.NullFormatter())
            axis.set_ylim(0, 1.02)
            axis.set_title(f"{volume}, {link[0]} Mbit/s, {link[1]} ms", fontsize=8)
            axis.tick_params(labelsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("seconds" if over_time else "MB over the link", fontsize=8)
    for row in axes:
        row[0].set_ylabel("SSIM to the final view", fontsize=8)
    axes[0][0].legend(fontsize=6)
    grid.tight_layout()
    grid.savefig(path, dpi=110)
    plt.close(grid)


METHOD = """
## Method

* Volumes, all uint8: `ct` = ct_vhf_head, 512 x 512 x 234, stored values over 10 cut to 0..255 (-1024 to 1535 HU);
  `em` = em_fib25_320, 320^3; `porous` = `hgv-generate porous`, {side}^3. The first two are real.
* hgv: `hgv encode VOLUME -o volume.hgv`, nothing else (quality 60, three quality levels, 64^3 blocks, preset balanced; the generated volume with preset fast).
* Raw bricks: 64^3, one file, Morton order, coarsest level first; places follow from the header.
* OME-Zarr 0.5 (zarr-python): shards of 512^3, chunks of 64^3, blosc-zstd level 5 with shuffle, index at the start of a shard,
  chunks in Morton order, metadata of all levels in one file.
* neuroglancer precomputed (tensorstore): chunks of 64^3, jpeg quality 85 (the default of cloud-volume), sharded,
  identity hash, 512 chunks a minishard, up to 8 minishards a shard, packed minishard indices.
* Levels of the peers: means of 2 x 2 x 2 until one chunk holds all.
* One client for all formats: `hgv::stream::Streamer` with its default budgets (24 fetches, 16 MiB under way) and a tolerance of
  a 500th of the span of the transfer function. It joins neighbours of any format in one request. What a client would have to
  ask the server on account of the lengths of files is not counted for the peers. Peers have no value ranges of
  blocks, so nothing transparent is left out but chunks that the format itself leaves out; hgv has them.
* One nginx (Debian package, static files, `tools/bench/stream/nginx.conf`) on loopback behind a proxy in the process of the client:
  half the round trip each way, one token bucket for each direction that all connections share, a round trip for a new
  connection; measured within 5 % by tests. No loss, no slow start: formats of many small requests would suffer more from those.
* The camera flies three seconds around the volume and three down to it, ten looks a second with its velocity, then rests. A
  session ends when nothing more is wanted, or after {patience} s ("not done").
* Bytes: both ways over the link, heads of HTTP included, opening included, all that is fetched on the way included.
* First picture: every block of the coarsest level in view is decoded.
* SSIM: 400 x 300 pixels drawn by `hgv::render` with a step of a voxel, 8-bit luminance, windows of 7 x 7, against the picture drawn from the original
  voxels (full resolution, or voxels under half a pixel where the view is far). At each moment: the final view, drawn
  from the blocks that had arrived then. The moment of SSIM 0.95 is found by bisection among the answers. What the index says of
  constant and transparent blocks is taken as it was at the end.
* Columns "s" of SSIM 0.95 count when the bytes arrive, as if decoding took no time; "with decoding" when all of
  them were decoded in the session itself, by two threads on a 2-core virtual machine that was busy with other work as well, so this
  column says little but that hgv takes more of the processor than its peers. Sessions of hgv ran two at a
  time, those of the peers four at a time: 220 Mbit/s together, which is no load.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--patience", type=int, default=120)
    args = parser.parse_args()
    found = sessions(args.work)
    volumes = [v for v in VOLUMES if any(k[0] == v for k in found)]
    links = sorted({k[1] for k in found})
    size = sizes(args.work)
    write_csv(found, args.results / "stream.csv")
    plot(found, volumes, links, args.results / "stream-bytes.png", False)
    plot(found, volumes, links, args.results / "stream-time.png", True)
    lines = [
        "# Streaming beside raw bricks, OME-Zarr and neuroglancer precomputed",
        "",
        "Written by `tools/bench/stream/run.sh`" + (" --quick" if args.side < 2048 else "") + "; all numbers in `stream.csv`.",
        "",
        "## Bytes to SSIM 0.95 of the final view, and the first picture",
        "",
        "The aim: at most 1/10 of the bytes of raw bricks, at most 1/4 of those of OME-Zarr, and the first picture before all"
        " others. `<` where the peer was not there when its time was over: the ratio to what it had taken by then.",
        "",
        *claims(found, volumes, links),
        "",
        "![SSIM over bytes](stream-bytes.png)",
        "",
        "![SSIM over time](stream-time.png)",
    ]
    reading = args.results / "stream-reading.md"
    if reading.exists():
        lines += ["", reading.read_text().strip()]
    for volume in volumes:
        files = ", ".join(f"{LABELS[f]} {mega(size.get((volume, f), 0))} MB" for f in FORMATS)
        lines += ["", f"## {volume}", "", f"Files: {files}.", "", *table(found, volume, links)]
    lines += [METHOD.format(side=args.side, patience=args.patience).rstrip(), ""]
    (args.results / "stream.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
