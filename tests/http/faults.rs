//! Every way in which a server, a proxy or a network may fail: the result is that of a good server or
//! a named error, never a hang, never wrong voxels.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hgv::io::{RangeRead, RangeSource, conformance};
use hgv::stream::{HttpClient, HttpSource};
use hgv::volume::DType;
use hgv::{Error, Limits, Volume};

use crate::server::{Answer, Asked, Server, Step, direct, hasty};
use crate::volumes::{Field, encoded, memory, open, read_all};

/// A file of several clusters, longer than the first request.
pub(crate) fn file(seed: u64) -> Vec<u8> {
    let field = Field {
        noise: 0.1,
        seed,
        ..Field::default()
    };
    encoded(&field.volume([160, 100, 40], DType::Uint8), |o| {
        o.target = hgv::encode::Target::Quality(75.0);
        o.preset = hgv::encode::Preset::Fast;
    })
}

pub(crate) struct Case {
    pub(crate) file: Vec<u8>,
    pub(crate) voxels: Vec<Vec<u8>>,
}

/// The file of most tests and its voxels at every level.
pub(crate) fn case() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let file = file(1);
        assert!(file.len() > 150_000, "{} bytes", file.len());
        let voxels = read_all(&open(memory(&file)).unwrap()).unwrap();
        Case { file, voxels }
    })
}

pub(crate) fn open_with(client: &HttpClient, url: &str) -> hgv::Result<Volume> {
    let source = Arc::new(HttpSource::open(client, url)?);
    Volume::from_source(source, Limits::default())?.with_threads(1)
}

/// Opens and reads everything.
fn everything(url: &str) -> hgv::Result<Vec<Vec<u8>>> {
    read_all(&open_with(&hasty(), url)?)
}

/// Which requests a fault hits.
#[derive(Debug, Clone, Copy)]
enum Hits {
    Number(usize),
    From(usize),
}

impl Hits {
    fn hit(self, number: usize) -> bool {
        match self {
            Self::Number(n) => n == number,
            Self::From(n) => number >= n,
        }
    }
}

/// Reads everything from a server with a fault, in bounded time.
fn with_fault(hits: Hits, fault: fn(Answer) -> Vec<Step>) -> hgv::Result<Vec<Vec<u8>>> {
    let file = case().file.clone();
    let server = Server::start(move |asked| {
        let good = Answer::part(&file, Some("\"v1\""), asked);
        if hits.hit(asked.number) {
            fault(good)
        } else {
            good.send()
        }
    });
    let start = Instant::now();
    let result = everything(&server.url());
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{hits:?}: {:?}",
        start.elapsed()
    );
    assert!(hits.hit(server.seen().requests.len() - 1) || matches!(hits, Hits::Number(_)));
    result
}

/// A fault that passes: the result is that of a good server, whichever request it hits. One that
/// stays: the error says so.
fn passes(name: &str, fault: fn(Answer) -> Vec<Step>) {
    for hit in [0, 1, 3] {
        let found = with_fault(Hits::Number(hit), fault);
        let found = found.unwrap_or_else(|e| panic!("{name} at request {hit}: {e}"));
        assert!(
            found == case().voxels,
            "{name} at request {hit}: other voxels"
        );
    }
    for from in [0, 2] {
        match with_fault(Hits::From(from), fault) {
            Err(Error::Unreachable { attempts, .. }) => {
                assert!(
                    (2..=5).contains(&attempts),
                    "{name} from {from}: {attempts} attempts"
                );
            }
            other => panic!("{name} from {from}: {:?}", other.map(|_| "voxels")),
        }
    }
}

/// A fault that another attempt would not change.
fn is_refused(name: &str, fault: fn(Answer) -> Vec<Step>, expected: fn(&Error) -> bool) {
    for hits in [Hits::Number(0), Hits::Number(2), Hits::From(1)] {
        match with_fault(hits, fault) {
            Err(e) if expected(&e) => {}
            other => panic!("{name}, {hits:?}: {:?}", other.map(|_| "voxels")),
        }
    }
}

