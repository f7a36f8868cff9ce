//! What a reader accepts before it allocates or reads (specification, section "Limits").

/// Upper bounds that protect a reader from hostile or broken files.
///
/// Every number in a file is first held against the bytes that exist and against these limits;
/// only then is memory taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Head (header, tables, root) in bytes. Default 16 MiB.
    pub max_head: u64,
    /// One index page in bytes. Default 8 MiB.
    pub max_page: u64,
    /// One layer of one block in bytes. Default 256 MiB.
    pub max_segment: u64,
    /// Voxels of one block. Default 2^24.
    pub max_block_voxels: u64,
    /// Length of one axis in voxels. Default 2^32.
    pub max_axis: u64,
    /// Model records. Default 65,535.
    pub max_models: u64,
    /// Sections. Default 64.
    pub max_sections: u64,
    /// Bytes that one region decode may return. Default: no bound of its own, since the caller
    /// supplies the buffer; set it where region sizes come from outside.
    pub max_output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_head: 16 << 20,
            max_page: 8 << 20,
            max_segment: 256 << 20,
            max_block_voxels: 1 << 24,
            max_axis: 1 << 32,
            max_models: 65_535,
            max_sections: 64,
            max_output: u64::MAX,
        }
    }
}

impl Limits {
    /// Fails if `requested` is more than `limit`.
    ///
    /// # Errors
    /// [`crate::Error::LimitExceeded`] naming `what`.
    pub fn check(what: &'static str, requested: u64, limit: u64) -> crate::Result<()> {
        if requested > limit {
            return Err(crate::Error::LimitExceeded {
                what,
                requested,
                limit,
            });
        }
        Ok(())
    }
}
