//! A network link in this process: a TCP proxy with a delay each way and a rate for each direction.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use hgv::{Error, Result};

/// A late wake-up may be made good for this long: sleeping is not exact.
const CREDIT: Duration = Duration::from_millis(2);
/// Chunks that may be under way on a connection in a direction.
const UNDER_WAY: usize = 4096;

/// What a link can do. The same in both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Bits a second, shared by all connections.
    pub rate: u64,
    /// Round trip time of an empty link.
    pub round_trip: Duration,
}

/// What has crossed a link since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crossed {
    /// Bytes to the client, heads of HTTP answers included, those of TCP not.
    pub down: u64,
    /// Bytes to the server.
    pub up: u64,
    /// Connections that were opened.
    pub connections: u64,
}

/// A server seen through a [`Link`]. Ends with its value.
///
/// Connections share the rate in turns of a packet or few. A new one costs a round trip before its first
/// byte, as TCP does; there is no loss, no slow start and no limit to the window.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wire: Arc<Wire>,
}

/// What all connections share.
#[derive(Debug)]
struct Wire {
    link: Link,
    up: Lane,
    down: Lane,
    connections: AtomicU64,
    over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    rate: u64,
    /// When the last byte that was booked leaves.
    free: Mutex<Instant>,
    arrived: AtomicU64,
}

impl Lane {
    fn new(rate: u64) -> Self {
        Self {
            rate,
            free: Mutex::new(Instant::now()),
            arrived: AtomicU64::new(0),
        }
    }

    /// When the last of `bytes` will have left.
    fn book(&self, bytes: usize) -> Instant {
        let takes = Duration::from_secs_f64(bytes as f64 * 8.0 / self.rate as f64);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        *free = (*free).max(earliest) + takes;
        *free
    }

    /// Bytes that leave in about a millisecond, from one packet up.
    fn chunk(&self) -> usize {
        (self.rate / 8000).clamp(1460, 16 << 10) as usize
    }
}

