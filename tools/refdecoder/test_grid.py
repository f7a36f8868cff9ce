"""Checks of kind 2 that need no vectors: lattices, refinement, network, and layers that a small
encoder writes with made-up tables.

usage: python3 tools/refdecoder/test_grid.py
"""

import random
import struct
import unittest
from unittest import mock

import numpy as np

import hgv_grid
import hgv_grid_layers
import hgv_grid_model
import hgv_payload
import hgv_stream
from hgv_block import Shape

STEPS = [(2, 0), (1, 0), (0, 0), (0, 1)]


def level(k, features=1, table=22, layer=0, skip=1, shift=255, step=1 << 16):
    return struct.pack(f"<8B{features}Q", *k, features, table, layer, skip, shift, *[step] * features)


def record(levels, order=1, flags=0, hidden=0, width=0, tail=b""):
    return struct.pack("<BBbBBBBB", 0, order, 4, flags, len(levels), hidden, width, 0) + b"".join(levels) + tail


class Tables:
    """Made-up tables: distributions of 2, 4 and 16 symbols."""

    frequencies = [[3000, 1096], [1024] * 4, [2000] + [140] * 14 + [136]]
    starts = [0, hgv_grid_layers.VARIANT, hgv_grid_layers.FLAG, hgv_grid_layers.MAGNITUDE, hgv_grid_layers.SIGN,
              hgv_grid_layers.HASH, 1652]
    alphabets = [0, 1, 0, 2, 0, 2]

    def __init__(self):
        self.map = [[a for a, b, e in zip(self.alphabets, self.starts, self.starts[1:]) for _ in range(b, e)]] * 4
        self.slots = [[(v, f, i) for v, f in enumerate(row) for i in range(f)] for row in self.frequencies]

    def by_slot(self, distribution):
        return self.slots[distribution]


