"""Decodes every payload vector with the reference decoder and compares hashes.

usage: python3 tools/refdecoder/check_vectors.py [NAME ...]

Also damages every layer in simple ways and checks that the damage is rejected. Exits with 1 if
anything differs.
"""

import hashlib
import json
import struct
import sys
import time
from pathlib import Path

import hgv_payload as hgv

FOLDER = Path(__file__).resolve().parents[2] / "format-spec" / "vectors" / "payload"
# Damage is tried on blocks up to this many voxels, to keep the run short.
SMALL = 10_000


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

    def decode(self, layers, lod):
        a = self.about
        steps = [tuple(s) for s in a["steps"]]
        return hgv.decode_block(bytes.fromhex(a["model"]), a["dims"], a["block_log2"], a["range"], steps, layers, lod)


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


def damages(layer, quality, parts):
    """Ways to break a layer that every reader must notice. `parts`: "stream", "mask" (and then
    the stream) or "lossless" (the stream between a length and the residual)."""
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
    if quality > 0:
        yield "empty refinement", around(b"")
    yield "64 lanes", around(b"\x06" + tail[1:])
    yield "a state under 2^16", around(tail[:3] + b"\0\0" + tail[5:])
    yield "no room for a state", around(tail[:4])


def parts_of(vector, number):
    flags = bytes.fromhex(vector.about["model"])[6]
    if flags & 2 and number == 0:
        return "mask"
    return "lossless" if flags & 1 and number == len(vector.layers) - 1 else "stream"


def check_damage(vector):
    """Names of the damages that went unnoticed."""
    missed = []
    for number, layer in enumerate(vector.layers):
        quality = vector.about["steps"][number][1]
        for name, broken in damages(layer, quality, parts_of(vector, number)) if layer else ():
            try:
                vector.decode(vector.layers[:number] + [broken], 0)
                missed.append(f"layer {number}: {name}")
            except hgv.Reject:
                pass
    return missed


def main():
    names = sys.argv[1:] or sorted(p.stem for p in FOLDER.glob("*.json"))
    failed = False
    for name in names:
        start = time.monotonic()
        vector = Vector(FOLDER / f"{name}.json")
        small = hgv.volume(vector.about["dims"]) <= SMALL
        problems = check_decoded(vector) + (check_damage(vector) if small else [])
        failed |= bool(problems)
        print(f"{name}: {'; '.join(problems) or 'ok'} ({time.monotonic() - start:.1f} s)", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
