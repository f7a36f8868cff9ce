#!/usr/bin/env python3
"""Trains the predictor and reports its error on volumes left out of training.

    train.py --points points.csv --features features.csv --weights weights.json --vectors vectors.json --report predictor.md

* points, features   from collect.py
* weights            what `src/predict` reads: networks of two hidden layers, in JSON
* vectors            features and what this script's forward pass makes of them, for the test of `src/predict`
* report             leave-one-volume-out tables, in Markdown

For each file and exponent log2(range / step) there is one example. Four networks, whose mean counts, correct the
expected losses that `hgv analyze` computes without an encode (`curves` of its features); four others are given the four
SSIM targets too and answer the exponent. Both are shipped: the first for PSNR, size and expected figures, the others for
SSIM targets. Inputs and outputs are those of `src/predict/mod.rs`; `inputs` and `base` below are the same functions.

Volumes whose group is in --generated train but are no rows of the tables. Plain numpy, seeded: the same files give
the same weights on one machine. About two minutes.
"""
import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

LODS = 4
EXPONENTS = 13
FINEST = 6.0
HIDDEN = [16, 16]
STEPS = 600
DECAY = 3e-4
SEEDS = range(1, 5)
# Encodes whose every SSIM has more decades than USUAL (0.998) count as RARE.
USUAL, RARE = 2.7, 0.1
# Octaves that a predicted first guess is made finer than predicted.
CAUTION = 0.2
GRID = np.arange(0, 12.01, 0.25)
TARGETS = [
    (0.80, 0.85, 0.90, 0.95),
    (0.90, 0.95, 0.97, 0.98),
    (0.95, 0.97, 0.98, 0.99),
    (0.98, 0.99, 0.99, 0.995),
    (0.99, 0.99, 0.995, 0.998),
]
OUTPUT_SCALE = np.array([0.3, 0.3, 0.3, 0.3, 3.0, 0.5])


# ------------------------------------------------------------------ files

def read_features(path):
    with path.open() as f:
        return {(r["group"], r["part"]): {k: float(v) for k, v in r.items() if k not in ("group", "part")} for r in csv.DictReader(f)}


def decades(ssim):
    """-log10(1 - SSIM)."""
    return -np.log10(np.maximum(1 - np.asarray(ssim, float), 10.0**-FINEST))


def read_points(path):
    """Measured rows (exponent, four decades, PSNR, log2 bits) of each file; NaN where there is none. Exact ones are left out."""
    out = defaultdict(list)
    with path.open() as f:
        for r in csv.DictReader(f):
            if r["psnr"] == "":
                continue
            ssim = [decades(float(r[f"ssim{k}"])) if r[f"ssim{k}"] else np.nan for k in range(LODS)]
            out[r["group"], r["part"]].append([float(r["exponent"]), *ssim, float(r["psnr"]), np.log2(float(r["bits_per_voxel"]))])
    return {key: np.array(sorted(rows)) for key, rows in out.items() if len(rows) > 1}


# ------------------------------------------------------------------ what src/predict does

def base(features, exponent):
    """The curves at an exponent, in the units of the outputs."""
    i = min(int(exponent), EXPONENTS - 2)
    t = exponent - i
    at = lambda name: features[f"{name}.{i}"] + t * (features[f"{name}.{i + 1}"] - features[f"{name}.{i}"])
    return np.array([*(-at(f"curves.ssim.{k}") for k in range(LODS)), -10 * at("curves.mse"), at("curves.bits")])


def inputs(features, exponent, based):
    complexity = [features[f"complexity.{k}"] for k in range(LODS)]
    return np.array([exponent, *complexity, features["flat"], np.clip(features["depth"] - exponent, -2, 6), *based])


class Ensemble:
    """Networks trained from different random starts; their mean answer counts."""

    def __init__(self, sizes, seeds):
        self.members = [Network(sizes, seed) for seed in seeds]

    def train(self, x, y, weight):
        for member in self.members:
            member.train(x, y, weight, STEPS, DECAY)

    def run(self, x):
        return np.mean([member.run(x) for member in self.members], 0)


