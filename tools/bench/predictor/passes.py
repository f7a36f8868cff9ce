#!/usr/bin/env python3
"""Measures what the first guess of the search for an SSIM saves: real encodes, the encoder's own cost.

    passes.py VOLUME.npy ... --hgv HGV --points points.csv --features features.csv --out passes.csv
              [--presets fast] [--guesses fixed survey left-out shipped]
    passes.py --report passes.csv --into results/predictor.md

Each volume is encoded to each of three sets of SSIM targets from each first guess, all else alike:

* fixed     a step of range / 2^4.5, always
* survey    where the formula over the coefficients of a part of the volume meets the targets
* left-out  where networks meet them that were trained (train.py's `train_direct`) on all groups of points.csv
            but this volume's; its name, up to the first dot, is the group. This is what a new volume will see
* shipped   the networks in the library, which have seen the development volumes

The encoder uses a prediction only where the network was trained (exponents of 1.5 and more) and where the analysis costs
no more than a tenth of an encode, else the survey, and starts 0.1 octaves finer; `left-out` does the same, and its cost has the
analysis added: as many patches, weighed as `EncodeReport.cost` says. Resumable: rows that are in the CSV are not measured again. Single-threaded; needs numpy.
--report writes the section "Passes saved, measured" at the end of a Markdown file, in place of the one there.
"""
import argparse
import csv
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import train

TARGETS = ["0.9,0.95,0.98,0.99", "0.95,0.98,0.99,0.995", "0.8,0.85,0.9,0.95"]
GUESSES = ["fixed", "survey", "left-out", "shipped"]
FIELDS = ["volume", "extent", "preset", "ssim", "guess", "passes", "cost", "bytes", "seconds"]
FIXED, FINER, COARSEST_TRAINED, DEAREST = 4.5, 0.1, 1.5, 0.1
ANALYSIS_COST = {"fast": 0.5, "balanced": 0.1, "best": 0.1}
SECTION = "## Passes saved, measured"


