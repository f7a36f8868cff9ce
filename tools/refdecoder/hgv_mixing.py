"""Coder M: sections 23 to 28 of format-spec/payload.md."""

import hashlib
import struct
from functools import lru_cache
from itertools import accumulate

from hgv_block import Field, group_extent, raster
from hgv_stream import FOLDER, Reject

SHA256 = "2583fc268381b7302227c6eddc8e2fb64a4953f8a010edfe765280f074e17956"

# ---------------------------------------------------------------------------------------------
# Section 26: slots, weight sets, tables


def firsts(sizes, start=0):
    return list(accumulate(sizes, initial=start))


LEARN = firsts((336, 864, 384, 720, 576, 84, 441, 567, 104, 16, 16))
ADAPTIVE = LEARN[-1]
FIXED = firsts((672, 500, 363, 588, 336, 144, 490, 192, 336, 576, 168, 336), ADAPTIVE)
SLOTS = FIXED[-1]
COEFFICIENT = LEARN[0:5] + FIXED[0:2]
SIGN = LEARN[5:8] + FIXED[2:4]
FLAG = LEARN[8:9] + FIXED[4:9]
REFINE = FIXED[9:12]
EMPTY, COARSEST = LEARN[9], LEARN[10]

SETS = firsts((36, 42, 14, 8, 6, 7, 8, 3, 1))
KINDS, TERMS, SIGN_TERMS = 42, 20, 35


class Tables:
    def __init__(self):
        data = (FOLDER / "coder-m.bin").read_bytes()
        if data[:4] != b"HGVM" or hashlib.sha256(data).hexdigest() != SHA256:
            raise ValueError("coder-m.bin is not the table file of the specification")
        layout = f"<4x4096h4096H{KINDS * TERMS}B{KINDS * SIGN_TERMS}b{SLOTS}H{SLOTS}B{8 * SETS[-1]}i"
        numbers = iter(struct.unpack(layout, data))
        take = lambda n: [next(numbers) for _ in range(n)]
        self.stretch, self.squash = take(4096), take(4096)
        self.magnitude = [take(TERMS) for _ in range(KINDS)]
        self.sign = [take(SIGN_TERMS) for _ in range(KINDS)]
        self.probability, self.count, self.weight = take(SLOTS), take(SLOTS), take(8 * SETS[-1])


@lru_cache(maxsize=None)
def tables():
    return Tables()


# ---------------------------------------------------------------------------------------------
# Sections 23 and 24: range coder, decisions


