//! Decoding: regions of a file at a level of detail and a quality level.

mod volume;
pub use volume::{Info, LevelInfo, Volume, VolumeView};
