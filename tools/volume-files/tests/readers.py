#!/usr/bin/env python3
"""Holds our readers and writers against nibabel, tifffile, mrcfile, pynrrd and numpy.

Needs numpy, nibabel, tifffile (with imagecodecs for LZW), mrcfile and pynrrd. Run from anywhere:

    python tools/volume-files/tests/readers.py

Every file that one side writes, the other opens: numbers, spacing, units, position, orientation.
Exits with 1 at the first difference.
"""

import io
import json
import pathlib
import subprocess
import tempfile
import warnings

import mrcfile
import nibabel
import nrrd
import numpy as np
import tifffile

ROOT = pathlib.Path(__file__).resolve().parents[3]
TYPES = ["uint8", "int8", "uint16", "int16", "float32"]
SPACING = np.array([0.7, 0.65, 1.5])
ORIGIN = np.array([-12.5, 30.25, 7.0])
# Columns: world direction of x, y, z.
ROTATION = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])


def build():
    subprocess.run(
        ["cargo", "build", "--quiet", "-p", "hgv-volume-files", "--example", "convert"],
        cwd=ROOT,
        check=True,
    )
    meta = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return pathlib.Path(json.loads(meta)["target_directory"]) / "debug/examples/convert"


def volume(dtype, shape=(7, 5, 3)):
    """Numbers a[z, y, x] with the extremes of the type."""
    if dtype == "float32":
        return np.random.default_rng(1).normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return np.random.default_rng(1).integers(info.min, info.max, shape, dtype, endpoint=True)


def same(a, b, what):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"{what}: {a.shape} is not {b.shape}"
    assert (a == b).all(), f"{what}: values differ"


def close(a, b, what):
    assert np.allclose(a, b, rtol=1e-6, atol=1e-6), f"{what}: {a} is not {b}"


