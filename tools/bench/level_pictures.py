#!/usr/bin/env python3
"""Encodes a volume by the paper's method and draws one slice at every quality level beside the original.

    level_pictures.py VOLUME -o PICTURE.png [--hgv BIN] [--quality Q] [--levels N] [--axis x|y|z]

Needs NumPy and Pillow. Bytes are those that a reader fetches for the level, of all blocks; PSNR is of
the whole volume. Voxels are drawn from the volume's 0.5 to 99.5 percentile, enlarged without smoothing.
"""
import argparse, json, subprocess, tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SCALE, GAP, LABEL = 2, 8, 40


def run(hgv, *args):
    done = subprocess.run([hgv, *map(str, args)], check=True, stdout=subprocess.PIPE)
    return done.stdout


def middle(voxels, axis):
    """The middle slice across an axis; `voxels` is [z][y][x]."""
    at = {"x": 2, "y": 1, "z": 0}[axis]
    return np.take(voxels, voxels.shape[at] // 2, at)


def decode(hgv, file, folder, level):
    out = folder / "level.npy"
    run(hgv, "decode", file, "-o", out, "--level", level, "--quiet", "--force")
    return np.load(out)


def original(hgv, volume, folder):
    file = folder / "exact.hgv"
    run(hgv, "encode", volume, "-o", file, "--lossless", "--levels", 1, "--quiet", "--force")
    return decode(hgv, file, folder, 0), file


def panels(args, folder):
    """Pairs of a label and a slice: the original, then each level."""
    exact, lossless = original(args.hgv, args.volume, folder)
    file = folder / "model.hgv"
    run(args.hgv, "encode", args.volume, "-o", file, "--model", "hashgrid", "--levels", args.levels,
        "--quality", args.quality, "--quiet", "--force")
    bounds = np.percentile(exact, [0.5, 99.5])
    yield "original", f"{exact.nbytes / 1000:.0f} kB as raw", middle(exact, args.axis), bounds
    info = json.loads(run(args.hgv, "info", file, "--json"))
    for level, figures in enumerate(info["levels"]):
        voxels = decode(args.hgv, file, folder, level)
        size = figures["bytes"] / 1000
        text = f"{size:.1f} kB, {exact.nbytes / 1000 / size:.0f}:1, {figures['psnr']:.1f} dB"
        yield f"level {level}", text, middle(voxels, args.axis), bounds


def draw(all_panels):
    font = ImageFont.load_default(13)
    height, width = (SCALE * n for n in all_panels[0][2].shape)
    page = Image.new("L", (len(all_panels) * (width + GAP) - GAP, height + LABEL), 255)
    pen = ImageDraw.Draw(page)
    for i, (name, text, pixels, (low, high)) in enumerate(all_panels):
        grey = np.clip((pixels.astype(float) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        x = i * (width + GAP)
        page.paste(Image.fromarray(grey).resize((width, height), Image.NEAREST), (x, LABEL))
        pen.text((x + 2, 2), name, 0, font)
        pen.text((x + 2, 20), text, 0, font)
    return page


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--hgv", default="target/release/hgv")
    parser.add_argument("--quality", type=float, default=55)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--axis", choices="xyz", default="z")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw(list(panels(args, Path(folder)))).save(args.output, optimize=True)


if __name__ == "__main__":
    main()
