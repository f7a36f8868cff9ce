"""Reference decoder of the hgv payload, written from format-spec/payload.md.

Pure Python, no packages. It favours likeness to the text over speed; section numbers in the
comments are those of the specification. A 64^3 block takes a few seconds.

Entry point: `decode_block`. It raises `Reject` where the specification says "reject".
"""

import hashlib
import struct
from functools import lru_cache
from pathlib import Path

TABLE_FILE = Path(__file__).resolve().parents[2] / "format-spec" / "tables" / "coder-r.bin"
TABLE_SHA256 = "eeb9456ff6ad9358bc442fc01a562d97d31de1e9a70d573a3b8b5b856a618568"

# Section 9: first number of each kind of context.
EMPTY, VARIANT, FLAG, COEFFICIENT = 0, 6, 9, 1209
REFINE, COARSEST, RESIDUAL_FLAG, RESIDUAL = 5913, 5949, 5951, 6077


class Reject(Exception):
    """The payload breaks a rule of the specification."""


def log2i(a):
    return a.bit_length() - 1


def step_function(*thresholds):
    """Table of a step function of section 9; arguments over the last threshold share its value."""
    values = [sum(i >= t for t in thresholds) for i in range(thresholds[-1] + 1)]
    last = len(values) - 1
    return lambda argument: values[argument if argument < last else last]


near = step_function(1, 3, 5, 8, 13, 24, 48)
far = step_function(1, 4, 8, 15, 30, 72)
ancestor = step_function(1, 2, 4, 7, 12, 24, 56)
flag_parents = step_function(1, 2, 4, 12)
flag_faces = step_function(1, 2, 3, 5)
flag_cousins = step_function(1, 2, 4)
texture_level = step_function(1, 4, 10, 24, 64)


# ---------------------------------------------------------------------------------------------
# Section 4: model record


class Model:
    def __init__(self, record):
        if len(record) != 16:
            raise Reject("a model record has 16 bytes")
        (self.coder, precision, self.frac_bits, self.qualities, self.recon_one, self.recon_more, flags, reserved,
         self.step_q16) = struct.unpack("<BBbBBBBBQ", record)
        if self.coder != 0 or precision > 1 or flags > 1 or reserved != 0:
            raise Reject("model record: coder, precision or reserved bits")
        if not (-16 <= self.frac_bits <= 24 and 1 <= self.qualities <= 8):
            raise Reject("model record: frac_bits or qualities")
        if self.recon_one > 127 or self.recon_more > 127 or not 1 <= self.step_q16 <= 1 << 48:
            raise Reject("model record: step or reconstruction points")
        self.lossless = flags == 1
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


