//! How many requests reading over HTTP takes, counted by the server.

use std::time::Duration;

use hgv::Limits;
use hgv::encode::Target;
use hgv::stream::{HttpClient, HttpVolume};
use hgv::volume::{DType, Region};

use crate::server::{Answer, Server, Step, direct, hasty};
use crate::volumes::{Field, encoded, read, read_all};

const EXTENT: [u64; 3] = [288, 288, 34];
/// Long beside the work between requests, so that those of one round trip are in flight together.
const LATENCY: Duration = Duration::from_millis(60);

/// Four clusters of tier 0, an overview tier, over 64 KiB.
fn file() -> Vec<u8> {
    let field = Field {
        noise: 0.1,
        ..Field::default()
    };
    let bytes = encoded(&field.volume(EXTENT, DType::Uint8), |o| {
        o.target = Target::Quality(75.0)
    });
    assert!(bytes.len() > 300_000, "{} bytes", bytes.len());
    bytes
}

pub(crate) fn slow(file: Vec<u8>) -> Server {
    Server::start(move |asked| {
        let mut steps = vec![Step::Wait(LATENCY)];
        steps.extend(Answer::part(&file, Some("\"v1\""), asked).send());
        steps
    })
}

#[test]
fn the_first_picture_is_one_request() {
    let server = slow(file());
    let volume = HttpVolume::open(&hasty(), &server.url(), Limits::default()).unwrap();
    let picture = volume.with(|v| {
        let lod = v.lods() - 1;
        read(v, lod, 0, &Region::whole(v.lod_extent(lod)?))
    });
    assert!(picture.unwrap().iter().any(|&v| v > 0));
    let seen = server.seen();
    assert_eq!(seen.requests.len(), 1);
    assert_eq!(seen.requests[0].range(), Some((0, 65_535)));
}

#[test]
fn one_block_at_full_detail_takes_three_round_trips_and_five_gets() {
    let bytes = file();
    for block in [[0, 0, 0], [4, 4, 0], [8, 8, 1]] {
        let server = slow(bytes.clone());
        let volume = HttpVolume::open(&hasty(), &server.url(), Limits::default()).unwrap();
        let start = block.map(|b: u64| b * 32);
        let end = [0, 1, 2].map(|a| (start[a] + 32).min(EXTENT[a]));
        volume
            .with(|v| read(v, 0, 2, &Region::new(start, end)?))
            .unwrap();
        let seen = server.seen();
        assert!(seen.waves <= 3, "{} round trips", seen.waves);
        assert!(seen.requests.len() <= 5, "{} requests", seen.requests.len());
    }
}

#[test]
fn ranges_are_in_flight_together_and_connections_used_again() {
    let server = slow(file());
    let mut options = direct();
    options.in_flight = 3;
    let client = HttpClient::new(options).unwrap();
    let volume = HttpVolume::open(&client, &server.url(), Limits::default()).unwrap();
    volume.with(read_all).unwrap();
    let seen = server.seen();
    assert!(
        (2..=3).contains(&seen.most_at_once),
        "{} at once",
        seen.most_at_once
    );
    assert!(
        seen.connections <= 3 && seen.requests.len() > 10,
        "{seen:?}"
    );
}
