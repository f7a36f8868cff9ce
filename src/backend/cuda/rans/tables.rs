//! The static tables of coder R in device memory, as `cuda/rans.cuh` reads them.

use zerocopy::{Immutable, IntoBytes};

use crate::Result;
use crate::backend::cuda::{Buffer, Stream};
use crate::codec::tables::{Distribution, SYMBOLS, TableSet, Tables, tables};

/// Where the tables lie, for kernel parameters.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub struct TableAddresses {
    bounds: u64,
    maps: u64,
    costs: u64,
    distributions: u32,
    contexts: u32,
}

/// A set of tables in device memory.
#[derive(Debug)]
pub struct DeviceTables {
    memory: Buffer,
    distributions: usize,
    contexts: usize,
}

/// Bytes of the bounds of a distribution.
const BOUNDS: usize = SYMBOLS * 2;
/// Bytes of the costs of a distribution.
const COSTS: usize = SYMBOLS * 4;

impl DeviceTables {
    /// Uploads a set.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(stream: &mut Stream, set: TableSet) -> Result<Self> {
        let tables = tables(set)?;
        let (distributions, contexts) = (tables.distributions.len(), tables.variants.len());
        let image = image(tables);
        let memory = Buffer::new(stream.device(), image.len())?;
        stream.upload(&memory, 0, image.as_slice())?;
        Ok(Self {
            memory,
            distributions,
            contexts,
        })
    }

    /// Addresses for kernel parameters.
    pub fn addresses(&self) -> TableAddresses {
        let bounds = self.memory.address();
        let costs = bounds + (self.distributions * BOUNDS) as u64;
        TableAddresses {
            bounds,
            costs,
            maps: costs + (self.distributions * COSTS) as u64,
            distributions: self.distributions as u32,
            contexts: self.contexts as u32,
        }
    }
}

/// Bounds, costs and maps, one behind the other.
fn image(tables: &Tables) -> Vec<u8> {
    let bounds = |d: &Distribution| {
        let behind = |s: usize| d.interval(s as u8).0 + d.interval(s as u8).1;
        std::array::from_fn::<u16, SYMBOLS, _>(|s| behind(s) as u16)
    };
    let bounds = (tables.distributions.iter()).flat_map(|d| bounds(d).map(u16::to_le_bytes));
    let costs = (tables.costs.iter()).flat_map(|c| c.map(f32::to_le_bytes));
    let mut bytes: Vec<u8> = bounds.flatten().collect();
    bytes.extend(costs.flatten());
    bytes.extend(tables.variants.iter().flatten());
    bytes
}
