//! A volume of 2048^3 voxels: what the first picture and a single block cost, counted by the server.

use std::collections::HashMap;

use hgv::Limits;
use hgv::encode::{Preset, Target};
use hgv::format::model::ModelRecord;
use hgv::io::MemorySink;
use hgv::reader::{BlockState, HgvReader};
use hgv::stream::HttpVolume;
use hgv::volume::{DType, Region};
use hgv::writer::{BlockPayload, BlockRecord, FilePlan, HgvWriter, WriterOptions};

use crate::requests::slow;
use crate::server::hasty;
use crate::volumes::{Field, encoded, memory, open, read};

const SIDE: u64 = 2048;
const BLOCK: u64 = 64;
/// Side of the small volume whose blocks are repeated.
const TILE: u64 = 2 * BLOCK;
/// Between the ids of the models of the tile and those of the overview.
const SHIFT: u16 = 1000;

/// Eight blocks of 64^3, encoded for real.
fn tile(ratio: f64) -> Vec<u8> {
    let field = Field {
        noise: 0.06,
        ..Field::default()
    };
    encoded(&field.volume([TILE; 3], DType::Uint8), |o| {
        (o.block, o.preset) = (64, Preset::Fast);
        o.target = Target::Ratio(ratio);
    })
}

/// The blocks of a file by coordinate, as a writer takes them; ids of models are `shift` higher.
fn records(reader: &HgvReader, shift: u16) -> HashMap<[u64; 3], BlockRecord> {
    let blocks = reader.blocks(0).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let layers = reader.read_layers(&entry, reader.layers().len()).unwrap();
        let record = match &entry.state {
            BlockState::Payload(p) => BlockRecord::Payload(BlockPayload {
                model: p.model + shift,
                range: p.range_codes,
                errors: p.errors.clone(),
                layers,
            }),
            other => panic!("{other:?}"),
        };
        (entry.block, record)
    });
    blocks.collect()
}

/// A file of 2048^3 voxels: a tile over and over, 32,768 blocks, and an overview of eight larger
/// blocks, which do not fit into the first request.
fn huge(tile: &[u8], overview: &[u8]) -> Vec<u8> {
    let [low, high] = [tile, overview].map(|f| open(memory(f)).unwrap());
    let (shape, above) = (low.reader().shape(), high.reader().shape());
    let range = (shape.q_min, shape.q_max);
    assert_eq!(range, (above.q_min, above.q_max));
    let levels = shape.layers.levels();
    let mut plan = FilePlan::new([SIDE; 3], shape.dtype, 6, levels, range).unwrap();
    plan.models.clone_from(&shape.models);
    plan.models.extend(above.models.iter().map(|m| ModelRecord {
        id: m.id + SHIFT,
        ..m.clone()
    }));
    let blocks = [records(low.reader(), 0), records(high.reader(), SHIFT)];
    let sink = MemorySink::default();
    let options = WriterOptions::default();
    let mut writer = HgvWriter::to_sink(Box::new(sink.clone()), &plan, options).unwrap();
    for tier in 0..plan.tiers.len() as u8 {
        let pages = *writer.shape().tier_pages(tier).unwrap();
        for page in pages.iter() {
            writer.begin_cluster(tier, page).unwrap();
            for block in (0..pages.slots(page)).map(|slot| pages.block(page, slot)) {
                writer
                    .put_block(block, &blocks[usize::from(tier)][&block.map(|b| b % 2)])
                    .unwrap();
            }
            writer.finish_cluster().unwrap();
        }
    }
    assert_eq!(writer.finish().unwrap().blocks, 32_768 + 8);
    sink.bytes()
}

#[test]
fn a_volume_of_2048_cubed_is_seen_after_one_request_and_read_in_few() {
    let (low, high) = (tile(80.0), tile(12.0));
    let small = open(memory(&low)).unwrap();
    assert!(high.len() > 2 * 65_536, "{} bytes", high.len());
    let file = huge(&low, &high);
    assert!(
        (40 << 20..300 << 20).contains(&file.len()),
        "{} bytes",
        file.len()
    );
    let server = slow(file);
    let volume = HttpVolume::open(&hasty(), &server.url(), Limits::default()).unwrap();
    let picture = volume.with(|v| {
        assert_eq!((v.extent(), v.lods()), ([SIDE; 3], 9));
        let lod = v.lods() - 1;
        read(v, lod, 0, &Region::whole(v.lod_extent(lod)?))
    });
    let picture = picture.unwrap();
    assert!(picture.len() == 512 && picture.iter().any(|&v| v > 0));
    {
        let seen = server.seen();
        let ranges: Vec<_> = seen.requests.iter().map(|a| a.range()).collect();
        assert_eq!(ranges.len(), 1, "the first picture: {ranges:?}");
        assert_eq!(seen.requests[0].range(), Some((0, 65_535)));
    }
    let block = [17, 8, 30u64];
    let start = block.map(|b| b * BLOCK);
    let region = |start: [u64; 3]| Region::new(start, start.map(|v| v + BLOCK)).unwrap();
    let voxels = volume.with(|v| read(v, 0, v.levels() - 1, &region(start)));
    let expected = read(
        &small,
        0,
        small.levels() - 1,
        &region(start.map(|v| v % TILE)),
    );
    assert!(voxels.unwrap() == expected.unwrap());
    let seen = server.seen();
    assert!(seen.waves <= 3, "{} round trips", seen.waves);
    assert!(seen.requests.len() <= 5, "{} requests", seen.requests.len());
}
