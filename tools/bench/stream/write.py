#!/usr/bin/env python3
"""Writes a uint8 volume as raw bricks, OME-Zarr and neuroglancer precomputed, slab by slab.

    write.py VOLUME_XxYxZ_uint8.raw FOLDER

makes FOLDER/raw/bricks.bin, FOLDER/zarr and FOLDER/precomputed. All three have the same levels: means
of 2 x 2 x 2, until one chunk of 64^3 holds the whole volume. Shapes are z, y, x (x fastest).

The peers are written by their own libraries (zarr-python, tensorstore), as their documents advise:
shards, so that one request can bring neighbours, in Morton order, indices that need no request for
the length of a file.
"""

import argparse
import json
import re
import shutil
import struct
import warnings
from pathlib import Path

import numpy as np
import tensorstore as ts
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec

SIDE = 64
# Voxels along an edge of a shard, and of a slab that is held in memory.
SHARD = 512
JPEG_QUALITY = 85
MAGIC = b"hgvbrick"
HEADER = 4096


def levels_of(shape):
    """Shapes of the levels, finest first."""
    shapes = [tuple(shape)]
    while max(shapes[-1]) > SIDE:
        shapes.append(tuple(-(-n // 2) for n in shapes[-1]))
    return shapes


def halved(a):
    """Means of 2 x 2 x 2, rounded; an odd end is repeated."""
    a = np.pad(a, [(0, n % 2) for n in a.shape], mode="edge")
    total = np.zeros([n // 2 for n in a.shape], np.uint16)
    for z in (0, 1):
        for y in (0, 1):
            for x in (0, 1):
                total += a[z::2, y::2, x::2]
    return ((total + 4) >> 3).astype(np.uint8)


def pyramid(volume, scratch):
    """Memory-mapped levels; the coarser ones are made in `scratch`."""
    shapes = levels_of(volume.shape)
    levels = [volume]
    for number, shape in enumerate(shapes[1:], 1):
        level = np.memmap(scratch / f"level{number}.raw", np.uint8, "w+", shape=shape)
        for z in range(0, levels[-1].shape[0], SIDE):
            level[z // 2 : (z + SIDE) // 2] = halved(levels[-1][z : z + SIDE])
        levels.append(level)
    return levels


def bricks_in_order(shape):
    """Chunk coordinates (z, y, x) in Morton order, bits of exhausted axes skipped."""
    grid = [-(-n // SIDE) for n in shape]
    bits = [(n - 1).bit_length() for n in grid]

    def key(at):
        code = place = 0
        for bit in range(max(bits, default=0)):
            for axis in (2, 1, 0):
                if bit < bits[axis]:
                    code |= (at[axis] >> bit & 1) << place
                    place += 1
        return code

    return sorted(np.ndindex(*grid), key=key)


def write_raw(levels, folder):
    """A header, then the bricks of each level, coarsest first, in Morton order: no index is needed."""
    folder.mkdir(parents=True)
    z, y, x = levels[0].shape
    header = MAGIC + struct.pack("<4Q", x, y, z, SIDE)
    with open(folder / "bricks.bin", "wb") as out:
        out.write(header.ljust(HEADER, b"\0"))
        for level in reversed(levels):
            for at in bricks_in_order(level.shape):
                box = tuple(slice(n * SIDE, (n + 1) * SIDE) for n in at)
                out.write(np.ascontiguousarray(level[box]))


def write_zarr(levels, folder):
    """OME-Zarr 0.5: shards of 512^3, chunks of 64^3, blosc-zstd with shuffle, index at the start."""
    codec = ShardingCodec(
        chunk_shape=(SIDE,) * 3,
        codecs=[BytesCodec(), BloscCodec(cname="zstd", clevel=5, shuffle="shuffle")],
        index_codecs=[BytesCodec(), Crc32cCodec()],
        index_location="start",
    )
    axes = [{"name": n, "type": "space"} for n in "zyx"]
    datasets = [
        {
            "path": str(n),
            "coordinateTransformations": [
                {"type": "scale", "scale": [float(2**n)] * 3},
                {"type": "translation", "translation": [(2**n - 1) / 2] * 3},
            ],
        }
        for n in range(len(levels))
    ]
    multiscales = [{"name": "volume", "axes": axes, "datasets": datasets, "type": "mean"}]
    group = zarr.create_group(
        folder, attributes={"ome": {"version": "0.5", "multiscales": multiscales}}
    )
    for number, level in enumerate(levels):
        array = group.create_array(
            str(number),
            shape=level.shape,
            dtype="uint8",
            chunks=(SHARD,) * 3,
            serializer=codec,
            compressors=None,
            filters=None,
            fill_value=0,
            dimension_names=list("zyx"),
        )
        for at in np.ndindex(*[-(-n // SHARD) for n in level.shape]):
            box = tuple(slice(n * SHARD, (n + 1) * SHARD) for n in at)
            array[box] = np.asarray(level[box])
    # One request brings the metadata of all levels.
    with warnings.catch_warnings(action="ignore"):
        zarr.consolidate_metadata(folder)


def sharding(shape):
    """512 chunks for each minishard, up to 8 minishards for each shard: near what cloud-volume chooses."""
    grid = [-(-n // SIDE) for n in shape]
    bits = sum((n - 1).bit_length() for n in grid)
    minishard = min(max(bits - 9, 0), 3)
    return {
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": 9,
        "hash": "identity",
        "minishard_bits": minishard,
        "shard_bits": max(bits - 9 - minishard, 0),
        "minishard_index_encoding": "gzip",
        "data_encoding": "raw",
    }


def write_precomputed(levels, folder):
    """Sharded, chunks of 64^3 as jpeg."""
    for number, level in enumerate(levels):
        store = ts.open(
            {
                "driver": "neuroglancer_precomputed",
                "kvstore": {"driver": "file", "path": f"{folder}/"},
                "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
                "scale_metadata": {
                    "key": str(number),
                    "size": level.shape[::-1],
                    "resolution": [2**number] * 3,
                    "voxel_offset": [0, 0, 0],
                    "chunk_size": [SIDE] * 3,
                    "encoding": "jpeg",
                    "jpeg_quality": JPEG_QUALITY,
                    "sharding": sharding(level.shape),
                },
            },
            create=True,
        ).result()
        # A shard is written once, whole.
        edge = shard_edge(level.shape)
        for at in np.ndindex(*[-(-n // e) for n, e in zip(level.shape, edge)]):
            ends = [min((i + 1) * e, n) for i, e, n in zip(at, edge, level.shape)]
            box = tuple(slice(i * e, end) for i, e, end in zip(at, edge, ends))
            part = np.asarray(level[box]).transpose(2, 1, 0)
            store[box[::-1] + (0,)].write(part).result()


def shard_edge(shape):
    """Voxels (z, y, x) that a shard spans: the low bits of the Morton code."""
    grid = [-(-n // SIDE) for n in shape]
    bits = [(n - 1).bit_length() for n in grid]
    left = 9 + sharding(shape)["minishard_bits"]
    edge = [0, 0, 0]
    for bit in range(max(bits, default=0)):
        for axis in (2, 1, 0):
            if bit < bits[axis] and left > 0:
                edge[axis] += 1
                left -= 1
    return [SIDE << e for e in edge]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("volume", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    found = re.search(r"_(\d+)x(\d+)x(\d+)_uint8\.raw$", args.volume.name)
    if not found:
        parser.error("the name must end in _XxYxZ_uint8.raw")
    shape = [int(n) for n in found.groups()][::-1]
    volume = np.memmap(args.volume, np.uint8, "r", shape=tuple(shape))
    scratch = args.folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    levels = pyramid(volume, scratch)
    writers = {"raw": write_raw, "zarr": write_zarr, "precomputed": write_precomputed}
    for name, writer in writers.items():
        target = args.folder / name
        shutil.rmtree(target, ignore_errors=True)
        partial = args.folder / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        writer(levels, partial)
        partial.rename(target)
        size = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
        print(json.dumps({"format": name, "bytes": size}), flush=True)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
