"""Decodes every vector with the reference decoder and compares hashes.

usage: python3 tools/refdecoder/check_vectors.py [--all] [NAME ...]

Payload vectors: also damages every layer in simple ways and checks that the damage is rejected.
File vectors: also checks every rule of the container, and that every file of tests/bad, tests/bad/curve,
tests/bad/grid and tests/bad/ranks is rejected. Levels of over 100,000 voxels are left out without --all, which takes minutes. Vectors of
model kind 2 are left out if there is no NumPy. Exits with 1 if anything differs.
"""

import hashlib
import json
import struct
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import hgv_payload as hgv
from hgv_container import Container
from hgv_decode import NotWritten, decode

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "format-spec" / "vectors" / "payload"
FILES = ROOT / "format-spec" / "vectors" / "good"
BAD_FILES = ROOT / "tests" / "bad"
# Damage is tried on blocks up to this many voxels, to keep the run short.
SMALL = 10_000
# Levels of file vectors over this many voxels need --all.
LARGE = 100_000


class Vector:
    def __init__(self, path):
        self.about = json.loads(path.read_text())
        data = path.with_suffix(".bin").read_bytes()
        assert hashlib.sha256(data).hexdigest() == self.about["bytes_sha256"], path
        self.layers, at = [], 0
        for length in self.about["layers"]:
            self.layers.append(data[at:at + length])
            at += length
        assert at == len(data), path
        self.kind = self.about.get("kind", 1)

    def decode(self, layers, lod):
        a = self.about
        steps = [tuple(s) for s in a["steps"]]
        model = self.kind, bytes.fromhex(a["model"])
        return hgv.decode_block(model, a["dims"], a["block_log2"], a["range"], steps, layers, lod)


def check_decoded(vector):
    """Names of the levels that differ."""
    wrong = []
    for want in vector.about["decoded"]:
        used = hgv.prefix_length(vector.about["steps"], want["lod"], want["quality"])
        q = vector.decode(vector.layers[:used], want["lod"])
        digest = hashlib.sha256(struct.pack(f"<{len(q)}i", *q)).hexdigest()
        if used != want["layers"] or digest != want["sha256"]:
            wrong.append(f"lod {want['lod']} quality {want['quality']}")
    return wrong


def damages(layer, mixes, parts):
    """Ways to break a layer that every reader must notice. `parts`: "stream", "mask" (and then
    the stream) or "lossless" (the stream between a length and the residual). `mixes`: coder M."""
    around = {
        "stream": lambda stream: stream,
        "mask": lambda stream: layer[:-len(tail)] + stream,
        "lossless": lambda stream: struct.pack("<I", len(stream)) + stream,
    }[parts]
    tail = layer
    if parts != "stream":
        yield "3 bytes", layer[:3]
        yield "length of the first part too large", struct.pack("<I", len(layer) - 3) + layer[4:]
        tail = layer[4:]
    if parts == "mask":
        c, = struct.unpack_from("<I", layer)
        tail = layer[4 + c:]
        yield "a byte too many in the mask", struct.pack("<I", c + 1) + layer[4:4 + c] + b"\0" + tail
        yield "a byte too few in the mask", struct.pack("<I", c - 1) + layer[4:3 + c] + tail
    if not tail:
        return
    if mixes:
        yield "a byte too many", around(tail + b"\0")
        return
    yield "64 lanes", around(b"\x06" + tail[1:])
    yield "a state under 2^16", around(tail[:3] + b"\0\0" + tail[5:])
    yield "no room for a state", around(tail[:4])


def parts_of(vector, number):
    flags = bytes.fromhex(vector.about["model"])[hgv.FLAGS_AT[vector.kind]]
    if flags & 2 and number == 0:
        return "mask"
    return "lossless" if flags & 1 and number == len(vector.layers) - 1 else "stream"


def check_damage(vector):
    """Names of the damages that went unnoticed."""
    missed, mixes = [], vector.kind == 1 and vector.about["model"].startswith("01")
    for number, layer in enumerate(vector.layers):
        for name, broken in damages(layer, mixes, parts_of(vector, number)) if layer else ():
            try:
                vector.decode(vector.layers[:number] + [broken], 0)
                missed.append(f"layer {number}: {name}")
            except hgv.Reject:
                pass
    return missed


