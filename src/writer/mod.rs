//! Writing files: clusters of blocks in, a finished file out, crash-safe. Also bringing back
//! unfinished files and merging shards.
//!
//! Implements "Writing", "Recovery" and "Merging" of `format-spec/container.md`. Knows bytes,
//! not voxels; never imports a codec.

mod cluster;
mod finish;
mod head;
mod merge;
mod plan;
mod recover;
mod spool;
mod stream;
mod target;
#[cfg(test)]
mod tests;

pub use cluster::{BlockPayload, BlockRecord};
pub use merge::{MergeReport, OverviewFn, merge, merge_sources};
pub use plan::{FilePlan, WriterOptions};
pub use recover::{RecoverReport, recover, recover_source};
pub use stream::{HgvWriter, WriteReport};
pub(crate) use target::{UNFINISHED, with_suffix};
