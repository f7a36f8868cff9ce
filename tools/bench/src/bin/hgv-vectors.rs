//! Writes the file vectors: small `.hgv` files and the hashes of every level that they decode to,
//! so that any reader can be held against this one. Deterministic: every voxel comes from integer
//! arithmetic.
//!
//! A vector is two files: `NAME.hgv` and `NAME.json`, described in `format-spec/vectors/README.md`.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hgv::backend::cpu::{CpuBackend, CpuLevel};
use hgv::encode::{EncodeOptions, ModelChoice, Preset, Target, encode};
use hgv::io::{FileSource, WriteSink};
use hgv::reader::{BlockState, HgvReader};
use hgv::volume::{DType, Extent, MemoryVolume, Metadata, Region, Space};
use hgv::writer::{BlockPayload, BlockRecord, FilePlan, HgvWriter, WriterOptions};
use hgv::{Error, Limits, Result, Volume};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What the voxels are.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    /// Ramps with creases, and noise with this amplitude of 65536.
    Field(i64),
    /// One value.
    Constant,
    /// A field where x is at least 32, else one value.
    Half,
    /// A field through a steep ramp, as two materials and the blur between them.
    Materials,
    /// A field of few values that lie far apart.
    Few,
    /// A field with a ball of NaN and an infinity of each sign.
    Holes,
}

/// How the blocks get into the file.
#[derive(Clone, Copy)]
enum Form {
    /// As the encoder writes it.
    Plain,
    /// Part `.0` of `.1`.
    Shard(u32, u32),
    /// Small pages, aligned clusters, a level of index nodes.
    Depth3,
    /// To a sink that cannot go back: the header that counts is the trailer.
    Stream,
}

/// What one vector is made of.
struct Recipe {
    name: &'static str,
    extent: Extent,
    dtype: DType,
    content: Content,
    block: u32,
    levels: u32,
    target: Target,
    model: ModelChoice,
    preset: Preset,
    form: Form,
}

const PLAIN: Recipe = Recipe {
    name: "",
    extent: [40, 33, 35],
    dtype: DType::Uint8,
    content: Content::Field(1500),
    block: 32,
    levels: 3,
    target: Target::Quality(50.0),
    model: ModelChoice::Dense,
    preset: Preset::Balanced,
    form: Form::Plain,
};

/// One recipe for each thing that a reader can get wrong.
fn recipes() -> Vec<Recipe> {
    let sets = [
        types(),
        ranks(),
        shapes(),
        forms(),
        grids(),
        curves(),
        mixing(),
    ];
    sets.into_iter().flatten().collect()
}

fn types() -> Vec<Recipe> {
    let float = |name, quality| Recipe {
        name,
        dtype: DType::Float32,
        target: Target::Quality(quality),
        ..PLAIN
    };
    let lossless = |name, dtype, levels| Recipe {
        name,
        dtype,
        levels,
        extent: [37, 21, 10],
        target: Target::Lossless,
        ..PLAIN
    };
    vec![
        Recipe {
            name: "uint8",
            ..PLAIN
        },
        Recipe {
            name: "int8",
            dtype: DType::Int8,
            ..PLAIN
        },
        Recipe {
            name: "uint16",
            dtype: DType::Uint16,
            ..PLAIN
        },
        Recipe {
            name: "int16",
            dtype: DType::Int16,
            ..PLAIN
        },
        float("float32-i16", 45.0),
        Recipe {
            extent: [34, 18, 19],
            ..float("float32-i32", 85.0)
        },
        Recipe {
            content: Content::Holes,
            ..float("float32-mask", 45.0)
        },
        lossless("lossless-uint8", DType::Uint8, 3),
        lossless("lossless-int16", DType::Int16, 1),
        Recipe {
            content: Content::Holes,
            ..lossless("lossless-float32", DType::Float32, 2)
        },
        Recipe {
            target: Target::MaxError(20.0),
            ..lossless("bounded-int16", DType::Int16, 2)
        },
        Recipe {
            target: Target::MaxErrorRel(1e-3),
            ..lossless("bounded-float32", DType::Float32, 1)
        },
    ]
}

