"""Streams of coder R, its tables and the step functions of its contexts: sections 7 to 9 and 21 of
format-spec/payload.md."""

import hashlib
import struct
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parents[2] / "format-spec" / "tables"


class TableFile(NamedTuple):
    name: str
    contexts: int
    sha256: str


WAVELET_TABLES = TableFile("coder-r.bin", 6239, "eeb9456ff6ad9358bc442fc01a562d97d31de1e9a70d573a3b8b5b856a618568")
GRID_TABLES = TableFile("coder-r-grid.bin", 1652, "de877bfdef348b6830fcc7a0cb852bc26ba0784483e4d9f4ddec57277766f8b1")


class Reject(Exception):
    """The payload breaks a rule of the specification."""


# ---------------------------------------------------------------------------------------------
# Section 8: tables


class Tables:
    def __init__(self, file):
        data = (FOLDER / file.name).read_bytes()
        magic, distributions, variants, contexts = struct.unpack_from("<4sHHI", data)
        first = 12 + 32 * distributions
        well_formed = (magic, variants, contexts, len(data)) == (b"HGVR", 4, file.contexts, first + 4 * file.contexts)
        if not well_formed or file.sha256 != hashlib.sha256(data).hexdigest():
            raise ValueError(f"{file.name} is not the table file of the specification")
        self.frequencies = [struct.unpack_from("<16H", data, 12 + 32 * i) for i in range(distributions)]
        self.map = [data[first + v * contexts:first + (v + 1) * contexts] for v in range(variants)]
        self.slots = [None] * distributions

    def by_slot(self, distribution):
        """For each slot: symbol, frequency, slot - C[symbol]. Made on first use."""
        table = self.slots[distribution]
        if table is None:
            table = [(v, f, i) for v, f in enumerate(self.frequencies[distribution]) for i in range(f)]
            self.slots[distribution] = table
        return table


@lru_cache(maxsize=None)
def tables(file):
    return Tables(file)


# ---------------------------------------------------------------------------------------------
# Section 9: step functions, and the low bits that follow from what is expected


def log2i(a):
    return a.bit_length() - 1


def step_function(*thresholds):
    """Table of a step function of section 9; arguments over the last threshold share its value."""
    values = [sum(i >= t for t in thresholds) for i in range(thresholds[-1] + 1)]
    last = len(values) - 1
    return lambda argument: values[argument if argument < last else last]


near = step_function(1, 3, 5, 8, 13, 24, 48)
flag_faces = step_function(1, 2, 3, 5)


def low_bits(expected):
    """Shift of a magnitude."""
    return 0 if expected < 192 else log2i(expected // 96)


# ---------------------------------------------------------------------------------------------
# Section 7: streams


class Stream:
    def __init__(self, data, table_file=WAVELET_TABLES):
        lanes_log2 = data[0]
        if lanes_log2 > 5:
            raise Reject("too many lanes")
        self.lanes = 1 << lanes_log2
        self.data = data
        self.at = 1 + 4 * self.lanes
        if len(data) < self.at:
            raise Reject("no room for the states")
        self.state = list(struct.unpack_from(f"<{self.lanes}I", data, 1))
        if min(self.state) < 1 << 16:
            raise Reject("an initial state is under 2^16")
        self.lane = 0
        self.bits = 0
        self.variant = None
        self.tables = tables(table_file)

    def restart(self):
        self.lane = 0

    def decode(self, variant, context):
        lane = self.lane
        x = self.state[lane]
        v, f, within = self.tables.by_slot(self.tables.map[variant][context])[x & 4095]
        x = f * (x >> 12) + within
        if x < 1 << 16:
            if self.at + 2 > len(self.data):
                raise Reject("words end early")
            x = x << 16 | self.data[self.at] | self.data[self.at + 1] << 8
            self.at += 2
        self.state[lane] = x
        self.lane = (lane + 1) % self.lanes
        return v

    def fixed(self, context):
        """A symbol that always uses variant 0."""
        return self.decode(0, context)

    def context(self, context):
        """A symbol of the variant in force."""
        return self.decode(self.variant, context)

    def raw(self, n):
        value = 0
        for i in range(n):
            byte = len(self.data) - 1 - self.bits // 8
            if byte < 1:
                raise Reject("raw bits end early")
            value |= (self.data[byte] >> self.bits % 8 & 1) << i
            self.bits += 1
        return value

    def magnitude(self, context, shift):
        high = self.context(context)
        if high == 15:
            high += self.exp_golomb()
        value = high << shift | self.raw(shift)
        if value >> 32:
            raise Reject("a magnitude does not fit 32 bits")
        return value

    def exp_golomb(self):
        n = 0
        while self.raw(1) == 0:
            n += 1
            if n > 30:
                raise Reject("an escape is too long")
        return (1 << n) - 1 + self.raw(n)

    def signs(self, count):
        """Section 7.4: 1 for each negative of `count`, after all checks."""
        if max(self.state) >= 1 << 17:
            raise Reject("a final state is not under 2^17")
        carried = min(count, 16 * self.lanes)
        signs = [self.state[i // 16] >> i % 16 & 1 for i in range(carried)]
        signs += [self.raw(1) for _ in range(count - carried)]
        if self.at != len(self.data) - (self.bits + 7) // 8:
            raise Reject("words and raw bits do not meet")
        if any(self.state[i // 16] >> i % 16 & 1 for i in range(carried, 16 * self.lanes)) or self.raw(-self.bits % 8):
            raise Reject("unused bits are not 0")
        return signs
