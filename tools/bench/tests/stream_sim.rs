//! The streaming simulator keeps its own books, repeats, and gets faster with the link.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use hgv_bench::stream_sim::link::LinkOptions;
use hgv_bench::stream_sim::measure::Outcome;
use hgv_bench::stream_sim::path::CameraPath;
use hgv_bench::stream_sim::policy::Policy;
use hgv_bench::stream_sim::profile::Profile;
use hgv_bench::stream_sim::run::{Scenario, run};
use hgv_bench::stream_sim::volume::VirtualVolume;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stream-sim")
}

fn volume(blocks: u64) -> VirtualVolume {
    let profile = Profile::load(&folder().join("profiles/ct_vhf_head.json")).unwrap();
    VirtualVolume::new(profile, blocks, 1).unwrap()
}

fn path(name: &str) -> CameraPath {
    CameraPath::load(&folder().join("paths").join(name).with_extension("json")).unwrap()
}

/// A camera that stands still at the first key of a path.
fn still(name: &str, rest: f32) -> CameraPath {
    let mut path = path(name);
    path.keys.truncate(1);
    CameraPath { rest, ..path }
}

/// All but what the clock of the machine says.
fn facts(outcome: Outcome) -> Outcome {
    Outcome {
        set_view: Default::default(),
        next_fetch: Default::default(),
        ..outcome
    }
}

#[test]
fn a_run_repeats_to_the_last_byte_and_the_seed_decides_losses() {
    let mut link = LinkOptions::new(20.0, 30.0);
    link.loss = 0.002;
    let short = CameraPath {
        rest: 2.0,
        ..path("jump")
    };
    let once = |link| {
        facts(run(
            &Scenario::new(Policy::Scheduler, link),
            volume(4000),
            &short,
        ))
    };
    let first = once(link);
    assert!(first.requests > 10 && first == once(link));
    assert!(first != once(LinkOptions { seed: 2, ..link }));
}

/// What came is what was asked for, with the heads of answers, under every policy.
#[test]
fn books_add_up() {
    for (name, policy) in Policy::ALL {
        let scenario = Scenario::new(policy, LinkOptions::new(50.0, 20.0));
        let outcome = run(&scenario, volume(2000), &still("approach", 600.0));
        assert!(
            outcome.settled.is_some() && outcome.cancelled_bytes == 0.0,
            "{name}"
        );
        let heads = 350 * outcome.requests;
        let asked = (outcome.asked_bytes + heads) as f64;
        assert!(
            (outcome.bytes - asked).abs() < 1.0,
            "{name}: {} of {asked}",
            outcome.bytes
        );
        // All that can be shown is shown; the rest is under the tolerance.
        let left = outcome.moments.last().unwrap().error;
        assert!(left < 0.02, "{name}: {left} is left");
    }
}

#[test]
fn an_endless_link_settles_at_once() {
    let mut link = LinkOptions::new(1e9, 0.0);
    link.setup_trips = 0.0;
    let mut scenario = Scenario::new(Policy::Scheduler, link);
    scenario.voxels_per_second = 1e15;
    let outcome = run(&scenario, volume(2000), &still("approach", 60.0));
    // Views that pages ask for are 20 ms apart; nothing else takes time.
    assert!(
        outcome.settled.is_some_and(|t| t < 0.2),
        "{:?}",
        outcome.settled
    );
    assert!(outcome.first_picture.is_some_and(|t| t < 0.05));
}

#[test]
fn a_faster_link_is_never_slower() {
    let mut before = f64::INFINITY;
    for megabits in [10.0, 20.0, 40.0, 80.0] {
        let scenario = Scenario::new(Policy::Scheduler, LinkOptions::new(megabits, 20.0));
        let mean = run(&scenario, volume(4000), &path("approach")).mean_error;
        assert!(
            mean <= before * 1.05,
            "{mean} at {megabits} Mbit/s, {before} at half of it"
        );
        before = mean;
    }
}

/// 10^8 blocks: memory is that of the pages that a view needs, and a view takes bounded time.
#[test]
fn a_hundred_million_blocks_cost_what_a_view_needs() {
    let start = Instant::now();
    let made = volume(100_000_000);
    assert!(
        made.blocks() > 99_000_000 && made.named() < 1000,
        "{} blocks",
        made.named()
    );
    let outcome = run(
        &Scenario::new(Policy::Scheduler, LinkOptions::new(100.0, 20.0)),
        made,
        &still("orbit", 1.5),
    );
    // Most of what is visible is there in a second and a half.
    let left = outcome.moments.last().unwrap().error;
    assert!(
        left < 0.25 && outcome.bytes < 16e6,
        "{left} is left after {} bytes",
        outcome.bytes
    );
    assert!(start.elapsed().as_secs() < 120, "{:?}", start.elapsed());
}