def run(hgv, *words):
    done = subprocess.run([str(w) for w in (hgv, *words, "--json", "--threads", 1)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


class LeftOut:
    """Predictions by networks that were not trained on a volume."""

    def __init__(self, args):
        self.hgv = args.hgv
        self.features, self.measured = train.read_features(args.features), train.read_points(args.points)
        self.networks = {}

    def network(self, group):
        if group not in self.networks:
            files = [k for k in self.measured if k in self.features and k[0] != group]
            self.networks[group] = train.train_direct(files, self.features, self.measured)
        return self.networks[group]

    def guess(self, path, ssim, weight):
        """The exponent that meets the targets, if it is to be used, and what the analysis costs: `weight` a voxel."""
        shape = np.load(path, mmap_mode="r").shape
        voxels = float(np.prod(shape))
        patches = int(np.clip(voxels / 64**3 / 16, 4, 64))
        if min(patches * 64**3 / voxels, 1) * weight > DEAREST:
            return None, 0.0
        found = run(self.hgv, "analyze", path, "--patches", patches)
        features = {k.removeprefix("features."): v for k, v in flat(found["features"]).items()}
        has = [min(shape) >> lod >= 7 for lod in range(train.LODS)]
        wanted = [float(s) for s in ssim.split(",")]
        exponent = self.network(path.name.split(".")[0]).exponent(features, wanted, has)
        return exponent if exponent >= COARSEST_TRAINED else None, weight * found["sampled_voxels"] / voxels


def flat(value, name=""):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {name: float(value)}
    return {k: v for key, inner in items for k, v in flat(inner, f"{name}.{key}" if name else str(key)).items()}


def first_guess(guess, left_out, path, ssim, preset):
    """What `--first-guess` is given, and what it cost outside of the encoder."""
    if guess == "fixed":
        return FIXED, 0.0
    if guess != "left-out":
        return {"survey": "survey", "shipped": "predicted"}[guess], 0.0
    exponent, cost = left_out.guess(path, ssim, ANALYSIS_COST[preset])
    return "survey" if exponent is None else exponent + FINER, cost


def measure(args):
    have = set()
    if args.out.exists():
        with args.out.open(newline="") as f:
            have = {tuple(r[k] for k in FIELDS[:1] + FIELDS[2:5]) for r in csv.DictReader(f)}
    left_out = LeftOut(args)
    with tempfile.TemporaryDirectory() as folder, args.out.open("a", newline="") as f:
        table = csv.DictWriter(f, FIELDS, lineterminator="\n")
        if not have:
            table.writeheader()
        for preset in args.presets:
            for path in args.volumes:
                for ssim in TARGETS:
                    for guess in args.guesses:
                        name = path.name.split(".")[0]
                        if (name, preset, ssim, guess) in have:
                            continue
                        start, more = first_guess(guess, left_out, path, ssim, preset)
                        words = ["--force", "--preset", preset, "--ssim", ssim, "--first-guess", start]
                        found = run(args.hgv, "encode", path, "-o", Path(folder) / "x.hgv", *words)
                        row = {"volume": name, "extent": "x".join(map(str, found["extent"])), "preset": preset, "ssim": ssim,
                               "guess": guess, "passes": found["passes"], "cost": round(found["cost"] + more, 3),
                               "bytes": found["file_bytes"], "seconds": round(found["seconds"], 2)}
                        table.writerow(row)
                        f.flush()
                        print(*row.values(), flush=True)


# ------------------------------------------------------------------ report

def mean(values):
    return sum(values) / len(values) if values else float("nan")


def least(rows):
    """Fewest bytes of any guess for each volume, preset and target."""
    out = {}
    for r in rows:
        key = r["volume"], r["preset"], r["ssim"]
        out[key] = min(out.get(key, float("inf")), int(r["bytes"]))
    return out


def summary(rows, fewest):
    lines = ["| first guess | encodes | passes | cost | met with one | largest cost | bytes over the fewest |",
             "|---|---:|---:|---:|---:|---:|---:|"]
    for guess in GUESSES:
        mine = [r for r in rows if r["guess"] == guess]
        if mine:
            passes, cost = [int(r["passes"]) for r in mine], [float(r["cost"]) for r in mine]
            over = mean([int(r["bytes"]) / fewest[r["volume"], r["preset"], r["ssim"]] - 1 for r in mine])
            lines.append(f"| {guess} | {len(mine)} | {mean(passes):.2f} | {mean(cost):.2f} | "
                         f"{100 * mean([p == 1 for p in passes]):.0f} % | {max(cost):.2f} | {100 * over:.1f} % |")
    return lines


def volumes(rows):
    guesses = [g for g in GUESSES if any(r["guess"] == g for r in rows)]
    lines = ["| volume | voxels | " + " | ".join(guesses) + " |", "|---|---|" + "---|" * len(guesses)]
    for name in dict.fromkeys(r["volume"] for r in rows):
        mine = [r for r in rows if r["volume"] == name]
        cells = []
        for g in guesses:
            found = {r["ssim"]: r for r in mine if r["guess"] == g}
            cells.append(", ".join(f"{found[s]['passes']} ({float(found[s]['cost']):.2f})" if s in found else "-" for s in TARGETS))
        lines.append(f"| {name} | {mine[0]['extent']} | " + " | ".join(cells) + " |")
    return lines


HEAD = """
Made by `passes.py`: real encodes to SSIM of {targets}, on a 2-core virtual machine, one thread, from a fixed first guess
(range / 2^4.5), from the survey of coefficients, and from a predicted one, by networks that were trained without the
volume (left-out) and by those that are shipped. All else is alike: the search that follows has the survey either way, looks at
samples where the volume has 16 blocks or more, and ends at 0 to 0.01 over the target. Cost is that of `EncodeReport`, analysis
included. The survey stands in for a prediction of an exponent under 1.5, which the network was not trained on (most of the
lowest targets), and in volumes so small that the analysis would cost more than a tenth of an encode.
"""


def report(args):
    with args.report.open(newline="") as f:
        rows = list(csv.DictReader(f))
    fewest = least(rows)
    lines = [SECTION, HEAD.format(targets="; ".join(TARGETS))]
    for preset in dict.fromkeys(r["preset"] for r in rows):
        mine = [r for r in rows if r["preset"] == preset]
        small = lambda r: np.prod([-(-int(n) // 64) for n in r["extent"].split("x")]) < 16
        for title, some in [("16 blocks or more", [r for r in mine if not small(r)]), ("fewer blocks, no samples", [r for r in mine if small(r)])]:
            if some:
                lines += [f"### Preset {preset}, volumes of {title}", "", *summary(some, fewest), "",
                          "Passes and, in brackets, cost, for the three targets:", "", *volumes(some), ""]
    text = args.into.read_text().split(SECTION)[0].rstrip()
    args.into.write_text(text + "\n\n" + "\n".join(lines).rstrip() + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", nargs="*", type=Path)
    parser.add_argument("--hgv")
    for name in ("points", "features", "out", "report", "into"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--presets", nargs="+", default=["fast"])
    parser.add_argument("--guesses", nargs="+", default=GUESSES, choices=GUESSES)
    args = parser.parse_args()
    report(args) if args.report else measure(args)


if __name__ == "__main__":
    main()
