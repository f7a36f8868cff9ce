#!/usr/bin/env python3
"""Takes every volume of a folder through hgv and opens what comes out with the usual readers.

    check_volumes.py FOLDER --hgv target/release/hgv [--psnr 40] [--only REGEX] [--work DIR]

Needs requirements-check.txt. For each volume:

* psnr      encode --psnr 40, then `compare` says so, and numpy finds the same figure
* nrrd ...  decode to each format: pynrrd, nibabel, mrcfile, tifffile and numpy read the numbers of
            the .npy decode, with the spacing and the unit of the original
* lossless  encode --lossless: `compare` says identical, and numpy agrees (integer volumes)
* parts     --level 0, --lod 2 and --region have the stated extents and agree with each other

Prints one row for each volume and exits with 1 if anything failed.
"""
import argparse
import gzip
import json
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import nibabel
import nrrd
import numpy as np
import tifffile
import zstandard

METRES = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "angstrom": 1e-10}
WORDS = {"micron": "um", "microns": "um", "µm": "um", "meter": "m", "A": "angstrom"}
RAW_NAME = re.compile(r"_(\d+)x(\d+)x(\d+)_(u?int8|u?int16|float32)\.raw")
COLUMNS = ["psnr", "nrrd", "nii.gz", "mrc", "tif", "npy", "lossless", "parts"]


class Wrong(Exception):
    """A check that did not hold."""


def demand(holds, message):
    if not holds:
        raise Wrong(message)


@dataclass
class Grid:
    """Voxels [z, y, x], their distances along x, y, z and the unit, None if not stated."""

    data: np.ndarray
    spacing: list
    unit: str | None = None

    def metres(self):
        """Spacing in metres; bare numbers if there is no unit."""
        return [s * METRES.get(self.unit, 1.0) for s in self.spacing]


# ------------------------------------------------------------------ the usual readers

def read_nrrd(path):
    data, header = nrrd.read(str(path))
    if header.get("space directions") is not None:
        spacing = np.linalg.norm(header["space directions"], axis=1).tolist()
    else:
        spacing = list(header.get("spacings", [1.0] * 3))
    units = header.get("space units") or header.get("units") or [None]
    return Grid(data.transpose(2, 1, 0), spacing, unit_word(units[0]))


def read_nifti(path):
    image = nibabel.load(path)
    data = np.asarray(image.dataobj.get_unscaled()).transpose(2, 1, 0)
    unit = unit_word(image.header.get_xyzt_units()[0])
    return Grid(data, [float(z) for z in image.header.get_zooms()], unit)


def read_mrc(path):
    with mrcfile.open(path) as file:
        size = file.voxel_size
        spacing = [float(size.x), float(size.y), float(size.z)]
        # No cell is how the format says that nothing is known.
        known = any(spacing)
        return Grid(file.data.copy(), spacing if known else [1.0] * 3, "angstrom" if known else None)


def read_tiff(path):
    with tifffile.TiffFile(path) as file:
        pages = file.pages[0]
        inverse = [pages.tags[name].value for name in ("XResolution", "YResolution")]
        notes = file.imagej_metadata or {}
        spacing = [d / n for n, d in inverse] + [float(notes.get("spacing", 1.0))]
        data = file.asarray()
        return Grid(data.reshape(len(file.pages), *data.shape[-2:]), spacing, unit_word(notes.get("unit")))


def read_raw(path):
    x, y, z, dtype = RAW_NAME.search(path.name).groups()
    packed = path.read_bytes()
    if path.suffix == ".gz":
        packed = gzip.decompress(packed)
    elif path.suffix == ".zst":
        packed = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    data = np.frombuffer(packed, np.dtype(dtype).newbyteorder("<"))
    return Grid(data.reshape(int(z), int(y), int(x)), [1.0] * 3)


def read_npy(path):
    return Grid(np.load(path), [1.0] * 3)


def unit_word(word):
    word = str(word).strip('"') if word else ""
    word = WORDS.get(word, word)
    return word if word in METRES else None


