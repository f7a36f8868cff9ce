//! HTTPS and HTTP/2.

use std::convert::Infallible;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hgv::Error;
use hgv::io::RangeSource;
use hgv::stream::{HttpClient, HttpSource};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::server::direct;

pub(crate) type Versions = Arc<Mutex<Vec<Version>>>;

/// A server for `localhost` with a certificate of its own; returns its port and certificate.
pub(crate) fn start(
    file: &'static [u8],
    protocols: &[&[u8]],
    versions: &Versions,
) -> (u16, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    let (sender, receiver) = channel();
    let versions = Arc::clone(versions);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap().port()).unwrap();
            accept(
                listener,
                TlsAcceptor::from(Arc::new(config)),
                file,
                versions,
            )
            .await;
        });
    });
    (receiver.recv().unwrap(), certificate.to_vec())
}

async fn accept(
    listener: tokio::net::TcpListener,
    tls: TlsAcceptor,
    file: &'static [u8],
    versions: Versions,
) {
    while let Ok((tcp, _)) = listener.accept().await {
        // A client that does not trust us ends the handshake.
        let Ok(stream) = tls.accept(tcp).await else {
            continue;
        };
        let versions = Arc::clone(&versions);
        let service = service_fn(move |request| {
            let answer = answer(&request, file, &versions);
            async move { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(request: &Request<Incoming>, file: &[u8], versions: &Versions) -> Response<Full<Bytes>> {
    versions.lock().unwrap().push(request.version());
    let range = request.headers()["range"].to_str().unwrap();
    let (first, last) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let first: usize = first.parse().unwrap();
    let last = last.parse::<usize>().unwrap().min(file.len() - 1);
    Response::builder()
        .status(206)
        .header(
            "content-range",
            format!("bytes {first}-{last}/{}", file.len()),
        )
        .header("etag", "\"v1\"")
        .body(Full::new(Bytes::copy_from_slice(&file[first..=last])))
        .unwrap()
}

fn read(protocols: &[&[u8]]) -> Vec<Version> {
    let file: &'static [u8] = hgv::io::conformance::sample(400_000).leak();
    let versions = Versions::default();
    let (port, certificate) = start(file, protocols, &versions);
    let mut options = direct();
    options.root_certificates.push(certificate);
    let client = HttpClient::new(options).unwrap();
    let source = HttpSource::open(&client, &format!("https://localhost:{port}/f.hgv")).unwrap();
    hgv::io::conformance::check_source(&source, file).unwrap();
    assert_eq!(source.len(), 400_000);
    versions.lock().unwrap().clone()
}

#[test]
fn http_2_where_it_is_offered() {
    let versions = read(&[b"h2", b"http/1.1"]);
    assert!(versions.len() >= 4 && versions.iter().all(|v| *v == Version::HTTP_2));
}

#[test]
fn http_1_1_over_tls() {
    let versions = read(&[b"http/1.1"]);
    assert!(versions.len() >= 4 && versions.iter().all(|v| *v == Version::HTTP_11));
}

#[test]
fn an_unknown_authority_is_refused_at_once() {
    let (port, _) = start(b"x", &[b"h2"], &Versions::default());
    let client = HttpClient::new(direct()).unwrap();
    let result = HttpSource::open(&client, &format!("https://localhost:{port}/f.hgv"));
    match result {
        Err(Error::BadAnswer { detail, .. }) => assert!(detail.contains("TLS"), "{detail}"),
        other => panic!("{other:?}"),
    }
}
