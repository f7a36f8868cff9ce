//! A volume in a file as a source of voxels.

use crate::convert::{Scan, encode};
use crate::element::{Endian, NumberType, swap};
use crate::store::Store;
use hgv::volume::{DType, Extent, Metadata, Region, VoxelSource};
use hgv::{Error, Result};

/// Bytes read in one go where the caller's buffer cannot be used.
const CHUNK: u64 = 1 << 20;
/// Rows this close to each other are read in one go, with the gap between them.
const GAP: u64 = 4096;

/// A box of the voxels in a store.
pub(crate) struct FileVolume {
    pub(crate) store: Store,
    /// Extent of the store.
    pub(crate) full: Extent,
    /// The box that is the volume.
    pub(crate) region: Region,
    pub(crate) number: NumberType,
    pub(crate) endian: Endian,
    pub(crate) dtype: DType,
    pub(crate) metadata: Metadata,
}

impl FileVolume {
    /// Passes over every voxel once.
    ///
    /// # Errors
    /// As [`VoxelSource::read`].
    pub(crate) fn scan(&self) -> Result<Scan> {
        let mut scan = Scan::default();
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        for piece in pieces(self.region, self.number.size() as u64) {
            self.decode(&piece, &mut bytes, &mut values)?;
            scan.feed(&values);
        }
        Ok(scan)
    }

    /// The numbers of `piece`, in store coordinates.
    fn decode(&self, piece: &Region, bytes: &mut Vec<u8>, values: &mut Vec<f64>) -> Result<()> {
        bytes.resize(piece.voxels() as usize * self.number.size(), 0);
        self.fetch(piece, bytes)?;
        values.clear();
        self.number.decode(bytes, values);
        Ok(())
    }

    /// Little-endian bytes of a box in store coordinates.
    fn fetch(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let [w, h, d] = region.extent();
        let [nx, ny, _] = self.full;
        if w == nx && (h == ny || d == 1) {
            self.store.read(self.at(region.start), out)?;
        } else {
            let plane = (w * h) as usize * self.number.size();
            for (z, out) in (region.start[2]..).zip(out.chunks_exact_mut(plane)) {
                self.fetch_plane([region.start[0], region.start[1], z], w, out)?;
            }
        }
        if self.endian == Endian::Big {
            swap(out, self.number.size());
        }
        Ok(())
    }

    /// Rows of `w` voxels from `start` on, one above the other.
    fn fetch_plane(&self, start: [u64; 3], w: u64, out: &mut [u8]) -> Result<()> {
        let size = self.number.size() as u64;
        let (row, pitch) = (w * size, self.full[0] * size);
        let first = self.at(start);
        if pitch == row {
            return self.store.read(first, out);
        }
        if pitch - row > GAP {
            for (y, line) in (0..).zip(out.chunks_exact_mut(row as usize)) {
                self.store.read(first + y * pitch, line)?;
            }
            return Ok(());
        }
        let together = (CHUNK / pitch).max(1);
        let mut span = Vec::new();
        for (i, lines) in (0..).zip(out.chunks_mut((together * row) as usize)) {
            let count = lines.len() as u64 / row;
            span.resize(((count - 1) * pitch + row) as usize, 0);
            self.store.read(first + i * together * pitch, &mut span)?;
            for (y, line) in lines.chunks_exact_mut(row as usize).enumerate() {
                let from = y * pitch as usize;
                line.copy_from_slice(&span[from..from + row as usize]);
            }
        }
        Ok(())
    }

    /// Byte offset of a voxel in the store. No overflow: the whole fits 63 bits.
    fn at(&self, [x, y, z]: [u64; 3]) -> u64 {
        ((z * self.full[1] + y) * self.full[0] + x) * self.number.size() as u64
    }

    fn shifted(&self, region: &Region) -> Region {
        let by = self.region.start;
        Region {
            start: [0, 1, 2].map(|a| region.start[a] + by[a]),
            end: [0, 1, 2].map(|a| region.end[a] + by[a]),
        }
    }
}

impl VoxelSource for FileVolume {
    fn extent(&self) -> Extent {
        self.region.extent()
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn read(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let size = self.dtype.size();
        if !region.fits(self.extent())
            || out.len() as u64 != region.voxels().saturating_mul(size as u64)
        {
            return Err(Error::argument(format!(
                "region {region:?} does not fit the volume or the buffer"
            )));
        }
        if out.is_empty() {
            return Ok(());
        }
        let region = self.shifted(region);
        if self.number.native() == Some(self.dtype) {
            return self.fetch(&region, out);
        }
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        let mut out = out;
        for piece in pieces(region, self.number.size() as u64) {
            self.decode(&piece, &mut bytes, &mut values)?;
            let (now, later) = out.split_at_mut(values.len() * size);
            encode(&values, self.dtype, now);
            out = later;
        }
        Ok(())
    }
}

/// Boxes of about [`CHUNK`] bytes that make up a volume, in the order of its voxels.
pub(crate) fn slabs(extent: Extent, size: u64) -> impl Iterator<Item = Region> {
    pieces(Region::whole(extent), size)
}

/// Cuts a box into boxes of about [`CHUNK`] bytes that follow each other in memory.
fn pieces(region: Region, size: u64) -> impl Iterator<Item = Region> {
    let [w, h, _] = region.extent();
    let budget = (CHUNK / size).max(1);
    let dx = w.min(budget).max(1);
    let dy = (budget / w.max(1)).clamp(1, h.max(1));
    let steps = move |from: u64, to: u64, by: u64| {
        (from..to)
            .step_by(by as usize)
            .map(move |at| (at, (at + by).min(to)))
    };
    let (start, end) = (region.start, region.end);
    (start[2]..end[2]).flat_map(move |z| {
        steps(start[1], end[1], dy).flat_map(move |(y0, y1)| {
            steps(start[0], end[0], dx).map(move |(x0, x1)| Region {
                start: [x0, y0, z],
                end: [x1, y1, z + 1],
            })
        })
    })
}
