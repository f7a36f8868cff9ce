//! The bricks that a device holds from picture to picture.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::layout::MarchSlot;
use super::rooms::{Room, Rooms, texels};
use crate::backend::cuda::{Device, Stream};
use crate::render::atlas::grid::AnyGrid;
use crate::render::atlas::{Shown, Stage};
use crate::render::frame::Sampling;
use crate::{Error, Result};

/// Bytes of copies on their way at a time: they take as much page-locked memory.
const UNDER_WAY: usize = 64 << 20;

/// A brick on the device.
#[derive(Debug)]
struct Held {
    /// As long as this is here, no other brick has its address.
    grid: Weak<AnyGrid>,
    room: Room,
    /// Picture that used it last.
    used: u64,
    /// Which cells may be seen, a bit for each, and what they were made from.
    seen: (Weak<Vec<bool>>, Vec<u32>),
}

/// Bricks by the address of their grids.
#[derive(Debug)]
pub(super) struct Residents {
    device: Arc<dyn Device>,
    rooms: Rooms,
    held: HashMap<usize, Held>,
    picture: u64,
    uploaded: u64,
}

/// What the kernel is told of the blocks of a picture.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) slots: Vec<MarchSlot>,
    /// Bits of all blocks.
    pub(super) seen: Vec<u32>,
    /// What texels of 1 and of 0 stand for.
    pub(super) texels: [f32; 2],
}

fn name(grid: &Arc<AnyGrid>) -> usize {
    Arc::as_ptr(grid) as usize
}

fn grids(stage: &Stage) -> impl Iterator<Item = &Arc<AnyGrid>> {
    let values = stage.shown.iter().filter_map(|s| s.values.as_ref());
    values.map(|(grid, _)| grid)
}

impl Residents {
    pub(super) fn new(device: &Arc<dyn Device>) -> Self {
        Self {
            device: Arc::clone(device),
            rooms: Rooms::new(device, Sampling::Exact, 0),
            held: HashMap::new(),
            picture: 0,
            uploaded: 0,
        }
    }

    /// Bytes of bricks that were copied to the device for the last picture.
    pub(super) fn uploaded(&self) -> u64 {
        self.uploaded
    }

    /// Bytes of device memory.
    pub(super) fn bytes(&self) -> u64 {
        self.rooms.held()
    }

    /// Brings the bricks of a stage to the device, in at most `limit` bytes, so that they can be sampled in a
    /// way, and says where they lie.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`] if they take more.
    pub(super) fn hold(
        &mut self,
        stream: &mut Stream,
        stage: &Stage,
        sampling: Sampling,
        limit: u64,
    ) -> Result<Described> {
        self.picture += 1;
        self.uploaded = 0;
        if self.rooms.sampling() != sampling {
            self.clear(sampling, limit);
        }
        let needed: u64 = grids(stage).map(|g| self.rooms.needed(g)).sum();
        if needed > limit {
            return Err(Error::DeviceMemory(format!(
                "the bricks of the picture take {needed} bytes, {limit} may be used for them"
            )));
        }
        self.forget_dead();
        self.rooms.set_limit(limit);
        if self.rooms.held() > limit {
            self.clear(sampling, limit);
        }
        if !self.place_all(stream, stage, false)? {
            // Chunks of other sizes are in the way.
            self.clear(sampling, limit);
            if !self.place_all(stream, stage, true)? {
                return Err(Error::DeviceMemory(format!(
                    "{needed} bytes for the bricks of the picture were not to be had"
                )));
            }
        }
        self.describe(stage)
    }

    fn clear(&mut self, sampling: Sampling, limit: u64) {
        self.held.clear();
        self.rooms = Rooms::new(&self.device, sampling, limit);
        self.uploaded = 0;
    }

    /// Lets go of bricks that nobody else has any longer.
    fn forget_dead(&mut self) {
        let dead = |(name, held): (&usize, &Held)| (held.grid.strong_count() == 0).then_some(*name);
        let dead: Vec<usize> = self.held.iter().filter_map(dead).collect();
        for name in dead {
            self.forget(name);
        }
    }

