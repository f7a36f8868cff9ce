//! Pictures whose content is known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod atlas;
mod made;
mod oracle;
mod pictures;
mod transfer;
