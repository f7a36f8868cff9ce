"""Reference parser of the hgv container, written from format-spec/container.md.

Pure Python, no packages. It holds the whole file in memory and checks every rule of section 6;
rule names in the comments are those of that section. Triples are x, y, z.

Entry points: `Container(data)`, `Container.block`, `Container.layers_of`, `Container.verify`.
`Reject` is raised where the specification says that a file is refused.
"""

import hashlib
import json
import struct
import zlib

from hgv_stream import Reject

FILE_MAGIC = bytes.fromhex("894847560D0A1A0A")
HEADER_LENGTH = 256
DTYPES = {1: "uint8", 2: "int8", 3: "uint16", 4: "int16", 5: "float32"}
INTEGER_RANGES = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}
# Flags of the sections of version 1.
SECTION_FLAGS = {b"LAYR": 1, b"TIER": 1, b"MODL": 1, b"META": 2, b"STAT": 0}
CRITICAL = 1
MAX_JSON, MAX_JSON_DEPTH = 1 << 20, 32


def reject(rule, text):
    raise Reject(f"{rule}: {text}")


def need(condition, rule, text):
    if not condition:
        reject(rule, text)


def ceil_shift(n, s):
    return (n + (1 << s) - 1) >> s


def crc32(data):
    return zlib.crc32(data)


def product(triple):
    x, y, z = triple
    return x * y * z


# ---------------------------------------------------------------------------------------------
# Section 3: header

HEADER = struct.Struct("<8sHHI16s3Q3Q4Q4I2i2IhHH9B93sI")
HEADER_FIELDS = (
    "magic major minor header_length uuid file_length required optional x y z root_offset blocks_present"
    " payload_bytes section_offset root_length root_crc section_count section_crc q_min q_max time_steps"
    " reserved_1 value_exp dtype_code channels block_log2 lod_count layer_count level_count page_log2 depth"
    " align_log2 state tier_count reserved_2 crc"
).split()
# Smallest and largest value of each small field (H12).
BOUNDS = {
    "block_log2": (5, 7), "lod_count": (1, 16), "layer_count": (1, 16), "level_count": (1, 8),
    "page_log2": (1, 5), "depth": (2, 3), "align_log2": (0, 12), "tier_count": (1, 16),
}


class Header:
    def __init__(self, data, at=0):
        raw = data[at:at + HEADER_LENGTH]
        need(raw[:8] == FILE_MAGIC, "H1", "the magic number differs")
        need(len(raw) == HEADER_LENGTH, "H15", "the file is shorter than a header")
        self.raw = raw
        self.__dict__.update(zip(HEADER_FIELDS, HEADER.unpack(raw)))
        need(self.major == 1, "H2", "unknown major version")
        need(self.crc == crc32(raw[:252]), "H3", "the header's checksum differs")
        need(self.header_length == HEADER_LENGTH, "H4", "header length")
        need(self.required == 0, "H5", "a required feature is unknown")
        if self.minor == 0:
            need(self.reserved_1 == 0 and not any(self.reserved_2), "H6", "reserved bytes")
        need(self.state <= 2, "H7", "unknown state")
        if self.state == 1:
            self.check()

    def check(self):
        """Rules for the fields of the header that counts."""
        need(self.dtype_code in DTYPES, "H9", "unknown dtype")
        self.dtype = DTYPES[self.dtype_code]
        need(self.channels == 1 and self.time_steps == 1, "H10", "channels or time steps")
        self.extent = (self.x, self.y, self.z)
        need(min(self.extent) > 0, "H11", "an axis has no voxel")
        for name, (low, high) in BOUNDS.items():
            need(low <= getattr(self, name) <= high, "H12", f"{name} is out of its range")
        need(self.q_min <= self.q_max, "H13", "q_min > q_max")
        if self.dtype == "float32":
            fits = max(-self.q_min, self.q_max) < 1 << 24 and -149 <= self.value_exp <= 104
        else:
            low, high = INTEGER_RANGES[self.dtype]
            fits = low <= self.q_min and self.q_max <= high and self.value_exp == 0
        need(fits, "H14", "the values do not fit the dtype")
        self.splits = self.block_log2 - 2
        self.span = self.q_max - self.q_min

    def expected_lods(self):
        last = self.splits * (self.tier_count - 1) + self.splits
        small = next((r for r in range(last + 1) if max(ceil_shift(e, r) for e in self.extent) <= 8), last)
        return min(16, small + 1)