# ---------------------------------------------------------------------------------------------
# File vectors


def check_fields(container, about):
    """Names of the fields that are not as described."""
    h, want = container.header, dict(about["header"])
    have = {name: getattr(h, name) for name in want if hasattr(h, name)}
    have.update(uuid=h.uuid.hex(), file_len=h.file_length, extent=list(h.extent))
    wrong = [f"header {name}" for name in want if have[name] != want[name]]
    models = [{"id": i, "kind": kind, "payload": p.hex()} for i, (kind, p) in container.models.items()]
    tiers = [{"base_lod": t.base_lod, "extent": list(t.extent), "blocks": list(t.blocks)} for t in container.tiers]
    meta = {key: value for key, value in container.meta.items() if value is not None}
    sections = {"layers": [list(s) for s in container.layers], "tiers": tiers, "models": models, "metadata": meta}
    return wrong + [name for name, value in sections.items() if value != about[name]]


def check_levels(container, about, everything):
    """Names of the levels that differ, and how many were left out."""
    wrong, left_out = [], 0
    for want in about["decoded"]:
        first, end = want["region"]
        if hgv.volume([b - a for a, b in zip(first, end)]) > LARGE and not everything:
            left_out += 1
            continue
        voxels = decode(container, want["lod"], want["level"], want["region"])
        if hashlib.sha256(voxels).hexdigest() != want["sha256"]:
            wrong.append(f"lod {want['lod']} level {want['level']}")
    return wrong, left_out


def check_file(name, everything):
    """Problems of a file vector, and how many levels were left out."""
    about = json.loads((FILES / f"{name}.json").read_text())
    data = (FILES / f"{name}.hgv").read_bytes()
    container = Container(data)
    container.verify()
    problems = check_fields(container, about)
    if hashlib.sha256(data).hexdigest() != about["file_sha256"]:
        problems.append("file_sha256")
    wrong, left_out = check_levels(container, about, everything)
    if "not_written" in about:
        try:
            decode(container, 0, 0, about["not_written"])
            problems.append("not_written")
        except NotWritten:
            pass
    return problems + wrong, left_out


def accepted(folder, read):
    """Names of the malformed files that `read` does not reject."""
    names, count = [], 0
    for path in sorted(folder.glob("*.hgv")):
        count += 1
        try:
            read(Container(path.read_bytes()))
            names.append(path.name)
        except hgv.Reject:
            pass
    return names if count else ["no files"]


def whole(container):
    container.verify()
    decode(container, 0, 0)


def accepted_grids():
    """The same for files whose container is good."""
    import numpy  # noqa: F401  (says so where it is missing)

    return accepted(BAD_FILES / "grid", whole)


def check_payload(name):
    vector = Vector(FOLDER / f"{name}.json")
    small = hgv.volume(vector.about["dims"]) <= SMALL
    return check_decoded(vector) + (check_damage(vector) if small else []), 0


def check_bad(_, folder="", read=Container.verify):
    return accepted(BAD_FILES / folder, read), 0


def check_bad_grids(_):
    return accepted_grids(), 0


def run(name, check):
    """What one check prints, and whether it failed; in a process of its own."""
    start = time.monotonic()
    try:
        problems, left_out = check(name)
    except ModuleNotFoundError as e:
        return f"{name}: SKIPPED, it needs {e.name}", False
    note = f", {left_out} levels left out" if left_out else ""
    text = f"{name}: {'; '.join(problems) or 'ok'} ({time.monotonic() - start:.1f} s{note})"
    return text, bool(problems)


def main():
    everything = "--all" in sys.argv
    names = [a for a in sys.argv[1:] if a != "--all"]
    checks = [(p.stem, check_payload) for p in sorted(FOLDER.glob("*.json"))]
    check_one = partial(check_file, everything=everything)
    checks += [(p.stem, check_one) for p in sorted(FILES.glob("*.json"))]
    checks += [("bad", check_bad), ("bad-grid", check_bad_grids)]
    checks += [(f"bad-{f}", partial(check_bad, folder=f, read=whole)) for f in ("curve", "ranks")]
    failed = False
    with ProcessPoolExecutor() as pool:
        wanted = [c for c in checks if not names or c[0] in names]
        for text, bad in pool.map(run, *zip(*wanted)) if wanted else ():
            failed |= bad
            print(text, flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