READERS = {".nrrd": read_nrrd, ".nii": read_nifti, ".nii.gz": read_nifti, ".mrc": read_mrc,
           ".mrc.gz": read_mrc, ".map": read_mrc, ".tif": read_tiff, ".tiff": read_tiff,
           ".npy": read_npy, ".raw": read_raw, ".raw.gz": read_raw, ".raw.zst": read_raw}


def reader_of(path):
    """The reader for a name, None if this is no volume."""
    endings = [end for end in READERS if path.name.endswith(end)]
    return READERS[max(endings, key=len)] if endings else None


# ------------------------------------------------------------------ the checks

class Check:
    def __init__(self, hgv, folder, path, psnr):
        self.hgv, self.folder, self.path, self.psnr = hgv, folder, path, psnr
        self.original = reader_of(path)(path)
        self.file = folder / "v.hgv"
        self.full = None

    def run(self, *words):
        """One command; returns its JSON."""
        command = [str(w) for w in (self.hgv, *words, "--json", "--force")]
        done = subprocess.run(command, capture_output=True, text=True)
        shown = "hgv " + " ".join(map(str, words))
        demand(done.returncode == 0, f"{shown}: exit {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def decode(self, *options, ending="npy"):
        """Decodes the file; returns the path and the JSON of the command."""
        out = self.folder / f"d.{ending}"
        return out, self.run("decode", self.file, "-o", out, *options)

    def voxels(self, *options):
        out, said = self.decode(*options)
        data = np.load(out)
        demand(list(data.shape[::-1]) == said["extent"], f"{options}: {data.shape} is not {said['extent']}")
        return data

    def check_psnr(self):
        self.run("encode", self.path, "-o", self.file, "--psnr", self.psnr)
        said = self.run("compare", self.path, self.file)
        self.full = self.voxels()
        measured = psnr(self.original.data, self.full)
        demand(said["identical"] or said["psnr"] >= self.psnr, f"compare says {said['psnr']} dB")
        demand(close(said["psnr"] or np.inf, measured, 1e-4), f"compare says {said['psnr']}, numpy {measured}")
        info = self.run("info", self.file)
        demand(close(info["levels"][-1]["psnr"] or np.inf, measured, 1e-3),
               f"info says {info['levels'][-1]['psnr']}, numpy {measured}")
        return f"{measured:.2f} dB {info['ratio']:.1f}:1"

    def check_format(self, ending):
        out, _ = self.decode(ending=ending)
        got = reader_of(out)(out)
        demand(got.data.shape == self.full.shape, f"shape {got.data.shape} is not {self.full.shape}")
        demand(np.array_equal(got.data, self.full), "voxels differ from the .npy decode")
        widened = ending == "mrc" and self.full.dtype == np.uint8
        demand(widened or got.data.dtype == self.full.dtype, f"type {got.data.dtype}")
        if ending != "npy":
            same_spacing(got, self.original)
        return "ok"

    def check_lossless(self):
        if self.original.data.dtype.kind == "f":
            return "-"
        self.run("encode", self.path, "-o", self.file, "--lossless")
        said = self.run("compare", self.path, self.file)
        demand(said["identical"] is True and said["psnr"] is None, f"compare says {said}")
        demand(np.array_equal(self.voxels(), self.original.data), "voxels differ from the original")
        return f"{self.run('info', self.file)['ratio']:.2f}:1"

    def check_parts(self):
        """Needs the file of `check_psnr`."""
        extent = list(self.full.shape[::-1])
        info = self.run("info", self.file)
        demand(info["extent"] == extent, f"info says {info['extent']}")
        box, text = middle(extent)
        demand(np.array_equal(self.voxels("--region", text), self.full[box]), f"--region {text} differs")
        coarse = self.voxels("--level", 0)
        demand(coarse.shape == self.full.shape, f"--level 0 has {coarse.shape}")
        demand(np.array_equal(self.voxels("--level", 0, "--region", text), coarse[box]),
               f"--level 0 --region {text} differs")
        said = self.run("compare", self.path, self.file, "--level", 0)
        demand(close(said["psnr"] or np.inf, psnr(self.original.data, coarse), 1e-4), "PSNR of level 0")
        for level in range(len(info["levels"])):
            self.check_lod(level, extent)
        for lod in range(info["lods"]):
            self.voxels_at(lod, extent)
        return "ok"

    def voxels_at(self, lod, extent, *options):
        data = self.voxels("--lod", lod, *options)
        want = [-(-n // 2**lod) for n in extent]
        demand(list(data.shape[::-1]) == want, f"--lod {lod} has {data.shape}")
        return data

    def check_lod(self, level, extent):
        small = self.voxels_at(2, extent, "--level", level)
        box, text = middle(small.shape[::-1])
        part = self.voxels("--lod", 2, "--level", level, "--region", text)
        demand(np.array_equal(part, small[box]), f"--lod 2 --level {level} --region {text} differs")
        out, _ = self.decode("--lod", 2, ending="nrrd")
        got = reader_of(out)(out)
        quarter = Grid(got.data, [s / 4 for s in got.spacing], got.unit)
        same_spacing(quarter, self.original)


def same_spacing(got, original):
    """Equal lengths; where neither or only one side has a unit, equal numbers."""
    if original.unit is None or got.unit is None:
        demand(got.unit is None or got.unit == "angstrom", f"unit {got.unit} out of nothing")
        demand(original.unit is None, f"the unit {original.unit} is lost")
        pair = got.spacing, original.spacing
    else:
        pair = got.metres(), original.metres()
    demand(np.allclose(*pair, rtol=2e-6, atol=0), f"spacing {got.spacing} {got.unit}, "
           f"was {original.spacing} {original.unit}")


def psnr(a, b):
    """20 log10((max - min) / RMSE), max and min of `a`."""
    squares = sum(float(np.sum(np.square(x.astype(np.float64) - y))) for x, y in zip(a, b))
    span = float(a.max()) - float(a.min())
    return 20 * np.log10(span / np.sqrt(squares / a.size)) if squares else np.inf


def close(a, b, tolerance):
    return a == b or abs(a - b) <= tolerance


def middle(extent):
    """A box off every block border, as slices [z, y, x] and as the command line's words."""
    ends = [(n // 5, max(n // 5 + 1, n - n // 3)) for n in extent]
    text = ",".join(f"{a}:{b}" for a, b in ends)
    return tuple(slice(a, b) for a, b in reversed(ends)), text


def check_volume(check):
    """One cell for each column, and what went wrong."""
    steps = {name: (lambda name=name: check.check_format(name)) for name in COLUMNS[1:6]}
    # The parts are those of the lossy file, which `lossless` replaces.
    steps = {"psnr": check.check_psnr, **steps, "parts": check.check_parts,
             "lossless": check.check_lossless}
    cells, problems = {}, []
    for name, step in steps.items():
        try:
            cells[name] = step()
        except Exception as error:  # a reader that cannot open a file raises anything
            cells[name] = "FAILED"
            detail = str(error) if isinstance(error, Wrong) else traceback.format_exc(limit=-3)
            problems.append(f"{check.path.name}: {name}: {detail}")
            if name == "psnr":
                break
    return cells, problems


def row(cells):
    widths = [42, 18] + [8] * (len(COLUMNS) - 1) + [8]
    return "  ".join(f"{c:<{w}}" for c, w in zip(cells, widths)).rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hgv", type=Path, required=True, help="the program, such as target/release/hgv")
    parser.add_argument("--psnr", type=float, default=40)
    parser.add_argument("--only", default="", help="volumes whose name matches this")
    parser.add_argument("--work", type=Path, help="folder for files on the way [default: that of the system]")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    volumes = [p for p in sorted(options.folder.iterdir()) if reader_of(p) and re.search(options.only, p.name)]
    if not volumes:
        sys.exit(f"{options.folder}: no volumes")
    problems = []
    print(row(["volume", *COLUMNS, "seconds"]))
    for path in volumes:
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            cells, wrong = check_volume(Check(options.hgv.resolve(), Path(folder), path, options.psnr))
        seconds = f"{time.monotonic() - begin:.0f}"
        print(row([path.name, *(cells.get(c, "") for c in COLUMNS), seconds]), flush=True)
        problems += wrong
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(volumes)} volumes, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
