#!/usr/bin/env python3
"""Runs the streaming simulator over volumes, links, paths and policies, and writes what comes out.

    cargo build --release -p hgv-bench --bin hgv-stream-sim
    python3 tools/bench/stream-sim/report.py [--sim target/release/hgv-stream-sim] [--jobs 1]

writes tools/bench/results/stream-sim.csv, .md and .svg. All but the CPU times repeat exactly. `--table` writes .md anew
from the .csv alone. Python >= 3.11, nothing else.
"""
import argparse, csv, json, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
POLICIES = ["scheduler", "no-coalescing", "no-prediction", "no-cancelling", "fifo", "nearest"]
PATHS = ["orbit", "approach", "fly-through", "jump"]
PROFILE = "ct_vhf_head"
# Every policy on one volume; the scheduler alone, along an orbit, on larger ones.
LINKS = ["10,100", "100,20"]
PLOTTED = "10,100"
OTHERS = [(PROFILE, "1e6"), (PROFILE, "1e8")]
MIDDLE = "3e4"
COLUMNS = ["profile", "blocks", "link", "path", "policy", "first_picture", "first_picture_bytes", "mean_error",
           "moving_error", "rest_95", "rest_99", "settled", "bytes", "gap_bytes", "cancelled_bytes", "vain_bytes",
           "requests", "connections", "memory", "set_view_mean_ms", "set_view_longest_ms", "next_fetch_mean_ms",
           "next_fetch_longest_ms"]


def cases():
    for link in LINKS:
        for path in PATHS:
            for policy in POLICIES:
                yield PROFILE, MIDDLE, link, path, policy
    for profile, blocks in OTHERS:
        yield profile, blocks, "100,20", "orbit", "scheduler"


def simulate(sim, case, folder):
    profile, blocks, link, path, policy = case
    plotted = (blocks, link) == (MIDDLE, PLOTTED)
    moments = folder / f"{path}-{policy}.csv" if plotted else None
    command = [sim, "run", "--json", "--profile", HERE / "profiles" / f"{profile}.json", "--blocks", blocks,
               "--link", link, "--path", HERE / "paths" / f"{path}.json", "--policy", policy]
    if moments:
        command += ["--moments", moments]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    out = json.loads(done.stdout)["outcome"]
    row = dict(zip(COLUMNS, case))
    for name in COLUMNS[5:19]:
        value = out[name]
        row[name] = "" if value is None else round(value, 5)
    for name in ("set_view", "next_fetch"):
        calls = out[name]
        row[f"{name}_mean_ms"] = round(calls["total"] / max(calls["count"], 1), 4)
        row[f"{name}_longest_ms"] = round(calls["longest"], 2)
    print(*case, "mean error", row["mean_error"], file=sys.stderr)
    return row


def write(path, text):
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def number(row, name):
    return float(row[name]) if row[name] not in ("", None) else None


def mean(values):
    values = [v for v in values if v is not None]
    return sum(values) / len(values) if values else None


