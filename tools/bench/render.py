#!/usr/bin/env python3
"""Frame times of the ray marcher on the CPU, beside VTK's ray caster on the CPU: the same volume, view, light and opacities.

    cargo build --release -p hgv-bench --bin hgv-render-bench
    pip install -r tools/bench/requirements-render.txt
    python3 tools/bench/render.py                 # writes tools/bench/results/render.md and render.png

Needs the development volumes (../shared/data beside the repository, or --data) and, for VTK without a screen, OSMesa or
EGL (Debian: apt install libosmesa6 libegl1). Both draw 1280 x 720 pixels of a volume of 256^3 voxels that is in memory,
with gradient shading and without shadows, with all cores, in turns. Quality is the PSNR and SSIM of a frame against the
converged picture of the same renderer, of steps eight times finer.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time

import nrrd
import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZE = (1280, 720)
FRAMES = 5
STEP = 0.5
FINER = 8
TRANSFER = {
    "opacity": [
        {"value": 30, "opacity": 0.0},
        {"value": 60, "opacity": 0.05},
        {"value": 120, "opacity": 0.2},
        {"value": 255, "opacity": 0.6},
    ],
    "colour": [
        {"value": 30, "rgb": [0.4, 0.25, 0.15]},
        {"value": 80, "rgb": [0.35, 0.55, 0.25]},
        {"value": 160, "rgb": [0.85, 0.75, 0.6]},
        {"value": 255, "rgb": [1.0, 1.0, 1.0]},
    ],
}


def ours(work, volume, step, frames, shadows=False):
    """JSON of the bench and the picture."""
    raw, transfer, picture = work / "volume.raw", work / "transfer.json", work / "picture.ppm"
    raw.write_bytes(volume.tobytes(order="C"))
    transfer.write_text(json.dumps(TRANSFER))
    shape = ",".join(map(str, volume.shape[::-1]))
    command = [ROOT / "target/release/hgv-render-bench", raw, "--shape", shape, "--transfer", transfer,
               "--size", "%d,%d" % SIZE, "--frames", str(frames), "--step", str(step), "--picture", picture]
    if shadows:
        command.append("--shadows")
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out), np.asarray(Image.open(picture))


class Vtk:
    """VTK's fixed-point ray caster with the camera and the light of ours."""

    def __init__(self, volume, view):
        import vtk
        from vtk.util import numpy_support

        self.vtk = vtk
        image = vtk.vtkImageData()
        image.SetDimensions(volume.shape[::-1])
        # The middle of the first voxel.
        image.SetOrigin(0.5, 0.5, 0.5)
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(volume.ravel(), deep=True))
        self.mapper = vtk.vtkFixedPointVolumeRayCastMapper()
        self.mapper.SetInputData(image)
        self.mapper.SetAutoAdjustSampleDistances(0)
        self.mapper.SetInteractiveSampleDistance(1)
        self.mapper.SetNumberOfThreads(os.cpu_count())
        actor = vtk.vtkVolume()
        actor.SetMapper(self.mapper)
        actor.SetProperty(self.properties(view))
        renderer = vtk.vtkRenderer()
        renderer.SetBackground(0, 0, 0)
        renderer.AddVolume(actor)
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetSize(*SIZE)
        self.window.AddRenderer(renderer)
        camera = renderer.GetActiveCamera()
        eye = np.array(view["eye"])
        camera.SetPosition(*eye)
        camera.SetFocalPoint(*(eye + np.array(view["forward"])))
        camera.SetViewUp(*view["up"])
        camera.SetViewAngle(view["field"])
        renderer.ResetCameraClippingRange()

    def properties(self, view):
        opacity, colour = self.vtk.vtkPiecewiseFunction(), self.vtk.vtkColorTransferFunction()
        for point in TRANSFER["opacity"]:
            opacity.AddPoint(point["value"], point["opacity"])
        for point in TRANSFER["colour"]:
            colour.AddRGBPoint(point["value"], *point["rgb"])
        p = self.vtk.vtkVolumeProperty()
        p.SetScalarOpacity(opacity)
        p.SetScalarOpacityUnitDistance(1.0)
        p.SetColor(colour)
        p.SetInterpolationTypeToLinear()
        p.ShadeOn()
        p.SetAmbient(view["ambient"])
        p.SetDiffuse(view["diffuse"])
        p.SetSpecular(view["specular"])
        p.SetSpecularPower(view["shininess"])
        return p

    def draw(self, step, frames):
        """Times of frames, without the first, and the picture."""
        from vtk.util import numpy_support

        self.mapper.SetSampleDistance(step)
        seconds = []
        for _ in range(frames + 1):
            self.mapper.Modified()
            start = time.perf_counter()
            self.window.Render()
            seconds.append(time.perf_counter() - start)
        grab = self.vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        array = numpy_support.vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
        return seconds[1:], array.reshape(SIZE[1], SIZE[0], -1)[::-1, :, :3]


