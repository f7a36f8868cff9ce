#!/usr/bin/env python3
"""A picture of 1920 x 1080 pixels of a volume of 2048^3 voxels with 512 MiB for bricks, from a file and from `hgv serve`.

    cargo build --release -p hgv-cli -p hgv-bench
    pip install numpy pillow
    python3 tools/bench/render_large.py [--file VOLUME.hgv] [--work FOLDER]

Writes tools/bench/results/render-large.md. Without --file the volume is generated and encoded with preset fast, which takes
a quarter of an hour and 12 GB. Holes are pixels that show nothing where a picture drawn with much memory shows
something. The resident set is the largest that the system saw; the bound is 1.5 GiB.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target/release"
SIDE = 2048
BUDGET = "512MiB"
MUCH = "6GiB"
VIEWS = {"all of it": "30,20", "near": "30,20,0.35"}
MOST_RESIDENT = 1.5 * 2**30


def make(work):
    raw = work / "porous.raw"
    subprocess.run([RELEASE / "hgv-generate", "porous", "--size", ",".join([str(SIDE)] * 3), "--force", "-o", raw], check=True)
    voxels = next(work.glob("porous_*.raw"))
    volume = work / "porous.hgv"
    subprocess.run([RELEASE / "hgv", "encode", voxels, "-o", volume, "--preset", "fast", "--force", "--quiet"], check=True)
    voxels.unlink()
    return volume


def render(source, orbit, memory, picture):
    """JSON of the command, seconds, and the largest resident set in bytes."""
    start = time.perf_counter()
    command = [RELEASE / "hgv", "render", source, "-o", picture, "--size", "1920x1080", "--orbit", orbit,
               "--memory", memory, "--background", "clear", "--json", "--force"]
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("hgv render failed")
    return json.loads(out), time.perf_counter() - start, usage.ru_maxrss * 1024


def serve(volume):
    """`hgv serve` of the folder of a file, and its address."""
    process = subprocess.Popen([RELEASE / "hgv", "serve", volume.parent, "--addr", "127.0.0.1:0", "--json"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    address = json.loads(process.stdout.readline())["url"]
    return process, f"{address.rstrip('/')}/{volume.name}"


def opacity(picture):
    return np.asarray(Image.open(picture).convert("RGBA"))[:, :, 3].astype(int)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path)
    args = parser.parse_args()
    rows, bad = [], []
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        work = pathlib.Path(folder)
        volume = (args.file or make(work)).resolve()
        server, address = serve(volume)
        try:
            for view, orbit in VIEWS.items():
                render(volume, orbit, MUCH, work / "whole.png")
                whole = opacity(work / "whole.png")
                for name, source in {"file": volume, "hgv serve": address}.items():
                    out, seconds, resident = render(source, orbit, BUDGET, work / "picture.png")
                    drawn = opacity(work / "picture.png")
                    holes = int(((drawn == 0) & (whole >= 128)).sum())
                    rows.append(f"| {view} | {name} | {seconds:.1f} | {out['render_seconds']:.2f} | {out['bricks']} | "
                                f"{out['fetched_bytes'] / 1e6:.0f} | {resident / 2**20:.0f} | {holes} |")
                    print(rows[-1], flush=True)
                    if holes or resident > MOST_RESIDENT or not out["complete"]:
                        bad.append(rows[-1])
        finally:
            server.terminate()
            server.wait()
    lines = [
        "# Pictures of a volume that is larger than memory",
        "",
        f"Written by `tools/bench/render_large.py`: `hgv-generate porous`, {SIDE}^3 uint8 ({SIDE**3 / 1e9:.1f} GB), 1920 x 1080 pixels,",
        f"`--memory {BUDGET}`, {os.cpu_count()} cores, CPU. Holes: pixels that are clear where `--memory {MUCH}` shows something.",
        "",
        "| view | from | s in all | s to draw | bricks | MB fetched | resident set MiB | holes |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *rows,
        "",
    ]
    (ROOT / "tools/bench/results/render-large.md").write_text("\n".join(lines))
    if bad:
        raise SystemExit("over a bound: " + "; ".join(bad))


if __name__ == "__main__":
    main()
