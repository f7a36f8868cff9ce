//! A file whose every read asks for an interrupt first, so that work without progress reports
//! can be stopped too.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use hgv::io::{FileSource, RangeSource};
use hgv::{Error, Result};

use crate::{interrupt, paths};

#[derive(Debug)]
struct Polled(FileSource);

/// Opens `path`; reads fail with [`Error::Cancelled`] once the user asked to stop.
pub(crate) fn open(path: &Path) -> Result<Arc<dyn RangeSource>> {
    paths::check_local(path)?;
    Ok(Arc::new(Polled(FileSource::open(path)?)))
}

impl RangeSource for Polled {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        match interrupt::poll() {
            ControlFlow::Continue(()) => self.0.read_at(offset, out),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }

    fn identity(&self) -> String {
        self.0.identity()
    }
}