class Network:
    """Two hidden layers of tanh, trained by Adam on all examples at once."""

    def __init__(self, sizes, seed):
        random = np.random.default_rng(seed)
        self.layers = []
        for n, m in zip(sizes[:-1], sizes[1:]):
            last = len(self.layers) == len(sizes) - 2
            self.layers.append([random.normal(0, 0.1 if last else n**-0.5, (m, n)), np.zeros(m)])

    def normalise(self, x):
        self.mean, self.scale = x.mean(0), np.maximum(x.std(0), 1e-3)

    def forward(self, x):
        """Outputs of all layers; each but the last through tanh."""
        values = [(x - self.mean) / self.scale]
        for i, (w, b) in enumerate(self.layers):
            v = values[-1] @ w.T + b
            values.append(v if i + 1 == len(self.layers) else np.tanh(v))
        return values

    def run(self, x):
        return self.forward(x)[-1]

    def train(self, x, y, weight, steps, decay):
        """`y` in units of the outputs' scale, NaN where nothing was measured; Huber loss."""
        self.normalise(x)
        known = np.isfinite(y) * 1.0
        y = np.where(known, y, 0)
        share = weight[:, None] * known / (weight.sum() * y.shape[1])
        moments = [[np.zeros_like(p), np.zeros_like(p)] for layer in self.layers for p in layer]
        for step in range(steps):
            values = self.forward(x)
            delta = np.clip(values[-1] - y, -1, 1) * share
            rate = 0.01 * 0.5 * (1 + np.cos(np.pi * step / steps)) + 1e-5
            gradients = []
            for i in reversed(range(len(self.layers))):
                w = self.layers[i][0]
                gradients[:0] = [delta.T @ values[i] + decay * w, delta.sum(0)]
                if i:
                    delta = (delta @ w) * (1 - values[i] ** 2)
            self.adam(gradients, moments, rate, step)

    def adam(self, gradients, moments, rate, step):
        parameters = [p for layer in self.layers for p in layer]
        for p, g, (m, v) in zip(parameters, gradients, moments):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= rate * (m / (1 - 0.9 ** (step + 1))) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)


def group_weights(groups):
    """Each group counts alike, whatever the number of its examples."""
    count = defaultdict(int)
    for g in groups:
        count[g] += 1
    return np.array([1 / count[g] for g in groups])


# ------------------------------------------------------------------ three predictors

class Curves:
    """Curves of expected losses, corrected by a network or not."""

    def __init__(self, network=None):
        self.network = network

    def row(self, features, exponent):
        based = base(features, exponent)
        if self.network is None:
            return based
        return based + self.network.run(inputs(features, exponent, based)[None])[0] * OUTPUT_SCALE

    def rows(self, features):
        rows = np.array([self.row(features, e) for e in GRID])
        rows[:, :LODS] = np.clip(rows[:, :LODS], 0, FINEST)
        return np.maximum.accumulate(rows, 0)

    def exponent(self, features, wanted, has):
        return meeting(GRID, self.rows(features), wanted, has)


class Direct:
    """A network that is given the targets and answers the exponent."""

    def __init__(self, network):
        self.network = network

    @staticmethod
    def inputs(features, wanted, has):
        start = Curves().exponent(features, wanted, has)
        return np.concatenate([inputs(features, start, base(features, start)), np.clip(decades(wanted), 0, FINEST)])

    def exponent(self, features, wanted, has):
        x = self.inputs(features, wanted, has)
        return float(np.clip(x[0] + self.network.run(x[None])[0, 0], 0, 12))


class Fixed:
    """What the search started from without a prediction: range / 64."""

    def exponent(self, features, wanted, has):
        return 6.0


def meeting(exponents, rows, wanted, has):
    """The smallest exponent whose rows meet all targets; linear between rows and beyond them."""
    return max((crossing(exponents, rows[:, k], value) for k, value in enumerate(decades(wanted)) if has[k]), default=0.0)


def crossing(x, y, value):
    above = np.nonzero(y >= value)[0]
    if len(above) == 0:
        return float(x[-1])
    i = above[0]
    if i == 0:
        return float(x[0])
    return float(x[i - 1] + (x[i] - x[i - 1]) * (value - y[i - 1]) / (y[i] - y[i - 1]))


def train_curves(files, features, measured):
    x, y, groups, share = [], [], [], []
    for key in files:
        for row in measured[key]:
            based = base(features[key], row[0])
            x.append(inputs(features[key], row[0], based))
            y.append((row[1:] - based) / OUTPUT_SCALE)
            groups.append(key[0])
            share.append(1.0 if np.nanmin(row[1 : 1 + LODS]) <= USUAL else RARE)
    network = Ensemble([len(x[0]), *HIDDEN, len(OUTPUT_SCALE)], SEEDS)
    network.train(np.array(x), np.array(y), group_weights(groups) * np.array(share))
    return Curves(network)