def group_extent(dims):
    return tuple((n + 3) // 4 for n in dims)


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
# Section 8: tables


class Tables:
    def __init__(self):
        data = TABLE_FILE.read_bytes()
        if hashlib.sha256(data).hexdigest() != TABLE_SHA256:
            raise ValueError(f"{TABLE_FILE} is not the table file of the specification")
        magic, distributions, variants, contexts = struct.unpack_from("<4sHHI", data)
        assert (magic, distributions, variants, contexts) == (b"HGVR", 211, 4, 6239)
        self.frequencies = [struct.unpack_from("<16H", data, 12 + 32 * i) for i in range(distributions)]
        first = 12 + 32 * distributions
        self.map = [data[first + v * contexts:first + (v + 1) * contexts] for v in range(variants)]
        self.slots = [None] * distributions

    def by_slot(self, distribution):
        """For each slot: symbol, frequency, slot - C[symbol]. Made on first use."""
        table = self.slots[distribution]
        if table is None:
            table = [(v, f, i) for v, f in enumerate(self.frequencies[distribution]) for i in range(f)]
            self.slots[distribution] = table
        return table


@lru_cache(maxsize=1)
def tables():
    return Tables()


# ---------------------------------------------------------------------------------------------
# Section 7: streams


class Stream:
    def __init__(self, data):
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
        self.tables = tables()

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
        return signs


# ---------------------------------------------------------------------------------------------
# Section 10: coefficients

COUSIN_WEIGHT = (None, 0, 128, 64, 43, 32, 26, 21)


class Band:
    """What is kept of a band between layers (10.1), and where it lies."""

    def __init__(self, shape, depth, b):
        self.depth, self.b = depth, b
        self.origin, self.extent = shape.band(depth, b)
        self.nonempty = False
        # The same cells for all bands of the split, so that cousins share positions.
        low = shape.box(depth + 1)
        self.m = Field(low)
        self.f = Field(group_extent(low))

    def activity(self):
        """A of 10.1 at every position of the band and one beyond."""
        out = Field(self.m.extent)
        w, h, d = self.m.extent
        for z in range(-1, d + 1):
            for y in range(-1, h + 1):
                row = self.m.at(-1, y, z)
                for i in range(row, row + w + 2):
                    out.cells[i] = 2 * self.m.cells[i] + self.m.faces(i)
        return out


class Cousins:
    """Sums over the bands of a split that were decoded before in this layer."""

    def __init__(self, band):
        self.m = [0] * len(band.m.cells)
        self.f = [0] * len(band.f.cells)

    def add(self, band):
        self.m = [s + m for s, m in zip(self.m, band.m.cells)]
        self.f = [s + f for s, f in zip(self.f, band.f.cells)]


class Coefficients:
    def __init__(self, model, shape, steps):
        self.model, self.shape = model, shape
        self.k = [0] * volume(shape.dims)
        self.bands = {(d, b): Band(shape, d, b) for d in range(shape.splits) for b in range(1, 8)}
        self.brings = plan(steps, shape.splits, model.qualities)

    def decode_layer(self, number, q, data):
        coarsest, splits = self.brings[number]
        if not data:
            if q > 0 and any(self.k):
                raise Reject("an empty refinement of a block that is not zero")
            return
        r = int(q > 0)
        stream, signs = Stream(data), []
        if coarsest:
            self.coarsest(stream, r)
        for d in splits:
            cousins = Cousins(self.bands[d, 1])
            for b in range(1, 8):
                band = self.bands[d, b]
                if volume(band.extent):
                    BandPass(self, stream, band, r, cousins, signs).run()
                    cousins.add(band)
        for place, negative in zip(signs, stream.signs(len(signs))):
            if negative:
                self.k[place] = self.model.sat(-self.k[place])

    def coarsest(self, stream, r):
        """10.3"""
        k, strides = self.k, self.shape.stride
        stream.variant = stream.fixed(VARIANT + 2)
        stream.restart()
        shift = 0 if r else stream.raw(5)
        for p in raster(self.shape.box(self.shape.splits)):
            place = self.shape.place((0, 0, 0), p)
            if r:
                guess = 4 * k[place]
            else:
                before = [k[place - strides[a]] for a in range(3) if p[a] > 0]
                guess = sum(before) // len(before) if before else 0
            delta = stream.magnitude(COARSEST + r, shift)
            if delta and stream.raw(1):
                delta = -delta
            k[place] = self.model.sat(guess + delta)


def plan(steps, splits, qualities):
    """Section 6: what each step brings (coarsest or not, splits coarse to fine)."""
    reached = [-1] * (splits + 1)  # the last entry is the coarsest band
    out = []
    for s, q in steps:
        if s > splits or q > 7:
            raise Reject("layer table: step out of range")
        about = range(s, splits + 1)
        if any(reached[i] not in (q - 1, q) for i in about):
            raise Reject("layer table: a quality is skipped")
        brought = [i for i in about if reached[i] == q - 1]
        if not brought:
            raise Reject("layer table: a step brings nothing")
        for i in brought:
            reached[i] = q
        out.append((splits in brought, [i for i in reversed(brought) if i < splits]))
    if not steps or set(reached) != {max(q for _, q in steps)} or reached[0] != qualities - 1:
        raise Reject("layer table: not every part reaches the last quality of the model")
    return out


class BandPass:
    """One band in one layer: 10.4 and 10.5."""

    def __init__(self, coefficients, stream, band, r, cousins, signs):
        self.owner, self.stream, self.band, self.r = coefficients, stream, band, r
        self.cousins, self.signs = cousins, signs
        parent = coefficients.bands.get((band.depth + 1, band.b))
        self.parent = parent.activity() if parent and parent.nonempty else None

    def run(self):
        band, stream = self.band, self.stream
        top = min(band.depth, 2)
        if not band.nonempty:
            if stream.fixed(EMPTY + top * 2 + self.r) == 0:
                return
            band.nonempty = True
        elif self.r:
            band.m.cells = [min(4 * m, 255) for m in band.m.cells]
        stream.variant = stream.fixed(VARIANT + top)
        self.flags()
        self.coefficients()

    def flags(self):
        band, f = self.band, self.band.f
        for number in range(3):
            self.stream.restart()
            for g in raster(group_extent(band.extent)):
                if pass_of(*g) == number and f.cells[f.at(*g)] == 0:
                    f.cells[f.at(*g)] = self.stream.context(self.flag_context(number, g))

    def flag_context(self, number, g):
        band, i = self.band, self.band.f.at(*g)
        near_parent = 0
        if self.parent:
            a = self.parent
            corners = raster((2, 2, 2))
            near_parent = sum(a.cells[a.at(2 * g[0] + x, 2 * g[1] + y, 2 * g[2] + z)] for x, y, z in corners)
        p = flag_parents((near_parent + 7) // 8)
        f = flag_faces(band.f.faces(i))
        c = flag_cousins(self.cousins.f[i])
        return FLAG + ((self.r * 2 + min(band.depth, 1)) * 3 + number) * 100 + (p * 5 + f) * 4 + c

    def coefficients(self):
        band = self.band
        active = [g for g in raster(group_extent(band.extent)) if band.f.cells[band.f.at(*g)]]
        for number in range(3):
            self.stream.restart()
            inside = [p for p in raster((4, 4, 4)) if pass_of(*p) == number]
            for g in active:
                for i in inside:
                    p = tuple(4 * g[a] + i[a] for a in range(3))
                    if all(p[a] < band.extent[a] for a in range(3)):
                        self.coefficient(number, p)

    def neighbours(self, number, p, i):
        """N of 10.5."""
        m = self.band.m
        if number == 1:
            return 2 * m.diagonals(i, p) + m.faces(i) if self.r else 3 * m.diagonals(i, p)
        return 2 * m.faces(i) if number == 2 or self.r else 0

    def coefficient(self, number, p):
        band, k, sat = self.band, self.owner.k, self.owner.model.sat
        i, place = band.m.at(*p), self.owner.shape.place(band.origin, p)
        n = self.neighbours(number, p, i)
        before = k[place] if self.r else 0
        if before == 0:
            magnitude = self.zero_before(number, p, i, n)
            k[place] = sat(magnitude)
            if magnitude:
                self.signs.append(place)
        else:
            context = REFINE + ((min(abs(before), 3) - 1) * 4 + near(n) // 2) * 3 + number
            magnitude = max(0, 4 * abs(before) + self.stream.context(context) - 4)
            k[place] = sat(magnitude if before > 0 else -magnitude)
        band.m.cells[i] = min(magnitude, 255)

    def zero_before(self, number, p, i, n):
        band, a = self.band, self.parent
        parent = a.cells[a.at(p[0] // 2, p[1] // 2, p[2] // 2)] if a else 0
        cousins = COUSIN_WEIGHT[band.b] * self.cousins.m[i] >> 4
        if number == 0 and not self.r:
            inner, outer, expected = ancestor(parent), far(2 * cousins), parent + cousins + (cousins >> 1)
        else:
            inner, outer, expected = near(n), far(parent + cousins), 2 * n
        shift = 0 if expected < 192 else log2i(expected // 96)
        place = (((band.b - 1) * 2 + min(band.depth, 1)) * 3 + number) * 2 + self.r
        return self.stream.magnitude(COEFFICIENT + place * 56 + inner * 7 + outer, shift)


# ---------------------------------------------------------------------------------------------
# Section 11: dequantisation

GAIN_COARSEST = (46741, 32278, 22590, 15925, 11252)
GAIN_HIGH = (73862, 54169, 36945, 25689, 18075)
GAIN_LOW = (57500, 39707, 27789, 19591, 13842)


def band_step(model, shape, q, depth, b):
    """Step of a band in 1/256 of a working unit; b = 0 is the coarsest band."""
    e = shape.splits - 1 if b == 0 else depth
    t = model.step_q16 << 2 * (model.qualities - 1 - q)
    for a in range(3):
        if shape.box(e)[a] == 1:
            gain = 65536
        elif b == 0:
            gain = GAIN_COARSEST[e]
        else:
            gain = GAIN_HIGH[e] if b >> a & 1 else GAIN_LOW[e]
        t = t * gain >> 16
    return max(1, min(1 << 40, (t + 128) >> 8))


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
        else:
            self.u2, self.p2, self.u1, self.p1 = 952423713, 1896037097, 113773938, 1258713915
            self.gain = (None, 494295126, 1102364191, 1850395009)

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

    def inverse(self, w, shape, lod):
        for depth in reversed(range(lod, shape.splits)):
            box = shape.box(depth)
            axes = sum(n > 1 for n in box)
            if axes:
                c = self.gain[axes]
                for row in shape.rows((0, 0, 0), shape.box(depth + 1)):
                    w[row] = [self.wrap(v + self.mul(v, c)) for v in w[row]]
            for a in (2, 1, 0):
                if box[a] > 1:
                    self.merge_axis(w, shape, box, a)

    def merge_axis(self, w, shape, box, a):
        ends = tuple(1 if i == a else n for i, n in enumerate(box))
        for p in raster(ends):
            start = shape.place((0, 0, 0), p)
            line = slice(start, start + (box[a] - 1) * shape.stride[a] + 1, shape.stride[a])
            w[line] = self.merge(w[line])


# ---------------------------------------------------------------------------------------------
# Section 13: voxels


def to_range(model, w, lo, hi):
    f, centre = model.frac_bits, (lo + hi) >> 1
    if f > 0:
        rounded = [(v + (1 << (f - 1))) >> f for v in w]
    else:
        rounded = [v << -f for v in w]
    return [max(lo, min(hi, v + centre)) for v in rounded]


# ---------------------------------------------------------------------------------------------
# Section 14: residual


class Residual:
    def __init__(self, dims, q, data):
        self.dims, self.stream = dims, Stream(data)
        self.strides = (1, dims[0], dims[0] * dims[1])
        self.texture = self.textures(q)
        self.m, self.f = Field(dims), Field(group_extent(dims))

    def textures(self, q):
        out = [0] * len(q)
        for i, p in enumerate(raster(self.dims)):
            for a in range(3):
                if p[a] + 1 < self.dims[a]:
                    j = i + self.strides[a]
                    out[i] += abs(q[i] - q[j])
                    out[j] += abs(q[i] - q[j])
        mean = sum(out) // len(out)
        shift = log2i(mean // 8) if mean >= 8 else 0
        return [t >> shift for t in out]

    def decode(self):
        """Residual of each voxel, raster order."""
        out, signs = [0] * volume(self.dims), []
        base = self.stream.raw(5)
        self.stream.variant = self.stream.fixed(VARIANT)
        for number in range(3):
            self.stream.restart()
            for g in raster(group_extent(self.dims)):
                if pass_of(*g) == number:
                    self.f.cells[self.f.at(*g)] = self.stream.context(self.flag_context(number, g))
        for number in range(3):
            self.stream.restart()
            for place, p in enumerate(raster(self.dims)):
                if pass_of(*p) == number and self.f.cells[self.f.at(*(c // 4 for c in p))]:
                    out[place] = self.voxel(number, place, p, base)
                    if out[place]:
                        signs.append(place)
        for place, negative in zip(signs, self.stream.signs(len(signs))):
            if negative:
                out[place] = -out[place]
        return out

    def flag_context(self, number, g):
        first = [4 * c for c in g]
        size = [min(4, self.dims[a] - first[a]) for a in range(3)]
        inside = (sum((first[a] + p[a]) * self.strides[a] for a in range(3)) for p in raster(size))
        t = texture_level(max(self.texture[i] for i in inside))
        return RESIDUAL_FLAG + (number * 7 + min(6, self.f.faces(self.f.at(*g)))) * 6 + t

    def voxel(self, number, place, p, base):
        i = self.m.at(*p)
        n = (lambda: 0, lambda: 3 * self.m.diagonals(i, p), lambda: 2 * self.m.faces(i))[number]()
        by_neighbours = 0 if n < 96 else log2i(n // 48)
        shift = base if number == 0 else by_neighbours
        context = RESIDUAL + (number * 9 + near(n) + (n >= 96)) * 6 + texture_level(self.texture[place])
        magnitude = self.stream.magnitude(context, shift)
        if magnitude >> 31:
            raise Reject("a residual is too large")
        self.m.cells[i] = min(magnitude, 1 << 20)
        return magnitude


# ---------------------------------------------------------------------------------------------
# The whole block


def split_lossless(data):
    """Section 6: coefficient and residual stream of the last layer of a lossless model."""
    if not data:
        return b"", b""
    if len(data) < 4:
        raise Reject("the last layer of a lossless model is too short")
    c, = struct.unpack_from("<I", data)
    if c > len(data) - 4:
        raise Reject("the last layer of a lossless model is too short for its coefficients")
    return data[4:4 + c], data[4 + c:]


def prefix_length(steps, lod, quality):
    """Section 6: how many layers give `lod` at `quality`."""
    for i, (s, q) in enumerate(steps):
        if q == quality and (s <= lod if quality == 0 else s == 0):
            return i + 1
    raise ValueError(f"no layer completes level of detail {lod} at quality {quality}")


def decode_block(record, dims, block_log2, value_range, steps, layers, lod):
    """Integers q of a block, raster order of its box at `lod`.

    record: 16 bytes. dims: voxels along x, y, z. value_range: (lo, hi). steps: the whole layer
    table, pairs (s, q). layers: bytes of the layers of a prefix, as `prefix_length` says.
    """
    model, shape, (lo, hi) = Model(record), Shape(dims, block_log2), value_range
    coefficients = Coefficients(model, shape, steps)
    residual = b""
    for number, data in enumerate(layers):
        if model.lossless and number == len(steps) - 1:
            data, residual = split_lossless(data)
        coefficients.decode_layer(number, steps[number][1], data)
    q = steps[len(layers) - 1][1]
    w = working_values(model, shape, q, coefficients.k, lod)
    Transform(model.bits).inverse(w, shape, lod)
    box = [v for row in shape.rows((0, 0, 0), shape.box(lod)) for v in w[row]]
    out = to_range(model, box, lo, hi)
    if lod == 0 and residual:
        out = [v + r for v, r in zip(out, Residual(dims, out, residual).decode())]
        if min(out) < lo or max(out) > hi:
            raise Reject("a voxel leaves the value range of its block")
    return out


INTEGER_TYPES = {"uint8": ("B", 0, 255), "int8": ("b", -128, 127), "uint16": ("H", 0, 65535), "int16": ("h", -32768, 32767)}


def to_voxels(q, dtype, exponent=0):
    """Section 3: little-endian voxels of the integers q."""
    if dtype == "float32":
        # Exact in binary64; struct rounds to nearest, ties to even.
        return struct.pack(f"<{len(q)}f", *(v * 2.0 ** exponent for v in q))
    code, lo, hi = INTEGER_TYPES[dtype]
    return struct.pack(f"<{len(q)}{code}", *(max(lo, min(hi, v)) for v in q))
