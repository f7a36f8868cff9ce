//! Device memory for bricks: cells of chunks, or textures.

use std::collections::HashMap;
use std::sync::Arc;

use super::shelves::{Shelves, Spot, cell};
use crate::backend::cuda::{Buffer, Device, Stream, Texel, Texture};
use crate::render::atlas::grid::AnyGrid;
use crate::render::frame::Sampling;
use crate::{Error, Result};

/// Where a brick lies.
#[derive(Debug)]
pub(super) enum Room {
    Cell(Spot),
    /// With the bytes that it is counted as.
    Texture(Texture, u64),
}

/// All memory for bricks.
#[derive(Debug)]
pub(super) struct Rooms {
    device: Arc<dyn Device>,
    sampling: Sampling,
    shelves: Shelves,
    chunks: HashMap<u32, Buffer>,
    /// Bytes of textures.
    textures: u64,
}

/// Texels that hold the values of a brick, and what those of 1 and of 0 stand for.
pub(super) fn texels(grid: &AnyGrid) -> (Texel, [f32; 2]) {
    match grid {
        AnyGrid::Uint8(_) => (Texel::Unorm8, [255.0, 0.0]),
        AnyGrid::Int8(_) => (Texel::Unorm8, [255.0, -128.0]),
        AnyGrid::Uint16(_) => (Texel::Unorm16, [65535.0, 0.0]),
        AnyGrid::Int16(_) => (Texel::Unorm16, [65535.0, -32768.0]),
        AnyGrid::Float32(_) => (Texel::Float32, [1.0, 0.0]),
    }
}

impl Rooms {
    pub(super) fn new(device: &Arc<dyn Device>, sampling: Sampling, limit: u64) -> Self {
        Self {
            device: Arc::clone(device),
            sampling,
            shelves: Shelves::new(limit),
            chunks: HashMap::new(),
            textures: 0,
        }
    }

    pub(super) fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Bytes that are taken.
    pub(super) fn held(&self) -> u64 {
        self.shelves.held() + self.textures
    }

    pub(super) fn set_limit(&mut self, limit: u64) {
        self.shelves.set_limit(limit);
    }

    /// Bytes that a brick takes.
    pub(super) fn needed(&self, grid: &AnyGrid) -> u64 {
        match self.sampling {
            Sampling::Exact => cell(grid.voxels().len()) as u64,
            Sampling::Fast => {
                // Arrays lie in tiles of 64 bytes x 8 rows, says what is known of them.
                let [x, y, z] = grid.frame().0;
                let row = (x * texels(grid).0.size()).next_multiple_of(64);
                (row * y.next_multiple_of(8) * z) as u64
            }
        }
    }

    /// Room for a brick, if there is some.
    pub(super) fn find(&mut self, grid: &AnyGrid, tight: bool) -> Result<Option<Room>> {
        match self.sampling {
            Sampling::Exact => Ok(self.cell(grid.voxels().len(), tight)?.map(Room::Cell)),
            Sampling::Fast => self.texture(grid),
        }
    }

    fn cell(&mut self, bytes: usize, tight: bool) -> Result<Option<Spot>> {
        loop {
            if let Some(spot) = self.shelves.take(bytes) {
                return Ok(Some(spot));
            }
            if !self.grow(bytes, tight)? && !self.drop_unused() {
                return Ok(None);
            }
        }
    }

    fn texture(&mut self, grid: &AnyGrid) -> Result<Option<Room>> {
        let bytes = self.needed(grid);
        if self.textures + bytes > self.shelves.limit() {
            return Ok(None);
        }
        let dims = grid.frame().0.map(|n| n as u32);
        match Texture::new(&self.device, texels(grid).0, dims) {
            Ok(texture) => {
                self.textures += bytes;
                Ok(Some(Room::Texture(texture, bytes)))
            }
            // Others use the device too.
            Err(Error::DeviceMemory(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Whether there is a new chunk with a cell for `bytes`.
    fn grow(&mut self, bytes: usize, tight: bool) -> Result<bool> {
        let Some((chunk, size)) = self.shelves.grow(bytes, tight) else {
            return Ok(false);
        };
        match Buffer::new(&self.device, size) {
            Ok(buffer) => {
                self.chunks.insert(chunk, buffer);
                Ok(true)
            }
            Err(error) => {
                self.shelves.remove(chunk);
                match error {
                    Error::DeviceMemory(_) => Ok(false),
                    other => Err(other),
                }
            }
        }
    }

    /// Whether chunks without bricks were given back.
    fn drop_unused(&mut self) -> bool {
        let unused = self.shelves.unused();
        for chunk in &unused {
            self.shelves.remove(*chunk);
            self.chunks.remove(chunk);
        }
        !unused.is_empty()
    }

    /// Takes room back.
    pub(super) fn give(&mut self, room: Room) {
        match room {
            Room::Cell(spot) => self.shelves.give(spot),
            Room::Texture(_, bytes) => self.textures -= bytes,
        }
    }

    fn chunk(&self, spot: Spot) -> Result<&Buffer> {
        let chunk = self.chunks.get(&spot.chunk);
        chunk.ok_or_else(|| Error::argument("a brick in memory that is not there"))
    }

    /// Queues the copy of a brick to its room.
    pub(super) fn fill(&self, stream: &mut Stream, room: &Room, grid: &AnyGrid) -> Result<()> {
        let voxels = grid.voxels();
        match room {
            Room::Cell(spot) => {
                stream.upload_with(self.chunk(*spot)?, spot.offset, voxels.len(), |to| {
                    to.copy_from_slice(voxels);
                })
            }
            Room::Texture(texture, _) => {
                stream.upload_texture(texture, |to| write_texels(grid, to))
            }
        }
    }

    /// What the kernel takes for a brick.
    pub(super) fn address(&self, room: &Room, grid: &AnyGrid) -> Result<u64> {
        match room {
            Room::Cell(spot) => self.chunk(*spot)?.range(spot.offset, grid.voxels().len()),
            Room::Texture(texture, _) => Ok(texture.id().0),
        }
    }
}

/// Signed integers become unsigned ones in the same order.
fn write_texels(grid: &AnyGrid, to: &mut [u8]) {
    to.copy_from_slice(grid.voxels());
    let size = texels(grid).0.size();
    if matches!(grid, AnyGrid::Int8(_) | AnyGrid::Int16(_)) {
        for high in to.iter_mut().skip(size - 1).step_by(size) {
            *high ^= 0x80;
        }
    }
}
