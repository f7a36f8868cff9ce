//! A block that is shown, and its values as they came.

use std::sync::Arc;

use crate::stream::Brick;
use crate::stream::schedule::BlockId;
use crate::volume::{DType, Voxel};

/// A voxel type as it lies in the atlas.
pub(in crate::render) trait Stored: Voxel {
    /// Its number.
    fn float(self) -> f32;
    /// The nearest one to a number.
    fn nearest(value: f32) -> Self;
}

macro_rules! stored {
    ($($t:ty),*) => {$(
        impl Stored for $t {
            #[inline(always)]
            fn float(self) -> f32 { f32::from(self) }
            fn nearest(value: f32) -> Self { value.round() as $t }
        }
    )*};
}
stored!(u8, i8, u16, i16);

impl Stored for f32 {
    #[inline(always)]
    fn float(self) -> f32 {
        self
    }
    fn nearest(value: f32) -> Self {
        value
    }
}

/// Where the values of a block come from.
#[derive(Debug)]
pub(super) enum Content {
    /// A brick whose extent and bytes have been checked.
    Held(Arc<Brick>),
    /// Of one value, or of values that are all transparent: then what a coarser brick says, held in the
    /// range.
    Flat(Option<Arc<Slot>>),
}

/// A block that is shown.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: BlockId,
    /// Level of detail of the volume that its voxels have.
    pub(super) lod: u32,
    /// Place of its first voxel in the full resolution.
    pub(super) first: [i64; 3],
    /// Voxels along x, y, z.
    pub(super) extent: [usize; 3],
    /// Voxels along the side of a whole block.
    pub(super) side: usize,
    /// Range of its values.
    pub(super) range: [f32; 2],
    pub(super) content: Content,
}

impl Slot {
    /// Orders blocks from fine to coarse.
    pub(super) fn coarseness(&self) -> (u32, u8) {
        (self.lod, self.id.tier)
    }

    pub(super) fn is_constant(&self) -> bool {
        self.range[0] == self.range[1]
    }

    /// Names the content: of another name, other content.
    pub(super) fn name(&self) -> (BlockId, u64, u64) {
        match &self.content {
            Content::Held(brick) => (
                self.id,
                u64::from(brick.lod) << 8 | u64::from(brick.layers),
                Arc::as_ptr(brick) as usize as u64,
            ),
            Content::Flat(parent) => {
                let [lo, hi] = self.range.map(|v| u64::from(v.to_bits()));
                let from = parent.as_ref().map_or(0, |p| p.name().2);
                (self.id, u64::MAX - from, lo << 32 | hi)
            }
        }
    }

    /// Index along an axis of the voxel at a place or, between two, of the one before it.
    fn index(&self, axis: usize, place: i64) -> usize {
        let at = (place - self.first[axis]) >> self.lod;
        at.clamp(0, self.extent[axis] as i64 - 1) as usize
    }

    /// The value of the voxel at a place, or the nearest one.
    pub(super) fn value(&self, place: [i64; 3]) -> f32 {
        match &self.content {
            Content::Held(brick) => match brick.dtype {
                DType::Uint8 => self.voxel::<u8>(brick, place).float(),
                DType::Int8 => self.voxel::<i8>(brick, place).float(),
                DType::Uint16 => self.voxel::<u16>(brick, place).float(),
                DType::Int16 => self.voxel::<i16>(brick, place).float(),
                DType::Float32 => self.voxel::<f32>(brick, place),
            },
            Content::Flat(parent) => self.guess(parent.as_deref(), place),
        }
    }

    fn guess(&self, parent: Option<&Self>, place: [i64; 3]) -> f32 {
        let [lo, hi] = self.range;
        match parent {
            Some(parent) if lo < hi => parent.value(place).clamp(lo, hi),
            _ => lo,
        }
    }

    fn voxel<T: Stored>(&self, brick: &Brick, place: [i64; 3]) -> T {
        let [x, y, z] = [0, 1, 2].map(|a| self.index(a, place[a]));
        element(&brick.voxels, (z * self.extent[1] + y) * self.extent[0] + x)
    }

    /// Values at places `step` apart along x. `T` is the type of all bricks.
    pub(super) fn row<T: Stored>(&self, place: [i64; 3], step: i64, out: &mut [T]) {
        let Content::Held(brick) = &self.content else {
            let x = (0..).map(|k| place[0] + k * step);
            for (o, x) in out.iter_mut().zip(x) {
                *o = T::nearest(self.value([x, place[1], place[2]]));
            }
            return;
        };
        let [y, z] = [1, 2].map(|a| self.index(a, place[a]));
        let row = (z * self.extent[1] + y) * self.extent[0];
        let first = (place[0] - self.first[0]) >> self.lod;
        let whole = first >= 0 && first as usize + out.len() <= self.extent[0];
        if whole && step == 1 << self.lod {
            let size = size_of::<T>();
            let from = (row + first as usize) * size;
            let bytes = brick.voxels.get(from..from + size_of_val(out));
            if let Some(bytes) = bytes {
                zerocopy::IntoBytes::as_mut_bytes(out).copy_from_slice(bytes);
            }
        } else {
            for (k, o) in (0..).zip(out.iter_mut()) {
                *o = element(&brick.voxels, row + self.index(0, place[0] + k * step));
            }
        }
    }

    /// Range of the values of the first voxels along an axis.
    pub(super) fn face_range(&self, axis: usize) -> [f32; 2] {
        let mut range = [f32::INFINITY, f32::NEG_INFINITY];
        let (u, v) = ((axis + 1) % 3, (axis + 2) % 3);
        for i in 0..self.extent[u] {
            for k in 0..self.extent[v] {
                let mut place = self.first;
                place[u] += (i as i64) << self.lod;
                place[v] += (k as i64) << self.lod;
                let value = self.value(place);
                range = [range[0].min(value), range[1].max(value)];
            }
        }
        range
    }
}

fn element<T: Stored>(bytes: &[u8], index: usize) -> T {
    let size = size_of::<T>();
    bytes
        .get(index * size..)
        .and_then(|rest| zerocopy::FromBytes::read_from_prefix(rest).ok())
        .map_or_else(T::default, |(value, _): (T, _)| value)
}
