//! Connections to servers, straight or through a proxy.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::options::ProxyRules;

type Tcp = TokioIo<TcpStream>;
type Fault = Box<dyn Error + Send + Sync>;

/// Which proxy leads where.
#[derive(Debug, Clone)]
pub(super) struct Rules(Arc<Matcher>);

impl Rules {
    pub(super) fn new(rules: &ProxyRules) -> Self {
        Self(Arc::new(match rules {
            _ if no_proxy(rules).trim() == "*" => Matcher::builder().build(),
            ProxyRules::Environment => Matcher::from_env(),
            ProxyRules::Direct => Matcher::builder().build(),
            ProxyRules::Fixed {
                http,
                https,
                except,
            } => Matcher::builder()
                .http(http.as_str())
                .https(https.as_str())
                .no(except.as_str())
                .build(),
        }))
    }

    fn proxy(&self, to: &Uri) -> Option<Intercept> {
        // The addresses at which machines of a cloud find their keys lead nowhere through a proxy.
        let local = to.host().is_some_and(|h| h.starts_with("169.254."));
        self.0.intercept(to).filter(|_| !local)
    }

    /// What a request without TLS tells the proxy of who is asking.
    pub(super) fn authorization(&self, to: &Uri) -> Option<HeaderValue> {
        let plain = to.scheme_str() == Some("http");
        self.proxy(to).filter(|_| plain)?.basic_auth().cloned()
    }
}

/// Hosts that are reached without a proxy. The matcher knows them, but takes `*` for all names only, not
/// for numbers.
fn no_proxy(rules: &ProxyRules) -> String {
    match rules {
        ProxyRules::Environment => std::env::var("NO_PROXY")
            .or_else(|_| std::env::var("no_proxy"))
            .unwrap_or_default(),
        ProxyRules::Direct => "*".into(),
        ProxyRules::Fixed { except, .. } => except.clone(),
    }
}

/// Makes connections. Through a proxy those without TLS carry requests for it, those with TLS are
/// tunnels (CONNECT).
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) tcp: HttpConnector,
    pub(super) rules: Rules,
}

impl Service<Uri> for Route {
    type Response = Way;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Way, Fault>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        let proxy = self.rules.proxy(&to);
        Box::pin(async move {
            let Some(proxy) = proxy else {
                return Way::new(tcp.call(to).await?, false);
            };
            if proxy.uri().scheme_str() != Some("http") {
                let place = proxy.uri();
                return Err(format!("the proxy {place} is no http:// one").into());
            }
            if to.scheme_str() != Some("https") {
                return Way::new(tcp.call(proxy.uri().clone()).await?, true);
            }
            let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            if let Some(value) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(value.clone());
            }
            Way::new(tunnel.call(to).await?, false)
        })
    }
}

/// A connection that knows whether a proxy reads the requests on it.
#[derive(Debug)]
pub(super) struct Way {
    stream: Tcp,
    to_proxy: bool,
}

impl Way {
    fn new(stream: Tcp, to_proxy: bool) -> Result<Self, Fault> {
        Ok(Self { stream, to_proxy })
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut Tcp> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Connection for Way {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.to_proxy)
    }
}

impl Read for Way {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl Write for Way {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, bytes)
    }
}
