"""Blocks of model kind 2 "grid" and their evaluation: section 22 of format-spec/payload.md.

Needs NumPy. Lattices and boxes are arrays `[z][y][x]` of int64 that hold numbers of 32 bits: `wrap`
stands where the specification has it, so that nothing depends on what NumPy does at an overflow.
Triples are x, y, z.
"""

import numpy as np

from hgv_grid_layers import LayerDecoder
from hgv_grid_model import MAX_INPUT_VALUES, GridModel, hash_entries, need, vertices
from hgv_stream import Reject

# 2^27: bound of the value of a feature.
VALUE_LIMIT = 1 << 27


def wrap(v):
    """To 32 bits, two's complement."""
    return ((v + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


# ---------------------------------------------------------------------------------------------
# Section 22: evaluation


def refine_axis(old, axis, count, order):
    """Half the spacing along an axis of the array; `count` vertices then."""
    line = np.moveaxis(old, axis, 0)
    b, c = line[:-1], line[1:]
    if order == 1:
        between = wrap(b + c + 1) >> 1
    else:
        a = np.concatenate((2 * b[:1] - c[:1], b[:-1]))
        d = np.concatenate((c[1:], 2 * c[-1:] - b[-1:]))
        between = wrap(9 * (b + c) - (a + d) + 8) >> 4
    new = np.empty((2 * len(line) - 1, *line.shape[1:]), np.int64)
    new[0::2], new[1::2] = line, between
    return np.moveaxis(new[:count], 0, axis)


def refine(values, dims, exponents, to, order):
    exponents = list(exponents)
    while exponents != list(to):
        a = max(range(3), key=lambda i: exponents[i] - to[i])  # the first of equals
        exponents[a] -= 1
        values = refine_axis(values, 2 - a, vertices(dims, exponents)[a], order)
    return values


def feature_values(weights, step):
    v = (weights * step + (1 << 15)) >> 16  # at most 2^20 times 2^42
    return np.clip(v, -VALUE_LIMIT, VALUE_LIMIT)


def run_network(matrices, inputs):
    """Output for each column of `inputs` [input][sample]."""
    for matrix in matrices:
        sums = matrix.weights @ inputs + (matrix.biases << 8)[:, None]
        inputs = (sums + (1 << (matrix.shift - 1))) >> matrix.shift
        if matrix is not matrices[-1]:
            inputs = np.clip(inputs, 0, 32767)
    return inputs[0]


def network_inputs(values, shift):
    half = 1 << shift >> 1
    return np.clip(wrap(values + half) >> shift, -32767, 32767)


# ---------------------------------------------------------------------------------------------
# The whole block


class Grid:
    """A block of kind 2: the weights of all levels, and the sum that they give."""

    def __init__(self, record, shape, steps):
        self.model, self.shape = GridModel(record), shape
        levels, dims = self.model.levels, shape.dims
        need(levels[-1].layer < len(steps), "a level in a layer that does not exist")
        extents = [level.vertices(dims) for level in levels]
        weights = sum(level.features * m[0] * m[1] * m[2] for level, m in zip(levels, extents))
        voxels = dims[0] * dims[1] * dims[2]
        if weights > 4 * voxels + 4096:
            raise Reject("a block has too many vertices")
        if self.model.hidden and self.model.inputs * voxels > MAX_INPUT_VALUES:
            raise Reject("a block has too many network inputs")
        # Of each level and feature, one for each vertex, hashed or not.
        self.weights = [[np.zeros(m[::-1], np.int64)] * level.features for level, m in zip(levels, extents)]
        self.network = None

    def decode_layer(self, number, data):
        if data:
            LayerDecoder(self, data).run(number)

    def entries(self, level):
        """Hash entry of each vertex of a level; None for a dense one."""
        extent = level.vertices(self.shape.dims)
        if extent[0] * extent[1] * extent[2] <= 1 << level.table_log2:
            return None
        return hash_entries(extent, level.table_log2)

    def working(self, layers, lod):
        """S, raster order of the box at `lod`. `layers` have been decoded; the weights of the others are 0."""
        assert all(level.layer < layers or not np.any(w) for level, w in zip(self.model.levels, self.weights))
        used = [level for level in self.model.levels if min(level.exponents) >= lod]
        z, y, x = (slice(n) for n in reversed(self.shape.box(lod)))
        total = self.skip_sum(used, lod)[z, y, x].ravel()
        if self.network:
            # The rows of inputs that no level feeds stay 0.
            inputs = np.zeros((self.model.inputs, total.size), np.int64)
            for row, (values, level) in enumerate(self.input_values(used, lod)):
                inputs[row] = network_inputs(values[z, y, x].ravel(), level.shift)
            total = wrap(total + run_network(self.network, inputs))
        return total.tolist()

    def values(self, number, feature):
        return feature_values(self.weights[number][feature], self.model.levels[number].steps[feature])

    def skip_sum(self, used, lod):
        dims, order = self.shape.dims, self.model.order
        at = used[0].exponents if used else (lod,) * 3
        total = np.zeros(vertices(dims, at)[::-1], np.int64)
        for number, level in enumerate(used):
            total = refine(total, dims, at, level.exponents, order)
            at = level.exponents
            for f in level.skipped:
                total = wrap(total + self.values(number, f))
        return refine(total, dims, at, (lod,) * 3, order)

    def input_values(self, used, lod):
        for number, level in enumerate(used):
            for f in range(level.inputs):
                values = self.values(number, f)
                yield refine(values, self.shape.dims, level.exponents, (lod,) * 3, self.model.order), level
