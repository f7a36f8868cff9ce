//! What a file is before any block is in it: geometry, value range, layers, models. Writers plan
//! it, readers find it in header and sections, shards of one volume share it.

use crate::format::header::{self, Header};
use crate::format::key::Pages;
use crate::format::layer::Layers;
use crate::format::model::{self, ModelRecord};
use crate::format::range::RangeCoder;
use crate::format::tier::{self, Tier};
use crate::volume::{DType, Extent};
use crate::{Error, Result};

/// The plan of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Extent of the volume in voxels, x, y, z.
    pub extent: Extent,
    /// Voxel type.
    pub dtype: DType,
    /// log2 of the side of a block.
    pub block_log2: u8,
    /// log2 of the side of a page in blocks.
    pub page_log2: u8,
    /// Smallest coded value.
    pub q_min: i32,
    /// Largest coded value.
    pub q_max: i32,
    /// A voxel's value is `q * 2^value_exp`.
    pub value_exp: i16,
    /// Layers of every block.
    pub layers: Layers,
    /// Block grids.
    pub tiers: Vec<Tier>,
    /// Model records, ids rising.
    pub models: Vec<ModelRecord>,
    /// Page geometry of each tier.
    pub pages: Vec<Pages>,
    /// Codes of value ranges and errors.
    pub coder: RangeCoder,
    /// CRC-32 of the plan, which every page and node repeats.
    pub plan_crc: u32,
}

impl Shape {
    /// Derives pages, coder and fingerprint, and checks everything that does not come from a file.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] or [`Error::LimitExceeded`].
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of the plan, once, at its border"
    )]
    pub fn new(
        extent: Extent,
        dtype: DType,
        block_log2: u8,
        page_log2: u8,
        range: (i32, i32),
        value_exp: i16,
        layers: Layers,
        tiers: Vec<Tier>,
        models: Vec<ModelRecord>,
    ) -> Result<Self> {
        let pages = tiers
            .iter()
            .map(|t| Pages::new(t.blocks, u32::from(page_log2)))
            .collect::<Result<Vec<_>>>()?;
        let mut shape = Self {
            extent,
            dtype,
            block_log2,
            page_log2,
            q_min: range.0,
            q_max: range.1,
            value_exp,
            layers,
            tiers,
            models,
            pages,
            coder: RangeCoder::new(range.0, range.1)?,
            plan_crc: 0,
        };
        shape.check()?;
        shape.plan_crc = shape.fingerprint()?;
        Ok(shape)
    }

    /// CRC-32 over extent, q_min, q_max, value_exp, dtype, block_log2, page_log2, number of
    /// layers, number of levels, section LAYR, section MODL: little-endian, without gaps.
    fn fingerprint(&self) -> Result<u32> {
        let mut bytes = Vec::new();
        for e in self.extent {
            bytes.extend_from_slice(&e.to_le_bytes());
        }
        bytes.extend_from_slice(&self.q_min.to_le_bytes());
        bytes.extend_from_slice(&self.q_max.to_le_bytes());
        bytes.extend_from_slice(&self.value_exp.to_le_bytes());
        bytes.extend_from_slice(&self.dtype.code().to_le_bytes());
        bytes.extend_from_slice(&[
            self.block_log2,
            self.page_log2,
            self.layers.len() as u8,
            self.layers.levels(),
        ]);
        bytes.extend(self.layers.encode());
        bytes.extend(model::encode(&self.models)?);
        Ok(crate::format::crc::crc32(&bytes))
    }

    fn check(&self) -> Result<()> {
        let fault = header::value_fault(self.dtype, self.q_min, self.q_max, self.value_exp);
        if let Some(detail) = fault {
            return Err(Error::argument(detail));
        }
        if !(5..=7).contains(&self.block_log2) || !(1..=5).contains(&self.page_log2) {
            return Err(Error::argument(format!(
                "block_log2 {} must be 5..=7 and page_log2 {} 1..=5",
                self.block_log2, self.page_log2
            )));
        }
        let expected = |i: usize| tier::tier(self.extent, self.block_log2, i as u8);
        let same = self
            .tiers
            .iter()
            .enumerate()
            .all(|(i, t)| *t == expected(i));
        if self.tiers.is_empty() || self.tiers.len() > 16 || !same || self.extent.contains(&0) {
            return Err(Error::argument(format!(
                "tiers do not follow from extent {:?} and block_log2 {}",
                self.extent, self.block_log2
            )));
        }
        Ok(())
    }

    /// Levels of detail of the file.
    pub fn lod_count(&self) -> u8 {
        tier::lod_count(self.extent, self.block_log2, self.tiers.len())
    }

    /// Whether MODL has a record with this id.
    pub fn has_model(&self, id: u16) -> bool {
        self.models.binary_search_by_key(&id, |m| m.id).is_ok()
    }

    /// Page geometry of a tier.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the file has no such tier.
    pub fn tier_pages(&self, tier: u8) -> Result<&Pages> {
        self.pages.get(usize::from(tier)).ok_or_else(|| {
            let have = self.tiers.len();
            Error::argument(format!("tier {tier} does not exist; the file has {have}"))
        })
    }

    /// The fields of a header that the plan decides; everything else is zero or empty.
    pub(crate) fn header(&self) -> Header {
        Header {
            minor: crate::format::constant::VERSION_MINOR,
            file_uuid: [0; 16],
            file_len: 0,
            required_features: 0,
            optional_features: 0,
            extent: self.extent,
            root_offset: 0,
            root_len: 0,
            root_crc: 0,
            blocks_present: 0,
            payload_bytes: 0,
            section_offset: 0,
            section_count: 0,
            section_crc: 0,
            q_min: self.q_min,
            q_max: self.q_max,
            value_exp: self.value_exp,
            dtype: self.dtype,
            block_log2: self.block_log2,
            lod_count: self.lod_count(),
            layer_count: self.layers.len() as u8,
            level_count: self.layers.levels(),
            page_log2: self.page_log2,
            depth: 2,
            align_log2: 0,
            state: header::State::Open,
            tier_count: self.tiers.len() as u8,
        }
    }
}
