#!/usr/bin/env python3
"""Where the time of encode and decode goes, near 30:1, and what the machine would allow.

    profile.py VOLUME.npy --bin target/release --machine "2-core virtual machine, AVX-512" \\
               [--region 128] [--presets fast,balanced,best] [--keep CASES.jsonl] [--work DIR] > results/profile.md

With --keep, presets that the file holds already are not measured again; so one preset may be run on a smaller
box: the encoder of `best` takes minutes under valgrind. Needs valgrind, and `cargo build --release --workspace` first (function names are enough). For each preset
a central box of the volume is coded by `hgv encode --levels 1 --quality Q`, with the Q whose ratio is nearest
to 30:1 (more levels take more symbols), and decoded, both on one thread under callgrind. What is counted:

* instructions of whole programs, start and files included, each by the function that executes it. What
  the compiler inlines counts where it lands. Loops built for vectors (dequantisation, curve, rounding, and
  in the encoder many more) share one name and one row; those that it leaves to iterators of the standard
  library (values along a curve in 32-bit blocks are such) are among "all else". valgrind knows no AVX-512,
  so this is the AVX2 code.
* ns: CPU time (user and system) of the same runs without valgrind, with the widest vectors, best of
  five (decode) or two (encode), a voxel.

Bounds beside them, each alone, in ns a voxel:

* memory: bytes of the file, and twice those of the voxels (written, then copied to the system's cache of
  files), at the speed of a copy in memory. A block's working values stay in the core's own caches.
* instructions: at four a cycle and the clock that the system names.
* symbols: those of coder R, at the speed of the coder alone (32 states, one distribution, no contexts).
  They are counted by `hgv-block-speed`, on cubes of the volume near 30:1, as if there were no value curve.
"""
import argparse, csv, io, json, os, re, resource, subprocess, tempfile
from pathlib import Path

STAGES = [
    ("residual", r"codec::residual"),
    ("entropy coder", r"hgv::codec::(band|layer|symbols|rans|state|mixing|rates|bits|tables|contexts|quant)"),
    ("wavelet transform", r"simd::\w+::inverse|encode::forward|encode::exact"),
    ("filter", r"simd::\w+::filter|cpu::filter"),
    ("search for indices", r"encode::(search|quantise)"),
    ("choice of curve and filter", r"encode::(curve|filter)"),
    ("learned grids", r"(codec|encode|cpu|model)::grid|encode::train|fused"),
    ("vector loops: dequantise, curve, clamp, round", r"simd::|backend::cpu|model::(curve|values)"),
    ("fill and copy memory", r"memset|memmove|memcpy"),
]
REST = "files, memory, all else"
KINDS = {"fast": "dense", "balanced": "dense-balanced", "best": "dense-best"}


def run(command, **more):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **more)


def cpu_seconds(command, times):
    """Least CPU time, user and system, of a command."""
    def once():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return min(once() for _ in range(times))


def instructions(command, work):
    """Instructions by stage."""
    out = work / "callgrind.out"
    # Long fills and copies without rep instructions, of which each byte would count as one.
    never = ":".join(f"glibc.cpu.x86_rep_{i}_threshold={1 << 40}" for i in ("stosb", "movsb"))
    run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command],
        env={**os.environ, "GLIBC_TUNABLES": never})
    text = run(["callgrind_annotate", "--threshold=100", "--auto=no", out]).stdout
    counts = dict.fromkeys([name for name, _ in STAGES] + [REST], 0)
    for number, name in re.findall(r"^ *([\d,]+) \([ \d.]+%\) +(\S.*)$", text, re.M):
        if "PROGRAM TOTALS" not in name:
            stage = next((s for s, pattern in STAGES if re.search(pattern, name)), REST)
            counts[stage] += int(number.replace(",", ""))
    return counts


