"""Reference decoder of the hgv payload, written from format-spec/payload.md.

Pure Python; only kind 2 (`hgv_grid`) needs NumPy. It favours likeness to the text over speed; section numbers in the
comments are those of the specification. A 64^3 block takes a few seconds.

Entry point: `decode_block`. It raises `Reject` where the specification says "reject".
"""

import math
import struct

import hgv_mixing
from hgv_block import (RANKS_FLAG, Field, Model, Shape, Transform, filtered, group_extent, in_active_groups, of_pass, pass_of, raster, to_range,
                       volume, working_values)
from hgv_stream import Reject, Stream, flag_faces, log2i, low_bits, near, step_function

# Section 9: first number of each kind of context.
EMPTY, VARIANT, FLAG, COEFFICIENT = 0, 6, 9, 1209
REFINE, COARSEST, RESIDUAL_FLAG, RESIDUAL = 5913, 5949, 5951, 6077
# Byte of the flags in a model record of each kind.
FLAGS_AT = {1: 6, 2: 3}


far = step_function(1, 4, 8, 15, 30, 72)
ancestor = step_function(1, 2, 4, 7, 12, 24, 56)
flag_parents = step_function(1, 2, 4, 12)
flag_cousins = step_function(1, 2, 4)
texture_level = step_function(1, 4, 10, 24, 64)


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
    """A block of kind 1."""

    def __init__(self, record, shape, steps):
        self.model, self.shape = Model(record), shape
        self.brings = plan(steps, shape.splits)
        self.quality_of = [q for _, q in steps]
        if max(self.quality_of) != self.model.qualities - 1:
            raise Reject("the layer table has not the qualities of the model")
        self.k = [0] * volume(shape.dims)
        # What coder M has learnt in the layers so far.
        self.mixer = None
        self.bands = {(d, b): Band(shape, d, b) for d in range(shape.splits) for b in range(1, 8)}

    def working(self, layers, lod):
        """Working values after so many layers: sections 11 and 12."""
        w = working_values(self.model, self.shape, self.quality_of[layers - 1], self.k, lod)
        Transform(self.model.bits).inverse(w, self.shape, lod, self.model.reversible)
        return [v for row in self.shape.rows((0, 0, 0), self.shape.box(lod)) for v in w[row]]

    def decode_layer(self, number, data):
        coarsest, splits = self.brings[number]
        r = int(self.quality_of[number] > 0)
        if not data:
            if r:
                self.quadruple(coarsest, splits)
            return
        if self.model.coder == 1:
            if self.mixer is None:
                self.mixer = hgv_mixing.Mixer()
            hgv_mixing.decode_layer(self, self.brings[number], r, data, self.mixer)
            return
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

    def quadruple(self, coarsest, splits):
        """Section 7: an empty layer of a quality over 0."""
        parts = [((0, 0, 0), self.shape.box(self.shape.splits))] if coarsest else []
        for d in splits:
            for b in range(1, 8):
                band = self.bands[d, b]
                band.m.cells = [min(4 * m, 255) for m in band.m.cells]
                parts.append((band.origin, band.extent))
        for origin, extent in parts:
            for p in raster(extent):
                place = self.shape.place(origin, p)
                self.k[place] = self.model.sat(4 * self.k[place])

    def coarsest_guess(self, place, p, r):
        """10.3: what a coarsest coefficient is coded as a difference to."""
        if r:
            return 4 * self.k[place]
        before = [self.k[place - self.shape.stride[a]] for a in range(3) if p[a] > 0]
        return sum(before) // len(before) if before else 0

    def coarsest(self, stream, r):
        """10.3"""
        k = self.k
        stream.variant = stream.fixed(VARIANT + 2)
        stream.restart()
        shift = 0 if r else stream.raw(5)
        for p in raster(self.shape.box(self.shape.splits)):
            place = self.shape.place((0, 0, 0), p)
            guess = self.coarsest_guess(place, p, r)
            delta = stream.magnitude(COARSEST + r, shift)
            if delta and stream.raw(1):
                delta = -delta
            k[place] = self.model.sat(guess + delta)