def quality(picture, converged):
    apart = np.mean((picture.astype(float) - converged) ** 2)
    psnr = 10 * np.log10(255**2 / max(apart, 1e-9))
    return psnr, structural_similarity(picture, converged, channel_axis=2, data_range=255)


def row(name, seconds, note, picture=None, converged=None):
    psnr, ssim = quality(picture, converged) if picture is not None else (None, None)
    good = f"{psnr:.1f} | {ssim:.4f}" if psnr else "- | -"
    return f"| {name} | {statistics.median(seconds):.3f} | {min(seconds):.3f} | {good} | {note} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    args = parser.parse_args()
    source = args.data / "ct_bonsai.nrrd"
    if not source.exists():
        print(f"skipped: {source} is not there")
        return
    volume = np.ascontiguousarray(nrrd.read(str(source))[0].transpose(2, 1, 0)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        _, ours_converged = ours(work, volume, STEP / FINER, 1)
        view, picture = ours(work, volume, STEP, FRAMES)
        vtk = Vtk(volume, view)
        _, vtk_converged = vtk.draw(STEP / FINER, 1)
        theirs, vtk_picture = vtk.draw(STEP, FRAMES)
        again, _ = ours(work, volume, STEP, FRAMES)
        theirs += vtk.draw(STEP, FRAMES)[0]
        shadows, shadow_picture = ours(work, volume, STEP, FRAMES, shadows=True)
    seconds = view["seconds"] + again["seconds"]
    beside = np.concatenate([picture, vtk_picture, shadow_picture], axis=1)
    Image.fromarray(beside).resize((3 * 640, 360), Image.LANCZOS).save(ROOT / "tools/bench/results/render.png")
    lines = [
        "# Frames of the ray marcher on the CPU",
        "",
        "Written by `tools/bench/render.py`: bonsai, 256^3 uint8 in memory, 1280 x 720 pixels, gradient shading, a sample every",
        f"{STEP} voxels, all cores ({os.cpu_count()} of a {platform.machine()} machine), frames after the first, in turns.",
        "PSNR and SSIM: against the converged picture of the same renderer.",
        "",
        "| renderer | median s | fastest s | PSNR dB | SSIM | |",
        "|---|---:|---:|---:|---:|---|",
        row("hgv", seconds, "", picture, ours_converged),
        row(f"VTK {vtk.vtk.vtkVersion().GetVTKVersion()}, vtkFixedPointVolumeRayCastMapper", theirs, "", vtk_picture, vtk_converged),
        row("hgv, shadows", shadows["seconds"], "aim: under 2 s"),
        "",
        f"hgv / VTK: {statistics.median(seconds) / statistics.median(theirs):.2f} of the time.",
        "",
        "![hgv, VTK, hgv with shadows](render.png)",
        "",
    ]
    (ROOT / "tools/bench/results/render.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