#[test]
fn a_good_server_gives_what_the_file_gives() {
    let server = Server::good(case().file.clone());
    assert!(everything(&server.url()).unwrap() == case().voxels);
    let asked = server.seen();
    let later = &asked.requests[1..];
    assert!(later.len() > 3 && later.iter().all(|a| a.headers["if-match"] == "\"v1\""));
    for a in &asked.requests {
        assert_eq!(a.headers["accept-encoding"], "identity");
        assert!(
            a.range().is_some() && a.method == "GET",
            "plain ranges only"
        );
        assert!(!a.headers.contains_key("if-range"));
    }
}

#[test]
fn an_http_source_conforms() {
    let data = conformance::sample(300_000);
    let server = Server::good(data.clone());
    let source = HttpSource::open(&hasty(), &server.url()).unwrap();
    conformance::check_source(&source, &data).unwrap();
}

#[test]
fn broken_connections() {
    passes("closed at once", |_| vec![Step::Close]);
    passes("closed in the head", |a| {
        vec![Step::Send(a.head()[..20].to_vec()), Step::Close]
    });
    passes("no HTTP", |_| {
        vec![Step::Send(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), Step::Close]
    });
}

#[test]
fn silence() {
    const LONG: Step = Step::Wait(Duration::from_millis(1500));
    passes("silence before the head", |_| vec![LONG, Step::Close]);
    passes("silence in the head", |a| {
        vec![Step::Send(a.head()[..20].to_vec()), LONG, Step::Close]
    });
}

#[test]
fn bodies_that_break_off_are_continued() {
    const FIRST: usize = 700;
    let cut: fn(Answer) -> Vec<Step> = |a| {
        let mut bytes = a.head();
        bytes.extend(&a.body[..FIRST.min(a.body.len().div_ceil(2))]);
        vec![Step::Send(bytes), Step::Close]
    };
    for hit in [0, 1, 3] {
        assert!(with_fault(Hits::Number(hit), cut).unwrap() == case().voxels);
    }
    let file = case().file.clone();
    let server = Server::start(move |asked| cut(Answer::part(&file, Some("\"v1\""), asked)));
    let source = HttpSource::open(&hasty(), &server.url());
    // Every attempt brings bytes, so each one is worth it; at most the deadline ends it.
    let source = source.unwrap();
    let firsts: Vec<_> = server
        .seen()
        .requests
        .iter()
        .map(|a| a.range().unwrap().0)
        .collect();
    assert!(
        firsts.windows(2).all(|w| w[0] < w[1]),
        "goes on where it broke off"
    );
    assert_eq!(source.len(), case().file.len() as u64);
}

#[test]
fn bodies_that_end_early_without_a_length_are_continued() {
    for hit in [0, 1, 3] {
        let found = with_fault(Hits::Number(hit), |mut a| {
            a.body.truncate(a.body.len().div_ceil(2));
            a.chunked = true;
            a.send()
        });
        assert!(found.unwrap() == case().voxels);
    }
}

