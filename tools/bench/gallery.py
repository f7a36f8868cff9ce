#!/usr/bin/env python3
"""Pictures of real volumes: the original beside 30:1 and 100:1, with the SSIM of the pictures.

    cargo build --release -p hgv-cli
    pip install pillow
    python3 tools/bench/gallery.py [NAME...]      # writes tools/bench/results/gallery.md and gallery-*.jpg

Needs the development volumes (../shared/data beside the repository, or --data). Everything is `hgv encode --ratio` and
`hgv render --against`: the same camera, light and transfer function for all three, at the full resolution.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

from PIL import Image, ImageDraw, ImageFont

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tools/bench/results"
HGV = ROOT / "target/release/hgv"
SIZE = (560, 420)
RATIOS = (30, 100)


def points(opacity, colour):
    """A transfer function from (value, opacity) and (value, red, green, blue)."""
    return {
        "opacity": [{"value": v, "opacity": o} for v, o in opacity],
        "colour": [{"value": v, "rgb": rgb} for v, *rgb in colour],
    }


# Name, file, what it is, transfer function (None = from the histogram), more arguments.
VOLUMES = [
    ("bonsai", "ct_bonsai.nrrd", "CT of a bonsai, 256 x 256 x 256", points(
        [(28, 0), (50, 0.02), (75, 0.03), (110, 0.12), (160, 0.6), (255, 0.8)],
        [(28, 0.45, 0.3, 0.15), (55, 0.3, 0.5, 0.2), (95, 0.35, 0.55, 0.25), (150, 0.75, 0.6, 0.4), (255, 0.95, 0.9, 0.8)]),
     ["--orbit", "35,15,0.82"]),
    ("head", "ct_vhf_head.nrrd", "CT of a head, 512 x 512 x 234", "ct-bone", ["--orbit", "-35,10,0.8"]),
    ("brain", "mri_t1w_studyforrest.nii.gz", "MRI of a head", "mri", ["--orbit", "40,15,0.8"]),
    ("nuclei", "lm_nuclei.nrrd", "light microscopy, nuclei", None, ["--orbit", "25,35,0.85"]),
    ("fib25", "em_fib25_320.nrrd", "electron microscopy of a fly's brain, 320^3", "em", ["--orbit", "30,25,0.8"]),
    ("heptane", "sim_heptane.nii.gz", "simulation of a heptane fire", None, ["--orbit", "30,15,0.8"]),
    ("fly", "uct_fly_256x256x150_uint8.raw.zst", "micro-CT of a fly, 256 x 256 x 150", None, ["--orbit", "25,40,0.8"]),
    ("engine", "ct_engine_256x256x128_uint8.raw.zst", "CT of an engine, 256 x 256 x 128", points(
        [(70, 0), (110, 0.05), (160, 0.1), (190, 0.1), (205, 0.6), (255, 0.9)],
        [(70, 0.35, 0.4, 0.45), (160, 0.65, 0.68, 0.72), (200, 0.85, 0.6, 0.35), (255, 1.0, 0.85, 0.6)]),
     ["--orbit", "40,30,0.85"]),
]


def hgv(*arguments):
    out = subprocess.run([HGV, *map(str, arguments), "--json", "--force"], capture_output=True, text=True)
    if out.returncode:
        raise SystemExit(f"hgv {arguments[0]}: {out.stderr}")
    return json.loads(out.stdout)


def unpacked(path, work):
    """The file as `hgv` reads it."""
    if path.suffix != ".zst":
        return path
    target = work / path.stem
    subprocess.run(["zstd", "-qdf", path, "-o", target], check=True)
    return target


def draw(source, ratio, transfer, arguments, work):
    """Original and compressed picture, their SSIM, and what the file is."""
    volume, picture = work / f"{ratio}.hgv", work / f"{ratio}.png"
    encoded = hgv("encode", source, "-o", volume, "--ratio", ratio, "--preset", "best")
    look = []
    if transfer is not None:
        look = ["--transfer", transfer]
        if not isinstance(transfer, str):
            (work / "transfer.json").write_text(json.dumps(transfer))
            look = ["--transfer", work / "transfer.json"]
    drawn = hgv("render", volume, "-o", picture, "--against", source, "--size", "%dx%d" % SIZE, *look, *arguments)
    whole = Image.open(picture).convert("RGB")
    cut = [whole.crop((i * SIZE[0], 0, (i + 1) * SIZE[0], SIZE[1])) for i in range(2)]
    return cut, drawn["ssim"], encoded


def label(image, text):
    font = ImageFont.load_default(15)
    ImageDraw.Draw(image).text((8, SIZE[1] - 24), text, fill=(235, 235, 235), font=font,
                               stroke_width=2, stroke_fill=(0, 0, 0))


def row(entry, data, work):
    """Draws a volume; a row of the table."""
    name, file, title, transfer, arguments = entry
    source = unpacked(data / file, work)
    pictures, cells = [], []
    for ratio in RATIOS:
        (original, compressed), ssim, encoded = draw(source, ratio, transfer, arguments, work)
        if not pictures:
            label(original, title)
            pictures.append(original)
        label(compressed, f"{encoded['ratio']:.0f}:1, {encoded['psnr']:.1f} dB, SSIM of the picture {ssim:.3f}")
        pictures.append(compressed)
        cells.append(f"{encoded['ratio']:.1f} | {encoded['psnr']:.2f} | {ssim:.4f}")
    wide = Image.new("RGB", (SIZE[0] * len(pictures), SIZE[1]))
    for i, picture in enumerate(pictures):
        wide.paste(picture, (i * SIZE[0], 0))
    wide.save(RESULTS / f"gallery-{name}.jpg", quality=88)
    return f"| {title} | {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these; gallery.md is not written then")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    args = parser.parse_args()
    if not (args.data / VOLUMES[0][1]).exists():
        print(f"skipped: no volumes in {args.data}")
        return
    chosen = [v for v in VOLUMES if not args.names or v[0] in args.names]
    rows = []
    for entry in chosen:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(entry, args.data, pathlib.Path(folder)))
        print(rows[-1], flush=True)
    if args.names:
        return
    lines = [
        "# Gallery: originals beside 30:1 and 100:1",
        "",
        "Written by `tools/bench/gallery.py`; preset best. Left the original, then 30:1, then 100:1, drawn by `hgv render` with",
        "the same camera, light and transfer function. PSNR is that of the volume, SSIM that of the pictures.",
        "",
        "| volume | ratio | PSNR dB | SSIM of the picture | ratio | PSNR dB | SSIM of the picture |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *rows,
        "",
        *(f"![{title}: original, 30:1, 100:1](gallery-{name}.jpg)\n" for name, _, title, *_ in VOLUMES),
    ]
    (RESULTS / "gallery.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