/// Volumes of few values.
fn ranks() -> Vec<Recipe> {
    let few = |name, dtype, levels, extent| Recipe {
        name,
        dtype,
        levels,
        extent,
        content: Content::Few,
        target: Target::Lossless,
        ..PLAIN
    };
    vec![
        few("ranks-uint16", DType::Uint16, 2, [66, 33, 20]),
        few("ranks-float32", DType::Float32, 2, [37, 33, 20]),
        few("ranks-overview", DType::Int16, 1, [2090, 5, 3]),
    ]
}

fn shapes() -> Vec<Recipe> {
    let sized = |name, extent, block, levels| Recipe {
        name,
        extent,
        block,
        levels,
        ..PLAIN
    };
    vec![
        sized("one-voxel", [1, 1, 1], 64, 1),
        Recipe {
            dtype: DType::Int16,
            ..sized("line-z", [1, 1, 67], 32, 3)
        },
        sized("line-x", [131, 1, 1], 64, 1),
        Recipe {
            dtype: DType::Uint16,
            ..sized("sheet", [70, 1, 45], 32, 1)
        },
        sized("side-64", [70, 65, 20], 64, 1),
        Recipe {
            dtype: DType::Uint16,
            ..sized("side-64-q3", [66, 31, 65], 64, 3)
        },
        Recipe {
            target: Target::Quality(35.0),
            ..sized("side-128", [130, 67, 33], 128, 3)
        },
        Recipe {
            content: Content::Constant,
            dtype: DType::Uint16,
            ..sized("constant", [50, 50, 50], 32, 3)
        },
        Recipe {
            content: Content::Constant,
            dtype: DType::Float32,
            ..sized("constant-float32", [9, 9, 9], 64, 1)
        },
        Recipe {
            content: Content::Half,
            ..sized("half-constant", [70, 32, 32], 32, 3)
        },
        Recipe {
            target: Target::Quality(20.0),
            content: Content::Field(0),
            ..sized("overview", [160, 160, 96], 32, 1)
        },
    ]
}

fn forms() -> Vec<Recipe> {
    let formed = |name, extent, form| Recipe {
        name,
        extent,
        form,
        levels: 1,
        ..PLAIN
    };
    vec![
        formed("shard-0-of-2", [270, 20, 9], Form::Shard(0, 2)),
        formed("shard-1-of-2", [270, 20, 9], Form::Shard(1, 2)),
        formed("depth-3", [100, 70, 40], Form::Depth3),
        formed("stream", [70, 33, 20], Form::Stream),
        Recipe {
            target: Target::Quality(20.0),
            content: Content::Field(0),
            ..formed("overview-depth-3", [160, 160, 96], Form::Depth3)
        },
    ]
}

/// Blocks of model kind 2, alone and among others.
fn grids() -> Vec<Recipe> {
    let grid = |name, levels| Recipe {
        name,
        levels,
        model: ModelChoice::Hashgrid,
        ..PLAIN
    };
    vec![
        Recipe {
            extent: [64, 40, 33],
            block: 64,
            ..grid("grid-uint8", 1)
        },
        Recipe {
            dtype: DType::Float32,
            ..grid("grid-float32-q3", 3)
        },
        Recipe {
            dtype: DType::Float32,
            content: Content::Holes,
            ..grid("grid-mask", 1)
        },
        Recipe {
            extent: [37, 21, 10],
            target: Target::Lossless,
            ..grid("grid-lossless-uint8", 2)
        },
        Recipe {
            extent: [37, 21, 10],
            target: Target::MaxError(3.0),
            ..grid("grid-bounded-uint8", 1)
        },
        Recipe {
            model: ModelChoice::Auto,
            preset: Preset::Best,
            extent: [64, 64, 40],
            target: Target::Quality(40.0),
            ..grid("auto-best", 3)
        },
    ]
}

/// Blocks whose values went through a curve.
fn curves() -> Vec<Recipe> {
    let curve = |name, dtype, levels| Recipe {
        name,
        dtype,
        levels,
        extent: [45, 40, 33],
        content: Content::Materials,
        target: Target::Quality(40.0),
        ..PLAIN
    };
    vec![
        curve("curve-uint8", DType::Uint8, 1),
        Recipe {
            preset: Preset::Best,
            target: Target::Quality(30.0),
            ..curve("curve-uint16-q3", DType::Uint16, 3)
        },
        curve("curve-float32", DType::Float32, 2),
    ]
}

