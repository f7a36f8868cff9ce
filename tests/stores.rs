//! Object stores: a real S3 server in this process; answers of Google's and Azure's by the book.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "stores/s3.rs"]
mod s3;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "http/server.rs"]
mod server;
mod volumes;

use std::sync::Arc;

use hgv::encode::Target;
use hgv::io::{RangeSource, conformance};
use hgv::stream::{RemoteSource, StoreSource, is_address};
use hgv::volume::{DType, Region};
use hgv::{Error, Limits, Volume};
use s3::Store;
use server::{Answer, Server, hasty};
use volumes::{Field, encoded, memory, open, read, read_all};

/// Several clusters, longer than the first request.
fn file(seed: u64) -> Vec<u8> {
    let field = Field {
        noise: 0.1,
        seed,
        ..Field::default()
    };
    let bytes = encoded(&field.volume([160, 100, 40], DType::Uint8), |o| {
        (o.target, o.preset) = (Target::Quality(75.0), hgv::encode::Preset::Fast);
    });
    assert!(bytes.len() > 150_000, "{} bytes", bytes.len());
    bytes
}

fn opened(store: &Store, address: &str) -> hgv::Result<StoreSource> {
    StoreSource::open_with(&hasty(), address, &store.settings())
}

fn volume(source: Arc<StoreSource>) -> hgv::Result<Volume> {
    Volume::from_source(source, Limits::default())?.with_threads(1)
}

#[test]
fn an_s3_source_conforms() {
    let data = conformance::sample(300_000);
    let store = Store::start(&[("bucket/a folder/sample.hgv", &data)]);
    let source = opened(&store, "s3://bucket/a%20folder/sample.hgv").unwrap();
    conformance::check_source(&source, &data).unwrap();
    assert!(!source.changed().unwrap());
}

#[test]
fn a_volume_in_s3_is_the_one_on_disk_for_few_requests() {
    let bytes = file(1);
    let local = open(memory(&bytes)).unwrap();
    let store = Store::start(&[("bucket/v.hgv", &bytes)]);
    let source = Arc::new(opened(&store, "s3://bucket/v.hgv").unwrap());
    let remote = volume(source).unwrap();
    let lod = remote.lods() - 1;
    let whole = Region::whole(remote.lod_extent(lod).unwrap());
    assert!(read(&remote, lod, 0, &whole).unwrap() == read(&local, lod, 0, &whole).unwrap());
    assert_eq!(store.requests(), 1, "the first picture");
    let block = Region::new([64, 32, 0], [96, 64, 32]).unwrap();
    let level = local.levels() - 1;
    let found = read(&remote, 0, level, &block).unwrap();
    assert!(found == read(&local, 0, level, &block).unwrap());
    assert!(store.requests() <= 5, "{} requests", store.requests());
    assert!(read_all(&remote).unwrap() == read_all(&local).unwrap());
}

#[test]
fn an_object_that_is_replaced_is_noticed() {
    let (old, new) = (file(1), file(2));
    let store = Store::start(&[("bucket/v.hgv", &old)]);
    let source = Arc::new(opened(&store, "s3://bucket/v.hgv").unwrap());
    let before = volume(Arc::clone(&source)).unwrap();
    store.put("bucket/v.hgv", &new);
    let result = read_all(&before);
    assert!(matches!(result, Err(Error::SourceChanged(_))), "{result:?}");
    assert!(source.changed().unwrap());
    let again = Arc::new(opened(&store, "s3://bucket/v.hgv").unwrap());
    let expected = read_all(&open(memory(&new)).unwrap()).unwrap();
    assert!(read_all(&volume(again).unwrap()).unwrap() == expected);
}