#[test]
fn bodies_that_stall() {
    for (hits, good) in [
        (Hits::Number(0), true),
        (Hits::Number(2), true),
        (Hits::From(0), false),
    ] {
        let found = with_fault(hits, |a| {
            let head = a.head();
            vec![
                Step::Send([&head[..], &a.body[..10]].concat()),
                Step::Wait(Duration::from_millis(1500)),
                Step::Close,
            ]
        });
        match found {
            Ok(voxels) => assert!(good && voxels == case().voxels),
            Err(Error::Unreachable { .. }) => assert!(!good),
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn bodies_in_single_bytes() {
    let found = with_fault(Hits::Number(0), |a| {
        let mut steps = vec![Step::Send(a.head())];
        let (few, rest) = a.body.split_at(200);
        steps.extend(few.iter().map(|b| Step::Send(vec![*b])));
        steps.push(Step::Send(rest.to_vec()));
        steps
    });
    assert!(found.unwrap() == case().voxels);
}

#[test]
fn a_trickle_ends() {
    let file = case().file.clone();
    let server = Server::start(move |asked| {
        let answer = Answer::part(&file, None, asked);
        let mut steps = vec![Step::Send(answer.head())];
        for byte in &answer.body {
            steps.extend([
                Step::Send(vec![*byte]),
                Step::Wait(Duration::from_millis(50)),
            ]);
        }
        steps
    });
    let mut options = direct();
    (options.patience, options.slowest) = (Duration::from_secs(1), 64 << 10);
    let client = HttpClient::new(options).unwrap();
    let start = Instant::now();
    let result = HttpSource::open(&client, &server.url());
    assert!(
        matches!(result, Err(Error::Unreachable { .. })),
        "{result:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn servers_in_trouble() {
    passes("500", |_| Answer::status(500).send());
    passes("502", |_| Answer::status(502).send());
    passes("503", |_| {
        Answer::status(503).with("Retry-After", "0").send()
    });
    passes("429", |_| Answer::status(429).send());
    passes("408", |_| {
        [Answer::status(408).send(), vec![Step::Close]].concat()
    });
}

#[test]
fn a_pause_that_the_server_asks_for_is_made() {
    let start = Instant::now();
    let found = with_fault(Hits::Number(1), |_| {
        Answer::status(503).with("Retry-After", "1").send()
    });
    assert!(found.unwrap() == case().voxels && start.elapsed() >= Duration::from_secs(1));
    let start = Instant::now();
    let found = with_fault(Hits::From(1), |_| {
        Answer::status(503).with("Retry-After", "3600").send()
    });
    assert!(matches!(found, Err(Error::Unreachable { attempts: 1, .. })));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "an hour is not waited for"
    );
}

#[test]
fn refusals() {
    for status in [401u16, 403, 404, 410, 501] {
        let server = Server::start(move |_| Answer::status(status).send());
        let result = everything(&server.url());
        assert!(matches!(result, Err(Error::HttpStatus { status: s, .. }) if s == status));
        assert_eq!(
            server.seen().requests.len(),
            1,
            "{status} is not asked for again"
        );
    }
    is_refused(
        "404",
        |_| Answer::status(404).send(),
        |e| matches!(e, Error::HttpStatus { status: 404, .. }),
    );
}

#[test]
fn servers_without_ranges() {
    let whole: fn(Answer) -> Vec<Step> = |mut a| {
        a.status = 200;
        a.body = case().file.clone();
        a.without("Content-Range").send()
    };
    is_refused("200", whole, |e| matches!(e, Error::NoRanges { .. }));
    let file = case().file.clone();
    let server = Server::start(move |_| {
        let mut answer = Answer::status(200);
        answer.body.clone_from(&file);
        answer.send()
    });
    let error = everything(&server.url()).unwrap_err().to_string();
    assert!(
        error.contains("range requests") && error.contains("/volume.hgv"),
        "{error}"
    );
}

#[test]
fn proxies_that_compress() {
    is_refused(
        "gzip",
        |a| a.with("Content-Encoding", "gzip").send(),
        |e| matches!(e, Error::Encoded { encoding, .. } if encoding == "gzip"),
    );
    let zipped: fn(Answer) -> Vec<Step> = |mut a| {
        a.status = 200;
        a.chunked = true;
        a.without("Content-Range")
            .with("Content-Encoding", "br")
            .send()
    };
    is_refused("br in 200", zipped, |e| matches!(e, Error::Encoded { .. }));
}

#[test]
fn wrong_ranges() {
    let is_bad: fn(&Error) -> bool = |e| matches!(e, Error::BadAnswer { .. });
    is_refused(
        "no Content-Range",
        |a| a.without("Content-Range").send(),
        is_bad,
    );
    is_refused(
        "shifted",
        |a| {
            let total = case().file.len();
            let last = a.body.len();
            a.with("Content-Range", &format!("bytes 1-{last}/{total}"))
                .send()
        },
        |e| matches!(e, Error::BadAnswer { .. }),
    );
    is_refused(
        "longer in chunks",
        |mut a| {
            a.body.push(0);
            a.chunked = true;
            a.send()
        },
        is_bad,
    );
    is_refused(
        "longer",
        |mut a| {
            a.body.push(0);
            a.send()
        },
        is_bad,
    );
    is_refused(
        "shorter",
        |mut a| {
            a.body.pop();
            a.send()
        },
        is_bad,
    );
    is_refused(
        "many parts",
        |a| {
            a.without("Content-Range")
                .with("Content-Type", "multipart/byteranges; boundary=x")
                .send()
        },
        is_bad,
    );
}

#[test]
fn chunked_bodies_are_fine() {
    let found = with_fault(Hits::From(0), |mut a| {
        a.chunked = true;
        a.send()
    });
    assert!(found.unwrap() == case().voxels);
}

#[test]
fn damage_on_the_way_is_noticed() {
    for hits in [
        Hits::Number(0),
        Hits::Number(1),
        Hits::Number(2),
        Hits::From(1),
    ] {
        let found = with_fault(hits, |mut a| {
            let middle = a.body.len() / 2;
            a.body[middle] ^= 0x10;
            a.send()
        });
        match found {
            // Padding, or a part of the first 64 KiB that nothing needs.
            Ok(voxels) => assert!(voxels == case().voxels, "{hits:?}: wrong voxels"),
            Err(e) => assert!(e.may_be_change(), "{hits:?}: {e}"),
        }
    }
}

#[test]
fn redirects() {
    let file = case().file.clone();
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/volume.hgv" => Answer::status(302)
            .with("Location", "/one/../two.hgv?sig=1")
            .send(),
        "/two.hgv?sig=1" => Answer::status(308).with("Location", "three.hgv").send(),
        "/three.hgv" => Answer::part(&file, Some("\"v1\""), asked).send(),
        path => panic!("{path}"),
    });
    assert!(everything(&server.url()).unwrap() == case().voxels);
    let paths: Vec<_> = server
        .seen()
        .requests
        .iter()
        .map(|a| a.path.clone())
        .collect();
    assert_eq!(paths[..3], ["/volume.hgv", "/two.hgv?sig=1", "/three.hgv"]);
    assert!(
        paths[3..].iter().all(|p| p == "/three.hgv"),
        "the way is remembered"
    );
}

#[test]
fn redirects_that_expire_are_followed_anew() {
    let file = case().file.clone();
    let server = Server::start(move |asked| {
        let signed = format!("/signed?{}", asked.number / 4);
        match asked.path.as_str() {
            "/volume.hgv" => Answer::status(307).with("Location", &signed).send(),
            path if path == signed => Answer::part(&file, Some("\"v1\""), asked).send(),
            _ => Answer::status(403).send(),
        }
    });
    let mut options = direct();
    (options.in_flight, options.backoff) = (1, Duration::from_millis(4));
    let volume = open_with(&HttpClient::new(options).unwrap(), &server.url()).unwrap();
    assert!(read_all(&volume).unwrap() == case().voxels);
    let signed = |a: &&Asked| a.path == "/volume.hgv";
    assert!(server.seen().requests.iter().filter(signed).count() > 2);
}

#[test]
fn redirects_that_lead_nowhere() {
    let lead = |to: &'static str| {
        let server = Server::start(move |_| Answer::status(302).with("Location", to).send());
        (everything(&server.url()), server)
    };
    let (result, server) = lead("/again");
    assert!(matches!(
        result,
        Err(Error::TooManyRedirects { limit: 5, .. })
    ));
    assert_eq!(server.seen().requests.len(), 6);
    for to in ["ftp://host/a", "file:///etc/passwd", "http://[bad"] {
        assert!(matches!(lead(to).0, Err(Error::BadAnswer { .. })), "{to}");
    }
    let server = Server::start(|_| Answer::status(302).send());
    assert!(matches!(
        everything(&server.url()),
        Err(Error::BadAnswer { .. })
    ));
}