class Case:
    """One preset on the box."""

    def __init__(self, args, preset, work):
        self.args, self.preset, self.work = args, preset, work
        self.hgv, self.file = Path(args.bin) / "hgv", work / f"{preset}.hgv"
        self.voxel = work / "out.npy"
        _, self.dims, self.bytes = header(args.volume)
        starts = [max(0, (n - args.region) // 2) for n in self.dims]
        sides = [min(n, args.region) for n in self.dims]
        self.voxels = sides[0] * sides[1] * sides[2]
        self.region = ",".join(f"{a}:{a + n}" for a, n in zip(starts, sides))

    def encode(self, quality):
        return [self.hgv, "encode", self.args.volume, "-o", self.file, "--quality", f"{quality:.2f}", "--levels", 1,
                "--preset", self.preset, "--region", self.region, "--threads", 1, "--force", "--quiet"]

    def decode(self):
        return [self.hgv, "decode", self.file, "-o", self.voxel, "--threads", 1, "--force", "--quiet"]

    def quality(self):
        """The one whose ratio is nearest to 30:1."""
        low, high = 0.0, 100.0
        for _ in range(6):
            middle = (low + high) / 2
            run(self.encode(middle))
            if self.voxels * self.bytes / self.file.stat().st_size > 30:
                low = middle
            else:
                high = middle
        return low

    def measure(self):
        encode = self.encode(self.quality())
        encode_s = cpu_seconds(encode, 2)
        size = self.file.stat().st_size
        decode_s = cpu_seconds(self.decode(), 5)
        return {
            "preset": self.preset, "region": self.args.region, "ratio": self.voxels * self.bytes / size, "voxels": self.voxels,
            "encode": (encode_s, instructions(encode, self.work)),
            "decode": (decode_s, instructions(self.decode(), self.work)),
            "moved": (size + 2 * self.bytes * self.voxels) / self.voxels,
            "symbols": self.symbols(),
        }

    def symbols(self):
        out = run([Path(self.args.bin) / "hgv-block-speed", KINDS[self.preset], self.args.volume]).stdout
        return float(next(csv.DictReader(io.StringIO(out)))["symbols_voxel"])


def header(path):
    """Type, extent x, y, z and bytes of a voxel of a .npy file."""
    with open(path, "rb") as file:
        head = file.read(256).decode("latin-1")
    kind = re.search(r"'descr': '(\S+?)'", head)[1]
    shape = [int(n) for n in re.search(r"'shape': \(([\d, ]+)\)", head)[1].split(",") if n.strip()]
    return kind, shape[::-1], int(kind[-1])


def clock():
    """Cycles a nanosecond, as the system names them."""
    found = re.search(r"cpu MHz\s*: ([\d.]+)", Path("/proc/cpuinfo").read_text())
    return float(found[1]) / 1e3


def machine(args):
    lines = run([Path(args.bin) / "hgv-block-speed", "machine"]).stdout.split()
    return {k: float(v) for k, v in (line.split(",") for line in lines)}


def stage_table(cases, what):
    names = [n for n in cases[0][what][1] if any(c[what][1][n] > 0.002 * sum(c[what][1].values()) for c in cases)]
    yield "| instructions a voxel | " + " | ".join(c["preset"] for c in cases) + " |"
    yield "|---|" + "---:|" * len(cases)
    for name in names:
        cells = []
        for c in cases:
            count, total = c[what][1][name], sum(c[what][1].values())
            cells.append(f"{count / c['voxels']:.1f} ({100 * count / total:.0f} %)")
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield "| **all** | " + " | ".join(f"**{sum(c[what][1].values()) / c['voxels']:.0f}**" for c in cases) + " |"


def bound_table(cases, m):
    yield "| preset | side of the box | ratio | ns a voxel | Mvoxel/s | memory | instructions | symbols a voxel | symbols |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for c in cases:
        seconds, counts = c["decode"]
        executed = sum(counts.values()) / c["voxels"] / 4 / clock()
        symbols = f"{c['symbols'] * m['symbol_ns_32_states']:.2f}" if c["preset"] != "best" else "-"
        yield (f"| {c['preset']} | {c['region']} | {c['ratio']:.1f} | {seconds / c['voxels'] * 1e9:.1f} | {c['voxels'] / seconds / 1e6:.0f} | "
               f"{c['moved'] / m['copy_bytes_ns']:.2f} | {executed:.2f} | {c['symbols']:.2f} | {symbols} |")


def report(args, cases, m):
    yield "# Where the time goes"
    yield ""
    yield (f"`profile.py` on {Path(args.volume).stem}, a central box, one quality level; {args.machine}; "
           "one thread. "
           "Instructions are those of the AVX2 code, of whole programs.")
    yield ""
    yield from ("## Decode", "", *stage_table(cases, "decode"), "")
    yield from ("Measured (widest vectors, CPU time of the whole program) and bounds, each alone, in ns a voxel:", "",
                *bound_table(cases, m), "")
    yield (f"Memory: a copy moves {m['copy_bytes_ns']:.1f} bytes a ns. Instructions: four a cycle at {clock():.2f} GHz, AVX2. Symbols: "
           f"{m['symbol_ns_32_states']:.2f} ns each on 32 states without contexts ({m['symbol_ns_1_state']:.2f} on one); for `best` "
           "they are binary decisions, each of which waits for the one before.")
    yield ""
    yield from ("## Encode", "", *stage_table(cases, "encode"), "")
    speeds = ", ".join(f"{c['preset']} {c['voxels'] / c['encode'][0] / 1e6:.2f}" for c in cases)
    yield (f"Million voxels a CPU second, choice of curve and filter included: {speeds}.")


def kept(path):
    lines = Path(path).read_text().splitlines() if path and Path(path).exists() else []
    return [json.loads(line) for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--machine", required=True, help="what the figures were measured on")
    parser.add_argument("--region", type=int, default=128)
    parser.add_argument("--presets", default="fast,balanced,best")
    parser.add_argument("--keep", help="file of presets that are measured")
    parser.add_argument("--work", help="folder for files, kept")
    args = parser.parse_args()
    work = Path(args.work or tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    m, cases = machine(args), kept(args.keep)
    for preset in args.presets.split(","):
        if all(c["preset"] != preset for c in cases):
            cases.append(Case(args, preset, work).measure())
            if args.keep:
                with open(args.keep, "a") as file:
                    print(json.dumps(cases[-1]), file=file)
    print("\n".join(report(args, cases, m)))


if __name__ == "__main__":
    main()
