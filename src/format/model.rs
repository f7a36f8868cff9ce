//! Section MODL: model records. The container knows id, kind and length; the payload is opaque.
//!
//! Record: `id u16 | kind u8 | flags u8 (0) | length u32 | payload`. Ids rise strictly; the
//! records fill the section exactly.

use crate::format::bytes::Fields;
use crate::format::constant::MODEL_RECORD_HEAD;
use crate::{Error, Limits, Result};

const WHAT: &str = "section MODL";

/// One model record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRecord {
    /// Identifier that index pages use.
    pub id: u16,
    /// Kind of model (`format-spec/registry.md`).
    pub kind: u8,
    /// Everything needed to decode, in the form that the kind defines.
    pub payload: Vec<u8>,
}

/// Reads the section, which lies at absolute offset `at`.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Truncated`] or [`Error::LimitExceeded`].
pub fn parse(bytes: &[u8], at: u64, limits: &Limits) -> Result<Vec<ModelRecord>> {
    let mut fields = Fields::new(WHAT, at, bytes);
    let mut out: Vec<ModelRecord> = Vec::new();
    while fields.remaining() > 0 {
        let record = record(&mut fields)?;
        if out.last().is_some_and(|last| last.id >= record.id) {
            let detail = format!("model id {} does not rise", record.id);
            return Err(Error::corrupt(WHAT, at, detail));
        }
        out.push(record);
        Limits::check("number of models", out.len() as u64, limits.max_models)?;
    }
    Ok(out)
}

fn record(fields: &mut Fields<'_>) -> Result<ModelRecord> {
    let (id, kind) = (fields.u16()?, fields.u8()?);
    fields.zeros(1)?;
    let length = fields.u32()?;
    let payload = fields.take(length as usize)?.to_vec();
    Ok(ModelRecord { id, kind, payload })
}

/// The bytes of the section.
///
/// # Errors
/// [`Error::InvalidArgument`] if ids do not rise or a payload is longer than 4 GiB.
pub fn encode(models: &[ModelRecord]) -> Result<Vec<u8>> {
    if models.windows(2).any(|w| w[0].id >= w[1].id) {
        return Err(Error::argument("model ids must rise strictly"));
    }
    let total: usize = models
        .iter()
        .map(|m| MODEL_RECORD_HEAD + m.payload.len())
        .sum();
    let mut out = Vec::with_capacity(total);
    for m in models {
        let length = u32::try_from(m.payload.len())
            .map_err(|_| Error::argument(format!("model {} is over 4 GiB", m.id)))?;
        out.extend_from_slice(&m.id.to_le_bytes());
        out.extend_from_slice(&[m.kind, 0]);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&m.payload);
    }
    Ok(out)
}