# ---------------------------------------------------------------------------------------------
# Section 4: sections


def check_json(data):
    need(len(data) <= MAX_JSON, "J4", "JSON over 1 MiB")
    depth, in_string, skip = 0, False, False
    for byte in data:
        if skip:
            skip = False
        elif in_string:
            skip, in_string = byte == 0x5C, byte != 0x22
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            need(depth <= MAX_JSON_DEPTH, "J3", "JSON is nested too deep")
        elif byte in b"]}":
            depth -= 1

    def unique(pairs):
        need(len({k for k, _ in pairs}) == len(pairs), "J2", "a key appears twice")
        return dict(pairs)

    def constant(name):
        reject("J1", f"{name} is not JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant)
    except (UnicodeDecodeError, json.JSONDecodeError) as e:
        reject("J1", str(e))


def is_numbers(value, count):
    return isinstance(value, list) and len(value) == count and all(type(v) in (int, float) for v in value)


# Section 4.5: default and test of each key of META.
META = {
    "spacing": ([1.0] * 3, lambda v: is_numbers(v, 3)),
    "origin": ([0.0] * 3, lambda v: is_numbers(v, 3)),
    "direction": ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
                  lambda v: isinstance(v, list) and len(v) == 3 and all(is_numbers(row, 3) for row in v)),
    "space": ("unknown", lambda v: v in ("unknown", "ras", "lps")),
    "unit": (None, lambda v: v is None or isinstance(v, str)),
    "slope": (1.0, lambda v: type(v) in (int, float)),
    "intercept": (0.0, lambda v: type(v) in (int, float)),
    "value_unit": (None, lambda v: v is None or isinstance(v, str)),
    "description": (None, lambda v: v is None or isinstance(v, str)),
}


def parse_meta(data):
    found = check_json(data)
    need(isinstance(found, dict), "J1", "META is not an object")
    meta = {}
    for key, (default, fits) in META.items():
        meta[key] = found.get(key, default)
        need(fits(meta[key]), "J1", f"{key} is not of its form")
    need(min(meta["spacing"]) > 0, "J5", "spacing is not positive")
    return meta


def parse_layers(data, header):
    need(len(data) == 2 * header.layer_count, "Y1", "LAYR has another length")
    layers = [(data[i], data[i + 1]) for i in range(0, len(data), 2)]
    order = [(quality, -lod) for lod, quality in layers]
    need(all(a < b for a, b in zip(order, order[1:])), "Y2", "layers do not rise")
    need(all((0, k) in layers for k in range(header.level_count)), "Y3", "a quality level is never completed")
    need(all(quality < header.level_count for _, quality in layers), "Y4", "a quality level does not exist")
    return layers


class Tier:
    def __init__(self, header, number, record):
        *extent_blocks, base_lod = struct.unpack("<3Q3IB", record[:37])
        self.extent, self.blocks, self.base_lod = tuple(extent_blocks[:3]), tuple(extent_blocks[3:]), base_lod
        lod = header.splits * number
        extent = tuple(ceil_shift(e, lod) for e in header.extent)
        blocks = tuple(ceil_shift(e, header.block_log2) for e in extent)
        same = (self.base_lod, self.extent, self.blocks) == (lod, extent, blocks)
        need(same, "T2", f"tier {number} is not the one that extent and block side call for")
        need(not any(record[37:]), "T3", "reserved bytes of a tier")
        self.page_log2 = header.page_log2
        self.pages = tuple(ceil_shift(b, header.page_log2) for b in blocks)

    def sides(self, page):
        """Blocks of a page along x, y, z."""
        side = 1 << self.page_log2
        return tuple(min(side, self.blocks[a] - page[a] * side) for a in range(3))


