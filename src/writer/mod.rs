//! Writing files: clusters of blocks in, a finished file out, crash-safe. Also bringing back
//! unfinished files and merging shards.
//!
//! Implements "Writing", "Recovery" and "Merging" of `format-spec/container.md`. Knows bytes,
//! not voxels; never imports a codec.

mod cluster;
mod finish;
mod head;
mod plan;
mod spool;
mod stream;
mod target;

pub use cluster::{BlockPayload, BlockRecord};
pub use plan::{FilePlan, WriterOptions};
pub use stream::{HgvWriter, WriteReport};
