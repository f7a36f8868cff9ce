#!/usr/bin/env python3
"""Volumes far larger than memory should be: time and peak memory of every hgv process.

    cargo build --release -p hgv-cli -p hgv-bench
    python3 tools/bench/large.py --work FOLDER [--only porous] [--keep]

Generates raw files into FOLDER (1 GiB and 16 GiB; one that is there is used again), encodes each
with `--preset fast`, decodes a region and a coarse level of detail, compares the region with the
original voxel by voxel, and fails if any process had 1 GiB or more resident. The page cache does
not count: voxels are read with pread. Results go to tools/bench/results/large-<n>core.json and .md.
"""
import argparse, array, json, os, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LIMIT_MIB = 1024
# Name: kind, x, y, z, type, array type code, extra options of encode.
VOLUMES = {
    "porous": ("porous", (1024, 1024, 1024), "uint8", "B", []),
    "turbulence": ("turbulence", (4096, 4096, 256), "float32", "f", ["--ratio", "8"]),
}
# Half open, off the grid of blocks on every side.
REGION = ((301, 557), (310, 566), (70, 198))
# Level of detail, quality level. In-block levels of detail at quality 0 need the first layers
# only; those of the overview need none of the volume's.
COARSE = (("3", "0"), ("4", "2"))
SIMD = ("avx512f", "avx2")


def run(command):
    """Runs a program: its standard output, wall and CPU seconds, peak resident MiB."""
    start = time.monotonic()
    child = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {child.returncode}")
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    peak = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1024)
    return out, {"wall_s": time.monotonic() - start, "cpu_s": usage.ru_utime + usage.ru_stime,
                 "peak_mib": peak}


def generated(a, name):
    """Path of the raw volume; made if it is not there."""
    kind, size, dtype, _, _ = VOLUMES[name]
    path = a.work / f"{name}_{size[0]}x{size[1]}x{size[2]}_{dtype}.raw"
    if not path.exists():
        print(f"# generating {path.name}", file=sys.stderr)
        run([a.generate, kind, "--size", ",".join(map(str, size)), "--dtype", dtype, "--quiet",
             "-o", a.work / f"{name}.raw"])
    return path


def rows_of(path, size, code, region):
    """The voxels of a box of a raw file, row after row."""
    (x0, x1), (y0, y1), (z0, z1) = region
    width = array.array(code).itemsize
    with path.open("rb") as file:
        for z in range(z0, z1):
            for y in range(y0, y1):
                file.seek(((z * size[1] + y) * size[0] + x0) * width)
                yield array.array(code, file.read((x1 - x0) * width))


def largest_error(original, size, code, region, decoded):
    """Largest absolute difference over the region."""
    extent = tuple(b - a for a, b in region)
    pairs = zip(rows_of(original, size, code, region),
                rows_of(decoded, extent, code, [(0, n) for n in extent]))
    return max(max(map(abs, map(float.__sub__, map(float, a), map(float, b)))) for a, b in pairs)


def voxels(size):
    return size[0] * size[1] * size[2]


def measure(a, name):
    """One volume: encode, region, coarse level of detail."""
    _, size, dtype, code, extra = VOLUMES[name]
    raw, coded = generated(a, name), a.work / f"{name}.hgv"
    part, coarse = a.work / f"{name}-part.raw", a.work / f"{name}-coarse.raw"
    threads = ["--threads", str(a.threads)]
    text, encode = run([a.hgv, "encode", raw, "-o", coded, "--preset", "fast", *extra, "--force", "--json", *threads])
    report = json.loads(text)
    box = ",".join(f"{lo}:{hi}" for lo, hi in REGION)
    text, region = run([a.hgv, "decode", coded, "-o", part, "--region", box, "--force", "--json", *threads])
    part = Path(json.loads(text)["output"])
    steps = {"encode": {"voxels": voxels(size), **encode},
             "decode a region of 256 x 256 x 128": {"voxels": voxels([b - a for a, b in REGION]), **region}}
    for detail, level in COARSE:
        text, taken = run([a.hgv, "decode", coded, "-o", coarse, "--lod", detail, "--level", level, "--force",
                           "--json", *threads])
        done = json.loads(text)
        steps[f"decode level of detail {detail}, quality level {level}"] = {"voxels": voxels(done["extent"]), **taken}
    coarse = Path(done["output"])
    error = largest_error(raw, size, code, REGION, part)
    # Half a unit in the last place of float32 may be lost when the error is written as a number.
    if error > report["max_abs_error"] * (1 + 1e-6):
        sys.exit(f"{name}: the region is off by {error}, the encoder said {report['max_abs_error']}")
    keys = ("file_bytes", "ratio", "psnr", "max_abs_error", "passes", "backend")
    for path in (part, coarse, *([] if a.keep else [coded])):
        path.unlink(missing_ok=True)
    return {"size": size, "dtype": dtype, "options": " ".join(["--preset fast", *extra]),
            **{k: report[k] for k in keys}, "region_error": error,
            "steps": steps}


