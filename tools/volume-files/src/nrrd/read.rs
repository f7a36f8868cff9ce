//! Parser of NRRD headers (teem "nrrd" format definition, NRRD0001 to NRRD0005).

use super::geometry;
use crate::element::{Endian, NumberType};
use crate::failure::bad;
use crate::format::Format;
use crate::input::Input;
use crate::layout::{Layout, Skip, Start};
use crate::text::finite;
use hgv::Result;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Longest header line and longest header in bytes.
const LINE: u64 = 1 << 16;
const HEADER: u64 = 16 << 20;
/// Most files that one header may name.
const FILES: u64 = 1 << 20;

/// The fields of a header as text.
pub(super) struct Fields {
    pub(super) path: PathBuf,
    fields: HashMap<String, String>,
    keys: HashMap<String, String>,
    /// Lines after `data file: LIST`.
    list: Vec<String>,
    /// Bytes of the header.
    length: u64,
}

impl Fields {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn need(&self, name: &str) -> Result<&str> {
        self.get(name)
            .ok_or_else(|| self.bad(format!("the NRRD header has no field \"{name}\"")))
    }

    fn key(&self, name: &str) -> Option<&str> {
        self.keys.get(name).map(String::as_str)
    }

    pub(super) fn bad(&self, what: impl std::fmt::Display) -> hgv::Error {
        bad(&self.path, what)
    }
}

/// Parses the header at the front of `input`.
///
/// # Errors
/// Anything that is not a NRRD header of one scalar volume.
pub(crate) fn parse(input: &mut Input) -> Result<Layout> {
    let fields = read_fields(input)?;
    let number = number_type(&fields)?;
    let sizes = sizes(&fields)?;
    let (extent, metadata, notices) = geometry::read(&fields, &sizes)?;
    let mut layout = Layout::new(Format::Nrrd, extent, number);
    layout.metadata = metadata;
    layout.notices = notices;
    layout.endian = endian(&fields, number, &mut layout.notices)?;
    layout.detached = data_files(&fields)?;
    layout.start = start(&fields, layout.detached.is_empty())?;
    values(&fields, &mut layout)?;
    Ok(layout)
}

fn read_fields(input: &mut Input) -> Result<Fields> {
    let path = input.path().to_owned();
    let magic = input.line(LINE)?.unwrap_or_default();
    if !magic.starts_with("NRRD000") {
        return Err(bad(
            &path,
            "this is not a NRRD file: it does not start with NRRD000",
        ));
    }
    let mut out = Fields {
        path,
        fields: HashMap::new(),
        keys: HashMap::new(),
        list: Vec::new(),
        length: 0,
    };
    let mut in_list = false;
    while let Some(line) = input.line(LINE)? {
        if input.position() > HEADER {
            return Err(out.bad("the NRRD header does not end within 16 MiB"));
        }
        if line.is_empty() {
            break;
        }
        if in_list {
            out.list.push(line);
        } else {
            in_list = field(&mut out, &line)?;
        }
    }
    out.length = input.position();
    Ok(out)
}

/// Takes one header line; true if a list of files follows.
fn field(out: &mut Fields, line: &str) -> Result<bool> {
    if line.starts_with('#') {
        return Ok(false);
    }
    if let Some((key, value)) = line.split_once(":=") {
        out.keys.insert(key.to_owned(), value.to_owned());
        return Ok(false);
    }
    let (name, value) = line.split_once(':').ok_or_else(|| {
        let start: String = line.chars().take(40).collect();
        out.bad(format!("\"{start}\" is not a line of a NRRD header"))
    })?;
    let name = match name.trim().to_lowercase().as_str() {
        "datafile" => "data file".to_owned(),
        "lineskip" => "line skip".to_owned(),
        "byteskip" => "byte skip".to_owned(),
        "sampleunits" => "sample units".to_owned(),
        other => other.to_owned(),
    };
    let value = value.trim().to_owned();
    let list = name == "data file" && value.split_whitespace().next() == Some("LIST");
    out.fields.insert(name, value);
    Ok(list)
}

fn number_type(fields: &Fields) -> Result<NumberType> {
    let word = fields.need("type")?.to_lowercase();
    Ok(match word.trim_end_matches("_t") {
        "uchar" | "unsigned char" | "uint8" => NumberType::U8,
        "signed char" | "int8" => NumberType::I8,
        "short" | "short int" | "signed short" | "signed short int" | "int16" => NumberType::I16,
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" => NumberType::U16,
        "int" | "signed int" | "int32" => NumberType::I32,
        "uint" | "unsigned int" | "uint32" => NumberType::U32,
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64" => NumberType::I64,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" => NumberType::U64,
        "float" => NumberType::F32,
        "double" => NumberType::F64,
        _ => return Err(fields.bad(format!("NRRD type \"{word}\" is not a voxel type"))),
    })
}

