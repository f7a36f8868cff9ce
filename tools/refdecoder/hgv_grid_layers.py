"""Layers of model kind 2 "grid": sections 20 and 21 of format-spec/payload.md.

`LayerDecoder` fills in the weights of a block (`hgv_grid.Grid`). Lattices are arrays `[z][y][x]`,
triples x, y, z.
"""

from itertools import product

import numpy as np

from hgv_block import Field, group_extent, in_active_groups, of_pass
from hgv_grid_model import Matrix
from hgv_stream import GRID_TABLES, Reject, Stream, flag_faces, low_bits, near, step_function

# Section 21: first number of each kind of context.
EMPTY, VARIANT, FLAG, MAGNITUDE, SIGN = 0, 3, 6, 231, 1527
HASH_FLAG, HASH, MLP = 1635, 1640, 1648

parents_in_group = step_function(1, 9, 25, 64)
parent_level = step_function(1, 2, 4, 9, 25)
sign_level = step_function(1, 3, 6, 12, 30)
hash_parents_in_group = step_function(1, 5, 13, 32)
hash_parent_level = step_function(1, 2, 4, 9, 25, 60, 120)

# Contexts see weights up to this magnitude.
SEEN = 4095
MAX_WEIGHT = 1 << 20
HASH_GROUP = 32


def magnitude(stream, context, shift, limit):
    m = stream.magnitude(context, shift)
    if m > limit:
        raise Reject("a weight is too large")
    return m


def signed(stream, context, shift, limit):
    m = magnitude(stream, context, shift, limit)
    return -m if m and stream.raw(1) else m


def parent_sums(extent, exponents, parent, parent_exponents):
    """P of each vertex; `parent` is None on the first level."""
    if parent is None:
        return np.zeros(extent[::-1], np.int64)
    seen = np.minimum(np.abs(parent), SEEN)
    ends = []
    for m, k, above in reversed(list(zip(extent, exponents, parent_exponents))):
        v, d = np.arange(m), above - k
        ends.append((v >> d, (v + (1 << d) - 1) >> d))
    return sum(seen[np.ix_(*corner)] for corner in product(*ends))


class LayerDecoder:
    def __init__(self, block, data):
        self.block, self.model = block, block.model
        self.stream = Stream(data, GRID_TABLES)
        # Array and index of each weight whose sign ends the layer.
        self.signs = []
        # Hash tables, whose vertices take part in contexts before the signs are known.
        self.tables = []

    def run(self, number):
        if number == 0 and self.model.hidden:
            self.block.network = self.network()
        for i, level in enumerate(self.model.levels):
            if level.layer == number:
                for f in range(level.features):
                    self.feature(i, level, f)
        for (weights, at), negative in zip(self.signs, self.stream.signs(len(self.signs))):
            if negative:
                weights[at] = -weights[at]
        for number, f, table, entries in self.tables:
            self.block.weights[number][f] = table[entries]

    def network(self):
        choice = self.stream.raw(2)
        if choice == 3 or choice == 1 and self.model.base is None:
            raise Reject("a block asks for a network that does not exist")
        if choice < 2:
            return self.model.base if choice else None
        self.stream.variant = self.stream.fixed(VARIANT)
        return [self.own_matrix(number, *size) for number, size in enumerate(self.model.sizes())]

    def own_matrix(self, number, inputs, outputs):
        shift = self.stream.raw(5)
        if not 1 <= shift <= 24:
            raise Reject("shift of a matrix")
        weights = [signed(self.stream, MLP + min(number, 2), 3, 127) for _ in range(inputs * outputs)]
        biases = [signed(self.stream, MLP + 3, 6, 32767) for _ in range(outputs)]
        return Matrix(shift, np.array(weights, np.int64).reshape(outputs, inputs), np.array(biases, np.int64))

    def feature(self, number, level, f):
        if self.stream.fixed(EMPTY + level.kind) == 0:
            return
        self.stream.variant = self.stream.fixed(VARIANT + level.kind)
        parents = self.parents(number, level, f)
        entries = self.block.entries(level)
        if entries is None:
            weights = DenseWeights(self, level.kind, parents).decode()
        else:
            table = self.hashed_weights(parents, entries, level.table_log2)
            self.tables.append((number, f, table, entries))
            weights = table[entries]
        self.block.weights[number][f] = weights

    def parents(self, number, level, f):
        extent = level.vertices(self.block.shape.dims)
        if number == 0:
            return parent_sums(extent, level.exponents, None, None)
        above = self.block.weights[number - 1]
        parent = above[min(f, len(above) - 1)]
        return parent_sums(extent, level.exponents, parent, self.model.levels[number - 1].exponents)

    def hashed_weights(self, parents, entries, table_log2):
        largest = np.zeros(1 << table_log2, np.int64)
        np.maximum.at(largest, entries, parents)
        stream, largest = self.stream, largest.tolist()
        groups = [range(len(largest))[first:first + HASH_GROUP] for first in range(0, len(largest), HASH_GROUP)]
        stream.restart()
        flags = [stream.context(HASH_FLAG + hash_parents_in_group(sum(largest[i] > 0 for i in g))) for g in groups]
        weights = np.zeros(len(largest), np.int64)
        stream.restart()
        for group, active in zip(groups, flags):
            for i in group if active else ():
                weights[i] = magnitude(stream, HASH + hash_parent_level(largest[i]), 0, MAX_WEIGHT)
                if weights[i]:
                    self.signs.append((weights, i))
        return weights


