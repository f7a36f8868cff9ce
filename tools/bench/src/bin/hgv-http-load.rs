//! `hgv-http-load`: many clients that read ranges of one file from one server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use hgv::{Error, Result};

/// Time that one answer may take before it counts as an error.
const PATIENCE: Duration = Duration::from_secs(60);
/// Stack of a client's thread; buffers are on the heap.
const STACK: usize = 128 << 10;

/// Reads random ranges of a file over HTTP from many connections at once and says how fast that
/// went. Works with any server, so that servers can be compared on the same file.
#[derive(Parser)]
#[command(after_help = "Examples:
  hgv-http-load http://127.0.0.1:8080/big.hgv --clients 1000 --requests 20 --check big.hgv
  hgv-http-load http://127.0.0.1:8080/big.hgv --clients 8 --requests 2000 --pid $(pgrep -x hgv)")]
struct Args {
    /// Address of the file.
    url: String,
    /// Connections at once.
    #[arg(long, default_value_t = 1000)]
    clients: u32,
    /// Requests of each, one after the other.
    #[arg(long, default_value_t = 20)]
    requests: u32,
    /// Bytes of a range.
    #[arg(long, default_value_t = 262_144)]
    range: u64,
    /// The file itself: every byte that arrives is held against it.
    #[arg(long)]
    check: Option<PathBuf>,
    /// Process of the server, to tell the most memory that it had.
    #[arg(long)]
    pid: Option<u32>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("hgv-http-load: {error}");
            ExitCode::from(2)
        }
    }
}

/// Where to ask.
struct Target {
    host: String,
    path: String,
    length: u64,
    expected: Option<Vec<u8>>,
}

/// What one client saw.
#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    bytes: u64,
    errors: Vec<String>,
}

fn run(args: &Args) -> Result<bool> {
    let target = target(args)?;
    let start = Instant::now();
    let seen = std::thread::scope(|scope| {
        let target = &target;
        let clients: Vec<_> = (0..args.clients)
            .map(|number| {
                let builder = std::thread::Builder::new().stack_size(STACK);
                builder.spawn_scoped(scope, move || client(target, args, u64::from(number)))
            })
            .collect();
        let joined = clients.into_iter().map(|c| match c.map(|c| c.join()) {
            Ok(Ok(seen)) => seen,
            Ok(Err(_)) | Err(_) => Seen {
                errors: vec!["a client could not run".into()],
                ..Seen::default()
            },
        });
        joined.collect::<Vec<_>>()
    });
    Ok(report(args, &seen, start.elapsed()))
}

fn target(args: &Args) -> Result<Target> {
    let wrong = || Error::argument(format!("{}: not http://HOST:PORT/PATH", args.url));
    let rest = args.url.strip_prefix("http://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').ok_or_else(wrong)?;
    let expected = match &args.check {
        Some(path) => {
            let read = std::fs::read(path);
            Some(read.map_err(|e| Error::io(path.display().to_string(), e))?)
        }
        None => None,
    };
    let mut target = Target {
        host: host.into(),
        path: format!("/{path}"),
        length: 0,
        expected,
    };
    let mut connection = Connection::open(&target).map_err(|e| Error::io(host, e))?;
    let (_, total) = connection
        .get(&target, 0, 0, &mut Vec::new())
        .map_err(|e| Error::io(&args.url, e))?;
    target.length = total;
    if total < args.range {
        let n = args.range;
        return Err(Error::argument(format!(
            "the file has {total} bytes, less than one range of {n}"
        )));
    }
    Ok(target)
}

fn client(target: &Target, args: &Args, number: u64) -> Seen {
    let mut seen = Seen::default();
    let mut connection = None;
    let mut body = Vec::new();
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for _ in 0..args.requests {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let first = state % (target.length - args.range + 1);
        let start = Instant::now();
        let answer = ask(
            target,
            &mut connection,
            first,
            first + args.range - 1,
            &mut body,
        );
        match answer {
            Ok(()) if !right(target, first, &body) => {
                seen.errors.push("other bytes than in the file".into())
            }
            Ok(()) => seen.times.push(start.elapsed()),
            Err(e) => {
                seen.errors.push(e.to_string());
                connection = None;
            }
        }
        seen.bytes += body.len() as u64;
    }
    seen
}

fn right(target: &Target, first: u64, body: &[u8]) -> bool {
    let expected = target.expected.as_ref();
    expected.is_none_or(|e| e.get(first as usize..).is_some_and(|e| e.starts_with(body)))
}

fn ask(
    target: &Target,
    connection: &mut Option<Connection>,
    first: u64,
    last: u64,
    body: &mut Vec<u8>,
) -> std::io::Result<()> {
    body.clear();
    if connection.is_none() {
        *connection = Some(Connection::open(target)?);
    }
    let Some(connection) = connection else {
        return Err(std::io::ErrorKind::NotConnected.into());
    };
    let (status, _) = connection.get(target, first, last, body)?;
    if status != 206 || body.len() as u64 != last - first + 1 {
        let text = format!("status {status}, {} bytes", body.len());
        return Err(std::io::Error::other(text));
    }
    Ok(())
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(target: &Target) -> std::io::Result<Self> {
        let stream = TcpStream::connect(&target.host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Status, and length of the whole file; the body goes into `body`.
    fn get(
        &mut self,
        target: &Target,
        first: u64,
        last: u64,
        body: &mut Vec<u8>,
    ) -> std::io::Result<(u16, u64)> {
        let Target { host, path, .. } = target;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nRange: bytes={first}-{last}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let bad = || std::io::Error::other("no HTTP");
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .ok_or_else(bad)?;
        let (mut length, mut total) = (0, 0);
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().map_err(|_| bad())?,
                "content-range" => {
                    let after = value.rsplit('/').next().and_then(|n| n.parse().ok());
                    total = after.ok_or_else(bad)?;
                }
                _ => {}
            }
        }
        (&mut self.0).take(length).read_to_end(body)?;
        Ok((status, total))
    }
}

fn report(args: &Args, seen: &[Seen], time: Duration) -> bool {
    let mut times: Vec<_> = seen.iter().flat_map(|s| &s.times).copied().collect();
    times.sort_unstable();
    let share = |q: f64| {
        let last = times.len().saturating_sub(1);
        let found = times.get((last as f64 * q) as usize);
        found.map_or(0.0, |t| t.as_secs_f64() * 1e3)
    };
    let bytes: u64 = seen.iter().map(|s| s.bytes).sum();
    let errors: Vec<_> = seen.iter().flat_map(|s| &s.errors).collect();
    let json = serde_json::json!({
        "clients": args.clients,
        "requests": times.len(),
        "range": args.range,
        "errors": errors.len(),
        "first_error": errors.first(),
        "seconds": time.as_secs_f64(),
        "megabytes_per_second": bytes as f64 / 1e6 / time.as_secs_f64(),
        "milliseconds": { "median": share(0.5), "p99": share(0.99), "most": share(1.0) },
        "server_peak_bytes": args.pid.and_then(peak_memory),
    });
    #[expect(clippy::print_stdout, reason = "the report is what the program is for")]
    {
        println!("{json}");
    }
    errors.is_empty()
}

/// The most memory that a process had, where the system tells it.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}