class Mixer:
    """What is learnt in the layers of a block."""

    def __init__(self):
        t = tables()
        self.probability, self.count, self.weight = t.probability[:], t.count[:], t.weight[:]

    def sums(self, inputs, sets):
        out = []
        for s in sets:
            dot = sum(v * w for v, w in zip(inputs, self.weight[8 * s:])) >> 16
            out.append(max(-2047, min(2047, dot)))
        return out

    def learn(self, slots, inputs, sets, sums, bit):
        for s, x in zip(sets, sums):
            error = (bit << 16) - tables().squash[x + 2048]
            for i, v in enumerate(inputs):
                w = self.weight[8 * s + i] + (v * error * 6 + (1 << 17) >> 18)
                self.weight[8 * s + i] = max(-1 << 24, min(1 << 24, w))
        for j in slots:
            if j < ADAPTIVE:
                p, n = self.probability[j], self.count[j]
                p += ((65535 if bit else 0) - p) * (655360 // (10 * n + 16)) >> 16
                self.probability[j], self.count[j] = max(16, min(65519, p)), min(n + 1, 254)


class Stream:
    def __init__(self, data, mixer):
        self.data, self.mixer = data, mixer
        self.low, self.high = 0, (1 << 32) - 1
        self.code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self.done = 0

    def bit(self, one):
        middle = self.low + ((self.high - self.low) * one >> 16)
        bit = int(self.code <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            following = self.data[self.done + 4] if self.done + 4 < len(self.data) else 0
            self.low = self.low << 8 & 0xFFFFFFFF
            self.high = self.high << 8 & 0xFFFFFFFF | 255
            self.code = self.code << 8 & 0xFFFFFFFF | following
            self.done += 1
        return bit

    def decide(self, slots, sets):
        mixer, t = self.mixer, tables()
        inputs = [t.stretch[mixer.probability[j] >> 4] for j in slots]
        sums = mixer.sums(inputs, sets)
        bit = self.bit(t.squash[(sums[0] + sums[1] >> 1) + 2048])
        mixer.learn(slots, inputs, sets, sums, bit)
        return bit

    def single(self, slot):
        return self.decide([slot], [SETS[8]] * 2)

    def raw(self, n):
        value = 0
        for _ in range(n):
            value = value << 1 | self.bit(1 << 15)
        return value

    def exp_golomb(self, decide):
        n = 0
        while decide(n):
            n += 1
            if n > 30:
                raise Reject("an escape is too long")
        return (1 << n | self.raw(n)) - 1

    def finish(self):
        for n in range(5):
            unit = 1 << 32 - 8 * n
            number = -(-self.low // unit) * unit
            if number <= self.high and self.done + n > 0:
                break
        if self.done > len(self.data) or self.data[self.done:] != number.to_bytes(5, "big")[1:1 + n]:
            raise Reject("the bytes of a layer end elsewhere than its symbols")


# ---------------------------------------------------------------------------------------------
# Sections 25, 27 and 28: bands


def level(value, *thresholds):
    return sum(value >= t for t in thresholds)


def fine_level(v):
    return level(v, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 21, 28, 37, 48, 64, 85, 113, 150, 200, 266, 353, 470, 625, 831)


def medium_level(v):
    return level(v, 1, 2, 4, 6, 11, 19, 35, 62, 111, 199, 358)


def wide_level(v):
    return level(v, 1, 2, 3, 5, 8, 12, 18, 28, 44, 70, 120)


def near_level(v):
    return level(v, 1, 2, 4, 7)


def signed_level(v):
    n = level(abs(v), 4, 10, 20, 36, 60, 96, 150, 230, 360, 600)
    return 10 - n if v < 0 else 10 + n


def clip(k):
    return max(-255, min(255, k))


class Scale:
    """v and F of the bands of a split."""

    def __init__(self, owner, depth, factor):
        low = owner.shape.box(depth + 1)
        self.v = [Field(low) for _ in range(8)]
        self.f = [Field(group_extent(low)) for _ in range(8)]
        for b in range(1, 8):
            origin, extent = owner.shape.band(depth, b)
            for p in raster(extent):
                k = owner.k[owner.shape.place(origin, p)] * factor
                if k:
                    self.v[b].cells[self.v[b].at(*p)] = clip(k)
                    self.f[b].cells[self.f[b].at(*(c // 4 for c in p))] = 1


class Walk:
    """A band of a layer."""

    def __init__(self, owner, stream, scales, depth, b, r):
        self.owner, self.stream, self.depth, self.b, self.r = owner, stream, depth, b, r
        self.scale, self.coarser = scales[depth], scales.get(depth + 1)
        self.origin, self.extent = owner.shape.band(depth, b)
        self.t = min(depth, 2)
        self.class_ = (b - 1) * 3 + self.t
        self.kind = r * 21 + self.class_
        self.v, self.f = self.scale.v[b], self.scale.f[b]
        self.others = max(1, b - 1)

    def run(self):
        if not any(self.f.cells) and not self.stream.single(EMPTY + self.t * 2 + self.r):
            return
        for g in raster(group_extent(self.extent)):
            if not self.f.cells[self.f.at(*g)]:
                self.f.cells[self.f.at(*g)] = self.stream.decide(*self.flag(g))
        for p in raster(self.extent):
            if self.f.cells[self.f.at(*(c // 4 for c in p))]:
                self.coefficient(p)

    def flag(self, g):
        """Slots and weight sets of a group flag."""
        f, b, i = self.f.cells, self.b, self.f.at(*g)
        x, y, z = self.f.stride
        faces = f[i - x] + f[i - y] + f[i - z]
        edges = f[i - x - y] + f[i + x - y] + f[i - x - z] + f[i + x - z] + f[i - y - z] + f[i + y - z]
        second = f[i - 2 * x] + f[i - 2 * y] + f[i - 2 * z]
        inside, ring = self.parent_sums(g)
        magnitudes = 0
        for q in raster((4, 4, 4)):
            p = [4 * g[a] + q[a] for a in range(3)]
            if all(p[a] < self.extent[a] for a in range(3)):
                magnitudes += min(8, self.cousin_sum(self.v.at(*p)))
        p = level(inside, 1, 2, 3, 5, 8, 13, 24)
        q = level(ring, 1, 3, 6, 12, 24)
        m = level(magnitudes * 2 // self.others, 1, 2, 4, 7, 12, 20, 40, 80, 160)
        n = level(sum(self.scale.f[c].faces(i) for c in range(1, b)) * 2 // self.others, 1, 2, 4, 7, 12, 20)
        t = self.t
        slots = (
            FLAG[0] + min(2 * faces + edges, 12) * 8 + p,
            FLAG[1] + (self.class_ * 4 + faces) * 4 + min(edges, 3),
            FLAG[2] + (p * 6 + q) * 3 + t,
            FLAG[3] + (m * 7 + n) * 7 + b - 1,
            FLAG[4] + (min(p, 3) * 16 + min(m, 7) // 2 * 4 + faces) * 3 + t,
            FLAG[5] + ((faces * 4 + second) * 7 + edges) * 3 + t,
        )
        return slots, (SETS[4] + self.r * 3 + t, SETS[5] + b - 1)

    def parent_sums(self, g):
        inside = ring = 0
        if self.coarser:
            v = self.coarser.v[self.b]
            for q in raster((4, 4, 4)):
                m = abs(v.cells[v.at(*(2 * g[a] + q[a] - 1 for a in range(3)))])
                if all(1 <= c <= 2 for c in q):
                    inside += m
                else:
                    ring += min(3, m)
        return inside, ring

    def cousin_sum(self, i):
        return sum(abs(self.scale.v[c].cells[i]) for c in range(1, self.b))

    def coefficient(self, p):
        place, i = self.owner.shape.place(self.origin, p), self.v.at(*p)
        before = self.owner.k[place] if self.r else 0
        terms = self.terms(p, i)
        weights = tables().magnitude[self.kind]
        inner = sum(t * w for t, w in zip(terms[:8], weights))
        outer = sum(t * w for t, w in zip(terms[8:], weights[8:]))
        fine = fine_level(inner + outer >> 3)
        if before == 0:
            k = self.magnitude(terms, inner, outer, fine, i)
            if k and self.stream.decide(*self.sign(p, i, k)):
                k = -k
        else:
            k = self.refinement(before, fine)
        if k or before:
            self.owner.k[place] = self.owner.model.sat(k)
            self.v.cells[i] = clip(self.owner.k[place])

    def terms(self, p, i):
        """Section 27: terms of the expected magnitude."""
        t, s, b = [0] * 20, self.v.stride, self.b
        m = lambda j: abs(self.v.cells[j])
        high = [b >> a & 1 for a in range(3)]
        for a in range(3):
            t[high[a]] += m(i - s[a]) + m(i + s[a])
            t[6 + high[a]] += m(i - 2 * s[a]) + m(i + 2 * s[a])
            c, d = (a + 1) % 3, (a + 2) % 3
            for e in (-s[c], s[c]):
                t[2 + high[c] + high[d]] += m(i + e - s[d]) + m(i + e + s[d])
        t[5] = sum(m(i + x + y + z) for x in (-1, 1) for y in (-s[1], s[1]) for z in (-s[2], s[2]))
        if self.coarser:
            v = self.coarser.v[b]
            j = v.at(*(c // 2 for c in p))
            t[8] = abs(v.cells[j])
            for a in range(3):
                below, above = abs(v.cells[j - v.stride[a]]), abs(v.cells[j + v.stride[a]])
                t[9] += below + above
                t[10] += above if p[a] & 1 else below
            t[19] = sum(abs(self.coarser.v[c].cells[j]) for c in range(1, 8)) - t[8]
        for c in range(1, b):
            t[10 + c] = abs(self.scale.v[c].cells[i])
        t[17] = sum(self.cousin_sum(i - e) + self.cousin_sum(i + e) for e in s)
        t[18] = 1
        return t

    def magnitude(self, t, inner, outer, fine, i):
        """Section 28: a magnitude after 0."""
        b = self.b
        near = sum(t[10 + c] for c in range(1, b) if (c ^ b).bit_count() == 1)
        cousins = self.cousin_sum(i)
        parent = min(t[8], 5)
        beyond = t[9] + 2 * t[8] + t[17] // self.others + cousins
        edges = min((t[2] + t[3] + t[4] + 1) // 2, 3)
        first = (
            COEFFICIENT[0] + fine * 12,
            COEFFICIENT[1] + (medium_level(inner >> 4) * 12 + medium_level(outer >> 4)) * 6,
            COEFFICIENT[2] + ((min(t[0], 5) * 4 + min(t[1], 3)) * 4 + edges) * 4,
            COEFFICIENT[3] + ((parent * 6 + level(t[9], 1, 2, 4, 7, 13)) * 5 + near_level(2 * cousins // self.others)) * 4,
            COEFFICIENT[4] + (wide_level(sum(t[:8])) * 12 + wide_level(beyond)) * 4,
            COEFFICIENT[5] + (self.class_ * 8 + min(fine // 3, 7)) * 4,
            COEFFICIENT[6] + ((near_level(2 * near) * 5 + near_level(cousins - near)) * 5 + min(parent, 4)) * 4,
        )

        def over(k):
            caps = (11, 5, 3, 3, 3, 3, 3)
            sets = (SETS[0] + min(k, 5) * 6 + self.t * 2 + self.r, SETS[1] + min(k, 2) * 14 + fine // 2)
            return self.stream.decide([j + min(k, cap) for j, cap in zip(first, caps)], sets)

        for k in range(10):
            if not over(k):
                return k
        return 10 + self.stream.exp_golomb(lambda n: over(10 + n))

    def sign_terms(self, p, i):
        """Section 27: terms of the signed prediction."""
        t, v, s = [], self.v.cells, self.v.stride
        for a in range(3):
            t += [v[i - s[a]], v[i + s[a]], v[i - 2 * s[a]]]
        x, y, z = s
        t += [v[i - x - y], v[i + x - y], v[i - x - z], v[i + x - z], v[i - y - z], v[i + y - z]]
        if self.coarser:
            u = self.coarser.v[self.b]
            j = u.at(*(c // 2 for c in p))
            side = [1 if c & 1 else -1 for c in p]
            for flips in range(8):
                sign = 1
                for a in range(3):
                    sign *= side[a] if flips >> a & 1 else 1
                t.append(sign * u.cells[j])
            for a in range(3):
                slope = u.cells[j + u.stride[a]] - u.cells[j - u.stride[a]]
                t += [slope, slope * side[a]]
        else:
            t += [0] * 14
        for a in range(3):
            c = self.b ^ 1 << a
            if self.b >> a & 1 and c:
                u = self.scale.v[c].cells
                t += [u[i], u[i + s[a]] - u[i - s[a]]]
            else:
                t += [0, 0]
        return t

    def sign(self, p, i, k):
        """Section 28: slots and weight sets of a sign."""
        t, weights, b = self.sign_terms(p, i), tables().sign[self.kind], self.b
        parts = [sum(t[j] * weights[j] for j in part) for part in (range(15), range(15, 29), range(29, 35))]
        every = signed_level(sum(parts))
        own, parent, cousins = (signed_level(n) for n in parts)
        m = min(k, 4) - 1
        pattern = 0
        for j in (0, 3, 6):
            pattern = pattern * 3 + (t[j] > 0) - (t[j] < 0) + 1
        slots = (
            SIGN[0] + every * 4 + m,
            SIGN[1] + every * 21 + self.class_,
            SIGN[2] + pattern * 21 + self.class_,
            SIGN[3] + (own // 2 * 11 + parent // 2) * 3 + min(m, 2),
            SIGN[4] + (cousins * 7 + b - 1) * 4 + m,
        )
        return slots, (SETS[2] + self.r * 7 + b - 1, SETS[3] + min(abs(every - 10), 7))

    def refinement(self, before, fine):
        """Section 28: up to 4 more or less than four times the index before."""
        b = min(abs(before), 3) - 1

        def node(n):
            j = n * 3 + b
            slots = (
                REFINE[0] + (j * 8 + min(fine // 3, 7)) * 3 + self.t,
                REFINE[1] + j * 7 + self.b - 1,
                REFINE[2] + j * 14 + fine // 2,
            )
            return self.stream.decide(slots, (SETS[6] + n, SETS[7] + self.t))

        delta = 0
        if node(0):
            less = node(1)
            delta = 1
            while delta < 4 and node((5 if less else 2) + delta - 1):
                delta += 1
            delta = -delta if less else delta
        return 4 * before + (delta if before > 0 else -delta)


# ---------------------------------------------------------------------------------------------
# Section 25: a layer


def coarsest(owner, stream, r):
    k = owner.k
    shift = 0 if r else stream.raw(5)
    for p in raster(owner.shape.box(owner.shape.splits)):
        place = owner.shape.place((0, 0, 0), p)
        guess = owner.coarsest_guess(place, p, r)
        units = 0
        while units < 15 and stream.single(COARSEST + r * 8 + min(units, 7)):
            units += 1
        if units == 15:
            units += stream.exp_golomb(lambda n: stream.raw(1))
        delta = (units << shift) + stream.raw(shift)
        if delta >> 32:
            raise Reject("a magnitude does not fit 32 bits")
        if delta and stream.raw(1):
            delta = -delta
        k[place] = owner.model.sat(guess + delta)


def decode_layer(owner, brings, r, data, mixer):
    """A coefficient stream that is not empty."""
    stream, (with_coarsest, splits) = Stream(data, mixer), brings
    if with_coarsest:
        coarsest(owner, stream, r)
    scales = {}
    for d in splits:
        if d + 1 not in scales and d + 1 < owner.shape.splits:
            scales[d + 1] = Scale(owner, d + 1, 1)
        scales[d] = Scale(owner, d, 4 if r else 0)
        for b in range(1, 8):
            if all(owner.shape.band(d, b)[1]):
                Walk(owner, stream, scales, d, b, r).run()
    stream.finish()