def train_direct(files, features, measured):
    random = np.random.default_rng(0)
    x, y, groups = [], [], []
    for key in files:
        has = np.isfinite(measured[key][0, 1 : 1 + LODS])
        for _ in range(12):
            wanted = 1 - 10.0 ** -(random.uniform(0.7, 2.5) + np.cumsum([0, *random.uniform(0, 0.4, 3)]))
            exponent = truth(measured[key], wanted, has)
            if exponent is not None:
                x.append(Direct.inputs(features[key], wanted, has))
                y.append([exponent - x[-1][0]])
                groups.append(key[0])
    network = Ensemble([len(x[0]), *HIDDEN, 1], SEEDS)
    network.train(np.array(x), np.array(y), group_weights(groups))
    return Direct(network)


# ------------------------------------------------------------------ measured curves

def truth(rows, wanted, has):
    """The exponent that just meets the targets by the measured rows, `None` beyond them."""
    wants = [(k, v) for k, v in enumerate(decades(wanted)) if has[k]]
    inside = any(rows[0, 1 + k] < v for k, v in wants) and all(v <= rows[-1, 1 + k] for k, v in wants)
    rising = np.maximum.accumulate(np.nan_to_num(rows[:, 1:]), 0)
    return meeting(rows[:, 0], rising, wanted, has) if inside else None


def at(rows, exponent):
    """Decades of SSIM at an exponent by the measured rows, extended at the ends."""
    i = int(np.clip(np.searchsorted(rows[:, 0], exponent) - 1, 0, len(rows) - 2))
    t = (exponent - rows[i, 0]) / (rows[i + 1, 0] - rows[i, 0])
    return np.clip(rows[i, 1 : 1 + LODS] + t * (rows[i + 1, 1 : 1 + LODS] - rows[i, 1 : 1 + LODS]), 0, FINEST)


def margin(rows, exponent, wanted, has):
    """Smallest SSIM over target at an exponent."""
    found = 1 - 10.0 ** -at(rows, exponent)
    return min(found[k] - wanted[k] for k in range(LODS) if has[k])


def passes(start, rows, wanted, has):
    """Encodes that a secant search takes from a first guess, by the measured rows.

    It is over when the smallest margin is at least 0, at most 0.01 and at most half of what the target leaves to 1. It looks
    for 0.03 decades of 1 - SSIM over the target, first by the usual slope of 0.35 decades an octave.
    """
    low, high = -4.0, 16.0
    x, last = start, None
    for count in range(1, 15):
        over = [(v, k) for k, v in enumerate(at(rows, x) - decades(wanted)) if has[k]]
        f, k = min(over)
        g = margin(rows, x, wanted, has)
        if 0 <= g <= min(0.01, 0.5 * max(1 - w for w, h in zip(wanted, has) if h)) and f <= np.log10(2):
            return count
        low, high = (x, high) if f < 0 else (low, x)
        slope = 0.35 if last is None or abs(x - last[0]) < 1e-9 else np.clip((f - last[1]) / (x - last[0]), 0.05, 2)
        last = (x, f)
        x = x + (0.03 - f) / slope
        if not low < x < high:
            x = (low + high) / 2
    return 14


# ------------------------------------------------------------------ report

def evaluate(predictor, files, features, measured):
    """Rows (exponent error, margin, passes) over files and targets that the measurements reach."""
    out = []
    for key in files:
        rows = measured[key]
        has = np.isfinite(rows[0, 1 : 1 + LODS])
        for wanted in TARGETS:
            right = truth(rows, wanted, has)
            if right is not None:
                guess = predictor.exponent(features[key], wanted, has)
                start = guess + (0 if isinstance(predictor, Fixed) else CAUTION)
                out.append([guess - right, margin(rows, guess, wanted, has), passes(start, rows, wanted, has)])
    return np.array(out).reshape(-1, 3)


