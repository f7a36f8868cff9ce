//! Reading a file block by block: opening, index, payload bytes, verification.
//!
//! Knows bytes, not voxels: payloads come back as they were written. Never imports a codec.

mod index;
mod lookup;
mod opener;
mod read;
mod verify;

pub use index::{BlockEntry, BlockState, Index, PayloadEntry};
pub(crate) use lookup::{IndexPart, Lookup};
pub use opener::{Opener, Step};
pub use read::HgvReader;
pub(crate) use verify::check_payload;
pub use verify::{StructureReport, VerifyReport};
