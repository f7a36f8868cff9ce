//! What every [`RangeSource`] and every [`Sink`] must do. Call it from each one's test.

use super::{RangeRead, RangeSource, Sink};
use crate::{Error, Result};

/// `n` bytes without a short period.
pub fn sample(n: usize) -> Vec<u8> {
    (0..n as u32)
        .map(|i| (i.wrapping_mul(0x9E37_79B9) >> 13) as u8)
        .collect()
}

/// Checks a source that holds `expected` (at least 20 bytes).
///
/// # Errors
/// [`Error::InvalidArgument`] naming the first promise that is broken.
pub fn check_source(source: &dyn RangeSource, expected: &[u8]) -> Result<()> {
    let n = expected.len();
    promise(source.len() == n as u64, "len is the number of bytes")?;
    promise(!source.is_empty(), "a source with bytes is not empty")?;
    promise(!source.identity().is_empty(), "identity says something")?;
    for (offset, length) in [(0, n), (0, 0), (n, 0), (n - 1, 1), (7, n - 9), (3, 1)] {
        let mut out = vec![0xAA; length];
        source.read_at(offset as u64, &mut out)?;
        promise(
            out == expected[offset..offset + length],
            "read_at fills all of the range",
        )?;
    }
    for (offset, length) in [(n as u64, 1), (0, n + 1), (u64::MAX, 1), (u64::MAX, 2)] {
        let result = source.read_at(offset, &mut vec![0; length]);
        promise(
            matches!(result, Err(Error::Truncated { .. })),
            "a range past the end is Truncated",
        )?;
    }
    let mut reads = vec![
        RangeRead::new(5, 3)?,
        RangeRead::new(0, 2)?,
        RangeRead::new(5, 3)?,
    ];
    source.read_ranges(&mut reads)?;
    let right = reads
        .iter()
        .all(|r| r.bytes == expected[r.offset as usize..][..r.bytes.len()]);
    promise(right, "read_ranges fills ranges in any order")?;
    check_threads(source, expected)
}

/// Reads from four threads at once.
fn check_threads(source: &dyn RangeSource, expected: &[u8]) -> Result<()> {
    std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..4)
            .map(|t| {
                scope.spawn(move || -> Result<bool> {
                    let mut right = true;
                    for i in 0..200 {
                        let at = (i * 7 + t * 3) % (expected.len() - 4);
                        let mut out = [0; 4];
                        source.read_at(at as u64, &mut out)?;
                        right &= out == expected[at..at + 4];
                    }
                    Ok(right)
                })
            })
            .collect();
        for task in tasks {
            let right = task
                .join()
                .map_err(|_| Error::argument("source: a reading thread panicked"))??;
            promise(right, "reads from several threads do not mix")?;
        }
        Ok(())
    })
}

/// Checks an empty sink that can patch; `written` returns what arrived.
///
/// # Errors
/// [`Error::InvalidArgument`] naming the first promise that is broken.
pub fn check_sink(mut sink: Box<dyn Sink>, written: impl Fn() -> Result<Vec<u8>>) -> Result<()> {
    promise(
        sink.position() == 0 && sink.can_patch(),
        "a new sink is empty",
    )?;
    sink.append(b"0123456789")?;
    sink.append(b"")?;
    sink.append(b"abc")?;
    promise(sink.position() == 13, "position counts appended bytes")?;
    sink.patch(2, b"XY")?;
    sink.patch(12, b"Z")?;
    promise(sink.position() == 13, "patch does not move the position")?;
    promise(sink.patch(12, b"ZZ").is_err(), "patch past the end fails")?;
    promise(
        sink.patch(u64::MAX, b"Z").is_err(),
        "patch past the end fails",
    )?;
    sink.append(b"!")?;
    sink.sync()?;
    promise(written()? == b"01XY456789abZ!", "bytes arrive in order")
}

fn promise(kept: bool, what: &str) -> Result<()> {
    if kept {
        return Ok(());
    }
    Err(Error::argument(format!("source or sink breaks: {what}")))
}
