#!/usr/bin/env python3
"""hgv beside zfp, SZ3, SPERR and x265 on any folder of volumes.

    python3 tools/bench/compare_peers.py FOLDER [FOLDER ...]

Makes a virtual environment with the peers (from PyPI), sweeps every codec over every volume,
and writes into tools/bench/results/:

    peers.csv, hgv.csv   every measured point (columns: README.md)
    bdrate.md            size of hgv against each peer at equal PSNR and at equal SSIM
    tables.md            quality at given ratios, speed per CPU second, peak memory
    machine.json         what it was measured on

A stopped run goes on where it was; --fresh starts anew. Measured one after the other with one
thread each: leave the machine alone for times worth reporting.
"""
import argparse, json, platform, subprocess, sys, venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def environment(folder):
    """The python of a virtual environment that has the requirements."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp, wanted = folder / "requirements.txt", (HERE / "requirements.txt").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"# making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"],
                       check=True)
        stamp.write_text(wanted)
    return python


def cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((l.split(":", 1)[1].strip() for l in lines if l.startswith("model name")),
                platform.processor())


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip() if done.returncode == 0 else None


def machine(python, hgv):
    return {"cpu": cpu_model(), "system": platform.platform(), "python": platform.python_version(),
            "hgv": output(hgv, "--version"), "commit": output("git", "rev-parse", "HEAD"),
            "changed": bool(output("git", "status", "--porcelain", "--untracked-files=no")),
            "packages": (output(python, "-m", "pip", "freeze") or "").splitlines()}


def tables(python, out, codecs, peers):
    """bdrate.md and tables.md from the two CSV files."""
    with (out / "bdrate.md").open("w") as file:
        for codec in codecs:
            for metric in ("psnr", "ssim"):
                file.write(f"\n## {codec}: bytes at equal {metric.upper()}, percent more (+) or fewer (-)\n\n")
                file.flush()
                subprocess.run([python, HERE / "bdrate.py", out / "hgv.csv", "--codec", codec, "--peers",
                                out / "peers.csv", "--metric", metric, "--strong", peers], check=True, stdout=file)
    with (out / "tables.md").open("w") as file:
        subprocess.run([python, HERE / "peers_summary.py", out / "peers.csv", out / "hgv.csv"],
                       check=True, stdout=file)


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("data", nargs="+", help="file or folder of volumes, optionally NAME=PATH")
    ap.add_argument("--hgv", default=ROOT / "target/release/hgv", type=Path)
    ap.add_argument("--hgv-codecs", default="hgv-fast,hgv-balanced,hgv-best")
    ap.add_argument("--peers", default="zfp-acc,sz3,sperr,x265")
    ap.add_argument("--crop", default=256, type=int, help="longest side measured")
    ap.add_argument("--only", help="regex on the name of the volume")
    ap.add_argument("--env", default=HERE / ".venv", type=Path)
    ap.add_argument("--out", default=HERE / "results", type=Path)
    ap.add_argument("--fresh", action="store_true", help="forget what was measured before")
    ap.add_argument("--hgv-fresh", action="store_true", help="measure hgv again, keep the peers")
    a = ap.parse_args()
    if not a.hgv.exists():
        ap.error(f"{a.hgv} is missing: cargo build --release")
    python, hgv = environment(a.env.absolute()), a.hgv.resolve()
    a.out.mkdir(parents=True, exist_ok=True)
    for name, gone in (("peers.csv", a.fresh), ("hgv.csv", a.fresh or a.hgv_fresh)):
        if gone:
            (a.out / name).unlink(missing_ok=True)
    sweep = [python, HERE / "peers.py", *a.data, "--crop", str(a.crop)]
    sweep += ["--only", a.only] if a.only else []
    subprocess.run([*sweep, "--codecs", a.peers, "--modes", "chunk64,whole", "--out",
                    a.out / "peers.csv"], check=True)
    subprocess.run([*sweep, "--codecs", a.hgv_codecs, "--modes", "whole", "--hgv", hgv, "--out",
                    a.out / "hgv.csv"], check=True)
    tables(python, a.out, a.hgv_codecs.split(","), a.peers)
    (a.out / "machine.json").write_text(json.dumps(machine(python, hgv), indent=1) + "\n")
    print(f"# results in {a.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