class Scribe(hgv_stream.Stream):
    """A stream that makes up its symbols and raw bits, and can write them down. `contexts`, if any,
    is a set that takes every context in use."""

    def __init__(self, seed, lanes, contexts):
        self.random, self.lanes, self.lane, self.variant = random.Random(seed), lanes, 0, None
        self.tables, self.symbols, self.bits, self.contexts = Tables(), [], [], contexts

    def decode(self, variant, context):
        if self.contexts is not None:
            self.contexts.add(context)
        distribution = self.tables.map[variant][context]
        symbol = self.random.choice(range(len(self.tables.frequencies[distribution])))
        # An escape could leave the bounds of a network's weights.
        if symbol == 15 and context >= hgv_grid_layers.MLP:
            symbol = 0
        if hgv_grid_layers.EMPTY <= context < hgv_grid_layers.VARIANT:
            symbol = 1
        self.symbols.append((self.lane, distribution, symbol))
        self.lane = (self.lane + 1) % self.lanes
        return symbol

    def raw(self, n):
        value = self.random.getrandbits(n) if n else 0
        if n == 2 and not self.bits:
            value = 2  # an own network
        if n == 5:
            value = 1 + value % 24
        self.bits += [value >> i & 1 for i in range(n)]
        return value

    def signs(self, count):
        signs = [self.random.getrandbits(1) for _ in range(count)]
        room = 16 * self.lanes
        self.carried, rest = signs[:room] + [0] * (room - count), signs[room:]
        self.bits += rest
        return signs

    def bytes(self):
        carried = [self.carried[i:i + 16] for i in range(0, len(self.carried), 16)]
        state, words = [1 << 16 | sum(bit << i for i, bit in enumerate(c)) for c in carried], []
        for lane, distribution, symbol in reversed(self.symbols):
            row, x = self.tables.frequencies[distribution], state[lane]
            if x >= row[symbol] << 20:
                words.append(x & 0xFFFF)
                x >>= 16
            state[lane] = (x // row[symbol] << 12) + x % row[symbol] + sum(row[:symbol])
        bits = sum(bit << i for i, bit in enumerate(self.bits)).to_bytes((len(self.bits) + 7) // 8, "little")
        head = bytes([self.lanes.bit_length() - 1]) + struct.pack(f"<{self.lanes}I", *state)
        return head + struct.pack(f"<{len(words)}H", *reversed(words)) + bits[::-1]


def made_up(data, dims, seed, lanes, contexts=None):
    """A block with made-up weights, and the layers that hold them."""
    block, layers = hgv_grid.Grid(data, Shape(dims, 5), STEPS), []
    for number in range(len(STEPS)):
        scribe = Scribe(seed + number, lanes, contexts)
        with mock.patch.object(hgv_grid_layers, "Stream", lambda *_: scribe):
            block.decode_layer(number, b"made up")
        layers.append(scribe.bytes())
    return block, layers


class Layers(unittest.TestCase):
    def setUp(self):
        patch = mock.patch.object(hgv_stream, "tables", lambda file: Tables())
        patch.start()
        self.addCleanup(patch.stop)

    GRID = record([level((4, 4, 3)), level((2, 2, 2), 2, skip=2, shift=3), level((1, 1, 1), 2, table=7, layer=1, skip=0),
                   level((1, 0, 0), layer=2, table=13), level((0, 0, 0), table=5, layer=3)],
                  order=3, hidden=2, width=8)
    DIMS = (9, 12, 21)

    def same(self, a, b):
        for x, y in zip(a.weights, b.weights):
            self.assertTrue(all(np.array_equal(v, w) for v, w in zip(x, y)))
        for x, y in zip(a.network, b.network):
            self.assertEqual((x.shift, x.weights.tolist(), x.biases.tolist()), (y.shift, y.weights.tolist(), y.biases.tolist()))

    def test_written_layers_are_read_back(self):
        weights = np.zeros(7, bool)
        for seed, lanes in zip(range(0, 80, 10), (1, 2, 4, 8, 16, 32, 1, 2)):
            block, layers = made_up(self.GRID, self.DIMS, seed, lanes)
            again = hgv_grid.Grid(self.GRID, Shape(self.DIMS, 5), STEPS)
            for number, data in enumerate(layers):
                again.decode_layer(number, data)
            self.same(block, again)
            weights |= [np.any(w) for features in block.weights for w in features]
        self.assertTrue(all(weights))

    def test_damage_is_noticed(self):
        _, layers = made_up(self.GRID, self.DIMS, 4, 2)
        for broken in (layers[0][:-1], layers[0][:9] + b"\0" + layers[0][9:], b"\x06" + layers[0][1:]):
            with self.assertRaises(hgv_stream.Reject):
                hgv_payload.decode_block((2, self.GRID), self.DIMS, 5, (-9, 9), STEPS, [broken], 2)

    def test_every_level_of_detail(self):
        _, layers = made_up(self.GRID, self.DIMS, 5, 2)
        for used, lod in ((1, 3), (1, 2), (2, 1), (3, 0), (4, 0)):
            q = hgv_payload.decode_block((2, self.GRID), self.DIMS, 5, (-9999, 9999), STEPS, layers[:used], lod)
            self.assertEqual(len(q), hgv_payload.volume(Shape(self.DIMS, 5).box(lod)))

    def test_contexts_stay_within_their_kind(self):
        contexts = set()
        for seed in range(3):
            made_up(self.GRID, self.DIMS, seed, 1, contexts)
        self.assertTrue(contexts <= set(range(1652)))
        for first, end in zip(Tables.starts, Tables.starts[1:]):
            self.assertTrue(contexts & set(range(first, end)))

    def test_empty_layers_are_zeros(self):
        q = hgv_payload.decode_block((2, self.GRID), self.DIMS, 5, (4, 8), STEPS, [b""] * 3, 0)
        self.assertEqual(set(q), {6})


class Lattice(unittest.TestCase):
    def test_vertices_reach_the_last_voxel(self):
        for n in range(1, 130):
            for k in range(8):
                want = next(m for m in range(1, 140) if (m - 1) << k >= n - 1)
                self.assertEqual(hgv_grid_model.vertices((n, 1, 1), (k, 0, 0)), (want, 1, 1))

    def test_hash(self):
        entries = hgv_grid_model.hash_entries((3, 4, 5), 10)
        self.assertEqual(entries[0, 0, 2], 2)
        self.assertEqual(entries[0, 1, 0], 2654435761 % 1024)
        self.assertEqual(entries[4, 3, 1], (1 ^ 3 * 2654435761 % 2**32 ^ 4 * 805459861 % 2**32) % 1024)

    def test_parent_sums(self):
        parent = np.arange(3 * 2 * 1).reshape(1, 2, 3) - 2  # extents 3, 2, 1
        p = hgv_grid_layers.parent_sums((5, 2, 1), (0, 0, 0), parent, (1, 0, 0))
        self.assertEqual(p.tolist(), [[[16, 12, 8, 4, 0], [8, 12, 16, 20, 24]]])


class Evaluation(unittest.TestCase):
    def test_refinement_of_one_line(self):
        def brute(old, m, order):
            out = []
            for j in range(m):
                i = j // 2
                if j % 2 == 0:
                    out.append(old[i])
                    continue
                b, c = old[i], old[i + 1]
                a = old[i - 1] if i else 2 * b - c
                d = old[i + 2] if i + 2 < len(old) else 2 * c - b
                out.append((b + c + 1) >> 1 if order == 1 else (9 * (b + c) - (a + d) + 8) >> 4)
            return out

        generator = random.Random(1)
        for n in (1, 2, 3, 4, 5, 8, 9, 17, 31, 32):
            for order in (1, 3):
                dims, coarse, fine = (1, n, 1), (0, 2, 0), (0, 1, 0)
                _, m, _ = hgv_grid_model.vertices(dims, coarse)
                old = [generator.randrange(-1000, 1000) for _ in range(m)]
                new = hgv_grid.refine(np.array(old).reshape(1, m, 1), dims, coarse, fine, order)
                self.assertEqual(new.ravel().tolist(), brute(old, hgv_grid_model.vertices(dims, fine)[1], order))

    def test_refinement_wraps(self):
        old = np.full((1, 1, 2), 1 << 27)
        self.assertEqual(hgv_grid.refine(old, (3, 1, 1), (1, 0, 0), (0, 0, 0), 3).ravel().tolist()[1], -(1 << 27))
        old = np.array([1 << 27, 1 << 27, 1 << 27, -(1 << 27)]).reshape(1, 1, 4)
        new = hgv_grid.refine(old, (7, 1, 1), (1, 0, 0), (0, 0, 0), 3).ravel().tolist()
        self.assertEqual(new[3], ((18 << 27) - (1 << 32) + 8) >> 4)

    def test_values_are_exact_before_they_are_limited(self):
        weights = [0, 1, -1, 3, -(1 << 20), 1 << 20, 12345]
        for step in (1, 3, 1 << 15, 1 << 16, 98765432, 1 << 42):
            want = [max(-(1 << 27), min(1 << 27, (w * step + (1 << 15)) >> 16)) for w in weights]
            self.assertEqual(hgv_grid.feature_values(np.array(weights), step).tolist(), want)

    def test_a_grid_of_lods(self):
        """A linear function on one level is itself at every LOD, where its level is in use."""
        block = hgv_grid.Grid(record([level((2, 2, 2))]), Shape((13, 8, 5), 5), STEPS)
        z, y, x = np.ogrid[:2, :3, :4]
        block.weights[0] = [(4 * (x + 10 * y + 100 * z)).astype(np.int64)]
        z, y, x = np.ogrid[:5, :8, :13]
        want = x + 10 * y + 100 * z
        for lod in range(3):
            got = np.array(block.working(1, lod))
            self.assertEqual(got.tolist(), want[::1 << lod, ::1 << lod, ::1 << lod].ravel().tolist())
        self.assertEqual(block.working(1, 3), [0, 0])

    def test_network_runs_without_levels(self):
        block = hgv_grid.Grid(record([level((0, 0, 0), shift=0)], hidden=1, width=8), Shape((2, 2, 2), 5), STEPS)
        matrix = hgv_grid_model.Matrix
        block.network = [matrix(1, np.full((8, 1), 2), np.full(8, 1)), matrix(8, np.full((1, 8), -3), np.array([5]))]
        # h = (256 + 1) >> 1 = 128; o = (-3 * 8 * 128 + 5 * 256 + 128) >> 8 = -7
        self.assertEqual(block.working(1, 1), [-7])


class Record(unittest.TestCase):
    def test_bad_records(self):
        base = b"\x01" + bytes(8) + bytes(16) + b"\x01" + bytes(8) + bytes(2)
        hgv_grid_model.GridModel(record([level((1, 1, 1), shift=0)], flags=4, hidden=1, width=8, tail=base))
        bad = [
            record([]), record([level((8, 0, 0))]), record([level((0, 0, 0), features=5)]), record([level((1, 0, 0), skip=2)]),
            record([level((0, 0, 0)), level((0, 0, 1))]), record([level((1, 1, 1), layer=1), level((0, 0, 0))]),
            record([level((0, 0, 0))], order=2), record([level((0, 0, 0))], flags=4), record([level((0, 0, 0))], width=8),
            record([level((0, 0, 0))], hidden=1, width=8), record([level((0, 0, 0), step=0)]), record([level((0, 0, 0))]) + b"\0",
            record([level((0, 0, 0), shift=25)]), record([level((0, 0, 0), table=23)]), record([level((0, 0, 0))])[:-1],
            record([level((0, 0, 0), shift=0)], flags=4, hidden=1, width=8, tail=b"\0" + base[1:]),
            record([level((0, 0, 0), 4, shift=0)] * 9, hidden=1, width=8), record([level((0, 0, 0), step=(1 << 42) + 1)]),
            record([level((1, 1, 1), shift=0)], flags=4, hidden=1, width=8, tail=b"\x01\x80" + base[2:]),
            record([level((1, 1, 1), shift=0)], flags=4, hidden=1, width=8, tail=base[:-1] + b"\x80"),
        ]
        for data in bad:
            self.assertRaises(hgv_stream.Reject, hgv_grid_model.GridModel, data)

    def test_too_many_vertices(self):
        data = record([level((0, 0, 0), 4), level((0, 0, 0), 1)])
        self.assertRaises(hgv_stream.Reject, hgv_grid.Grid, data, Shape((32, 32, 32), 5), STEPS)
        hgv_grid.Grid(data, Shape((16, 16, 16), 5), STEPS)

    def test_too_many_network_inputs(self):
        data = record([level((5, 5, 5), 4, shift=0), level((4, 4, 4), 4, shift=0), level((3, 3, 3), shift=0)], hidden=1, width=8)
        self.assertRaises(hgv_stream.Reject, hgv_grid.Grid, data, Shape((128, 128, 128), 7), STEPS)
        hgv_grid.Grid(data, Shape((128, 64, 64), 7), STEPS)


if __name__ == "__main__":
    unittest.main()