#[test]
fn what_is_missing_is_said() {
    let store = Store::start(&[("bucket/v.hgv", b"x")]);
    let refused = |address: &str, settings: &[(&str, &str)]| {
        let settings = [&store.settings(), settings].concat();
        let error = StoreSource::open_with(&hasty(), address, &settings).unwrap_err();
        (error.to_string(), error)
    };
    let (text, error) = refused("s3://bucket/none.hgv", &[]);
    assert!(
        matches!(error, Error::HttpStatus { status: 404, .. }),
        "{text}"
    );
    assert!(
        text.contains("s3://bucket/none.hgv") && text.contains("NoSuchKey"),
        "{text}"
    );
    let (text, error) = refused("s3://elsewhere/v.hgv", &[]);
    assert!(
        matches!(error, Error::HttpStatus { status: 404, .. }),
        "{text}"
    );
    let (text, error) = refused("s3://bucket/v.hgv", &[("AWS_SECRET_ACCESS_KEY", "wrong")]);
    assert!(
        matches!(error, Error::HttpStatus { status: 403, .. }),
        "{text}"
    );
    assert!(
        text.contains("SignatureDoesNotMatch") && text.contains("AWS_ACCESS_KEY_ID"),
        "{text}"
    );
    let (text, error) = refused("s3://bucket/v.hgv", &[("AWS_SKIP_SIGNATURE", "true")]);
    assert!(
        matches!(error, Error::HttpStatus { status: 403, .. }),
        "{text}"
    );
    let (text, error) = refused("s3://bucket/v.hgv", &[("AWS_ALLOW_HTTP", "false")]);
    assert!(
        matches!(error, Error::BadAnswer { .. }) && text.contains("AWS_ALLOW_HTTP"),
        "{text}"
    );
    for (address, settings) in [
        ("s3://bucket", &[][..]),
        ("s3:///v.hgv", &[]),
        ("file:///etc/passwd", &[]),
        ("v.hgv", &[]),
        ("s3://bucket/v.hgv", &[("AWS_NO_SUCH_THING", "1")]),
    ] {
        let (text, error) = refused(address, settings);
        assert!(
            matches!(error, Error::InvalidArgument(_)),
            "{address}: {text}"
        );
    }
    let half = [("AWS_ACCESS_KEY_ID", "only")];
    let error = StoreSource::open_with(&hasty(), "s3://bucket/v.hgv", &half).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
}

/// Without keys the machine is asked for them; here a server stands in that has none.
#[test]
fn no_credentials_are_said() {
    let settings = [("AWS_METADATA_ENDPOINT", "http://169.254.0.0:1")];
    let error = StoreSource::open_with(&hasty(), "s3://bucket/v.hgv", &settings).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("AWS_ACCESS_KEY_ID") && text.contains("AWS_SKIP_SIGNATURE"),
        "{text}"
    );
}

#[test]
fn stores_in_trouble_are_asked_again() {
    let data = conformance::sample(200_000);
    let file = data.clone();
    let server = Server::start(move |asked| match asked.number % 3 {
        0 => Answer::status(503).with("Retry-After", "0").send(),
        1 => {
            let mut part = Answer::part(&file, Some("\"v1\""), asked);
            let whole = part.body.len().to_string();
            part.body.truncate(part.body.len() / 2);
            let mut steps = dated(part).with("Content-Length", &whole).send();
            steps.push(server::Step::Close);
            steps
        }
        _ => dated(Answer::part(&file, Some("\"v1\""), asked)).send(),
    });
    let settings = plain_s3(&server);
    let source = StoreSource::open_with(&hasty(), "s3://bucket/v.hgv", &pairs(&settings)).unwrap();
    let mut found = vec![0; data.len()];
    source.read_at(0, &mut found).unwrap();
    assert!(found == data);
    let seen = server.seen();
    let later = seen.requests.iter().skip(3);
    assert!(later.clone().count() >= 3);
    assert!(later.into_iter().all(|a| a.headers["if-match"] == "\"v1\""));
    let down = Server::start(|_| Answer::status(500).send());
    let settings = plain_s3(&down);
    let result = StoreSource::open_with(&hasty(), "s3://bucket/v.hgv", &pairs(&settings));
    assert!(
        matches!(result, Err(Error::Unreachable { attempts: 5, .. })),
        "{result:?}"
    );
}

