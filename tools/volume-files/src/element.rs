//! Numbers as files store them: more types than the codec takes, in either byte order.

use half::f16;
use hgv::volume::DType;

/// Byte order of the numbers in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Endian {
    /// Least significant byte first.
    #[default]
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// Parses `le`, `little`, `be`, `big`.
    pub fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "le" | "little" => Some(Self::Little),
            "be" | "big" => Some(Self::Big),
            _ => None,
        }
    }
}

/// Type of one number in a file. A superset of [`DType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NumberType {
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 16-bit integer.
    U16,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned 32-bit integer.
    U32,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 64-bit integer.
    U64,
    /// Signed 64-bit integer.
    I64,
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl NumberType {
    /// Bytes of one number.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The word used on the command line and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// Parses `uint8` or `u8`, `float64` or `f64` and their sisters; `float` and `double` too.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "uint8" | "u8" => Self::U8,
            "int8" | "i8" => Self::I8,
            "uint16" | "u16" => Self::U16,
            "int16" | "i16" => Self::I16,
            "uint32" | "u32" => Self::U32,
            "int32" | "i32" => Self::I32,
            "uint64" | "u64" => Self::U64,
            "int64" | "i64" => Self::I64,
            "float16" | "f16" => Self::F16,
            "float32" | "f32" | "float" => Self::F32,
            "float64" | "f64" | "double" => Self::F64,
            _ => return None,
        })
    }

    /// The voxel type that stores these numbers as they are, if there is one.
    pub const fn native(self) -> Option<DType> {
        Some(match self {
            Self::U8 => DType::Uint8,
            Self::I8 => DType::Int8,
            Self::U16 => DType::Uint16,
            Self::I16 => DType::Int16,
            Self::F32 => DType::Float32,
            _ => return None,
        })
    }

    /// Whether the numbers are floating point.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// Appends the little-endian numbers in `bytes` to `out`. 64-bit integers beyond 2^53 are
    /// rounded; no voxel type holds them anyway.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut Vec<f64>) {
        match self {
            Self::U8 => out.extend(bytes.iter().map(|&b| f64::from(b))),
            Self::I8 => out.extend(bytes.iter().map(|&b| f64::from(b as i8))),
            Self::U16 => each(bytes, out, |b| f64::from(u16::from_le_bytes(b))),
            Self::I16 => each(bytes, out, |b| f64::from(i16::from_le_bytes(b))),
            Self::U32 => each(bytes, out, |b| f64::from(u32::from_le_bytes(b))),
            Self::I32 => each(bytes, out, |b| f64::from(i32::from_le_bytes(b))),
            Self::U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f64),
            Self::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f64),
            Self::F16 => each(bytes, out, |b| f16::from_le_bytes(b).to_f64()),
            Self::F32 => each(bytes, out, |b| f64::from(f32::from_le_bytes(b))),
            Self::F64 => each(bytes, out, f64::from_le_bytes),
        }
    }
}

impl From<DType> for NumberType {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::Uint8 => Self::U8,
            DType::Int8 => Self::I8,
            DType::Uint16 => Self::U16,
            DType::Int16 => Self::I16,
            _ => Self::F32,
        }
    }
}

impl std::fmt::Display for NumberType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut Vec<f64>, number: impl Fn([u8; N]) -> f64) {
    let (numbers, _) = bytes.as_chunks::<N>();
    out.extend(numbers.iter().map(|&b| number(b)));
}

/// Reverses the bytes of every number of `size` bytes.
pub(crate) fn swap(bytes: &mut [u8], size: usize) {
    match size {
        2 => reverse::<2>(bytes),
        4 => reverse::<4>(bytes),
        8 => reverse::<8>(bytes),
        _ => {}
    }
}

fn reverse<const N: usize>(bytes: &mut [u8]) {
    for number in bytes.as_chunks_mut::<N>().0 {
        number.reverse();
    }
}
