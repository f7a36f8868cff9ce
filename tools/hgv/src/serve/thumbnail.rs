//! A small picture of a volume: the middle slice of a coarse level of detail, kept in memory.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hgv::io::FileSource;
use hgv::volume::VoxelSource;
use hgv::{Limits, Result, Volume};
use tokio::sync::Semaphore;

use super::access::Metrics;
use crate::report::picture::{self, Colours};

/// The longest side in pixels, unless the file has no level of detail that small.
const SIDE: u64 = 192;
/// Bytes of pictures kept.
const KEPT: usize = 16 << 20;
/// What remembering one picture costs beside its bytes.
const OVERHEAD: usize = 128;
/// Pictures made at once; each takes one thread.
const AT_ONCE: usize = 2;
/// Bytes of voxels that one picture may decode.
const DECODED: u64 = 64 << 20;

/// Pictures by the tag of their file. A file without one (damaged, say) is remembered too.
#[derive(Debug)]
pub(super) struct Thumbnails {
    kept: Mutex<Kept>,
    work: Semaphore,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    clock: u64,
    pictures: HashMap<String, (u64, Option<Bytes>)>,
}

impl Default for Thumbnails {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            work: Semaphore::new(AT_ONCE),
        }
    }
}

impl Thumbnails {
    /// The picture of the open file with this tag; `None` if there is none to be had.
    pub(super) async fn get(&self, file: File, tag: &str, metrics: &Metrics) -> Option<Bytes> {
        if let Some(known) = self.lock().find(tag) {
            metrics.thumbnails_cached.fetch_add(1, Relaxed);
            return known;
        }
        let _permit = self.work.acquire().await.ok()?;
        // Others may have asked for it meanwhile.
        if let Some(known) = self.lock().find(tag) {
            return known;
        }
        let made = tokio::task::spawn_blocking(move || make(file)).await;
        let made = made.ok().and_then(Result::ok).map(Bytes::from);
        metrics.thumbnails.fetch_add(1, Relaxed);
        self.lock().keep(tag, made.clone());
        made
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&mut self, tag: &str) -> Option<Option<Bytes>> {
        self.clock += 1;
        let (used, picture) = self.pictures.get_mut(tag)?;
        *used = self.clock;
        Some(picture.clone())
    }

    fn keep(&mut self, tag: &str, picture: Option<Bytes>) {
        let size = |p: &Option<Bytes>| OVERHEAD + p.as_ref().map_or(0, Bytes::len);
        self.clock += 1;
        self.bytes += size(&picture);
        if let Some((_, old)) = self.pictures.insert(tag.into(), (self.clock, picture)) {
            self.bytes -= size(&old);
        }
        while self.bytes > KEPT {
            let oldest = self.pictures.iter().min_by_key(|(_, v)| v.0);
            let Some((_, old)) = oldest
                .map(|(tag, _)| tag.clone())
                .and_then(|tag| self.pictures.remove(&tag))
            else {
                return;
            };
            self.bytes -= size(&old);
        }
    }
}

fn make(file: File) -> Result<Vec<u8>> {
    let limits = Limits {
        max_output: DECODED,
        ..Limits::default()
    };
    let source = Arc::new(FileSource::from_file(file, "a served file")?);
    let volume = Volume::from_source(source, limits)?.with_threads(1)?;
    let view = volume.view(small(&volume), 0)?;
    let plane = picture::slice(&view, 2, view.extent()[2] / 2)?;
    let finite = || plane.values.iter().copied().filter(|v| v.is_finite());
    let low = finite().fold(f32::INFINITY, f32::min);
    let high = finite().fold(f32::NEG_INFINITY, f32::max);
    picture::picture(&plane, low.into(), high.into(), Colours::Grey)
}

/// The finest level of detail whose slice is small, or the coarsest.
fn small(volume: &Volume) -> u32 {
    let [x, y, _] = volume.extent();
    let last = volume.lods().saturating_sub(1);
    (0..last)
        .find(|&lod| x.max(y).div_ceil(1 << lod) <= SIDE)
        .unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_in_its_budget() {
        let mut kept = Kept::default();
        let picture = Bytes::from(vec![0; 1 << 20]);
        for i in 0..40 {
            kept.keep(&i.to_string(), Some(picture.clone()));
            assert!(kept.find("0").is_some(), "used all the time");
            assert!(kept.bytes <= KEPT);
        }
        assert!(kept.find("1").is_none() && kept.find("39").is_some());
        kept.keep("none", None);
        assert_eq!(kept.find("none"), Some(None));
    }
}
