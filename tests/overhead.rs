//! What a file costs beside its payload.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod volumes;

use hgv::encode::{ModelChoice, Preset, Target};
use hgv::volume::DType;
use volumes::{Field, MODELS, encoded, memory, open};

/// Payload bytes, other bytes, blocks.
fn measure(
    extent: [u64; 3],
    dtype: DType,
    span: f64,
    model: (ModelChoice, Preset),
) -> (u64, u64, u64) {
    let field = Field {
        span,
        noise: 0.3,
        ..Field::default()
    };
    let bytes = encoded(&field.volume(extent, dtype), |o| {
        (o.target, o.levels) = (Target::Quality(70.0), 1);
        (o.model, o.preset) = model;
    });
    let volume = open(memory(&bytes)).unwrap();
    let header = volume.reader().header();
    assert_eq!(volume.reader().layers().len(), 3);
    let other = bytes.len() as u64 - header.payload_bytes;
    (header.payload_bytes, other, header.blocks_present)
}

#[test]
fn one_block_costs_under_768_bytes_and_its_grid_models() {
    for (dtype, span) in [(DType::Uint8, 255.0), (DType::Uint16, 60_000.0)] {
        // A grid model of a block of 32 is a record of 96 bytes, once for each order; blocks that choose
        // between a residual and a reversible transform have a record of 24 bytes more for each width.
        for (model, most) in MODELS.into_iter().zip([768, 832, 976]) {
            let (payload, other, blocks) = measure([32, 32, 32], dtype, span, model);
            assert!(
                blocks == 1 && payload > 1000,
                "{blocks} blocks, {payload} bytes"
            );
            eprintln!("{other} bytes for {dtype}, {model:?}");
            assert!(other <= most, "{other} bytes for {dtype}, {model:?}");
        }
    }
}

#[test]
fn each_block_costs_under_24_bytes() {
    for (dtype, span) in [(DType::Uint8, 255.0), (DType::Uint16, 60_000.0)] {
        let (_, one, _) = measure([32, 32, 32], dtype, span, MODELS[0]);
        let (_, many, blocks) = measure([128, 128, 64], dtype, span, MODELS[0]);
        assert_eq!(blocks, 32);
        assert!(
            many - one <= 24 * (blocks - 1),
            "{} bytes for {blocks} blocks of {dtype}",
            many - one
        );
        let (_, more, blocks) = measure([256, 256, 32], dtype, span, MODELS[0]);
        assert_eq!(blocks, 64);
        assert!(
            more - one <= 24 * (blocks - 1),
            "{} bytes for {blocks} blocks of {dtype}",
            more - one
        );
    }
}
