//! Connections: one small runtime and one pool of them, shared by all sources of a client.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{Method, Request, Response, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use url::Url;

use super::answer::bad;
use super::options::HttpOptions;
use super::proxy::{Route, Rules};
use super::retry::Failure;
use crate::{Error, Result};

/// Threads that move bytes; decoding has its own.
const THREADS: usize = 2;
/// How often a waiting read asks whether it is still wanted.
const POLL: Duration = Duration::from_millis(50);
/// Idle connections are closed before servers do it, which spares a failed request.
const IDLE: Duration = Duration::from_secs(30);
pub(super) const AGENT: &str = concat!("hgv/", env!("CARGO_PKG_VERSION"));

/// Connections to any number of servers: HTTP/1.1 with reuse, HTTP/2 where a server offers it
/// over TLS. Cheap to clone; blocking; usable from any thread.
#[derive(Debug, Clone)]
pub struct HttpClient {
    owned: Arc<Owned>,
}

#[derive(Debug)]
struct Owned {
    /// Taken when dropped only.
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Allowed on threads of other runtimes too, and waits for nothing.
            runtime.shutdown_background();
        }
    }
}

type Pool = Client<HttpsConnector<Route>, Full<Bytes>>;

/// What tasks on the runtime use.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: HttpOptions,
    pub(super) in_flight: Semaphore,
    rules: Rules,
    http: Pool,
}

impl HttpClient {
    /// Starts the threads of a client; connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Io`] if threads cannot be started, [`Error::InvalidArgument`] for a root
    /// certificate that is none.
    pub fn new(options: HttpOptions) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("hgv-http")
            .enable_all()
            .build()
            .map_err(|e| Error::io("threads of the HTTP client", e))?;
        let rules = Rules::new(&options.proxy);
        let shared = Arc::new(Shared {
            in_flight: Semaphore::new(options.in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            http: pool(&options, rules.clone())?,
            rules,
            options,
        });
        Ok(Self {
            owned: Arc::new(Owned {
                runtime: Some(runtime),
                shared,
            }),
        })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.owned.shared
    }

    /// Runs `work` and waits for it, on a thread of any kind, until `stop` is set.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        stop: Option<&AtomicBool>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let gone = || Error::io("HTTP client", io::ErrorKind::BrokenPipe.into());
        let (sender, receiver) = sync_channel(1);
        let runtime = self.owned.runtime.as_ref().ok_or_else(gone)?;
        let task = runtime.spawn(async move {
            // The reader may have given up.
            let _ = sender.send(work.await);
        });
        let asked = self.shared().options.cancelled;
        if asked.is_none() && stop.is_none() {
            return receiver.recv().map_err(|_| gone())?;
        }
        let cancelled = || {
            asked.is_some_and(|asked| asked()) || stop.is_some_and(|s| s.load(Ordering::Relaxed))
        };
        loop {
            match receiver.recv_timeout(POLL) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(RecvTimeoutError::Timeout) if cancelled() => {
                    task.abort();
                    return Err(Error::Cancelled);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

fn pool(options: &HttpOptions, rules: Rules) -> Result<Pool> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(options.connect_timeout));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls(options)?)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(Route { tcp, rules });
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(options.in_flight)
        .http2_adaptive_window(true)
        .build(connector))
}

/// TLS with the authorities of the system. A system without any can still use plain HTTP; over TLS
/// its errors say that the issuer is unknown.
fn tls(options: &HttpOptions) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for der in &options.root_certificates {
        roots
            .add(CertificateDer::from(der.clone()))
            .map_err(|e| Error::argument(format!("root certificate: {e}")))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::argument(format!("TLS: {e}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl Shared {
    /// One request; returns with the head of the answer.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, String)],
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(header::USER_AGENT, AGENT)
            // What a proxy compresses has other offsets.
            .header(header::ACCEPT_ENCODING, "identity");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::default())
            .map_err(|e| bad(&shown(url), format!("no request can be made: {e}")))?;
        self.exchange(request, &shown(url)).await
    }

    /// Any request; `name` is for messages.
    pub(super) async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        name: &str,
    ) -> Result<Response<Incoming>, Failure> {
        if let Some(value) = self.rules.authorization(request.uri()) {
            let headers = request.headers_mut();
            headers.insert(header::PROXY_AUTHORIZATION, value);
        }
        let wait = self.options.stall_timeout;
        match tokio::time::timeout(wait, self.http.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(failure(name, &error)),
            Err(_) => Err(Failure::transient(silence(wait))),
        }
    }
}

pub(super) fn silence(wait: Duration) -> String {
    format!("no answer within {:.1} s", wait.as_secs_f64())
}

/// Certificates do not get better by asking again; everything else may.
fn failure(name: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    match tls_fault(error) {
        Some(fault) => bad(name, format!("TLS: {fault}")).into(),
        None => Failure::transient(describe(error)),
    }
}

fn tls_fault<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let mut at = error;
    loop {
        if let Some(found) = at.downcast_ref() {
            return Some(found);
        }
        // The source of a system error skips what it wraps.
        let wrapped = at.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        at = match wrapped {
            Some(inner) => inner,
            None => at.source()?,
        };
    }
}

/// An error and its causes in one line.
pub(super) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// An address for messages: queries may hold signatures.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.query().is_some() {
        url.set_query(Some("..."));
    }
    url.into()
}
