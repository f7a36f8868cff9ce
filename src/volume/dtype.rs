//! Voxel types.

use serde::{Deserialize, Serialize};

/// Type of one stored voxel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DType {
    /// Unsigned 8-bit integer.
    Uint8,
    /// Signed 8-bit integer.
    Int8,
    /// Unsigned 16-bit integer.
    Uint16,
    /// Signed 16-bit integer.
    Int16,
    /// IEEE 754 binary32.
    Float32,
}

impl DType {
    /// Every voxel type, in order of its code in the file.
    pub const ALL: [Self; 5] = [
        Self::Uint8,
        Self::Int8,
        Self::Uint16,
        Self::Int16,
        Self::Float32,
    ];

    /// Bytes of one voxel.
    pub const fn size(self) -> usize {
        match self {
            Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 => 2,
            Self::Float32 => 4,
        }
    }

    /// Whether voxels are floating point.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Float32)
    }

    /// Smallest and largest value of an integer type; `None` for floats.
    pub const fn integer_range(self) -> Option<(i32, i32)> {
        match self {
            Self::Uint8 => Some((0, 255)),
            Self::Int8 => Some((-128, 127)),
            Self::Uint16 => Some((0, 65_535)),
            Self::Int16 => Some((-32_768, 32_767)),
            Self::Float32 => None,
        }
    }

    /// The word used on the command line, in JSON and in the documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uint8 => "uint8",
            Self::Int8 => "int8",
            Self::Uint16 => "uint16",
            Self::Int16 => "int16",
            Self::Float32 => "float32",
        }
    }

    /// Parses `uint8`, `u8`, `int16`, `i16`, `float32`, `f32` and their sisters.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "uint8" | "u8" => Self::Uint8,
            "int8" | "i8" => Self::Int8,
            "uint16" | "u16" => Self::Uint16,
            "int16" | "i16" => Self::Int16,
            "float32" | "f32" => Self::Float32,
            _ => return None,
        })
    }

    /// Code in the file header (specification, "Header").
    pub const fn code(self) -> u16 {
        match self {
            Self::Uint8 => 1,
            Self::Int8 => 2,
            Self::Uint16 => 3,
            Self::Int16 => 4,
            Self::Float32 => 5,
        }
    }

    /// The type with this code in the file header.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.code() == code)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that a voxel can be read into: the five stored types.
pub trait Voxel:
    Copy
    + Default
    + Send
    + Sync
    + 'static
    + zerocopy::IntoBytes
    + zerocopy::FromBytes
    + zerocopy::Immutable
{
    /// The stored type it corresponds to.
    const DTYPE: DType;
}

impl Voxel for u8 {
    const DTYPE: DType = DType::Uint8;
}
impl Voxel for i8 {
    const DTYPE: DType = DType::Int8;
}
impl Voxel for u16 {
    const DTYPE: DType = DType::Uint16;
}
impl Voxel for i16 {
    const DTYPE: DType = DType::Int16;
}
impl Voxel for f32 {
    const DTYPE: DType = DType::Float32;
}
