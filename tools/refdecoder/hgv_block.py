"""Model record, geometry of a block, and the way from indices to integers: sections 4, 5 and 11
to 13 of format-spec/payload.md."""

import math
import struct

from hgv_stream import Reject


# ---------------------------------------------------------------------------------------------
# Section 4: model record


# Bits of the flags of a record of any kind.
RESIDUAL_FLAGS = 1 | 8 | 16
MASK_FLAG = 2
RANKS_FLAG = 128


def residual_step(flags, record):
    """Step of the residual of a record, 0 for none, "bits" for the bits of floats; the record without its tail."""
    what = flags & RESIDUAL_FLAGS
    if what in (0, 1):
        return what, record
    if what == 1 | 8 and not flags & MASK_FLAG:
        return "bits", record
    if what != 1 | 16 or len(record) < 4:
        raise Reject("model record: flags of a residual")
    step, = struct.unpack("<I", record[-4:])
    if not 2 <= step <= 1 << 24:
        raise Reject("model record: step of a residual")
    return step, record[:-4]


class Curve:
    def __init__(self, data):
        self.start, self.t, self.e, *self.rise = struct.unpack("<iBb16H", data)
        if not (4 <= self.t <= 24 and -16 <= self.e <= 16 and self.t + self.e >= 1) or not any(self.rise):
            raise Reject("model record: curve")
        self.below = [sum(self.rise[:i]) for i in range(17)]

    def position(self, v):
        r = (v - self.start) << self.e if self.e >= 0 else (v - self.start) >> -self.e
        r = max(0, min(self.below[16], r))
        i = next(i for i in range(16) if self.below[i + 1] >= r)
        inside = ((r - self.below[i]) << self.t) // self.rise[i] if self.rise[i] else 0
        return (i << self.t) + inside

    def risen(self, p):
        p = max(0, min(16 << self.t, p))
        i = min(p >> self.t, 15)
        return (self.below[i] << self.t) + self.rise[i] * (p - (i << self.t))

    def value(self, p):
        shift = self.t + self.e
        return self.start + ((self.risen(p) + (1 << (shift - 1))) >> shift)


class Filter:
    def __init__(self, data):
        self.limit, *weights = struct.unpack("<I36b", data)
        if not 1 <= self.limit <= 1 << 24:
            raise Reject("model record: limit of a filter")
        self.weights = [[weights[12 * a + 4 * d:][:4] for d in range(3)] for a in range(3)]


class Model:
    def __init__(self, record):
        self.residual, record = residual_step(record[6] if len(record) > 6 else 0, record)
        curved = len(record) > 6 and record[6] & 4
        filters = record[3] if len(record) > 6 and record[6] & 64 else 0
        end = 54 if curved else 16
        if len(record) != end + 40 * filters:
            raise Reject("a model record has 16 bytes, 38 more with a curve, 40 for each filter")
        (self.coder, precision, self.frac_bits, self.qualities, self.recon_one, self.recon_more, flags, reserved,
         self.step_q16) = struct.unpack("<BBbBBBBBQ", record[:16])
        if self.coder > 1 or precision > 1 or reserved != 0:
            raise Reject("model record: coder, precision or reserved bits")
        if not (-16 <= self.frac_bits <= 24 and 1 <= self.qualities <= 8):
            raise Reject("model record: frac_bits or qualities")
        if self.recon_one > 127 or self.recon_more > 127 or not 1 <= self.step_q16 <= 1 << 48:
            raise Reject("model record: step or reconstruction points")
        self.reversible = flags & 32 == 32
        if self.reversible and (self.frac_bits != 0 or self.step_q16 != 1 << 16 or curved or filters):
            raise Reject("model record: a reversible transform with another unit or step, a curve or filters")
        self.ranks = flags & RANKS_FLAG != 0
        if self.ranks and flags & (2 | 4 | 8 | 16 | 64):
            raise Reject("model record: ranks with a mask, a curve, filters or another residual")
        self.mask = flags & 2 == 2
        self.curve = Curve(record[16:54]) if curved else None
        if filters and curved and self.curve.t + self.curve.e - self.frac_bits < 1:
            raise Reject("model record: filters in finer units than the curve has")
        self.filters = [Filter(record[end + 40 * i:][:40]) for i in range(filters)]
        self.bits = 32 if precision else 16
        self.top = (1 << (self.bits - 1)) - 1

    def sat(self, v):
        return max(-self.top - 1, min(self.top, v))


# ---------------------------------------------------------------------------------------------
# Section 5: geometry


def raster(dims):
    """Positions (x, y, z) of a box in raster order."""
    w, h, d = dims
    return ((x, y, z) for z in range(d) for y in range(h) for x in range(w))


def volume(dims):
    return dims[0] * dims[1] * dims[2]


def pass_of(x, y, z):
    return (0, 2, 1, 2)[(x & 1) + (y & 1) + (z & 1)]


def of_pass(number, extent):
    """Positions of a pass in raster order."""
    return (p for p in raster(extent) if pass_of(*p) == number)