fn sizes(fields: &Fields) -> Result<Vec<u64>> {
    let dimension: usize = fields
        .need("dimension")?
        .parse()
        .map_err(|_| fields.bad("the field \"dimension\" is not a number"))?;
    let sizes: Option<Vec<u64>> = fields
        .need("sizes")?
        .split_whitespace()
        .map(|w| w.parse().ok())
        .collect();
    let sizes = sizes.ok_or_else(|| fields.bad("the field \"sizes\" holds no list of numbers"))?;
    if sizes.len() != dimension || sizes.len() > 16 {
        return Err(fields.bad(format!(
            "dimension is {dimension}, but {} sizes are given",
            sizes.len()
        )));
    }
    Ok(sizes)
}

fn endian(fields: &Fields, number: NumberType, notices: &mut Vec<String>) -> Result<Endian> {
    match fields.get("endian") {
        Some(word) => Endian::parse(word)
            .ok_or_else(|| fields.bad(format!("endian \"{word}\" is neither little nor big"))),
        None => {
            if number.size() > 1 {
                notices.push("the NRRD header has no byte order; little is assumed".to_owned());
            }
            Ok(Endian::Little)
        }
    }
}

fn start(fields: &Fields, attached: bool) -> Result<Start> {
    let encoding = fields.need("encoding")?.to_lowercase();
    let gzip = match encoding.as_str() {
        "raw" => false,
        "gzip" | "gz" => true,
        _ => {
            return Err(fields.bad(format!(
                "NRRD encoding \"{encoding}\" is not read; save it as raw or gzip"
            )));
        }
    };
    let skip = number(fields, "byte skip")?;
    if skip < 0 && gzip {
        return Err(fields.bad("a negative byte skip needs encoding raw"));
    }
    Ok(Start {
        offset: if attached { fields.length } else { 0 },
        lines: u64::try_from(number(fields, "line skip")?)
            .map_err(|_| fields.bad("the line skip is negative"))?,
        skip: u64::try_from(skip).map_or(Skip::AllBefore, Skip::Bytes),
        gzip,
    })
}

fn number(fields: &Fields, name: &str) -> Result<i64> {
    fields.get(name).map_or(Ok(0), |word| {
        word.parse()
            .map_err(|_| fields.bad(format!("the field \"{name}\" is not a number")))
    })
}

/// What a stored value means.
fn values(fields: &Fields, layout: &mut Layout) -> Result<()> {
    let meta = &mut layout.metadata;
    for (name, slot) in [
        ("slope", &mut meta.slope),
        ("intercept", &mut meta.intercept),
    ] {
        if let Some(word) = fields.key(name) {
            *slot = finite(word)
                .ok_or_else(|| fields.bad(format!("{name} \"{word}\" is not a number")))?;
        }
    }
    let text = |name: &str| {
        let word = fields.get(name)?.trim().trim_matches('"');
        (!word.is_empty() && word != "???").then(|| word.to_owned())
    };
    meta.value_unit = text("sample units");
    meta.description = text("content");
    Ok(())
}

/// The files that hold the voxels, none if the header's own does.
fn data_files(fields: &Fields) -> Result<Vec<PathBuf>> {
    let Some(value) = fields.get("data file") else {
        return Ok(Vec::new());
    };
    let folder = fields.path.parent().unwrap_or(Path::new(""));
    if value.split_whitespace().next() == Some("LIST") {
        if fields.list.is_empty() {
            return Err(fields.bad("\"data file: LIST\" is followed by no file names"));
        }
        return Ok(fields.list.iter().map(|f| folder.join(f.trim())).collect());
    }
    if let Some(names) = pattern(fields, value)? {
        return Ok(names.iter().map(|f| folder.join(f)).collect());
    }
    Ok(vec![folder.join(value)])
}

/// `slice%03d.raw 1 100 1`: a printf pattern, first and last number, step.
fn pattern(fields: &Fields, value: &str) -> Result<Option<Vec<String>>> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let [name, first, last, step, ..] = words[..] else {
        return Ok(None);
    };
    let Some((before, width, after)) = split_pattern(name) else {
        return Ok(None);
    };
    let parse = |w: &str| w.parse::<i64>().ok();
    let (Some(first), Some(last), Some(step)) = (parse(first), parse(last), parse(step)) else {
        return Ok(None);
    };
    let count = last
        .checked_sub(first)
        .and_then(|n| n.checked_div(step))
        .and_then(|n| u64::try_from(n).ok())
        .filter(|&n| n < FILES)
        .ok_or_else(|| fields.bad(format!("the data file pattern \"{value}\" names no files")))?;
    Ok(Some(
        (0..=count)
            .map(|i| format!("{before}{:0width$}{after}", first + i as i64 * step))
            .collect(),
    ))
}

fn split_pattern(name: &str) -> Option<(&str, usize, &str)> {
    let (before, rest) = name.split_once('%')?;
    let (digits, after) = rest.split_once('d')?;
    let width = if digits.is_empty() {
        0
    } else {
        digits.parse().ok().filter(|w| *w <= 20)?
    };
    Some((before, width, after))
}
