//! A file that is replaced while it is read.

use std::sync::OnceLock;

use hgv::stream::{HttpSource, HttpVolume};
use hgv::volume::Region;
use hgv::{Error, Limits, Volume};

use crate::faults::{case, file, open_with};
use crate::server::{Answer, Server, hasty};
use crate::volumes::{memory, open, read, read_all};

type Voxels = Vec<Vec<u8>>;

/// Another file and its voxels.
pub(crate) fn other() -> &'static (Vec<u8>, Voxels) {
    static OTHER: OnceLock<(Vec<u8>, Voxels)> = OnceLock::new();
    OTHER.get_or_init(|| {
        let file = file(2);
        let voxels = read_all(&open(memory(&file)).unwrap()).unwrap();
        assert!(voxels != case().voxels);
        (file, voxels)
    })
}

/// How a server tells versions apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Tells {
    Etag,
    Weak,
    Date,
    Length,
    Nothing,
}

impl Tells {
    fn dress(self, answer: Answer, version: usize) -> Answer {
        match self {
            Self::Etag | Self::Length | Self::Nothing => answer,
            Self::Weak => answer.with("ETag", &format!("W/\"v{version}\"")),
            Self::Date => {
                let date = format!("Sun, 06 Nov 1994 08:49:3{version} GMT");
                answer.with("Last-Modified", &date)
            }
        }
    }
}

/// Serves the first file for `swap` requests, then the other one; `swap_back` requests later the
/// first one again.
pub(crate) fn swapping(tells: Tells, swap: usize, swap_back: usize) -> Server {
    let files = [case().file.clone(), other().0.clone()];
    Server::start(move |asked| {
        let version = usize::from((swap..swap.saturating_add(swap_back)).contains(&asked.number));
        let mut bytes = files[version].clone();
        if matches!(tells, Tells::Nothing | Tells::Weak | Tells::Date) {
            // Equal lengths: what is missing reads as zero, as in a file that is being written.
            bytes.resize(files[0].len(), 0);
        }
        let etag = format!("\"v{version}\"");
        let etag = (tells == Tells::Etag).then_some(etag.as_str());
        tells
            .dress(Answer::part(&bytes, etag, asked), version)
            .send()
    })
}

const ALL: [Tells; 5] = [
    Tells::Etag,
    Tells::Weak,
    Tells::Date,
    Tells::Length,
    Tells::Nothing,
];

/// The full resolution at its coarsest and at its best quality.
fn read_some(volume: &Volume) -> hgv::Result<Voxels> {
    let whole = Region::whole(volume.extent());
    [0, volume.levels() - 1]
        .map(|level| read(volume, 0, level, &whole))
        .into_iter()
        .collect()
}

/// Requests that this takes.
fn requests() -> usize {
    let server = Server::good(case().file.clone());
    read_some(&open_with(&hasty(), &server.url()).unwrap()).unwrap();
    server.seen().requests.len()
}

#[test]
fn no_two_versions_mix_wherever_the_swap_falls() {
    let most = requests();
    assert!(most > 5, "{most} requests");
    for tells in ALL {
        for swap in 1..most {
            let server = swapping(tells, swap, usize::MAX);
            let result = open_with(&hasty(), &server.url()).and_then(|v| read_some(&v));
            match result {
                Ok(_) => panic!("{tells:?}, swap before request {swap}: not noticed"),
                Err(Error::SourceChanged(_)) => {}
                Err(e) => assert!(
                    tells == Tells::Nothing && e.may_be_change(),
                    "{tells:?}, swap before request {swap}: {e}"
                ),
            }
        }
    }
}

#[test]
fn a_file_that_was_replaced_is_opened_anew_once() {
    let (b, voxels) = other();
    for tells in [Tells::Etag, Tells::Length] {
        for swap in [1, 2, 4] {
            let server = swapping(tells, swap, usize::MAX);
            let volume = HttpVolume::open(&hasty(), &server.url(), Limits::default()).unwrap();
            let mut calls = 0;
            let found = volume.with(|v| {
                calls += 1;
                read_all(v)
            });
            assert!(found.unwrap() == *voxels, "{tells:?}, {swap}");
            assert_eq!(calls, 2);
            // From now on it is the new file.
            assert_eq!(
                volume.with(|v| Ok(v.info()?.file_bytes)).unwrap(),
                b.len() as u64
            );
        }
    }
}

#[test]
fn checksums_lead_to_another_look_where_no_version_is_told() {
    let first = case().file.clone();
    let second = other().0.clone();
    let length = first.len().min(second.len());
    let server = Server::start(move |asked| {
        let file = if asked.number < 3 { &first } else { &second };
        // Not even the length is told beside the range.
        let part = Answer::part(file, None, asked);
        if asked.method == "HEAD" {
            let head = Answer::status(200).with("Content-Length", &file.len().to_string());
            return vec![crate::server::Step::Send(head.head())];
        }
        let (a, b) = asked.range().unwrap();
        let b = b.min(file.len() as u64 - 1);
        part.with("Content-Range", &format!("bytes {a}-{b}/*"))
            .send()
    });
    assert!(length > 65_536);
    let volume = HttpVolume::open(&hasty(), &server.url(), Limits::default()).unwrap();
    assert!(volume.with(read_all).unwrap() == other().1);
}

#[test]
fn a_file_that_keeps_changing_is_an_error() {
    let file = case().file.clone();
    let server = Server::start(move |asked| {
        let etag = format!("\"{}\"", asked.number / 2);
        Answer::part(&file, Some(&etag), asked).send()
    });
    let volume = HttpVolume::open(&hasty(), &server.url(), Limits::default()).unwrap();
    let mut calls = 0;
    let result = volume.with(|v| {
        calls += 1;
        read_all(v)
    });
    assert!(matches!(result, Err(Error::SourceChanged(_))), "{result:?}");
    assert_eq!(calls, 2);
}

#[test]
fn other_errors_open_nothing_anew() {
    let mut file = case().file.clone();
    let middle = file.len() / 2;
    file[middle..].fill(0x55);
    let server = Server::good(file);
    let volume = HttpVolume::open(&hasty(), &server.url(), Limits::default()).unwrap();
    let mut calls = 0;
    let result = volume.with(|v| {
        calls += 1;
        read_all(v)
    });
    assert!(result.is_err_and(|e| e.may_be_change()));
    assert_eq!(calls, 1, "the file is damaged, not replaced");
    let source = HttpSource::open(&hasty(), &server.url()).unwrap();
    assert!(!source.changed().unwrap());
}