class DenseWeights:
    """Weights of a feature of a dense level."""

    def __init__(self, layer, kind, parents):
        self.stream, self.signs, self.kind, self.parents = layer.stream, layer.signs, kind, parents
        self.extent = parents.shape[::-1]
        self.size, self.signed = Field(self.extent), Field(self.extent)  # limited to SEEN
        self.flags = Field(group_extent(self.extent))
        self.weights = np.zeros(parents.shape, np.int64)

    def decode(self):
        counts = self.parents_in_groups()
        for number in range(3):
            self.stream.restart()
            for g in of_pass(number, self.flags.extent):
                i = self.flags.at(*g)
                place = (self.place(number) * 5 + parents_in_group(counts[g[::-1]])) * 5 + flag_faces(self.flags.faces(i))
                self.flags.cells[i] = self.stream.context(FLAG + place)
        for number in range(3):
            self.stream.restart()
            for p in in_active_groups(number, self.flags, self.extent):
                self.put(p, self.weight(number, p))
        return self.weights

    def place(self, number):
        return self.kind * 3 + number

    def parents_in_groups(self):
        """Number of vertices of each group with P > 0, `[z][y][x]`."""
        padded = np.pad(self.parents > 0, [(0, -m % 4) for m in self.parents.shape])
        z, y, x = (m // 4 for m in padded.shape)
        return padded.reshape(z, 4, y, 4, x, 4).sum((1, 3, 5))

    def neighbours(self, number, p, i):
        """A and S."""
        fields = self.size, self.signed
        if number == 1:
            return tuple(3 * field.diagonals(i, p) for field in fields)
        return tuple(2 * field.faces(i) for field in fields) if number else (0, 0)

    def weight(self, number, p):
        a, s = self.neighbours(number, p, self.size.at(*p))
        parent = int(self.parents[p[::-1]])
        agreement = 0 if a == 0 or 3 * abs(s) < a else 1 if 3 * abs(s) < 2 * a else 2
        place = ((self.place(number) * 8 + near(a)) * 6 + parent_level(parent)) * 3 + agreement
        m = magnitude(self.stream, MAGNITUDE + place, low_bits(2 * a if number else 3 * parent), MAX_WEIGHT)
        if m == 0:
            return 0
        if number == 2 and s == 0:
            self.signs.append((self.weights, p[::-1]))
            return m
        place = (self.place(number) * 6 + sign_level(abs(s))) * 2 + (m > 1)
        negative = self.stream.context(SIGN + place) ^ (s < 0)
        return -m if negative else m

    def put(self, p, weight):
        i = self.size.at(*p)
        self.size.cells[i] = min(abs(weight), SEEN)
        self.signed.cells[i] = max(-SEEN, min(SEEN, weight))
        self.weights[p[::-1]] = weight
