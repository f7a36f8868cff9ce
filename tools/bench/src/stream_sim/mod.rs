//! Streaming without a network: the scheduler driven in virtual time over a made-up link and volume.
//!
//! ```text
//! path (camera) ─> run ─> policy (scheduler or a simple order) ─> link (bandwidth, latency, loss)
//!                   │                                                │
//!                   └──> picture (error of what is shown) <── decoders <┘     volume (10^8 blocks)
//! ```
//! Nothing sleeps and no thread is started: a run is a loop over the next moment at which anything
//! happens, and repeats to the last byte for the same seed. Only the CPU times are those of the machine.

pub mod link;
pub mod measure;
pub mod path;
pub mod picture;
pub mod policy;
pub mod profile;
pub mod run;
pub mod simple;
pub mod volume;

/// A well-mixed number that follows from `seed`.
pub fn mix(seed: u64) -> u64 {
    let x = (seed ^ seed >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ x >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ x >> 32
}

/// A number in 0..1 that follows from `seed`.
pub fn share(seed: u64) -> f64 {
    (mix(seed) >> 11) as f64 / (1u64 << 53) as f64
}