def parse_tiers(data, header):
    need(len(data) == 40 * header.tier_count, "T1", "TIER has another length")
    return [Tier(header, i, data[40 * i:40 * i + 40]) for i in range(header.tier_count)]


def parse_models(data):
    """id -> (kind, payload)"""
    models, at, last = {}, 0, -1
    while at < len(data):
        need(at + 8 <= len(data), "M3", "a model record leaves the section")
        number, kind, flags, length = struct.unpack_from("<HBBI", data, at)
        need(number > last, "M1", "model ids do not rise")
        need(flags == 0, "M2", "flags of a model record")
        need(at + 8 + length <= len(data), "M3", "a model record leaves the section")
        models[number] = (kind, data[at + 8:at + 8 + length])
        at, last = at + 8 + length, number
    return models


# ---------------------------------------------------------------------------------------------
# Section 5: index


def width(n):
    return (n - 1).bit_length()


def page_key(grid, cell):
    key = out = 0
    for bit in range(64):
        for a in range(3):
            if bit < width(grid[a]):
                key |= (cell[a] >> bit & 1) << out
                out += 1
    return key


def page_of(grid, key):
    """The page with a key, or None if the grid has none."""
    cell, out = [0, 0, 0], 0
    for bit in range(64):
        for a in range(3):
            if bit < width(grid[a]):
                cell[a] |= (key >> out & 1) << bit
                out += 1
    inside = all(cell[a] < grid[a] for a in range(3))
    return tuple(cell) if inside and key >> out == 0 else None


def parse_arrays(data, n):
    """Entries (offset, key, length, CRC)."""
    return list(zip(
        struct.unpack_from(f"<{n}Q", data, 0), struct.unpack_from(f"<{n}Q", data, 8 * n),
        struct.unpack_from(f"<{n}I", data, 16 * n), struct.unpack_from(f"<{n}I", data, 20 * n),
    ))