def machine():
    """Class of the machine, without its name."""
    try:
        flags = next(l for l in Path("/proc/cpuinfo").read_text().splitlines() if l.startswith("flags")).split()
    except (OSError, StopIteration):
        flags = []
    wide = next((name for name in SIMD if name in flags), None)
    kind = "virtual machine" if "hypervisor" in flags else "machine"
    simd = {"avx512f": ", AVX-512", "avx2": ", AVX2"}.get(wide, "")
    return f"{os.cpu_count()}-core {os.uname().machine.replace('_', '-')} {kind}{simd}"


def table(results):
    lines = ["# Large volumes", "", f"Written by `tools/bench/large.py` on a {results['machine']}, "
             f"{results['threads']} threads. Peak = most memory resident in the process; under {LIMIT_MIB} MiB is "
             "asserted. Voxels are those that come out (decode) or go in (encode). The page cache is not counted."
             + (" Other work ran on the machine: CPU seconds mean more than wall seconds." if results["shared"] else ""), ""]
    for name, v in results["volumes"].items():
        size = " x ".join(map(str, v["size"]))
        psnr = "lossless" if v["psnr"] is None else f"{v['psnr']:.2f} dB"
        lines += [f"## {name}: {size} {v['dtype']}", "",
                  f"`hgv encode {v['options']}`: {v['file_bytes']:,} bytes, {v['ratio']:.2f}:1, {psnr}, "
                  f"largest error {v['max_abs_error']:.6g} (in the decoded region: {v['region_error']:.6g}), "
                  f"{v['passes']} passes, {v['backend']}.", "",
                  "| step | wall s | CPU s | Mvoxel per CPU s | peak MiB |", "|---|---:|---:|---:|---:|"]
        lines += [f"| {step} | {s['wall_s']:.1f} | {s['cpu_s']:.1f} | {s['voxels'] / s['cpu_s'] / 1e6:.1f} | "
                  f"{s['peak_mib']:.0f} |" for step, s in v["steps"].items()]
        lines.append("")
    return "\n".join(lines)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--work", type=Path, required=True, help="folder for the volumes: 22 GB for all of them")
    ap.add_argument("--only", choices=VOLUMES, help="one volume")
    ap.add_argument("--hgv", type=Path, default=ROOT / "target/release/hgv")
    ap.add_argument("--generate", type=Path, default=ROOT / "target/release/hgv-generate")
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    ap.add_argument("--keep", action="store_true", help="keep the .hgv files")
    ap.add_argument("--shared", action="store_true", help="say that other work ran on the machine")
    ap.add_argument("--out", type=Path, default=HERE / "results")
    a = ap.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    a.out.mkdir(parents=True, exist_ok=True)
    stored = a.out / f"large-{os.cpu_count()}core.json"
    old = json.loads(stored.read_text())["volumes"] if stored.exists() else {}
    results = {"machine": machine(), "threads": a.threads, "shared": a.shared, "volumes": old}
    worst = 0
    for name in [a.only] if a.only else VOLUMES:
        results["volumes"][name] = measure(a, name)
        worst = max(worst, *(s["peak_mib"] for s in results["volumes"][name]["steps"].values()))
        stored.write_text(json.dumps(results, indent=1) + "\n")
        stored.with_suffix(".md").write_text(table(results))
    print(table(results))
    if worst >= LIMIT_MIB:
        sys.exit(f"{worst:.0f} MiB resident, {LIMIT_MIB} are allowed")


if __name__ == "__main__":
    main()