/// Blocks in coder M.
fn mixing() -> Vec<Recipe> {
    let mixing = |name, dtype, levels| Recipe {
        name,
        dtype,
        levels,
        extent: [34, 18, 19],
        preset: Preset::Best,
        ..PLAIN
    };
    let float = |name, quality| Recipe {
        target: Target::Quality(quality),
        ..mixing(name, DType::Float32, 1)
    };
    vec![
        mixing("mixing-uint8", DType::Uint8, 3),
        mixing("mixing-uint16", DType::Uint16, 1),
        float("mixing-float32-i32", 75.0),
        Recipe {
            extent: [40, 33, 35],
            content: Content::Holes,
            ..float("mixing-mask", 30.0)
        },
        Recipe {
            extent: [37, 21, 10],
            target: Target::Lossless,
            ..mixing("mixing-lossless-int16", DType::Int16, 2)
        },
        Recipe {
            extent: [37, 21, 10],
            target: Target::MaxError(3.0),
            ..mixing("mixing-bounded-uint8", DType::Uint8, 1)
        },
    ]
}

fn main() -> std::result::Result<(), String> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: hgv-vectors FOLDER [NAME ...]")?;
    let (folder, names) = (PathBuf::from(folder), args.collect::<Vec<_>>());
    let wanted = |r: &Recipe| names.is_empty() || names.iter().any(|n| n == r.name);
    for recipe in recipes().into_iter().filter(wanted) {
        let path = folder.join(format!("{}.hgv", recipe.name));
        let about = write(&recipe, &path).map_err(|e| format!("{}: {e}", recipe.name))?;
        let json = path.with_extension("json");
        std::fs::write(&json, about).map_err(|e| format!("{}: {e}", json.display()))?;
    }
    Ok(())
}

/// Writes the file and returns its description.
fn write(recipe: &Recipe, path: &Path) -> Result<String> {
    let options = EncodeOptions::default()
        .with_target(recipe.target)
        .with_levels(recipe.levels)
        .with_block(recipe.block)
        .with_model(recipe.model)
        .with_preset(recipe.preset)
        .with_nan_mask(recipe.content == Content::Holes)
        .with_force(true);
    let options = match recipe.form {
        Form::Shard(i, n) => options.with_shard(i, n),
        _ => options,
    };
    encode(&volume(recipe)?, path, &options, &|_| {
        ControlFlow::Continue(())
    })?;
    match recipe.form {
        Form::Depth3 | Form::Stream => rewrite(path, recipe.form)?,
        _ => {}
    }
    describe(recipe, path)
}

/// Moves the blocks of a file into another form.
fn rewrite(path: &Path, form: Form) -> Result<()> {
    let source = std::fs::read(path).map_err(|e| Error::io(path.display().to_string(), e))?;
    let reader = HgvReader::open(
        Arc::new(hgv::io::MemorySource::new(source)),
        Limits::default(),
    )?;
    let mut options = WriterOptions {
        force: true,
        ..WriterOptions::default()
    };
    let plan = plan_of(&reader);
    let mut writer = match form {
        Form::Stream => {
            let file = File::create(path).map_err(|e| Error::io(path.display().to_string(), e))?;
            HgvWriter::to_sink(Box::new(WriteSink::new(file)), &plan, options)?
        }
        _ => {
            (options.page_log2, options.root_entries, options.align_log2) = (Some(1), 2, 6);
            HgvWriter::create(path, &plan, options)?
        }
    };
    copy_blocks(&reader, &mut writer)?;
    writer.finish().map(|_| ())
}

fn plan_of(reader: &HgvReader) -> FilePlan {
    let shape = reader.shape();
    FilePlan {
        extent: shape.extent,
        dtype: shape.dtype,
        block_log2: shape.block_log2,
        q_min: shape.q_min,
        q_max: shape.q_max,
        value_exp: shape.value_exp,
        tiers: shape.tiers.clone(),
        layers: shape.layers.clone(),
        models: shape.models.clone(),
        metadata: reader.metadata().clone(),
    }
}

fn copy_blocks(reader: &HgvReader, writer: &mut HgvWriter) -> Result<()> {
    for tier in 0..reader.tiers().len() as u8 {
        let pages = *writer.shape().tier_pages(tier)?;
        for page in pages.iter() {
            writer.begin_cluster(tier, page)?;
            for slot in 0..pages.slots(page) {
                let block = pages.block(page, slot);
                if let Some(record) = record(reader, tier, block)? {
                    writer.put_block(block, &record)?;
                }
            }
            writer.finish_cluster()?;
        }
    }
    match reader.stats_json() {
        Some(json) => writer.set_stats_json(json),
        None => Ok(()),
    }
}

