//! Pictures whose content is known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod atlas;
pub(super) mod made;
pub(super) mod oracle;
mod pictures;
mod transfer;
