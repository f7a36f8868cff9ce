//! `hgv serve`: a folder of .hgv files for anyone who speaks HTTP.
//!
//! Any web server with range requests will do; this one needs no set-up, tells browsers of other
//! origins all they need, never compresses what is compressed, and shows what a folder holds.
//! HTTP/1.1 without TLS: to the open network it belongs behind a proxy that has TLS.

mod access;
mod answer;
mod body;
mod conditions;
mod limits;
mod listing;
mod site;
mod thumbnail;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hgv::{Error, Result};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::interrupt;
use access::Access;
use answer::Server;
use limits::{Patient, Rate};
use site::Site;
use thumbnail::Thumbnails;

/// Time for the head of a request, also of the next one on an open connection.
const HEAD: Duration = Duration::from_secs(30);
/// A client that takes no byte for this long is cut off.
const WRITE: Duration = Duration::from_secs(30);
/// Answers under way get this long to finish when the server ends.
const FAREWELL: Duration = Duration::from_secs(10);
/// Bytes that wait in a connection: beyond that the next chunk of a file is not asked for.
const WAITING: usize = 64 << 10;
/// How often the server looks for an interrupt.
const POLL: Duration = Duration::from_millis(100);
/// Pause after the system refused a connection, for want of file descriptors, say.
const REFUSED: Duration = Duration::from_millis(50);

/// What to serve, and how.
#[derive(Debug)]
pub(crate) struct Config<'a> {
    pub(crate) path: &'a Path,
    pub(crate) address: SocketAddr,
    pub(crate) connections: u32,
    /// Requests a second of one address; 0 = any number.
    pub(crate) rate: u32,
    pub(crate) origin: &'a str,
    pub(crate) log: bool,
}

/// Serves until an interrupt. `listening` is told the address once connections are accepted.
///
/// # Errors
/// [`Error::Io`] or [`Error::InvalidArgument`] if the server cannot start.
pub(crate) fn run(
    config: &Config<'_>,
    listening: impl FnOnce(SocketAddr) -> Result<()>,
) -> Result<()> {
    let origin = HeaderValue::from_str(config.origin)
        .map_err(|_| Error::argument(format!("{}: no origin", config.origin)))?;
    let server = Arc::new(Server {
        site: Site::open(config.path)?,
        thumbnails: Thumbnails::default(),
        rate: Rate::new(config.rate),
        access: Access::new(config.log),
        origin,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("hgv-serve")
        .enable_all()
        .build()
        .map_err(|e| Error::io("threads of the server", e))?;
    allow_many_files();
    interrupt::cooperate();
    let result = runtime.block_on(async {
        let context = |e| Error::io(config.address.to_string(), e);
        let listener = TcpListener::bind(config.address).await.map_err(context)?;
        listening(listener.local_addr().map_err(context)?)?;
        serve(listener, server, config.connections as usize).await;
        Ok(())
    });
    // Work that hangs on a disk must not keep the program alive.
    runtime.shutdown_background();
    result
}

/// Every connection is a file to the system, and so is every volume that is being sent; programs start
/// with a low limit that they may raise themselves.
#[cfg(unix)]
fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If that is refused, connections beyond the limit wait.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(not(unix))]
fn allow_many_files() {}

/// Accepts connections until an interrupt, then lets them finish.
async fn serve(listener: TcpListener, server: Arc<Server>, connections: usize) {
    let slots = Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut over = std::pin::pin!(interrupted());
    loop {
        tokio::select! {
            biased;
            () = &mut over => break,
            Some((stream, client, slot)) = accept(&listener, &slots) => {
                tokio::spawn(connection(stream, client, slot, Arc::clone(&server), graceful.watcher()));
            }
        }
    }
    drop(listener);
    // Those that do not finish in time are cut off.
    let _ = tokio::time::timeout(FAREWELL, graceful.shutdown()).await;
}

/// The next connection, once there is a slot for it; those that come too many wait in the system's
/// queue.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, client)) => return Some((stream, client, slot)),
            Err(_) => tokio::time::sleep(REFUSED).await,
        }
    }
}

async fn connection(
    stream: TcpStream,
    client: SocketAddr,
    slot: OwnedSemaphorePermit,
    server: Arc<Server>,
    watcher: Watcher,
) {
    let access = Arc::clone(&server.access);
    access.metrics.accepted.fetch_add(1, Relaxed);
    access.metrics.connections.fetch_add(1, Relaxed);
    // Without it a small answer may wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request, client.ip()).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(WAITING)
        .serve_connection(TokioIo::new(Patient::new(stream, WRITE)), service);
    // A client that goes away is no fault of the server.
    let _ = watcher.watch(connection).await;
    access.metrics.connections.fetch_sub(1, Relaxed);
    drop(slot);
}

/// Returns once the user, or the system, asks the server to end.
pub(crate) async fn interrupted() {
    let asked = async {
        while !interrupt::requested() {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        () = asked => {}
        () = terminated() => {}
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}
