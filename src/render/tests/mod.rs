//! Pictures whose content is known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod atlas;
mod lights;
pub(super) mod made;
pub(super) mod oracle;
mod paths;
mod pictures;
mod transfer;