def curve_errors(predictor, files, features, measured):
    """Errors of PSNR in dB, of log2 bits, and of SSIM at four levels where it is 0.8 or more."""
    psnr, bits, ssim = [], [], []
    for key in files:
        for row in measured[key]:
            found = predictor.row(features[key], row[0])
            psnr.append(found[LODS] - row[1 + LODS])
            bits.append(found[LODS + 1] - row[2 + LODS])
            for k in range(LODS):
                if row[1 + k] >= decades(0.8):
                    ssim.append(10.0 ** -row[1 + k] - 10.0 ** -max(found[k], 0))
    return [np.sqrt(np.mean(np.square(v))) if v else np.nan for v in (psnr, bits, ssim)]


def without_complexity(features):
    return {key: {n: 0.0 if n.startswith("complexity") else v for n, v in f.items()} for key, f in features.items()}


def leave_one_out(real, files, features, measured):
    """Per group, results of each predictor on its files, trained on all others."""
    out = {}
    for group in real:
        rest = [k for k in files if k[0] != group]
        own = [k for k in files if k[0] == group]
        curves = train_curves(rest, features, measured)
        direct = train_direct(rest, features, measured)
        blind = train_direct(rest, without_complexity(features), measured)
        tests = {"fixed": Fixed(), "plain": Curves(), "curves": curves, "blind": blind, "direct": direct}
        wholes, patches = [k for k in own if k[1] == "whole"], [k for k in own if k[1] != "whole"]
        out[group] = {}
        for name, p in tests.items():
            given = without_complexity(features) if name == "blind" else features
            out[group][name] = {"whole": evaluate(p, wholes, given, measured), "patches": evaluate(p, patches, given, measured)}
        out[group]["errors"] = curve_errors(curves, own, features, measured)
        print(group, *(f"{n} {mean(out[group][n]['patches'], 0)}" for n in tests), flush=True)
    return out


def mean(values, column, absolute=True):
    if len(values) == 0:
        return "-"
    v = np.abs(values[:, column]) if absolute else values[:, column]
    return f"{v.mean():.3f}" if column == 1 else f"{v.mean():.2f}"


NAMES = ["fixed", "plain", "curves", "blind", "direct"]


def table(found, part):
    """Mean absolute exponent error and passes of each predictor, per volume."""
    lines = [
        "| volume | cases | " + " | ".join(f"error, {n}" for n in NAMES) + " | " + " | ".join(f"passes, {n}" for n in NAMES) + " |",
        "|---|---:|" + "---:|" * (2 * len(NAMES)),
    ]
    pooled = defaultdict(list)
    for group, results in found.items():
        cells = [results[n][part] for n in NAMES]
        for n, c in zip(NAMES, cells):
            pooled[n].append(c)
        row = [group, str(len(cells[0])), *(mean(c, 0) for c in cells), *(mean(c, 2) for c in cells)]
        lines.append("| " + " | ".join(row) + " |")
    every = [np.concatenate(pooled[n]) for n in NAMES]
    row = ["**all**", str(len(every[0])), *(f"**{mean(c, 0)}**" for c in every), *(f"**{mean(c, 2)}**" for c in every)]
    return lines + ["| " + " | ".join(row) + " |"], every


def summary(every):
    lines = ["| first guess | mean error of the exponent | 90 % within | margin of SSIM, mean of absolute | passes | met with one |", "|---|---:|---:|---:|---:|---:|"]
    for name, v in zip(NAMES, every):
        if len(v) == 0:
            continue
        within, once = np.quantile(np.abs(v[:, 0]), 0.9), np.mean(v[:, 2] == 1)
        lines.append(f"| {name} | {mean(v, 0)} | {within:.2f} | {mean(v, 1)} | {mean(v, 2)} | {100 * once:.0f} % |")
    return lines


HEAD = """# The predictor, measured

Made by `tools/bench/predictor/train.py` from `points.csv` and `features.csv` beside it (`collect.py` makes them:
preset balanced, 64³ blocks, three quality levels). Each volume in turn is left out of training altogether; the
networks that are shipped are trained on all of them, and on generated volumes, which are in no table.

* error: absolute difference of the exponent log2(range / step) to the one that just meets the four SSIM targets by
  the measured curves, mean over cases (a file and one of {count} sets of targets, {targets}; those that
  the measured curves do not reach are left out);
* passes: encodes of the volume that a secant search takes, simulated on the measured curves: until the smallest of
  the four margins is at least 0, at most 0.01, and no SSIM that decides leaves more than half of what its target
  allows. Predicted first guesses are made {caution} octaves finer, since a miss costs a pass and a little too much quality does not;
* fixed: range / 64, always. plain: where the expected losses of `hgv analyze` meet the targets, without training. curves:
  where these meet them as corrected by networks. direct: networks that are given features and targets and answer the
  exponent; it is what `predict` answers for SSIM. blind: the same without the complexity.
"""