def shown(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def table(rows):
    lines = []
    add = lines.append
    add("| link | policy | mean error | while moving | first picture s | 95 % s | 99 % s | MiB | vain MiB | cancelled MiB | requests |")
    add("|---|---|---|---|---|---|---|---|---|---|---|")
    for link in LINKS:
        for policy in POLICIES:
            group = [r for r in rows if (r["profile"], r["blocks"], r["link"], r["policy"]) == (PROFILE, MIDDLE, link, policy)]
            if not group:
                continue
            of = lambda name: [number(r, name) for r in group]
            late = lambda name: "-" if any(v is None for v in of(name)) else shown(mean(of(name)), 2)
            mib = lambda name: shown(mean(of(name)) / 2**20, 1)
            add(f"| {told(link)} | {policy} | {mean(of('mean_error')):.4f} | {mean(of('moving_error')):.4f} | "
                f"{late('first_picture')} | {late('rest_95')} | {late('rest_99')} | {mib('bytes')} | {mib('vain_bytes')} | "
                f"{mib('cancelled_bytes')} | {mean(of('requests')):.0f} |")
    return "\n".join(lines)


def told(link):
    parts = link.split(",")
    loss = f", {float(parts[2]) * 100:g} % lost" if len(parts) > 2 else ""
    return f"{parts[0]} Mbit/s, {parts[1]} ms{loss}"


def costs(rows):
    lines = ["| volume | blocks | set_view mean ms | longest ms | next_fetch mean ms | longest ms | heap MiB |",
             "|---|---|---|---|---|---|---|"]
    groups = sorted({(r["profile"], float(r["blocks"])) for r in rows})
    for profile, blocks in groups:
        group = [r for r in rows if r["profile"] == profile and float(r["blocks"]) == blocks and r["policy"] == "scheduler"]
        of = lambda name: [number(r, name) for r in group]
        lines.append(f"| {profile} | {blocks:.0e} | {mean(of('set_view_mean_ms')):.1f} | {max(of('set_view_longest_ms')):.1f} | "
                     f"{mean(of('next_fetch_mean_ms')):.3f} | {max(of('next_fetch_longest_ms')):.1f} | {max(of('memory')) / 2**20:.1f} |")
    return "\n".join(lines)


def plot(folder):
    """Error over time for every policy, one panel a path, as SVG without any library."""
    colours = dict(zip(POLICIES, ["#000000", "#0072b2", "#009e73", "#cc79a7", "#d55e00", "#e69f00"]))
    width, height, pad = 430, 250, 45
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * width}" height="{2 * height + 30}" '
           'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>']
    for i, path in enumerate(PATHS):
        left, top = i % 2 * width + pad, i // 2 * height + 25
        w, h = width - pad - 15, height - 60
        span = 25
        at = lambda t, e: f"{left + min(t / span, 1) * w:.1f},{top + (1 - (max(e, 1e-3) ** 0.5)) * h:.1f}"
        out.append(f'<rect x="{left}" y="{top}" width="{w}" height="{h}" fill="none" stroke="#999"/>'
                   f'<text x="{left}" y="{top - 6}">{path}: error of the picture over time (s), {told(PLOTTED)}</text>')
        for mark in (0.01, 0.1, 0.25, 0.5, 1):
            y = top + (1 - mark ** 0.5) * h
            out.append(f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{mark:g}</text>'
                       f'<path d="M{left} {y:.1f}h{w}" stroke="#ddd"/>')
        for t in range(0, span + 1, 5):
            out.append(f'<text x="{left + t / span * w:.1f}" y="{top + h + 14}" text-anchor="middle">{t}</text>')
        for policy in POLICIES:
            with (folder / f"{path}-{policy}.csv").open() as file:
                moments = [(float(m["time"]), float(m["error"])) for m in csv.DictReader(file)]
            moments = [m for m in moments if m[0] <= span] + [(span, moments[-1][1])]
            points = " ".join(at(t, e) for t, e in moments[::2] + moments[-1:])
            out.append(f'<polyline points="{points}" fill="none" stroke="{colours[policy]}" stroke-width="1.3"/>')
    for i, policy in enumerate(POLICIES):
        x = 20 + i * 140
        out.append(f'<path d="M{x} {2 * height + 15}h20" stroke="{colours[policy]}" stroke-width="2"/>'
                   f'<text x="{x + 25}" y="{2 * height + 19}">{policy}</text>')
    return "\n".join(out + ["</svg>\n"])


def report(rows):
    return f"""# The scheduler in the streaming simulator

Written by `tools/bench/stream-sim/report.py`. Virtual time: a cube of about 30,000 blocks (2,000 voxels a side) made of the
blocks of a real file (`{PROFILE}`, encoded with the default options), links with slow start over HTTP/1.1 and TLS,
1920 x 1080 pixels, four decoding threads of 20 million voxels a second. Values are means over the paths
{', '.join(PATHS)} of `tools/bench/stream-sim/paths`; `error` is the weighted error of the picture: the sum over visible
blocks of pixels times opacity times remaining error, over that of an empty picture, less what is left with everything
fetched. `95 %` and `99 %` are seconds after the camera stopped until that share of the quality to be had is shown,
`-` where a path never got there. Everything but CPU times repeats exactly.

## Policies

{table(rows)}

`no-...` is the scheduler with one part off. `fifo` fetches coarse to fine, layer by layer in the order of the file; `nearest`
fetches the nearest block first with all its layers. Both want the same blocks and merge neighbours under the same rule. `no-prediction` is the scheduler to the last byte along
these paths: a camera that moves into its picture sees nothing new ahead, so looking ahead matters for sideways moves only.

![error over time](stream-sim.svg)

## What the scheduler costs

On one core of a 2-core virtual machine that had little else to do; `heap` is the largest heap that the scheduler held.

{costs(rows)}
"""


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--sim", default="target/release/hgv-stream-sim")
    ap.add_argument("--jobs", type=int, default=1)
    ap.add_argument("--table", action="store_true", help="only .md, from the .csv")
    args = ap.parse_args()
    if not args.table:
        with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(args.jobs) as pool:
            rows = list(pool.map(lambda c: simulate(args.sim, c, Path(name)), cases()))
            write(RESULTS / "stream-sim.svg", plot(Path(name)))
        partial = RESULTS / "stream-sim.partial"
        with partial.open("w", newline="") as out:
            writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(RESULTS / "stream-sim.csv")
    with (RESULTS / "stream-sim.csv").open() as file:
        write(RESULTS / "stream-sim.md", report(list(csv.DictReader(file))))


if __name__ == "__main__":
    main()