fn record(reader: &HgvReader, tier: u8, block: [u64; 3]) -> Result<Option<BlockRecord>> {
    let entry = reader.block(tier, block)?;
    Ok(match &entry.state {
        BlockState::NotWritten => None,
        BlockState::Constant(q) => Some(BlockRecord::Constant(*q)),
        BlockState::Payload(p) => Some(BlockRecord::Payload(BlockPayload {
            model: p.model,
            range: p.range_codes,
            errors: p.errors.clone(),
            layers: reader.read_layers(&entry, usize::MAX)?,
        })),
    })
}

/// The JSON of a vector, one line for each field and each decoded level.
fn describe(recipe: &Recipe, path: &Path) -> Result<String> {
    let volume = Volume::from_source(Arc::new(FileSource::open(path)?), Limits::default())?
        .with_cpu(CpuBackend::with_level(CpuLevel::Scalar)?);
    let bytes = std::fs::read(path).map_err(|e| Error::io(path.display().to_string(), e))?;
    let mut fields = fields(&volume);
    fields.push(("file_sha256", json!(hex(&Sha256::digest(&bytes)))));
    let (held, missing) = held(recipe);
    if let Some(region) = missing {
        fields.push(("not_written", json!([region.start, region.end])));
    }
    let mut decoded = Vec::new();
    for lod in 0..volume.lods() {
        for level in 0..volume.levels() {
            decoded.push(format!("  {}", decode(&volume, lod, level, &held)?));
        }
    }
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!(" \"{name}\": {value},\n"))
        .collect();
    Ok(format!(
        "{{\n{lines} \"decoded\": [\n{}\n ]\n}}\n",
        decoded.join(",\n")
    ))
}

fn fields(volume: &Volume) -> Vec<(&'static str, Value)> {
    let (reader, h) = (volume.reader(), volume.reader().header());
    let header = json!({
        "uuid": hex(&h.file_uuid), "file_len": h.file_len, "extent": h.extent, "dtype": h.dtype.name(),
        "value_exp": h.value_exp, "q_min": h.q_min, "q_max": h.q_max, "block_log2": h.block_log2,
        "page_log2": h.page_log2, "depth": h.depth, "align_log2": h.align_log2,
        "lod_count": h.lod_count, "layer_count": h.layer_count, "level_count": h.level_count,
        "tier_count": h.tier_count, "blocks_present": h.blocks_present, "payload_bytes": h.payload_bytes,
    });
    let layers: Vec<_> = reader
        .layers()
        .as_slice()
        .iter()
        .map(|l| [l.lod, l.quality])
        .collect();
    let tiers: Vec<_> = reader
        .tiers()
        .iter()
        .map(|t| json!({"base_lod": t.base_lod, "extent": t.extent, "blocks": t.blocks}))
        .collect();
    let models: Vec<_> = reader
        .models()
        .iter()
        .map(|m| json!({"id": m.id, "kind": m.kind, "payload": hex(&m.payload)}))
        .collect();
    vec![
        ("header", header),
        ("layers", json!(layers)),
        ("tiers", json!(tiers)),
        ("models", json!(models)),
        ("metadata", json!(reader.metadata())),
    ]
}

/// The part of the full resolution that the file holds, and the part that it does not.
fn held(recipe: &Recipe) -> (Region, Option<Region>) {
    let [x, y, z] = recipe.extent;
    // Pages are 8 blocks wide.
    let cut = u64::from(recipe.block) * 8;
    let (low, high) = (
        Region::whole([cut, y, z]),
        Region {
            start: [cut, 0, 0],
            end: [x, y, z],
        },
    );
    match recipe.form {
        Form::Shard(0, _) => (low, Some(high)),
        Form::Shard(..) => (high, Some(low)),
        _ => (Region::whole(recipe.extent), None),
    }
}