class Page:
    """Section 5.5. `slots` holds None, ("constant", q) or ("payload", rank)."""

    def __init__(self, file, tier_number, entry):
        self.file, self.tier_number = file, tier_number
        offset, self.key, length, crc = entry
        data = file.data[offset:offset + length]
        need(length >= 4, "P5", "a page without a checksum")
        stored, = struct.unpack("<I", data[-4:])
        need(crc32(data[:-4]) == crc == stored, "P1", "a page's checksum differs")
        self.offset, self.data, self.at = offset, data[:-4], 0
        self.header(entry)
        self.presence()
        self.blocks()
        self.segment_table()
        need(self.at == len(self.data), "P18", "the arrays do not fill the page")

    def take(self, n):
        need(self.at + n <= len(self.data), "P18", "the arrays do not fill the page")
        self.at += n
        return self.data[self.at - n:self.at]

    def header(self, entry):
        magic, length, self.cluster_length, key, plan, slots, tier, self.flags, self.model = struct.unpack(
            "<4sIQQIIBBH", self.take(36))
        need(magic == b"HGVC", "P2", "a page's magic number differs")
        need(tier == self.tier_number and key == entry[1], "P3", "another tier or key")
        need(plan == self.file.plan_crc, "P4", "another plan")
        need(length == entry[2] <= self.cluster_length, "P5", "page or cluster length")
        need(self.offset + self.cluster_length <= self.file.next_start(self.offset), "P19", "a cluster is too long")
        self.page_length = length
        self.page = page_of(self.file.tiers[tier].pages, key)
        self.sides = self.file.tiers[tier].sides(self.page)
        self.count = product(self.sides)
        need(slots == self.count, "P6", "number of slots")
        need(self.flags <= 3, "P7", "unknown flags")

    def presence(self):
        data = self.take((self.count + 3) // 4)
        codes = [data[i // 4] >> 2 * (i % 4) & 3 for i in range(4 * len(data))]
        need(not any(codes[self.count:]), "P9", "bits behind the presence map")
        codes = codes[:self.count]
        need(max(codes) < 3, "P8", "a presence code is 3")
        need(any(codes), "P10", "a page without a block")
        self.slots, rank = [], 0
        for code in codes:
            self.slots.append((None, ("constant", None), ("payload", rank))[code])
            rank += code == 2
        self.payloads = rank

    def blocks(self):
        h, p = self.file.header, self.payloads
        for i, slot in enumerate(self.slots):
            if slot and slot[0] == "constant":
                q, = struct.unpack("<i", self.take(4))
                need(h.q_min <= q <= h.q_max, "P11", "a constant leaves the range")
                self.slots[i] = ("constant", q)
        own = self.flags & 2
        self.models = list(struct.unpack(f"<{p}H", self.take(2 * p))) if own else [self.model] * p
        need(all(m in self.file.models for m in self.models), "P12", "a model id has no record")
        shortest = len(set(self.models)) > 1 and self.model == 0 if own else p > 0 or self.model == 0
        need(shortest, "P13", "model ids are not in their shortest form")
        self.ranges = [self.range() for _ in range(p)]
        levels = h.level_count
        errors = self.take(2 * p * levels)
        self.errors = [errors[2 * i * levels:2 * (i + 1) * levels] for i in range(p)]

    def range(self):
        """Sections 5.5 and 5.6: (lo, hi) of a block."""
        h = self.file.header
        top = 255 if h.span <= 255 else 4095
        if top == 255:
            lo, hi = self.take(2)
        else:
            code = int.from_bytes(self.take(3), "little")
            lo, hi = code & 4095, code >> 12
        need(lo <= hi <= min(h.span, top), "P14", "range codes")
        if h.span <= top:
            return h.q_min + lo, h.q_min + hi
        return h.q_min + lo * h.span // top, h.q_min + -(-hi * h.span // top)

    def segment_table(self):
        wide = self.flags & 1
        n, size = self.payloads * len(self.file.layers), 3 if wide else 2
        lengths = self.take(n * size)
        lengths = [int.from_bytes(lengths[i:i + size], "little") for i in range(0, n * size, size)]
        crcs = struct.unpack(f"<{n}I", self.take(4 * n))
        need(all(c == 0 for c, length in zip(crcs, lengths) if length == 0), "P15", "an empty segment with a CRC")
        need(bool(wide) == any(length > 65535 for length in lengths), "P16", "lengths are not in their shortest form")
        need(self.page_length + sum(lengths) == self.cluster_length, "P17", "the segments end elsewhere")
        self.segments, at = [], self.offset + self.page_length
        for length, crc in zip(lengths, crcs):
            self.segments.append((at, length, crc))
            at += length

    def segments_of(self, rank):
        """Segments of a payload block, in the order of the layers."""
        layers, base = len(self.file.layers), self.file.base_count
        start = base * self.payloads + rank * (layers - base)
        return [self.segments[layer * self.payloads + rank] for layer in range(base)] + \
            self.segments[start:start + layers - base]


class Container:
    """A file whose header, tables and root obey the rules. Pages are checked when they are used."""

    def __init__(self, data):
        self.data = data
        self.find_header()
        h = self.header
        need(h.file_length <= len(data), "H15", "the file is shorter than its length")
        need(h.file_length == len(data), "H16", "the file is longer than its length")
        need(h.lod_count == h.expected_lods(), "H17", "lod_count")
        self.sections = self.parse_sections()
        self.layers = parse_layers(self.section(b"LAYR"), h)
        self.base_count = next(i for i, (lod, _) in enumerate(self.layers) if lod == 0)
        self.tiers = parse_tiers(self.section(b"TIER"), h)
        self.models = parse_models(self.section(b"MODL"))
        self.meta = parse_meta(self.section(b"META") or b"{}")
        if b"STAT" in self.sections:
            self.stats = check_json(self.section(b"STAT"))
        self.plan_crc = self.plan()
        self.pages = {}
        self.parse_root()

    def find_header(self):
        first = Header(self.data)
        need(first.state != 0, "H8", "the file was never finished; recover it")
        self.header, self.leading = first, [(0, HEADER_LENGTH)]
        if first.state == 2:
            at = len(self.data) - HEADER_LENGTH
            try:
                self.header = Header(self.data, at)
            except Reject as e:
                reject("H18", f"no trailer ({e})")
            need(self.header.state == 1, "H18", "the trailer is not complete")
            # Section 8: the first section table stays as it is.
            self.leading += [(first.section_offset, first.section_offset + 24 * first.section_count),
                             (at, at + HEADER_LENGTH)]

    def inside(self, offset, length, rule):
        need(offset + length <= len(self.data), rule, "a structure leaves the file")
        return self.data[offset:offset + length]

    def parse_sections(self):
        h = self.header
        need(h.section_count <= 64, "S10", "over 64 sections")
        table = self.inside(h.section_offset, 24 * h.section_count, "S1")
        need(crc32(table) == h.section_crc, "S2", "the section table's checksum differs")
        found = {}
        for i in range(h.section_count):
            name, flags, version, offset, length, crc = struct.unpack_from("<4sHHQII", table, 24 * i)
            need(name not in found, "S3", "a section appears twice")
            need(flags <= 7, "S4", "unknown flags of a section")
            data = self.inside(offset, length, "S5")
            if name in SECTION_FLAGS:
                need(flags == SECTION_FLAGS[name], "S6", "other flags of a known section")
                need(version == 1, "S7", "unknown version of a section")
                need(crc32(data) == crc, "S9", "a section's checksum differs")
            else:
                need(not flags & CRITICAL, "S7", "an unknown critical section")
            found[name] = (offset, length)
        need(all(name in found for name in (b"LAYR", b"TIER", b"MODL")), "S8", "a section is missing")
        return found

    def section(self, name):
        offset, length = self.sections.get(name, (0, 0))
        return self.data[offset:offset + length]

    def plan(self):
        """Section 5.4."""
        h = self.header
        fixed = struct.pack("<3QiihH4B", *h.extent, h.q_min, h.q_max, h.value_exp, h.dtype_code, h.block_log2,
                            h.page_log2, h.layer_count, h.level_count)
        return crc32(fixed + self.section(b"LAYR") + self.section(b"MODL"))

    def parse_root(self):
        h = self.header
        root = self.inside(h.root_offset, h.root_length, "R1")
        need(crc32(root) == h.root_crc, "R2", "the root's checksum differs")
        need(len(root) >= 4 * h.tier_count, "R3", "the root's length")
        counts = struct.unpack_from(f"<{h.tier_count}I", root)
        need(len(root) == 4 * h.tier_count + 24 * sum(counts), "R3", "the root's length")
        entries = parse_arrays(root[4 * h.tier_count:], sum(counts))
        self.root, at = [], 0
        for tier, n in enumerate(counts):
            self.root.append(entries[at:at + n])
            self.check_entries(tier, self.root[-1], "R4", "R5", "R6")
            at += n
        self.check_places()
        self.entries = [{} for _ in self.tiers]
        for tier in range(h.tier_count):
            for entry in self.page_entries(tier):
                self.entries[tier][entry[1]] = entry

    def check_entries(self, tier, entries, order, outside, missing):
        keys = [e[1] for e in entries]
        need(all(a < b for a, b in zip(keys, keys[1:])), order, "keys do not rise")
        need(all(e[0] + e[2] <= len(self.data) for e in entries), outside, "an entry leaves the file")
        need(all(page_of(self.tiers[tier].pages, k) for k in keys), missing, "a key has no page")

    def check_places(self):
        h = self.header
        places = self.leading + [(h.section_offset, h.section_offset + 24 * h.section_count),
                                 (h.root_offset, h.root_offset + h.root_length)]
        places += [(offset, offset + length) for offset, length in self.sections.values()]
        places += [(e[0], e[0] + e[2]) for tier in self.root for e in tier]
        self.places = sorted(places)
        need(all(a[1] <= b[0] for a, b in zip(self.places, self.places[1:])), "R7", "structures overlap")

    def next_start(self, offset):
        return next((start for start, _ in self.places if start > offset), len(self.data))

    def page_entries(self, tier):
        if self.header.depth == 2:
            return self.root[tier]
        ends = [e[1] for e in self.root[tier][1:]] + [None]
        return [e for entry, end in zip(self.root[tier], ends) for e in self.node(tier, entry, end)]

    def node(self, tier, entry, end):
        """Section 5.3."""
        offset, key, length, crc = entry
        data = self.data[offset:offset + length]
        need(length >= 20 and crc32(data[:-4]) == crc == struct.unpack("<I", data[-4:])[0], "N1", "checksum of a node")
        magic, own, reserved, n, plan = struct.unpack_from("<4sB3sII", data)
        need(magic == b"HGVN" and not any(reserved), "N2", "magic number of a node")
        need(own == tier and plan == self.plan_crc, "N3", "a node of another tier or plan")
        need(n > 0 and length == 20 + 24 * n, "N4", "a node's length")
        entries = parse_arrays(data[16:], n)
        need(entries[0][1] == key, "N5", "a node's first key")
        self.check_entries(tier, entries, "N6", "R5", "N6")
        need(end is None or entries[-1][1] < end, "N6", "a node's keys reach into the next node")
        return entries

    def page(self, tier, key):
        """The page with a key, None if it is not written."""
        if key not in self.entries[tier]:
            return None
        if (tier, key) not in self.pages:
            self.pages[tier, key] = Page(self, tier, self.entries[tier][key])
        return self.pages[tier, key]

    def block(self, tier, block):
        """(page, slot content) of a block; slot content None if it is not written."""
        t = self.tiers[tier]
        cell = tuple(b >> t.page_log2 for b in block)
        page = self.page(tier, page_key(t.pages, cell))
        if page is None:
            return None, None
        x, y, z = (block[a] - (cell[a] << t.page_log2) for a in range(3))
        w, h, _ = page.sides
        return page, page.slots[(z * h + y) * w + x]

    def layers_of(self, page, rank, count):
        """Bytes of the first layers of a payload block."""
        layers = []
        for offset, length, crc in page.segments_of(rank)[:count]:
            data = self.data[offset:offset + length]
            need(crc32(data) == crc, "D1", "a segment's checksum differs")
            layers.append(data)
        return layers

    # -----------------------------------------------------------------------------------------
    # Rules that need the whole file

    def verify(self):
        blocks, payload = 0, 0
        # Pages that the root names lie inside of their clusters.
        starts = {e[0] for tier in self.entries for e in tier.values()}
        places = [p for p in self.places if p[0] not in starts]
        for tier in range(len(self.tiers)):
            for key in self.entries[tier]:
                page = self.page(tier, key)
                need(page.offset % (1 << self.header.align_log2) == 0, "V1", "a cluster is not aligned")
                for rank in range(page.payloads):
                    self.layers_of(page, rank, len(self.layers))
                places.append((page.offset, page.offset + page.cluster_length))
                blocks += sum(slot is not None for slot in page.slots)
                payload += page.cluster_length - page.page_length
        self.check_gaps(places)
        h = self.header
        need((blocks, payload) == (h.blocks_present, h.payload_bytes), "V4", "sums over all pages")
        need(self.uuid() == h.uuid, "V5", "the uuid differs")

    def check_gaps(self, places):
        at = 0
        for start, end in sorted(places):
            need(start >= at, "V3", "structures overlap")
            need(not any(self.data[at:start]), "V2", "a byte that belongs to nothing is not zero")
            at = end
        need(not any(self.data[at:]), "V2", "a byte that belongs to nothing is not zero")

    def uuid(self):
        h = self.header
        raw = h.raw[:16] + bytes(16) + h.raw[32:157] + b"\1" + h.raw[158:252] + bytes(4)
        table = self.data[h.section_offset:h.section_offset + 24 * h.section_count]
        root = self.data[h.root_offset:h.root_offset + h.root_length]
        sections = b"".join(self.section(name) for name in (b"LAYR", b"TIER", b"MODL", b"META", b"STAT"))
        return hashlib.sha256(raw + table + sections + root).digest()[:16]
