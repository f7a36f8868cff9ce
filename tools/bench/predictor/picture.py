#!/usr/bin/env python3
"""Draws the complexity metric on slices of volumes.

    picture.py VOLUME ... --hgv HGV --out complexity.png

For each volume a row: the middle slice across z, and the complexity in boxes of 16^3 voxels around it, from 0 (dark) to
0.6 (yellow). Both are taken out of the page that `hgv analyze --report` writes. Needs Pillow.
"""
import argparse
import base64
import io
import re
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

SIDE = 360
GAP = 8


def pictures(hgv, volume):
    """The first slice and the first map of the page."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        subprocess.run([hgv, "analyze", volume, "--report", page, "--quiet"], check=True)
        found = re.findall(r'data:image/png;base64,([^"]+)', page.read_text())
    open_one = lambda text: Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
    return open_one(found[0]), open_one(found[3])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", nargs="+")
    parser.add_argument("--hgv", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    out = Image.new("RGB", (2 * SIDE + GAP, len(args.volumes) * (SIDE + GAP) - GAP), "white")
    for row, volume in enumerate(args.volumes):
        for column, picture in enumerate(pictures(args.hgv, volume)):
            resized = picture.resize((SIDE, SIDE), Image.Resampling.NEAREST)
            out.paste(resized, (column * (SIDE + GAP), row * (SIDE + GAP)))
    out.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