/// A server that hides the length beside ranges.
fn without_total(head: fn(&Asked, usize) -> Vec<Step>) -> Server {
    let file = case().file.clone();
    Server::start(move |asked| {
        if asked.method == "HEAD" {
            return head(asked, file.len());
        }
        let part = Answer::part(&file, Some("\"v1\""), asked);
        let (first, last) = asked.range().unwrap();
        let last = last.min(file.len() as u64 - 1);
        part.with("Content-Range", &format!("bytes {first}-{last}/*"))
            .send()
    })
}

#[test]
fn a_length_that_is_not_told_beside_ranges_is_asked_for() {
    let server = without_total(|_, n| {
        let head = Answer::status(200).with("Content-Length", &n.to_string());
        vec![Step::Send(head.head())]
    });
    assert!(everything(&server.url()).unwrap() == case().voxels);
    let heads = server
        .seen()
        .requests
        .iter()
        .filter(|a| a.method == "HEAD")
        .count();
    assert_eq!(heads, 1);
    let server = without_total(|_, _| vec![Step::Send(Answer::status(405).head())]);
    let result = everything(&server.url());
    assert!(matches!(result, Err(Error::HttpStatus { status: 405, .. })));
    let server = without_total(|_, _| {
        let mut head = Answer::status(200);
        head.chunked = true;
        vec![Step::Send(head.head()), Step::Close]
    });
    assert!(matches!(
        everything(&server.url()),
        Err(Error::BadAnswer { .. })
    ));
}

