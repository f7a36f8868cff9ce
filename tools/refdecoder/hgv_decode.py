"""Decodes an hgv file with the reference decoder: container.md and payload.md, nothing else.

usage: python3 tools/refdecoder/hgv_decode.py FILE.hgv [--lod R] [--level K]
           [--region X0:X1,Y0:Y1,Z0:Z1] -o OUT.npy

Region in voxels of level of detail R; the whole of it by default. The output is a NumPy array
indexed [z, y, x]. Slow: tens of thousands of voxels a second.
"""

import argparse
import struct
import sys

import hgv_payload as payload
from hgv_ranks import KIND, ranks_of
from hgv_container import Container, Reject, ceil_shift

NPY_TYPES = {"uint8": "|u1", "int8": "|i1", "uint16": "<u2", "int16": "<i2", "float32": "<f4"}


class NotWritten(Exception):
    """A block lies in another shard."""


def place(container, lod):
    """Tier that serves a level of detail (container.md, section 3), and its level inside blocks."""
    splits = container.header.splits
    tier = max(t for t in range(len(container.tiers)) if splits * t <= lod)
    return tier, lod - splits * tier


def block_dims(container, tier, block):
    side = 1 << container.header.block_log2
    return tuple(min(side, container.tiers[tier].extent[a] - block[a] * side) for a in range(3))


def decode_block(container, tier, block, lod, level):
    """Extent at in-block level of detail `lod`, and integers in raster order."""
    dims = block_dims(container, tier, block)
    box = tuple(ceil_shift(n, lod) for n in dims)
    page, slot = container.block(tier, block)
    if slot is None:
        raise NotWritten(f"block {block} of tier {tier} is not written")
    if slot[0] == "constant":
        return box, [slot[1]] * payload.volume(box)
    rank = slot[1]
    model = container.models[page.models[rank]]
    if model[0] == KIND:
        raise Reject("a block names the map of ranks")
    if container.header.dtype != "float32" and model[1][payload.FLAGS_AT[model[0]]] & (2 | 8):
        raise Reject("model record: a mask or bits of floats for integer voxels")
    steps = container.layers
    layers = container.layers_of(page, rank, payload.prefix_length(steps, lod, level))
    log2 = container.header.block_log2
    value_range = page.ranges[rank]
    ranks = ranks_of(container.models, container.header)
    ranked = model[0] == 1 and model[1][payload.FLAGS_AT[1]] & payload.RANKS_FLAG
    if ranked:
        if ranks is None:
            raise Reject("a block of ranks in a file without a map")
        value_range = ranks.within(*value_range)
    q = payload.decode_block(model, dims, log2, value_range, steps, layers, lod, container.header.value_exp)
    if not ranked:
        return box, q
    if ranks.bits and lod == 0 and len(layers) == len(steps):
        return box, payload.FloatBits(ranks.bits[i] for i in q)
    return box, [ranks.q[i] for i in q]


def blocks_of(region, side_log2):
    """Blocks that a region touches."""
    first = [v >> side_log2 for v in region[0]]
    count = [ceil_shift(v, side_log2) - f for v, f in zip(region[1], first)]
    return (tuple(f + b for f, b in zip(first, p)) for p in payload.raster(count))


def decode(container, lod, level, region=None):
    """Voxels of a region of a level of detail as little-endian bytes, `[z][y][x]`."""
    h = container.header
    if lod >= h.lod_count or level >= h.level_count:
        raise ValueError(f"the file has levels of detail under {h.lod_count} and qualities under {h.level_count}")
    (x0, y0, z0), (x1, y1, z1) = region = region or whole(container, lod)
    tier, inside = place(container, lod)
    side_log2 = h.block_log2 - inside
    w, rows = x1 - x0, y1 - y0
    out = [0] * (w * rows * (z1 - z0))
    for block in blocks_of(region, side_log2):
        (bw, bh, bd), q = decode_block(container, tier, block, inside, level)
        voxels = payload.to_voxels(q, h.dtype, h.value_exp)
        bx, by, bz = (b << side_log2 for b in block)
        left, right = max(x0, bx), min(x1, bx + bw)
        for z in range(max(z0, bz), min(z1, bz + bd)):
            for y in range(max(y0, by), min(y1, by + bh)):
                start, source = ((z - z0) * rows + y - y0) * w + left - x0, ((z - bz) * bh + y - by) * bw + left - bx
                out[start:start + right - left] = voxels[source:source + right - left]
    return payload.to_bytes(out, h.dtype)


def whole(container, lod):
    return [0, 0, 0], [ceil_shift(e, lod) for e in container.header.extent]


def npy(dtype, region, voxels):
    """The bytes of a NumPy file."""
    shape = tuple(b - a for a, b in zip(*region))[::-1]
    head = f"{{'descr': '{NPY_TYPES[dtype]}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + voxels


def parse_region(text):
    axes = [tuple(map(int, part.split(":"))) for part in text.split(",")]
    if len(axes) != 3 or any(len(a) != 2 or not 0 <= a[0] < a[1] for a in axes):
        raise argparse.ArgumentTypeError("a region is X0:X1,Y0:Y1,Z0:Z1")
    return [a[0] for a in axes], [a[1] for a in axes]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--lod", type=int, default=0)
    parser.add_argument("--level", type=int, help="quality level; the last one by default")
    parser.add_argument("--region", type=parse_region)
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    try:
        with open(args.file, "rb") as f:
            container = Container(f.read())
        level = container.header.level_count - 1 if args.level is None else args.level
        region = args.region or whole(container, args.lod)
        if any(end > limit for end, limit in zip(region[1], whole(container, args.lod)[1])):
            raise ValueError("the region leaves the volume")
        voxels = decode(container, args.lod, level, region)
        with open(args.output, "wb") as f:
            f.write(npy(container.header.dtype, region, voxels))
    except (Reject, NotWritten, ValueError, OSError) as e:
        sys.exit(f"hgv_decode: {args.file}: {e}")


if __name__ == "__main__":
    main()