def write_report(path, found, files):
    whole, every_whole = table(found, "whole")
    patches, every_patches = table(found, "patches")
    sets = "; ".join(", ".join(f"{v:g}" for v in t) for t in TARGETS)
    lines = [HEAD.format(count=len(TARGETS), targets=sets, caution=CAUTION), "## Volumes of up to 256³", "", *summary(every_whole), "", *whole]
    lines += ["", "## Patches of 128³ (64³ of the small volumes)", "", *summary(every_patches), "", *patches]
    lines += ["", "## The curves themselves", "", "Root mean squared error of what the corrected curves say at the exponents that were encoded, on the volume left out.", ""]
    lines += ["| volume | PSNR dB | log2 bits per voxel | SSIM where it is 0.8 or more |", "|---|---:|---:|---:|"]
    for group, results in found.items():
        psnr, bits, ssim = results["errors"]
        lines.append(f"| {group} | {psnr:.2f} | {bits:.2f} | {ssim:.4f} |")
    rms = np.sqrt(np.mean(np.square([r["errors"] for r in found.values()]), 0))
    lines.append(f"| **all** | **{rms[0]:.2f}** | **{rms[1]:.2f}** | **{rms[2]:.4f}** |")
    lines += ["", f"{len(files)} files, of which {sum(k[1] == 'whole' for k in files)} whole volumes; {len(SEEDS)} networks with hidden layers of {HIDDEN[0]} and {HIDDEN[1]}.", ""]
    path.write_text("\n".join(lines))


# ------------------------------------------------------------------ what is shipped

def rounded(values):
    return [float(f"{v:.6g}") for v in values]


def content(ensemble, scale):
    """The JSON form of networks. Rounds them to what it holds, so that vectors come from the same numbers."""
    members = []
    for network in ensemble.members:
        network.mean, network.scale = np.array(rounded(network.mean)), np.array(rounded(network.scale))
        for layer in network.layers:
            layer[0] = np.array([rounded(row) for row in layer[0]])
            layer[1] = np.array(rounded(layer[1]))
        members.append({"layers": [{"weights": w.tolist(), "bias": b.tolist()} for w, b in network.layers]})
    first = ensemble.members[0]
    return {"mean": first.mean.tolist(), "scale": first.scale.tolist(), "members": members, "output_scale": scale}


def write_weights(path, curves, direct):
    both = {"version": 1, "curves": content(curves.network, OUTPUT_SCALE.tolist()), "exponent": content(direct.network, [1.0])}
    path.write_text(json.dumps(both, separators=(",", ":")).replace("],[", "],\n[").replace('],"', '],\n"') + "\n")


def nested(features):
    """The JSON form of features."""
    out = {}
    for name, value in features.items():
        *path, last = name.split(".")
        place = out
        for key in path:
            place = place.setdefault(key, {})
        place[last] = value
    as_lists = lambda v: v if not isinstance(v, dict) else [as_lists(v[k]) for k in v] if "0" in v else {k: as_lists(w) for k, w in v.items()}
    return as_lists(out)


def write_vectors(path, curves, direct, files, features):
    cases = []
    for key in files[:: len(files) // 3][:3]:
        f = features[key]
        rows = [[e, *curves.row(f, e)] for e in (0.0, 2.75, 6.5, 12.0)]
        targets = [[*wanted, direct.exponent(f, wanted, [True] * LODS)] for wanted in TARGETS]
        cases.append({"features": nested(f), "rows": rows, "targets": targets})
    path.write_text(json.dumps(cases) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("points", "features", "weights", "vectors", "report"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--generated", default="porous,turbulence,phantom")
    args = parser.parse_args()
    features, measured = read_features(args.features), read_points(args.points)
    files = sorted(set(features) & set(measured))
    real = sorted({g for g, _ in files} - set(args.generated.split(",")))
    found = leave_one_out(real, files, features, measured)
    write_report(args.report, found, files)
    curves, direct = train_curves(files, features, measured), train_direct(files, features, measured)
    write_weights(args.weights, curves, direct)
    write_vectors(args.vectors, curves, direct, files, features)


if __name__ == "__main__":
    main()