    fn forget(&mut self, name: usize) {
        if let Some(held) = self.held.remove(&name) {
            self.rooms.give(held.room);
        }
    }

    /// Whether there was room for all.
    fn place_all(&mut self, stream: &mut Stream, stage: &Stage, tight: bool) -> Result<bool> {
        for grid in grids(stage) {
            if let Some(held) = self.held.get_mut(&name(grid)) {
                held.used = self.picture;
            }
        }
        let picture = self.picture;
        let idle = self.held.iter().filter(|(_, h)| h.used < picture);
        let mut idle: Vec<_> = idle.map(|(name, h)| (h.used, *name)).collect();
        // The one that was used last goes last.
        idle.sort_unstable_by(|a, b| b.cmp(a));
        let mut under_way = 0;
        for grid in grids(stage) {
            if self.held.contains_key(&name(grid)) {
                continue;
            }
            let Some(room) = self.find_room(grid, tight, &mut idle)? else {
                return Ok(false);
            };
            let bytes = grid.voxels().len();
            if under_way + bytes > UNDER_WAY {
                stream.recycle()?;
                under_way = 0;
            }
            under_way += bytes;
            self.rooms.fill(stream, &room, grid)?;
            self.uploaded += bytes as u64;
            let held = Held {
                grid: Arc::downgrade(grid),
                room,
                used: self.picture,
                seen: (Weak::new(), Vec::new()),
            };
            self.held.insert(name(grid), held);
        }
        Ok(true)
    }

    /// Room for a brick, if need be in place of idle ones, of which the last go first.
    fn find_room(
        &mut self,
        grid: &AnyGrid,
        tight: bool,
        idle: &mut Vec<(u64, usize)>,
    ) -> Result<Option<Room>> {
        loop {
            if let Some(room) = self.rooms.find(grid, tight)? {
                return Ok(Some(room));
            }
            let Some((_, name)) = idle.pop() else {
                return Ok(None);
            };
            self.forget(name);
        }
    }

    fn describe(&mut self, stage: &Stage) -> Result<Described> {
        let mut out = Described {
            texels: grids(stage).next().map_or([0.0; 2], |g| texels(g).1),
            ..Described::default()
        };
        for shown in &stage.shown {
            let slot = self.describe_one(shown, &mut out.seen)?;
            out.slots.push(slot);
        }
        Ok(out)
    }

    fn describe_one(&mut self, shown: &Shown, bits: &mut Vec<u32>) -> Result<MarchSlot> {
        let Some((grid, seen)) = &shown.values else {
            return Ok(MarchSlot::transparent(shown.lod));
        };
        let missing = || Error::argument("a brick that the device does not hold");
        let held = self.held.get_mut(&name(grid)).ok_or_else(missing)?;
        let (dims, end, cells) = grid.frame();
        if !held.seen.0.ptr_eq(&Arc::downgrade(seen)) {
            held.seen = (Arc::downgrade(seen), packed(seen, cells.iter().product()));
        }
        let first_word = u32::try_from(bits.len())
            .map_err(|_| Error::argument("a picture has more than 2^32 cells to skip"))?;
        bits.extend_from_slice(&held.seen.1);
        Ok(MarchSlot {
            values: self.rooms.address(&held.room, grid)?,
            first: shown.first,
            seen: first_word,
            lod: shown.lod,
            dims: dims.map(|n| n as u32),
            cells: cells.map(|n| n as u32),
            end,
            unused: 0,
        })
    }
}

/// Bytes of the bits of all blocks of a stage.
pub(super) fn bit_bytes(stage: &Stage) -> usize {
    let words = grids(stage).map(|g| g.frame().2.iter().product::<usize>().div_ceil(32));
    words.sum::<usize>() * size_of::<u32>()
}

/// A bit for each of `count` cells. What is not said may be seen.
fn packed(seen: &[bool], count: usize) -> Vec<u32> {
    let mut words = vec![0u32; count.div_ceil(32)];
    for cell in 0..count {
        let bit = seen.get(cell).copied().unwrap_or(true);
        words[cell / 32] |= u32::from(bit) << (cell % 32);
    }
    words
}
