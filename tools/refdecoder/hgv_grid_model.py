"""Model record and vertex lattices of model kind 2 "grid": sections 18 and 19 of
format-spec/payload.md. Triples are x, y, z; arrays of vertices `[z][y][x]`."""

import struct
from typing import NamedTuple

import numpy as np

from hgv_block import residual_step
from hgv_stream import Reject

NOT_AN_INPUT = 255
MAX_INPUTS = 32
# Network inputs times voxels of a block.
MAX_INPUT_VALUES = 1 << 24


def need(condition, text):
    if not condition:
        raise Reject(f"model record: {text}")


# ---------------------------------------------------------------------------------------------
# Section 18: model record


class Fields:
    """Little-endian numbers one behind the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        size = struct.calcsize("<" + form)
        need(self.at + size <= len(self.data), "it ends early")
        self.at += size
        return struct.unpack_from("<" + form, self.data, self.at - size)


class GridLevel:
    def __init__(self, fields):
        *exponents, self.features, self.table_log2, self.layer, skip, self.shift = fields.take("8B")
        self.exponents = tuple(exponents)
        need(max(exponents) <= 7 and 1 <= self.features <= 4 and self.table_log2 <= 22, "exponents, features or table")
        need(skip >> self.features == 0, "a feature that does not exist is skipped to the output")
        need(self.shift <= 24 or self.shift == NOT_AN_INPUT, "input shift")
        self.steps = fields.take(f"{self.features}Q")
        need(all(1 <= step <= 1 << 42 for step in self.steps), "step")
        self.skipped = [f for f in range(self.features) if skip >> f & 1]
        self.inputs = 0 if self.shift == NOT_AN_INPUT else self.features
        self.kind = min(max(exponents), 2)  # "class" of section 20

    def vertices(self, dims):
        return vertices(dims, self.exponents)


class Matrix(NamedTuple):
    shift: int
    weights: np.ndarray  # [out][in]
    biases: np.ndarray  # [out]


class GridModel:
    def __init__(self, record):
        fields = Fields(record)
        coder, self.order, self.frac_bits, flags, count, self.hidden, self.width, reserved = fields.take("BBbBBBBB")
        need(coder == 0 and self.order in (1, 3) and flags < 32 and reserved == 0, "coder, order or reserved bits")
        self.residual, record = residual_step(flags, record)
        fields.data = record
        need(-16 <= self.frac_bits <= 24 and 1 <= count <= 12, "frac_bits or number of levels")
        need(self.hidden <= 2 and self.width in ((8, 16, 24, 32) if self.hidden else (0,)), "hidden layers or width")
        self.mask, based = (flags >> bit & 1 == 1 for bit in (1, 2))
        self.levels = [GridLevel(fields) for _ in range(count)]
        for before, after in zip(self.levels, self.levels[1:]):
            finer = all(b >= a for b, a in zip(before.exponents, after.exponents))
            need(finer and before.layer <= after.layer, "levels are out of order")
        self.inputs = sum(level.inputs for level in self.levels)
        need(not self.hidden or 1 <= self.inputs <= MAX_INPUTS, "network inputs")
        need(self.hidden or not based, "a base network without hidden layers")
        self.base = [self.base_matrix(fields, *size) for size in self.sizes()] if based else None
        need(fields.at == len(record), "bytes are left over")

    def sizes(self):
        """(inputs, outputs) of each matrix of a network."""
        ends = [self.inputs] + [self.width] * self.hidden + [1]
        return list(zip(ends, ends[1:]))

    @staticmethod
    def base_matrix(fields, inputs, outputs):
        shift, = fields.take("B")
        need(1 <= shift <= 24, "shift of a matrix")
        weights, biases = fields.take(f"{inputs * outputs}b"), fields.take(f"{outputs}h")
        need(min(weights) >= -127 and min(biases) >= -32767, "a weight or bias of the base network")
        return Matrix(shift, np.array(weights, np.int64).reshape(outputs, inputs), np.array(biases, np.int64))


# ---------------------------------------------------------------------------------------------
# Section 19: lattices


def vertices(dims, exponents):
    """Vertices along x, y, z."""
    return tuple(((n - 1 + (1 << k) - 1) >> k) + 1 for n, k in zip(dims, exponents))


def hash_entries(extent, table_log2):
    """Entry of each vertex."""
    z, y, x = np.ogrid[tuple(slice(m) for m in reversed(extent))]
    return (x ^ (y * 2654435761 & 0xFFFFFFFF) ^ (z * 805459861 & 0xFFFFFFFF)) & ((1 << table_log2) - 1)
