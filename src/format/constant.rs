//! Numbers of the format that can never change under one major version.

/// First eight bytes: a non-ASCII byte, `HGV`, and line ends that text-mode copies damage.
pub const MAGIC: [u8; 8] = *b"\x89HGV\r\n\x1a\n";
/// First bytes of an index page, and so of a cluster.
pub const PAGE_MAGIC: [u8; 4] = *b"HGVC";
/// First bytes of a middle node of the index.
pub const NODE_MAGIC: [u8; 4] = *b"HGVN";
/// Major version: readers refuse any other.
pub const VERSION_MAJOR: u16 = 1;
/// Minor version that this crate writes.
pub const VERSION_MINOR: u16 = 0;
/// Bytes of the header and of the trailer.
pub const HEADER_LEN: usize = 256;
/// Bytes of one entry of the section table.
pub const SECTION_ENTRY_LEN: usize = 24;
/// Bytes of one record of the TIER section.
pub const TIER_RECORD_LEN: usize = 40;
/// Bytes of one record of the LAYR section.
pub const LAYER_RECORD_LEN: usize = 2;
/// Bytes before the payload of a record of the MODL section.
pub const MODEL_RECORD_HEAD: usize = 8;
/// Bytes of one entry of the root or of a node, over its four arrays.
pub const ENTRY_LEN: usize = 24;
/// Bytes before the arrays of a node.
pub const NODE_HEAD_LEN: usize = 16;
/// Bytes before the arrays of an index page.
pub const PAGE_HEAD_LEN: usize = 36;
/// Bytes of the first read of a reader, and of the head that a streaming writer reserves.
pub const FIRST_READ: usize = 65_536;
/// Largest META or STAT section.
pub const MAX_JSON: usize = 1 << 20;
/// Deepest nesting of META or STAT.
pub const MAX_JSON_DEPTH: usize = 32;
/// Longest layer of one block: what 24 bits hold.
pub const MAX_SEGMENT: u32 = (1 << 24) - 1;
/// Most levels of detail.
pub const MAX_LODS: u32 = 16;
/// Most layers.
pub const MAX_LAYERS: usize = 16;
/// Most quality levels.
pub const MAX_LEVELS: u8 = 8;
/// Most tiers.
pub const MAX_TIERS: usize = 16;
/// A writer adds tiers while the last one has more blocks than this.
pub const TIER_BLOCKS: u64 = 64;
/// Required feature bits that this crate knows.
pub const KNOWN_FEATURES: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Changing any of these breaks every file that exists.
    #[test]
    fn constants_never_change() {
        assert_eq!(MAGIC, [0x89, 0x48, 0x47, 0x56, 0x0D, 0x0A, 0x1A, 0x0A]);
        assert_eq!(&PAGE_MAGIC, b"HGVC");
        assert_eq!(&NODE_MAGIC, b"HGVN");
        assert_eq!((VERSION_MAJOR, VERSION_MINOR), (1, 0));
        assert_eq!(
            [
                HEADER_LEN,
                SECTION_ENTRY_LEN,
                TIER_RECORD_LEN,
                LAYER_RECORD_LEN,
                MODEL_RECORD_HEAD,
                ENTRY_LEN,
                NODE_HEAD_LEN,
                PAGE_HEAD_LEN,
                FIRST_READ,
                MAX_JSON,
                MAX_JSON_DEPTH,
            ],
            [256, 24, 40, 2, 8, 24, 16, 36, 65_536, 1 << 20, 32]
        );
        assert_eq!(MAX_SEGMENT, 16_777_215);
        assert_eq!(
            (MAX_LODS, MAX_LAYERS, MAX_LEVELS, MAX_TIERS),
            (16, 16, 8, 16)
        );
    }
}