#[test]
fn no_server_and_no_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "http://{}/a.hgv?signature=secret",
        free.local_addr().unwrap()
    );
    drop(free);
    let error = everything(&url).unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { attempts: 5, .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("secret"), "{error}");
    for address in [
        "ftp://host/a.hgv",
        "host/a.hgv",
        "http://",
        "http://me:pw@host/a.hgv",
    ] {
        let result = HttpSource::open(&hasty(), address);
        assert!(
            matches!(result, Err(Error::InvalidArgument(_))),
            "{address}"
        );
    }
}

#[test]
fn a_small_or_empty_file_is_no_volume() {
    for n in [0, 5, 300] {
        let server = Server::good(vec![7; n]);
        let source = HttpSource::open(&hasty(), &server.url()).unwrap();
        assert_eq!(source.len(), n as u64);
        let result = everything(&server.url());
        assert!(
            matches!(result, Err(Error::Unsupported(_) | Error::Truncated { .. })),
            "{result:?}"
        );
    }
}

#[test]
fn a_read_that_is_not_wanted_any_more_ends() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static STOP: AtomicBool = AtomicBool::new(false);
    let file = case().file.clone();
    let server = Server::start(move |asked| match asked.number {
        0 => Answer::part(&file, None, asked).send(),
        _ => vec![Step::Wait(Duration::from_secs(20))],
    });
    let mut options = direct();
    options.cancelled = Some(|| STOP.load(Ordering::SeqCst));
    let client = HttpClient::new(options).unwrap();
    let source = HttpSource::open(&client, &server.url()).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            STOP.store(true, Ordering::SeqCst);
        });
        let mut reads = [RangeRead::new(100_000, 1000).unwrap()];
        assert!(matches!(
            source.read_ranges(&mut reads),
            Err(Error::Cancelled)
        ));
    });
    assert!(start.elapsed() < Duration::from_secs(5));
}