#[test]
fn answers_that_cannot_be_used_are_refused() {
    let data = conformance::sample(100_000);
    let answered = |change: fn(Answer) -> Answer| {
        let file = data.clone();
        let server = Server::start(move |asked| {
            let part = Answer::part(&file, Some("\"v1\""), asked);
            change(dated(part)).send()
        });
        let settings = plain_s3(&server);
        StoreSource::open_with(&hasty(), "s3://bucket/v.hgv", &pairs(&settings))
    };
    assert!(answered(|a| a).is_ok());
    let gzip = answered(|a| a.with("Content-Encoding", "gzip"));
    assert!(matches!(gzip, Err(Error::Encoded { .. })), "{gzip:?}");
    let shifted = answered(|a| a.with("Content-Range", "bytes 1-65536/100000"));
    assert!(
        matches!(shifted, Err(Error::BadAnswer { .. })),
        "{shifted:?}"
    );
    let whole = answered(|mut a| {
        a.status = 200;
        a.without("Content-Range")
    });
    assert!(matches!(whole, Err(Error::BadAnswer { .. })), "{whole:?}");
    let none = answered(|_| Answer::status(416));
    assert!(matches!(none, Err(Error::BadAnswer { .. })), "{none:?}");
}

#[test]
fn google_and_azure() {
    let bytes = file(1);
    let expected = read_all(&open(memory(&bytes)).unwrap()).unwrap();
    let good = || {
        let bytes = bytes.clone();
        Server::start(move |asked| {
            let part = dated(Answer::part(&bytes, Some("\"v1\""), asked));
            part.with("x-ms-version", "2023-11-03").send()
        })
    };
    let google = good();
    let settings = [
        ("GOOGLE_BASE_URL", google.address.as_str()),
        ("GOOGLE_SKIP_SIGNATURE", "true"),
        ("GOOGLE_ALLOW_HTTP", "true"),
    ];
    let azure = good();
    let azure_settings = [
        ("AZURE_STORAGE_ENDPOINT", azure.address.as_str()),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_SKIP_SIGNATURE", "true"),
        ("AZURE_ALLOW_HTTP", "true"),
    ];
    for (address, settings, server) in [
        ("gs://bucket/folder/v.hgv", &settings[..], &google),
        ("az://container/folder/v.hgv", &azure_settings, &azure),
    ] {
        let source = StoreSource::open_with(&hasty(), address, settings).unwrap();
        assert!(
            read_all(&volume(Arc::new(source)).unwrap()).unwrap() == expected,
            "{address}"
        );
        let seen = server.seen();
        let paths: Vec<_> = seen.requests.iter().map(|a| &a.path).collect();
        assert!(paths.iter().all(|p| p.contains("folder")), "{paths:?}");
        assert!(
            seen.requests[1..]
                .iter()
                .all(|a| a.headers.contains_key("if-match"))
        );
    }
}

#[test]
fn addresses() {
    for address in [
        "s3://b/k",
        "GS://b/k",
        "az://c/k",
        "http://h/f",
        "https://h/f",
    ] {
        assert!(is_address(address), "{address}");
    }
    for text in ["file:///a", "a.hgv", "s3:/b/k", "", "C:\\a.hgv"] {
        assert!(!is_address(text), "{text}");
    }
}

/// Every store tells dates.
fn dated(answer: Answer) -> Answer {
    answer.with("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
}

fn plain_s3(server: &Server) -> [(&'static str, String); 3] {
    [
        ("AWS_ENDPOINT", server.address.clone()),
        ("AWS_SKIP_SIGNATURE", "true".into()),
        ("AWS_ALLOW_HTTP", "true".into()),
    ]
}

fn pairs<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(k, v)| (*k, v.as_str())).collect()
}
