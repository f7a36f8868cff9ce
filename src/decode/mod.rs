//! Decoding: regions of a file at a level of detail and a quality level.
//!
//! Bytes (the reader) and mathematics (the backend) meet here and in [`crate::encode`] only.

mod batches;
mod block;
mod blocks;
mod info;
mod region;
mod sample;
mod verify;
mod volume;

pub use block::DecodedBlock;
pub(crate) use block::shown_by;
pub(crate) use blocks::{BlockDecoder, parse_models};
pub use info::{GridLevelInfo, GridModelInfo, Info, LevelInfo, NetworkInfo, Stats};
pub use verify::{VerifyReport, verify, verify_source};
pub use volume::{BlockInfo, BlockKind, Volume, VolumeView};
