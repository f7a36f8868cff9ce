"""Map of ranks: section 29 of format-spec/payload.md."""

import math
import struct

from hgv_stream import Reject

KIND = 3
LEAST = {"uint8": 0, "int8": -128, "uint16": 0, "int16": -32768}
MOST = {"uint8": 255, "int8": 255, "uint16": 65535, "int16": 65535}


def unordered(place):
    return place & 0x7FFFFFFF if place >> 31 else place ^ 0xFFFFFFFF


def read_keys(record):
    if len(record) < 13:
        raise Reject("a map of ranks has at least 13 bytes")
    count, first, least, order = struct.unpack_from("<IIIB", record)
    if not 1 <= count <= 1 << 20 or order > 31:
        raise Reject("map of ranks: count or order")
    gaps = record[13:]
    bits, at = int.from_bytes(gaps, "little"), 0

    def raw(n):
        nonlocal at
        at += n
        if at > 8 * len(gaps):
            raise Reject("a map of ranks ends early")
        return bits >> (at - n) & ((1 << n) - 1)

    def exp_golomb():
        n = 0
        while raw(1) == 0:
            n += 1
            if n > 32:
                raise Reject("map of ranks: a gap is too large")
        return (1 << n) - 1 + raw(n)

    keys = [first]
    for _ in range(count - 1):
        high = exp_golomb()
        keys.append(keys[-1] + least + (high << order) + raw(order))
        if not keys[-2] < keys[-1] < 1 << 32:
            raise Reject("map of ranks: a value does not rise or is over 32 bits")
    if 8 * len(gaps) - at >= 8 or bits >> at:
        raise Reject("map of ranks: bits left over")
    return keys


class Ranks:
    """The values of a file, `q` in coded values and `bits` of float32."""

    def __init__(self, record, dtype, exponent, q_min, q_max):
        keys = read_keys(record)
        self.bits = None
        if dtype == "float32":
            self.bits = [unordered(key) for key in keys]
            values = struct.unpack(f"<{len(keys)}f", struct.pack(f"<{len(keys)}I", *self.bits))
            if not all(map(math.isfinite, values)):
                raise Reject("map of ranks: a value is not finite")
            # round() is to the nearest, ties to even; the quotient is exact.
            self.q = [round(v / 2.0 ** exponent) for v in values]
        elif keys[-1] > MOST[dtype]:
            raise Reject("map of ranks: a value is beyond its type")
        else:
            self.q = [key + LEAST[dtype] for key in keys]
        if not all(q_min <= q <= q_max for q in self.q):
            raise Reject("map of ranks: a value leaves the range of the file")

    def within(self, lo, hi):
        """Ranks of a block whose values lie in lo ..= hi."""
        inside = [i for i, q in enumerate(self.q) if lo <= q <= hi]
        if not inside:
            raise Reject("a block of ranks has none in its range")
        return inside[0], inside[-1]


def ranks_of(models, header):
    """The map of a file, or None."""
    records = [record for kind, record in models.values() if kind == KIND]
    if len(records) > 1:
        raise Reject("two maps of ranks")
    return Ranks(records[0], header.dtype, header.value_exp, header.q_min, header.q_max) if records else None
