//! From requests to answers: the files of the page, and the WebSocket.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hgv::{Error, Result};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Viewer, socket};
use crate::serve::interrupted;

/// Time for the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// Pause after the system refused a connection.
const REFUSED: Duration = Duration::from_millis(50);

/// The files of the page: name, type, text.
const FILES: [(&str, &str, &str); 7] = [
    ("", HTML, include_str!("page/index.html")),
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("page/style.css"),
    ),
    ("main.js", SCRIPT, include_str!("page/main.js")),
    ("camera.js", SCRIPT, include_str!("page/camera.js")),
    ("controls.js", SCRIPT, include_str!("page/controls.js")),
    ("link.js", SCRIPT, include_str!("page/link.js")),
    ("transfer.js", SCRIPT, include_str!("page/transfer.js")),
];
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

type Answer = Response<Full<Bytes>>;

/// Opens the port.
///
/// # Errors
/// [`Error::Io`] if it is taken.
pub(crate) async fn bind(port: u16) -> Result<(TcpListener, u16)> {
    let failed = |e| Error::io(format!("127.0.0.1:{port}"), e);
    let address = (Ipv4Addr::LOCALHOST, port);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let found = listener.local_addr().map_err(failed)?.port();
    Ok((listener, found))
}

/// Answers until an interrupt.
pub(crate) async fn serve(listener: TcpListener, viewer: Arc<Viewer>) {
    let mut over = std::pin::pin!(interrupted());
    loop {
        tokio::select! {
            biased;
            () = &mut over => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, Arc::clone(&viewer)));
                }
                Err(_) => tokio::time::sleep(REFUSED).await,
            }
        }
    }
}

async fn connection(stream: TcpStream, viewer: Arc<Viewer>) {
    // Without it a frame may wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let answer = answer(request, &viewer);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A browser that goes away is no fault of the server.
    let _ = connection.await;
}

fn answer(request: Request<Incoming>, viewer: &Arc<Viewer>) -> Answer {
    let Some(name) = viewer.guard.admit(request.uri().path(), request.headers()) else {
        let text = "Open the address that hgv view has printed: it holds a secret.\n";
        return plain(StatusCode::FORBIDDEN, text);
    };
    if name == "socket" {
        return upgrade(request, viewer);
    }
    let Some((_, kind, text)) = FILES.iter().find(|(file, ..)| *file == name) else {
        return plain(StatusCode::NOT_FOUND, "There is no such file.\n");
    };
    match *request.method() {
        Method::GET => with_policy(content(StatusCode::OK, kind, text), viewer),
        Method::HEAD => with_policy(content(StatusCode::OK, kind, ""), viewer),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "Files can be read only.\n"),
    }
}

/// Goes over to a WebSocket (RFC 6455, 4.2).
fn upgrade(mut request: Request<Incoming>, viewer: &Arc<Viewer>) -> Answer {
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY).cloned();
    let asks = has_word(headers, header::CONNECTION, "upgrade")
        && has_word(headers, header::UPGRADE, "websocket")
        && has_word(headers, header::SEC_WEBSOCKET_VERSION, "13")
        && request.method() == Method::GET;
    let Some(key) = key.filter(|_| asks) else {
        return plain(
            StatusCode::BAD_REQUEST,
            "Only a WebSocket can be opened here.\n",
        );
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = hyper::upgrade::on(&mut request);
    let viewer = Arc::clone(viewer);
    tokio::spawn(async move {
        // One that does not come about is the browser's affair.
        if let Ok(upgraded) = upgraded.await {
            socket::talk(upgraded, viewer).await;
        }
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    set(&mut answer, header::CONNECTION, "Upgrade");
    set(&mut answer, header::UPGRADE, "websocket");
    set(&mut answer, header::SEC_WEBSOCKET_ACCEPT, &accept);
    answer
}

/// Whether a header lists a word, in letters of any case.
fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name);
    let texts = values.iter().filter_map(|v| v.to_str().ok());
    texts
        .flat_map(|t| t.split(','))
        .any(|w| w.trim().eq_ignore_ascii_case(word))
}

fn content(status: StatusCode, kind: &str, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The address holds the token.
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        set(&mut answer, name, value);
    }
    answer
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    content(status, "text/plain; charset=utf-8", text)
}

/// The page may load its own files, show pictures that it made and open its own WebSocket, nothing else.
fn with_policy(mut answer: Answer, viewer: &Viewer) -> Answer {
    let [a, b] = viewer.guard.hosts();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
         connect-src 'self' ws://{a} ws://{b}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    set(&mut answer, header::CONTENT_SECURITY_POLICY, &policy);
    answer
}

fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    // All of them are made of letters and signs that headers may have.
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