class Check:
    def __init__(self, convert, folder):
        self.convert, self.folder, self.count = convert, folder, 0

    def path(self, name):
        self.count += 1
        return self.folder / f"{self.count}_{name}"

    def run(self, source, name):
        out = self.path(name)
        subprocess.run([self.convert, source, out], check=True, capture_output=True)
        return out

    def rich_nrrd(self, a):
        """A source with everything: rotation, origin, unit, slope, intercept."""
        path = self.path("rich.nrrd")
        header = {
            "space": "left-posterior-superior",
            "space directions": (ROTATION * SPACING).T,
            "space origin": ORIGIN,
            "space units": ["mm", "mm", "mm"],
            "kinds": ["domain"] * 3,
            "encoding": "gzip",
            "slope": "0.5",
            "intercept": "-1024",
        }
        nrrd.write(str(path), a.transpose(2, 1, 0), header)
        return path

    def our_files(self, dtype):
        a = volume(dtype)
        source = self.rich_nrrd(a)
        same(np.load(self.run(source, "v.npy")), a, "npy")
        same(np.fromfile(self.run(source, "v.raw"), dtype).reshape(a.shape), a, "raw")
        self.our_nrrd(source, a)
        self.our_nifti(source, a)
        self.our_mrc(source, a)
        self.our_tiff(source, a)

    def our_nrrd(self, source, a):
        data, header = nrrd.read(str(self.run(source, "v.nrrd")))
        same(data.transpose(2, 1, 0), a, "nrrd")
        close(header["space directions"], (ROTATION * SPACING).T, "nrrd directions")
        close(header["space origin"], ORIGIN, "nrrd origin")
        assert header["space"] == "left-posterior-superior"
        assert list(header["space units"]) == ["mm"] * 3
        assert (header["slope"], header["intercept"]) == ("0.5", "-1024")

    def our_nifti(self, source, a):
        for name in ["v.nii", "v.nii.gz"]:
            image = nibabel.load(self.run(source, name))
            same(np.asarray(image.dataobj.get_unscaled()).transpose(2, 1, 0), a, "nifti")
            affine = np.eye(4)
            affine[:3, :3] = np.diag([-1, -1, 1]) @ ROTATION * SPACING
            affine[:3, 3] = np.diag([-1, -1, 1]) @ ORIGIN
            close(image.get_sform(), affine, "sform")
            close(image.get_qform(), affine, "qform")
            close(image.header.get_zooms(), SPACING, "zooms")
            assert image.header.get_xyzt_units()[0] == "mm"
            close((image.dataobj.slope, image.dataobj.inter), (0.5, -1024), "slope")
            assert image.header.get_data_dtype() == a.dtype

    def our_mrc(self, source, a):
        path = self.run(source, "v.mrc")
        with mrcfile.open(path) as file:
            same(file.data, a, "mrc")
            size = file.voxel_size
            close([size.x, size.y, size.z], SPACING * 1e7, "mrc spacing")
            origin = file.header.origin
            close([origin.x, origin.y, origin.z], ORIGIN * 1e7, "mrc origin")
            assert file.data.dtype == ("uint16" if a.dtype == "uint8" else a.dtype)
            assert file.is_volume()
        report = io.StringIO()
        assert mrcfile.validate(path, print_file=report), report.getvalue()

    def our_tiff(self, source, a):
        with tifffile.TiffFile(self.run(source, "v.tif")) as file:
            same(file.asarray().reshape(a.shape), a, "tiff")
            assert len(file.pages) == a.shape[0]
            page = file.pages[0]
            for axis, tag in enumerate(["XResolution", "YResolution"]):
                n, d = page.tags[tag].value
                close(d / n, SPACING[axis], "tiff resolution")
            imagej = file.imagej_metadata
            assert (imagej["unit"], imagej["slices"]) == ("mm", a.shape[0])
            close(imagej["spacing"], SPACING[2], "tiff spacing")
            close([imagej["c0"], imagej["c1"]], [-1024, 0.5], "tiff calibration")

    def back(self, path, a, what):
        same(np.load(self.run(path, "back.npy")), a, what)
        return nrrd.read_header(str(self.run(path, "back.nrrd")))

    def their_nifti(self, dtype):
        a = volume(dtype)
        affine = np.eye(4)
        affine[:3, :3] = ROTATION * SPACING
        affine[:3, 3] = ORIGIN
        for kind, name in [
            (nibabel.Nifti1Image, "t.nii"),
            (nibabel.Nifti2Image, "t.nii.gz"),
            (nibabel.Nifti1Pair, "t.img"),
        ]:
            for form in ["sform", "qform"]:
                image = kind(a.transpose(2, 1, 0), affine)
                image.header.set_xyzt_units("micron")
                image.header.set_slope_inter(2, 3)
                if form == "qform":
                    image.set_sform(None, 0)
                    image.set_qform(affine, 1)
                path = self.path(name)
                nibabel.save(image, path)
                header = self.back(path, a, f"{name} {form}")
                close(header["space directions"], (ROTATION * SPACING).T, f"{name} {form}")
                close(header["space origin"], ORIGIN, f"{name} {form}")
                assert header["space"] == "right-anterior-superior"
                assert list(header["space units"]) == ["um"] * 3

    def their_mrc(self, dtype):
        if dtype in ("uint8", "int8"):
            return
        a = volume(dtype)
        path = self.path("t.mrc")
        with mrcfile.new(path, a) as file:
            file.voxel_size = tuple(SPACING)
            file.header.origin = tuple(ORIGIN)
        header = self.back(path, a, "their mrc")
        close(np.diag(header["space directions"]), SPACING, "their mrc spacing")
        close(header["space origin"], ORIGIN, "their mrc origin")
        assert list(header["space units"]) == ["angstrom"] * 3

    def their_tiff(self, dtype):
        a = volume(dtype, (4, 70, 50))
        for options in [
            {},
            {"bigtiff": True},
            {"byteorder": ">"},
            {"rowsperstrip": 9},
            {"tile": (32, 16)},
            {"tile": (32, 16), "compression": "zlib"},
            {"compression": "zlib", "predictor": dtype != "float32", "byteorder": ">"},
            {"compression": "lzw", "rowsperstrip": 13},
            {"compression": "zstd"},
            {"compression": "packbits"},
        ]:
            path = self.path("t.tif")
            tifffile.imwrite(path, a, photometric="minisblack", metadata=None, **options)
            self.back(path, a, f"their tiff {options}")
        self.their_ome(a)
        if dtype in ("uint8", "uint16", "float32"):
            self.their_imagej(a)

    def their_ome(self, a):
        path = self.path("t.ome.tif")
        sizes = {f"PhysicalSize{k}": v for k, v in zip("XYZ", SPACING)}
        tifffile.imwrite(path, a, photometric="minisblack", metadata={"axes": "ZYX", **sizes})
        header = self.back(path, a, "ome")
        close(np.diag(header["space directions"]), SPACING, "ome spacing")
        assert list(header["space units"]) == ["um"] * 3

    def their_imagej(self, a):
        path = self.path("t.tif")
        tifffile.imwrite(
            path,
            a,
            imagej=True,
            resolution=(1 / SPACING[0], 1 / SPACING[1]),
            metadata={"axes": "ZYX", "spacing": SPACING[2], "unit": "um"},
        )
        header = self.back(path, a, "imagej")
        close(np.diag(header["space directions"]), SPACING, "imagej spacing")
        assert list(header["space units"]) == ["um"] * 3

    def their_npy(self, dtype):
        a = volume(dtype)
        for array in [a, a.transpose(2, 1, 0).copy(order="C").T, a.astype(a.dtype.newbyteorder(">"))]:
            path = self.path("t.npy")
            np.save(path, array)
            # A Fortran-order array of shape (z, y, x) has z fastest, so its axes come out turned.
            want = array if array.flags.c_contiguous else array.T
            same(np.load(self.run(path, "back.npy")), want, "their npy")


def main():
    warnings.simplefilter("ignore")
    convert = build()
    with tempfile.TemporaryDirectory() as folder:
        check = Check(convert, pathlib.Path(folder))
        for dtype in TYPES:
            check.our_files(dtype)
            check.their_nifti(dtype)
            check.their_mrc(dtype)
            check.their_tiff(dtype)
            check.their_npy(dtype)
        print(f"ok: {check.count} files")


if __name__ == "__main__":
    main()