impl Proxy {
    /// Puts `link` before `server`.
    ///
    /// # Errors
    /// [`Error::Io`] if no port can be had; [`Error::InvalidArgument`] for a rate of 0.
    pub fn start(link: Link, server: SocketAddr) -> Result<Self> {
        if link.rate == 0 {
            return Err(Error::argument("a link needs a rate"));
        }
        let failed = |e| Error::io("the port of a link", e);
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let wire = Arc::new(Wire {
            link,
            up: Lane::new(link.rate),
            down: Lane::new(link.rate),
            connections: AtomicU64::new(0),
            over: AtomicBool::new(false),
            open: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&wire);
        spawn(move || accept(&listener, server, &accepting));
        Ok(Self { address, wire })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has arrived so far.
    pub fn crossed(&self) -> Crossed {
        Crossed {
            down: self.wire.down.arrived.load(Ordering::Relaxed),
            up: self.wire.up.arrived.load(Ordering::Relaxed),
            connections: self.wire.connections.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.wire.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        let open = self.wire.open.lock();
        for stream in open.unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, server: SocketAddr, wire: &Arc<Wire>) {
    for client in listener.incoming() {
        if wire.over.load(Ordering::Relaxed) {
            return;
        }
        // A connection that cannot be made looks to the client like one that broke.
        let _ = client.and_then(|client| connect(client, server, wire));
    }
}

fn connect(client: TcpStream, server: SocketAddr, wire: &Arc<Wire>) -> std::io::Result<()> {
    let server = TcpStream::connect(server)?;
    let mut open = wire.open.lock().unwrap_or_else(PoisonError::into_inner);
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        open.push(stream.try_clone()?);
    }
    wire.connections.fetch_add(1, Ordering::Relaxed);
    let ready = Instant::now() + wire.link.round_trip;
    pipe(
        client.try_clone()?,
        server.try_clone()?,
        wire,
        Way::Up(ready),
    );
    pipe(server, client, wire, Way::Down);
    Ok(())
}

/// Direction of a pipe; upwards, nothing leaves before the connection stands.
#[derive(Clone, Copy)]
enum Way {
    Up(Instant),
    Down,
}

impl Way {
    fn lane(self, wire: &Wire) -> &Lane {
        match self {
            Self::Up(_) => &wire.up,
            Self::Down => &wire.down,
        }
    }
}

/// Two threads: one waits until bytes may leave, the other until they arrive.
fn pipe(from: TcpStream, to: TcpStream, wire: &Arc<Wire>, way: Way) {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    let (reads, writes) = (Arc::clone(wire), Arc::clone(wire));
    spawn(move || depart(from, &sender, &reads, way));
    spawn(move || arrive(to, &receiver, way.lane(&writes)));
}

fn depart(mut from: TcpStream, to: &SyncSender<(Instant, Vec<u8>)>, wire: &Wire, way: Way) {
    let lane = way.lane(wire);
    let mut buffer = vec![0; lane.chunk()];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let mut leaves = lane.book(read);
        if let Way::Up(ready) = way {
            leaves = leaves.max(ready);
        }
        wait_until(leaves);
        let arrives = leaves + wire.link.round_trip / 2;
        if to.send((arrives, buffer[..read].to_vec())).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
}

fn arrive(mut to: TcpStream, from: &Receiver<(Instant, Vec<u8>)>, lane: &Lane) {
    for (when, bytes) in from {
        wait_until(when);
        // Counted first: who has read them must find them counted.
        lane.arrived
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if to.write_all(&bytes).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn wait_until(when: Instant) {
    let left = when.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        sleep(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each byte with as many bytes as it says, times 1000.
    fn server() -> Result<SocketAddr> {
        let failed = |e| Error::io("a server", e);
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        spawn(move || {
            for mut stream in listener.incoming().flatten() {
                spawn(move || {
                    let mut asked = [0];
                    while stream.read_exact(&mut asked).is_ok() {
                        let answer = vec![7; usize::from(asked[0]) * 1000];
                        if stream.write_all(&answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(address)
    }

    /// Time of each of some answers over a new connection.
    fn ask(proxy: &Proxy, answers: &[u8]) -> Vec<Duration> {
        let mut stream = TcpStream::connect(proxy.address()).ok();
        let times = answers.iter().map(|thousands| {
            let start = Instant::now();
            let mut answer = vec![0; usize::from(*thousands) * 1000];
            let asked = stream.as_mut().map(|s| {
                s.write_all(&[*thousands])?;
                s.read_exact(&mut answer)
            });
            assert!(matches!(asked, Some(Ok(()))), "{asked:?}");
            assert!(answer.iter().all(|b| *b == 7));
            start.elapsed()
        });
        times.collect()
    }

    /// Whether a measure is within 5 % of what it should be. A machine that is busy gets some tries.
    fn within(what: &str, want: Duration, measure: impl Fn() -> Duration) {
        let near = |t: &f64| (t / want.as_secs_f64() - 1.0).abs() < 0.05;
        let tries = (0..20).map(|_| measure().as_secs_f64());
        let mut tried = Vec::new();
        let found = tries.inspect(|t| tried.push(*t)).any(|t| near(&t));
        assert!(found, "{what}: {tried:?} instead of {want:?}");
    }

    #[test]
    fn a_link_has_its_latency() -> Result<()> {
        let link = Link {
            rate: 100_000_000,
            round_trip: Duration::from_millis(100),
        };
        let proxy = Proxy::start(link, server()?)?;
        within("a round trip", link.round_trip, || ask(&proxy, &[1, 1])[1]);
        within("the first one", 2 * link.round_trip, || {
            ask(&proxy, &[1])[0]
        });
        let before = proxy.crossed();
        ask(&proxy, &[1, 2]);
        let crossed = proxy.crossed();
        assert_eq!(crossed.up - before.up, 2);
        assert_eq!(crossed.down - before.down, 3000);
        assert_eq!(crossed.connections - before.connections, 1);
        Ok(())
    }

    #[test]
    fn connections_share_the_rate() -> Result<()> {
        for (rate, thousands) in [(10_000_000, 50), (100_000_000, 250)] {
            let round_trip = Duration::ZERO;
            let proxy = Proxy::start(Link { rate, round_trip }, server()?)?;
            let bytes = 8.0 * f64::from(thousands) * 1000.0;
            let want = Duration::from_secs_f64(bytes * 8.0 / rate as f64);
            within("eight answers", want, || {
                let start = Instant::now();
                std::thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(|| ask(&proxy, &[thousands; 2]));
                    }
                });
                start.elapsed()
            });
        }
        Ok(())
    }
}