/// Hash of a level's voxels over the part that the file holds.
fn decode(volume: &Volume, lod: u32, level: u32, held: &Region) -> Result<Value> {
    let region = Region {
        start: held.start.map(|v| v >> lod),
        end: held.end.map(|v| v.div_ceil(1 << lod)),
    };
    let mut out = vec![0; region.voxels() as usize * volume.dtype().size()];
    volume.read_region_bytes(lod, level, &region, &mut out)?;
    Ok(json!({
        "lod": lod,
        "level": level,
        "region": [region.start, region.end],
        "sha256": hex(&Sha256::digest(&out)),
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn volume(recipe: &Recipe) -> Result<MemoryVolume> {
    let [w, h, d] = recipe.extent;
    let mut bytes = Vec::new();
    for (z, y) in (0..d).flat_map(|z| (0..h).map(move |y| (z, y))) {
        (0..w).for_each(|x| put(recipe, [x, y, z], &mut bytes));
    }
    MemoryVolume::from_bytes(recipe.extent, recipe.dtype, bytes, metadata(recipe))
}

/// The whole of it in one vector, the default in the others.
fn metadata(recipe: &Recipe) -> Metadata {
    if recipe.name != "int16" {
        return Metadata::default();
    }
    Metadata {
        spacing: [0.5, 0.5, 1.25],
        origin: [-12.0, 3.5, 100.0],
        direction: [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]],
        space: Space::Lps,
        unit: Some("mm".into()),
        slope: 2.0,
        intercept: -1024.0,
        value_unit: Some("HU".into()),
        description: Some("ramps, \u{e9}".into()),
    }
}

/// Appends a voxel, little-endian.
fn put(recipe: &Recipe, at: [u64; 3], out: &mut Vec<u8>) {
    let level = match recipe.content {
        Content::Field(noise) => field(at, noise),
        Content::Few => field(at, 6000) / 1500 * 1490,
        Content::Constant => 40_000,
        Content::Materials => materials(at),
        Content::Half if at[0] < 32 => 3000,
        Content::Half | Content::Holes => field(at, 1500),
    };
    match recipe.dtype {
        DType::Uint8 => out.push((level >> 8) as u8),
        DType::Int8 => out.extend(((level >> 8) as u8 ^ 0x80).to_le_bytes()),
        DType::Uint16 => out.extend((level as u16).to_le_bytes()),
        DType::Int16 => out.extend(((level >> 3) as i16 - 1000).to_le_bytes()),
        _ => out.extend(float(recipe.content, at, level).to_le_bytes()),
    }
}

/// Exact: a 17-bit integer times a power of two.
fn float(content: Content, at: [u64; 3], level: i64) -> f32 {
    let from_centre = |a: usize| at[a].abs_diff([36, 10, 16][a]).pow(2);
    match at {
        [0, 0, 0] if content == Content::Holes => f32::NEG_INFINITY,
        [39, 32, 34] if content == Content::Holes => f32::INFINITY,
        _ if content == Content::Holes && from_centre(0) + from_centre(1) + from_centre(2) < 49 => {
            f32::NAN
        }
        _ if content == Content::Few => (level - 20_000) as f32 / 3.0,
        _ => (level - 20_000) as f32 / 1_048_576.0,
    }
}

/// 0..=65535 at a voxel: three triangle waves, a step, noise.
fn field([x, y, z]: [u64; 3], noise: i64) -> i64 {
    let wave = |t: u64| (t as i64 % 131_072 - 65_536).abs();
    let smooth =
        (wave(1900 * x + 700 * y) + wave(2300 * y + 1100 * z) + wave(900 * x + 1700 * z)) / 3;
    let step = if x + 2 * z > y + 40 { 9000 } else { 0 };
    let white = hash(x | y << 20 | z << 40) * noise / 65_536 - noise / 2;
    (smooth * 3 / 4 + step + white).clamp(0, 65_535)
}

/// 0..=65535 at a voxel: mostly one of two values.
fn materials(at: [u64; 3]) -> i64 {
    let [x, y, z] = at.map(|c| c + 40);
    let wave = |t: u64| (t as i64 % 131_072 - 65_536).abs();
    let smooth = (wave(2600 * x + 700 * y) + wave(2300 * y + 1100 * z) + wave(2900 * z)) / 3;
    let white = hash(x | y << 20 | z << 40) * 600 / 65_536;
    ((smooth - 30_000) * 12 + 32_768).clamp(9000, 52_000) + white
}

/// 0..=65535, by the finaliser of SplitMix64.
fn hash(seed: u64) -> i64 {
    let mut x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ x >> 31) >> 48) as i64
}