def plan(steps, splits):
    """Section 6: what each step brings (coarsest or not, splits coarse to fine). Its checks hold
    for the layer table of every kind."""
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
    if not steps or set(reached) != {max(q for _, q in steps)}:
        raise Reject("layer table: not every part reaches the last quality")
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
            for g in of_pass(number, group_extent(band.extent)):
                if f.cells[f.at(*g)] == 0:
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
        for number in range(3):
            self.stream.restart()
            for p in in_active_groups(number, band.f, band.extent):
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
        place = (((band.b - 1) * 2 + min(band.depth, 1)) * 3 + number) * 2 + self.r
        return self.stream.magnitude(COEFFICIENT + place * 56 + inner * 7 + outer, low_bits(expected))


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
            for g in of_pass(number, self.f.extent):
                self.f.cells[self.f.at(*g)] = self.stream.context(self.flag_context(number, g))
        for number in range(3):
            self.stream.restart()
            for place, p in enumerate(raster(self.dims)):
                if pass_of(*p) == number and self.f.cells[self.f.at(*(c // 4 for c in p))]:
                    out[place] = self.voxel(number, place, p, base)
                    if out[place]:
                        signs.append(place)
        for place, negative in zip(signs, self.stream.signs(len(signs))):
            if negative or out[place] >> 31:
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
        shift = base if number == 0 else low_bits(2 * n)
        context = RESIDUAL + (number * 9 + near(n) + (n >= 96)) * 6 + texture_level(self.texture[place])
        magnitude = self.stream.magnitude(context, shift)
        if magnitude > 1 << 31:
            raise Reject("a residual is too large")
        self.m.cells[i] = min(magnitude, 1 << 20)
        return magnitude


# ---------------------------------------------------------------------------------------------
# Section 15: mask

# What stands for NaN, +infinity and -infinity among integers.
NOT_FINITE = (None, (1 << 31) - 1, (1 << 31) - 2, -(1 << 31))


def decode_mask(data, shape):
    """Class of each voxel of the block, raster order."""
    bits = sum(byte << 8 * i for i, byte in enumerate(data))
    at = 0

    def raw(n):
        nonlocal at
        at += n
        if at > 8 * len(data):
            raise Reject("a mask ends early")
        return bits >> (at - n) & ((1 << n) - 1)

    def exp_golomb():
        n = 0
        while raw(1) == 0:
            n += 1
            if n > 24:
                raise Reject("a run of a mask is too long")
        return (1 << n) - 1 + raw(n)

    def predicted():
        i, (_, row, slab) = len(classes), shape.stride
        back = row if i % slab >= row else slab
        return classes[i - back] if i >= back else 0

    classes, total = [], volume(shape.dims)
    while len(classes) < total:
        run = exp_golomb()
        if run > total - len(classes):
            raise Reject("a run of a mask leaves the block")
        for _ in range(run):
            classes.append(predicted())
        if len(classes) < total:
            classes.append(raw(2))
    if len(data) != (at + 7) // 8:
        raise Reject("a mask has bytes left over")
    return classes


def put_classes(q, shape, lod, classes):
    places = (shape.place((0, 0, 0), tuple(c << lod for c in p)) for p in raster(shape.box(lod)))
    return [NOT_FINITE[classes[place]] if classes[place] else v for v, place in zip(q, places)]


# ---------------------------------------------------------------------------------------------
# The whole block


def split(data):
    """Section 6: u32 length, as many bytes, the rest."""
    if len(data) < 4:
        raise Reject("a layer of two parts is too short")
    c, = struct.unpack_from("<I", data)
    if c > len(data) - 4:
        raise Reject("a layer of two parts is too short for its first")
    return data[4:4 + c], data[4 + c:]


def prefix_length(steps, lod, quality):
    """Section 6: how many layers give `lod` at `quality`."""
    for i, (s, q) in enumerate(steps):
        if q == quality and (s <= lod if quality == 0 else s == 0):
            return i + 1
    raise ValueError(f"no layer completes level of detail {lod} at quality {quality}")


def new_block(kind, record, shape, steps):
    """Decoder of a block before its first layer."""
    if kind == 1:
        return Coefficients(record, shape, steps)
    if kind == 2:
        # Here, so that NumPy is only needed for this kind.
        from hgv_grid import Grid
        plan(steps, shape.splits)
        return Grid(record, shape, steps)
    raise Reject(f"model kind {kind}")


def ordered(bits):
    """Section 14: place of a float32 in the order of all of them."""
    return bits ^ 0xFFFFFFFF if bits >> 31 else bits | 1 << 31


def unordered(place):
    return place & 0x7FFFFFFF if place >> 31 else place ^ 0xFFFFFFFF


class FloatBits(list):
    """Voxels of a block as the bits of float32, in place of integers q."""


def add_residual(step, out, r, lo, hi, exponent):
    """Section 14."""
    if step == "bits":
        places = (ordered(b) for b in float_bits(out, exponent))
        return FloatBits(unordered((p + v) % (1 << 32)) for p, v in zip(places, r))
    out = [q + step * v for q, v in zip(out, r)]
    if step > 1:
        return [max(lo, min(hi, q)) for q in out]
    if min(out) < lo or max(out) > hi:
        raise Reject("a voxel leaves the value range of its block")
    return out


def decode_block(model, dims, block_log2, value_range, steps, layers, lod, exponent=0):
    """Integers q of a block, raster order of its box at `lod`; `NOT_FINITE` where a mask says so; or `FloatBits`.

    model: (kind, record). dims: voxels along x, y, z. value_range: (lo, hi). steps: the whole layer
    table, pairs (s, q). layers: bytes of the layers of a prefix, as `prefix_length` says. exponent: of
    the unit of q.
    """
    shape, (lo, hi) = Shape(dims, block_log2), value_range
    block = new_block(*model, shape, steps)
    model, mask, residual = block.model, None, b""
    for number, data in enumerate(layers):
        if model.mask and number == 0:
            mask, data = split(data)
        if model.residual and number == len(steps) - 1 and data:
            data, residual = split(data)
        block.decode_layer(number, data)
    w = block.working(len(layers), lod)
    use_filter = lod == 0 and bool(getattr(model, "filters", None))
    if use_filter:
        w = filtered(model, block.quality_of[len(layers) - 1], dims, w, lo, hi)
    out = to_range(model, w, lo, hi, straightened=use_filter)
    if model.residual and lod == 0 and len(layers) == len(steps):
        r = Residual(dims, out, residual).decode() if residual else [0] * len(out)
        out = add_residual(model.residual, out, r, lo, hi, exponent)
    return out if mask is None else put_classes(out, shape, lod, decode_mask(mask, shape))


INTEGER_TYPES = {"uint8": ("B", 0, 255), "int8": ("b", -128, 127), "uint16": ("H", 0, 65535), "int16": ("h", -32768, 32767)}


def float_bits(q, exponent):
    """Section 3: bits of the float32 voxels of the integers q."""
    special = {NOT_FINITE[1]: math.nan, NOT_FINITE[2]: math.inf, NOT_FINITE[3]: -math.inf}
    # Exact in binary64; struct rounds to nearest, ties to even.
    floats = struct.pack(f"<{len(q)}f", *(special.get(v, v * 2.0 ** exponent) for v in q))
    return struct.unpack(f"<{len(q)}I", floats)


def to_voxels(q, dtype, exponent=0):
    """Section 3: voxels of the integers q of a block; float32 as its bits."""
    if isinstance(q, FloatBits):
        return q
    if dtype == "float32":
        return float_bits(q, exponent)
    _, lo, hi = INTEGER_TYPES[dtype]
    return [max(lo, min(hi, v)) for v in q]


def to_bytes(voxels, dtype):
    """Little-endian bytes of voxels from `to_voxels`."""
    code = "I" if dtype == "float32" else INTEGER_TYPES[dtype][0]
    return struct.pack(f"<{len(voxels)}{code}", *voxels)