def group_extent(dims):
    return tuple((n + 3) // 4 for n in dims)


def in_active_groups(number, flags, extent):
    """Positions of a pass in the groups whose flag is 1, group by group."""
    inside = list(of_pass(number, (4, 4, 4)))
    for g in raster(flags.extent):
        if flags.cells[flags.at(*g)]:
            for i in inside:
                p = tuple(4 * g[a] + i[a] for a in range(3))
                if all(p[a] < extent[a] for a in range(3)):
                    yield p


class Shape:
    def __init__(self, dims, block_log2):
        if block_log2 not in (5, 6, 7) or not all(1 <= n <= 1 << block_log2 for n in dims):
            raise ValueError("not a block")
        self.dims = tuple(dims)
        self.splits = block_log2 - 2
        self.stride = (1, dims[0], dims[0] * dims[1])

    def box(self, depth):
        return tuple((n + (1 << depth) - 1) >> depth for n in self.dims)

    def band(self, depth, b):
        """Origin and extent of band b of a split."""
        whole, low = self.box(depth), self.box(depth + 1)
        high = [b >> a & 1 for a in range(3)]
        origin = tuple(low[a] if high[a] else 0 for a in range(3))
        return origin, tuple(whole[a] // 2 if high[a] else low[a] for a in range(3))

    def place(self, origin, p):
        return sum((origin[a] + p[a]) * self.stride[a] for a in range(3))

    def rows(self, origin, extent):
        """Slices of the index box that hold the rows of a box."""
        for z in range(extent[2]):
            for y in range(extent[1]):
                start = self.place(origin, (0, y, z))
                yield slice(start, start + extent[0])


class Field:
    """Numbers at all integer positions, 0 outside of a box: the box with a rim of two cells."""

    def __init__(self, extent):
        self.extent = extent
        w, h, d = (n + 4 for n in extent)
        self.stride = (1, w, w * h)
        self.cells = [0] * (w * h * d)

    def at(self, x, y, z):
        _, sy, sz = self.stride
        return (z + 2) * sz + (y + 2) * sy + x + 2

    def faces(self, i):
        c, (_, sy, sz) = self.cells, self.stride
        return c[i - 1] + c[i + 1] + c[i - sy] + c[i + sy] + c[i - sz] + c[i + sz]

    def diagonals(self, i, p):
        """Sum over the four positions that differ by one in both odd coordinates of p."""
        c = self.cells
        u, v = (self.stride[a] for a in range(3) if p[a] & 1)
        return c[i - u - v] + c[i - u + v] + c[i + u - v] + c[i + u + v]


# ---------------------------------------------------------------------------------------------
# Section 11: dequantisation

GAIN_COARSEST = (46741, 32278, 22590, 15925, 11252)
GAIN_HIGH = (73862, 54169, 36945, 25689, 18075)
GAIN_LOW = (57500, 39707, 27789, 19591, 13842)


def band_step(model, shape, q, depth, b):
    """Step of a band in 1/256 of a working unit; b = 0 is the coarsest band."""
    if model.reversible:
        return 256 << 2 * (model.qualities - 1 - q)
    e = shape.splits - 1 if b == 0 else depth
    t = model.step_q16
    for a in range(3):
        if shape.box(e)[a] == 1:
            gain = math.isqrt((1 << 32) // shape.dims[a])
        elif b == 0:
            gain = GAIN_COARSEST[e]
        else:
            gain = GAIN_HIGH[e] if b >> a & 1 else GAIN_LOW[e]
        t = t * gain >> 16
    return max(1, min(1 << 40, (t + 128) >> 8)) << 2 * (model.qualities - 1 - q)


def dequantise(model, step, b, k):
    if k == 0:
        return 0
    recon = 0 if b == 0 else model.recon_one if abs(k) == 1 else model.recon_more
    w = (abs(k) * step - (step * recon >> 8) + 128) >> 8
    return model.sat(w if k > 0 else -w)


def working_values(model, shape, q, k, lod):
    w = [0] * len(k)
    boxes = [(0, 0, (0, 0, 0), shape.box(shape.splits))]
    boxes += [(d, b, *shape.band(d, b)) for d in range(lod, shape.splits) for b in range(1, 8)]
    for depth, b, origin, extent in boxes:
        step = band_step(model, shape, q, depth, b)
        for row in shape.rows(origin, extent):
            w[row] = [dequantise(model, step, b, v) for v in k[row]]
    return w


# ---------------------------------------------------------------------------------------------
# Section 12: inverse transform


class Transform:
    def __init__(self, bits):
        self.wrapped = 1 << (bits - 1)
        self.mask = (1 << bits) - 1
        self.shift = bits - 1
        self.half = 1 << (bits - 2)
        if bits == 16:
            self.u2, self.p2, self.u1, self.p1 = 14533, 28931, 1736, 19206
            self.gain = (None, 7542, 16821, 28235)
            self.shrink = (None, 26637, 21653, 17602)
        else:
            self.u2, self.p2, self.u1, self.p1 = 952423713, 1896037097, 113773938, 1258713915
            self.gain = (None, 494295126, 1102364191, 1850395009)
            self.shrink = (None, 1745674567, 1419046751, 1153533265)

    def wrap(self, v):
        return ((v + self.wrapped) & self.mask) - self.wrapped

    def mul(self, v, c):
        return (v * c + self.half) >> self.shift

    def merge(self, line):
        """Low half first -> interleaved."""
        wrap, mul = self.wrap, self.mul
        low, high = (len(line) + 1) // 2, len(line) // 2
        e, o = line[:low], line[low:]
        before = lambda: [o[0]] + o[:low - 1]  # o[i - 1]
        here = lambda: (o + o[-1:])[:low]  # o[i]
        after = lambda: (e[1:] + e[-1:])[:high]  # e[i + 1]
        e = [wrap(v - mul(wrap(a + b), self.u2)) for v, a, b in zip(e, before(), here())]
        o = [wrap(v - mul(wrap(a + b), self.p2)) for v, a, b in zip(o, e, after())]
        e = [wrap(v + mul(wrap(a + b), self.u1)) for v, a, b in zip(e, before(), here())]
        sums = [wrap(a + b) for a, b in zip(e, after())]
        o = [wrap(v + t + mul(t, self.p1)) for v, t in zip(o, sums)]
        line[0::2], line[1::2] = e, o
        return line

    def inverse(self, w, shape, lod, reversible=False):
        for depth in reversed(range(lod, shape.splits)):
            box = shape.box(depth)
            axes = sum(n > 1 for n in box)
            if axes and not reversible:
                c = self.gain[axes]
                for row in shape.rows((0, 0, 0), shape.box(depth + 1)):
                    w[row] = [self.wrap(v + self.mul(v, c)) for v in w[row]]
            for a in (2, 1, 0):
                if box[a] > 1:
                    self.merge_axis(w, shape, box, a)
        for depth in reversed(range(lod if reversible else 0)):
            axes = sum(n > 1 for n in shape.box(depth))
            for row in shape.rows((0, 0, 0), shape.box(lod)):
                w[row] = [self.mul(v, self.shrink[axes]) for v in w[row]] if axes else w[row]

    def merge_axis(self, w, shape, box, a):
        ends = tuple(1 if i == a else n for i, n in enumerate(box))
        for p in raster(ends):
            start = shape.place((0, 0, 0), p)
            line = slice(start, start + (box[a] - 1) * shape.stride[a] + 1, shape.stride[a])
            w[line] = self.merge(w[line])


# ---------------------------------------------------------------------------------------------
# Section 13: voxels


def straight(model, w, lo, hi):
    """Working values that lie on a curve as they were without one."""
    curve, f, centre = model.curve, model.frac_bits, (lo + hi) >> 1
    origin = (curve.position(lo) + curve.position(hi)) >> 1
    if f < 0:
        return [model.sat((curve.value(v + origin) - centre + (1 << (-f - 1))) >> -f) for v in w]
    shift = curve.t + curve.e - f
    return [model.sat(((curve.risen(v + origin) + (1 << (shift - 1))) >> shift) + ((curve.start - centre) << f)) for v in w]


def ends_of(model, lo, hi):
    """Ends of the range in working units."""
    centre, f = (lo + hi) >> 1, model.frac_bits
    if f >= 0:
        return (lo - centre) << f, (hi - centre) << f
    return (lo - centre) >> -f, (hi - centre + (1 << -f) - 1) >> -f


def filtered(model, quality, dims, w, lo, hi):
    """Working values of a block, in raster order, after its filter."""
    filter = model.filters[quality]
    if model.curve:
        w = straight(model, w, lo, hi)
    most = (1 << 14) - 1 if model.bits == 16 else 1 << 29
    limits = [min(filter.limit * n, most) for n in (1, 3, 8, 24)]
    low, high = (model.sat(end) for end in ends_of(model, lo, hi))
    u = [max(low, min(high, v)) for v in w]
    strides = (1, dims[0], dims[0] * dims[1])
    taps = [(a, d + 1, t, k) for a in range(3) for d in range(3) for t, k in zip(limits, filter.weights[a][d]) if k]
    out = []
    for here, (i, p) in zip(u, enumerate(raster(dims))):
        s = 0
        for a, d, t, k in taps:
            ahead = u[i + min(d, dims[a] - 1 - p[a]) * strides[a]] - here
            behind = u[i - min(d, p[a]) * strides[a]] - here
            s += k * (max(-t, min(t, ahead)) + max(-t, min(t, behind)))
        out.append(model.sat(here + ((s + 64) >> 7)))
    return out


def to_range(model, w, lo, hi, straightened=False):
    curve = getattr(model, "curve", None)
    if curve and not straightened:
        origin = (curve.position(lo) + curve.position(hi)) >> 1
        return [max(lo, min(hi, curve.value(v + origin))) for v in w]
    f, centre = model.frac_bits, (lo + hi) >> 1
    if f > 0:
        rounded = [(v + (1 << (f - 1))) >> f for v in w]
    else:
        rounded = [v << -f for v in w]
    return [max(lo, min(hi, v + centre)) for v in rounded]
