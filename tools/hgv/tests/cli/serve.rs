//! `hgv serve` from the outside, request by request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Work;

/// A server that ends with the test.
pub(crate) struct Serving {
    child: Child,
    pub(crate) address: String,
}

/// The address in the line of JSON with which a server begins.
pub(crate) fn announced_url(child: &mut Child) -> String {
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let json: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
    json["url"].as_str().unwrap().to_owned()
}

impl Serving {
    /// Serves with `hgv serve WORDS`.
    pub(crate) fn start(work: &Work, words: &str) -> Self {
        Self::start_with(work, &format!("{words} --quiet"))
    }

    fn start_with(work: &Work, words: &str) -> Self {
        let words = format!("serve {words} --addr 127.0.0.1:0 --json");
        let mut child = work.command(&words).spawn().unwrap();
        let address = announced_url(&mut child)
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        Self { child, address }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    /// One request on a connection of its own; the target is sent as it is.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[&str]) -> Reply {
        let mut stream = self.connect();
        send(&mut stream, method, target, headers);
        reply(&mut BufReader::new(stream), method)
    }

    fn get(&self, target: &str, headers: &[&str]) -> Reply {
        self.ask("GET", target, headers)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn send(stream: &mut TcpStream, method: &str, target: &str, headers: &[&str]) {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).unwrap();
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|h| h.0.eq_ignore_ascii_case(name));
        found.map(|h| h.1.as_str())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) fn reply(reader: &mut impl BufRead, method: &str) -> Reply {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line:?}"));
    let mut reply = Reply {
        status: status.parse().unwrap(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        reply.headers.push((name.into(), value.trim().into()));
    }
    let length = reply
        .header("content-length")
        .map_or(0, |n| n.parse().unwrap());
    if method != "HEAD" && reply.status != 304 {
        reply.body = vec![0; length];
        reader.read_exact(&mut reply.body).unwrap();
    }
    reply
}

/// A folder with a volume, and things beside it that nobody may see.
fn folder() -> (Work, Vec<u8>) {
    let work = Work::new();
    let raw = work.raw("v", [96, 80, 40], "uint8");
    std::fs::create_dir_all(work.path("site/sub folder")).unwrap();
    work.ok(&format!(
        "encode {raw} -o site/v.hgv --quality 70 --preset fast --block 32"
    ));
    std::fs::copy(
        work.path("site/v.hgv"),
        work.path("site/sub folder/w & x.hgv"),
    )
    .unwrap();
    work.write("secret.hgv", "secret");
    work.write("site/.hidden.hgv", "secret");
    work.write("site/notes.txt", "secret");
    work.write("site/broken.hgv", "no volume");
    let bytes = work.read("site/v.hgv");
    (work, bytes)
}

#[test]
fn ranges_and_lengths() {
    let (work, file) = folder();
    let server = Serving::start(&work, "site");
    let n = file.len();
    let whole = server.get("/v.hgv", &[]);
    assert_eq!((whole.status, &whole.body), (200, &file));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let etag = whole.header("etag").unwrap();
    assert!(
        etag.starts_with('"') && etag.ends_with('"'),
        "strong: {etag}"
    );
    let head = server.ask("HEAD", "/v.hgv", &["Range: bytes=0-9"]);
    assert_eq!(head.status, 200, "HEAD has no ranges");
    assert_eq!(head.header("content-length"), Some(n.to_string().as_str()));
    let cases = [
        ("0-9".to_string(), 0, 9),
        ("5-".into(), 5, n - 1),
        ("-7".into(), n - 7, n - 1),
        (format!("{}-99999999999", n - 3), n - 3, n - 1),
    ];
    for (range, first, last) in cases {
        let part = server.get("/v.hgv", &[&format!("Range: bytes={range}")]);
        assert_eq!(
            (part.status, &part.body[..]),
            (206, &file[first..=last]),
            "{range}"
        );
        let expected = format!("bytes {first}-{last}/{n}");
        assert_eq!(part.header("content-range"), Some(expected.as_str()));
    }
    for range in [format!("{n}-"), "-0".into(), "0-1,4-5".into()] {
        let none = server.get("/v.hgv", &[&format!("Range: bytes={range}")]);
        assert_eq!(none.status, 416, "{range}");
        assert_eq!(
            none.header("content-range"),
            Some(format!("bytes */{n}").as_str())
        );
    }
}

#[test]
fn bytes_are_never_encoded() {
    let (work, file) = folder();
    let server = Serving::start(&work, "site");
    let reply = server.get("/v.hgv", &["Accept-Encoding: gzip, br, zstd"]);
    assert_eq!(
        (reply.header("content-encoding"), &reply.body),
        (None, &file)
    );
    assert!(
        reply
            .header("cache-control")
            .unwrap()
            .contains("no-transform")
    );
}

#[test]
fn conditions() {
    let (work, _) = folder();
    let server = Serving::start(&work, "site");
    let first = server.get("/v.hgv", &[]);
    let (etag, date) = (
        first.header("etag").unwrap(),
        first.header("last-modified").unwrap(),
    );
    let ask = |headers: &[&str]| server.get("/v.hgv", headers).status;
    assert_eq!(ask(&[&format!("If-None-Match: {etag}")]), 304);
    assert_eq!(ask(&[&format!("If-Modified-Since: {date}")]), 304);
    assert_eq!(ask(&["If-Match: \"other\"", "Range: bytes=0-1"]), 412);
    assert_eq!(
        ask(&[&format!("If-Match: {etag}"), "Range: bytes=0-1"]),
        206
    );
    assert_eq!(
        ask(&[&format!("If-Range: {etag}"), "Range: bytes=0-1"]),
        206
    );
    assert_eq!(ask(&["If-Range: \"other\"", "Range: bytes=0-1"]), 200);
    std::fs::copy(work.path("site/v.hgv"), work.path("site/new")).unwrap();
    std::fs::rename(work.path("site/new"), work.path("site/v.hgv")).unwrap();
    assert_eq!(
        ask(&[&format!("If-Match: {etag}"), "Range: bytes=0-1"]),
        412,
        "replaced"
    );
}

#[test]
fn pages_of_other_origins_may_read() {
    let (work, _) = folder();
    let server = Serving::start(&work, "site");
    let asked = [
        "Origin: https://viewer.example",
        "Access-Control-Request-Headers: range",
    ];
    let preflight = server.ask("OPTIONS", "/v.hgv", &asked);
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert!(
        preflight
            .header("access-control-allow-headers")
            .unwrap()
            .contains("Range")
    );
    for reply in [
        server.get("/v.hgv", &["Range: bytes=0-1"]),
        server.get("/none.hgv", &[]),
    ] {
        let exposed = reply.header("access-control-expose-headers").unwrap();
        for name in ["ETag", "Content-Range", "Accept-Ranges", "Content-Length"] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
    let one = Serving::start(&work, "site --allow-origin https://viewer.example");
    let reply = one.get("/v.hgv", &["Range: bytes=0-1"]);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://viewer.example")
    );
    assert_eq!(one.ask("POST", "/v.hgv", &[]).status, 405);
}

#[test]
fn nothing_outside_the_folder_can_be_read() {
    let (work, _) = folder();
    #[cfg(unix)]
    {
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, work.path(name)).unwrap();
        link("../secret.hgv", "site/link.hgv");
        link("..", "site/up");
        link("/etc", "site/etc");
    }
    let server = Serving::start(&work, "site");
    for target in [
        "/../secret.hgv",
        "/%2e%2e/secret.hgv",
        "/..%2fsecret.hgv",
        "/sub%20folder/../../secret.hgv",
        "/%2e%2e%2f%2e%2e%2fetc/passwd",
        "//secret.hgv",
        "/./../secret.hgv",
        "/..%5csecret.hgv",
        "/link.hgv",
        "/up/secret.hgv",
        "/up/",
        "/etc/passwd",
        "/etc/",
        "/.hidden.hgv",
        "/notes.txt",
        "/v.hgv/",
        "/v.hgv/x",
        "/v.hgv%00",
        "/%",
        "/%ff.hgv",
        "/none.hgv",
        "/sub%20folder",
        "http://test/../secret.hgv",
        "/link.hgv?thumbnail",
    ] {
        let reply = server.get(target, &[]);
        let expected: &[u16] = if target == "/sub%20folder" {
            &[301]
        } else {
            &[404, 400]
        };
        assert!(
            expected.contains(&reply.status),
            "{target}: {}",
            reply.status
        );
        assert!(
            !reply.text().contains("secret") && !reply.text().contains("root:"),
            "{target}"
        );
    }
    let listing = server.get("/?json", &[]);
    for name in ["secret", "link", "up", "etc", "hidden", "notes"] {
        assert!(
            !listing.text().contains(name),
            "{name} in {}",
            listing.text()
        );
    }
}

#[test]
fn folders_are_pages_and_json() {
    let (work, _) = folder();
    let server = Serving::start(&work, "site");
    let page = server.get("/", &["Accept: text/html"]);
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    assert!(page.text().contains("v.hgv?thumbnail") && page.text().contains("sub%20folder/"));
    let json = server.get("/", &["Accept: application/json"]);
    let value: Value = serde_json::from_slice(&json.body).unwrap();
    let names: Vec<_> = value["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["name"])
        .collect();
    assert_eq!(names, ["sub folder", "broken.hgv", "v.hgv"]);
    let moved = server.get("/sub%20folder", &[]);
    assert_eq!(moved.header("location"), Some("/sub%20folder/"));
    let inner = server.get("/sub%20folder/?json", &[]);
    let value: Value = serde_json::from_slice(&inner.body).unwrap();
    let href = value["entries"][0]["href"].as_str().unwrap();
    assert_eq!(
        server.get(&format!("/sub%20folder/{href}"), &[]).status,
        200
    );
}

#[test]
fn thumbnails_are_made_once() {
    let (work, _) = folder();
    let server = Serving::start(&work, "site");
    let picture = server.get("/v.hgv?thumbnail", &[]);
    assert_eq!((picture.status, &picture.body[1..4]), (200, &b"PNG"[..]));
    assert_eq!(picture.header("content-type"), Some("image/png"));
    let decoder = png::Decoder::new(std::io::Cursor::new(&picture.body));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((frame.width, frame.height), (96, 80));
    let (low, high) = (pixels.iter().min(), pixels.iter().max());
    assert_eq!(
        (low, high),
        (Some(&0), Some(&255)),
        "the whole scale is used"
    );
    assert_eq!(server.get("/v.hgv?thumbnail", &[]).body, picture.body);
    let known = format!("If-None-Match: {}", picture.header("etag").unwrap());
    assert_eq!(server.get("/v.hgv?thumbnail", &[&known]).status, 304);
    assert_eq!(server.get("/broken.hgv?thumbnail", &[]).status, 404);
    assert_eq!(server.get("/broken.hgv?thumbnail", &[]).status, 404);
    let metrics = server.get("/metrics", &[]);
    for line in ["hgv_thumbnails_total 2", "hgv_thumbnails_cached_total 2"] {
        assert!(
            metrics.text().lines().any(|l| l == line),
            "{}",
            metrics.text()
        );
    }
}

#[test]
fn metrics_count() {
    let (work, file) = folder();
    let server = Serving::start(&work, "site");
    server.get("/v.hgv", &["Range: bytes=0-99"]);
    server.get("/v.hgv", &["Range: bytes=100-"]);
    server.get("/none.hgv", &[]);
    // The count is taken when an answer is over, which may be a moment after its last byte.
    let wanted = [
        "hgv_http_requests_total{code=\"2xx\"} 2".to_string(),
        "hgv_http_requests_total{code=\"4xx\"} 1".into(),
        "hgv_http_connections 1".into(),
        format!(
            "hgv_http_sent_bytes_total {}",
            file.len() + "Not Found\n".len()
        ),
    ];
    let start = Instant::now();
    loop {
        let metrics = server.get("/metrics", &[]);
        let has = |w: &String| metrics.text().lines().any(|l| l == w);
        // Reading the metrics is a request too; only the first look can show exactly these.
        if wanted[1..3].iter().all(has) && metrics.text().contains("2xx\"} ") {
            assert!(
                metrics
                    .header("content-type")
                    .unwrap()
                    .starts_with("text/plain")
            );
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{}",
            metrics.text()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_request_is_logged() {
    let (work, _) = folder();
    let mut server = Serving::start_with(&work, "site");
    server.get("/v.hgv", &["Range: bytes=0-1\"\t"]);
    server.get("/none.hgv?a=%22", &[]);
    std::thread::sleep(Duration::from_millis(300));
    server.child.kill().unwrap();
    let mut log = String::new();
    server
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(
        lines[0].starts_with("127.0.0.1 - - [") && lines[0].contains("\"GET /v.hgv HTTP/1.1\" ")
    );
    assert_eq!(lines[0].matches('"').count(), 4, "{log}");
    assert!(
        lines[1].contains("/none.hgv?a=%22 HTTP/1.1\" 404 10 \"-\" "),
        "{log}"
    );
}

#[test]
fn too_many_requests_are_told_so() {
    let (work, _) = folder();
    let server = Serving::start(&work, "site --rate 5");
    let replies: Vec<_> = (0..20)
        .map(|_| server.get("/v.hgv", &["Range: bytes=0-1"]))
        .collect();
    let limited: Vec<_> = replies.iter().filter(|r| r.status == 429).collect();
    assert!(replies[..5].iter().all(|r| r.status == 206) && !limited.is_empty());
    assert!(limited.iter().all(|r| r.header("retry-after") == Some("1")));
    // A client of ours waits and gets through.
    let info = work.json(&format!("info {}", server.url("v.hgv")));
    assert_eq!(info["extent"], serde_json::json!([96, 80, 40]));
}

#[test]
fn connections_over_the_limit_wait() {
    let (work, _) = folder();
    let server = Serving::start(&work, "site --max-connections 2");
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = server.connect();
            send(&mut stream, "GET", "/v.hgv", &["Range: bytes=0-1"]);
            assert_eq!(
                reply(&mut BufReader::new(stream.try_clone().unwrap()), "GET").status,
                206
            );
            stream
        })
        .collect();
    let mut third = server.connect();
    send(&mut third, "GET", "/v.hgv", &["Range: bytes=0-1"]);
    third
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(third.read(&mut [0; 1]).is_err(), "no slot yet");
    drop(held);
    third
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(reply(&mut BufReader::new(third), "GET").status, 206);
}

#[cfg(unix)]
#[test]
fn an_interrupt_lets_answers_finish() {
    let (work, _) = folder();
    // Far more than fits into the buffers of a connection.
    let big = vec![7u8; 24 << 20];
    work.write("site/big.hgv", &big);
    let mut server = Serving::start(&work, "site");
    let mut stream = server.connect();
    send(&mut stream, "GET", "/big.hgv", &[]);
    let mut first = [0; 1000];
    stream.read_exact(&mut first).unwrap();
    let id = server.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        TcpStream::connect(&server.address).is_err(),
        "no new connections"
    );
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let head = first.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(
        first.len() - head + rest.len(),
        big.len(),
        "the answer is whole"
    );
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn bad_requests_do_no_harm() {
    let (work, _) = folder();
    let server = Serving::start(&work, "site");
    for text in [
        "\r\n\r\n\r\n".to_string(),
        "GET\r\n\r\n".into(),
        "GET /v.hgv HTTP/9.9\r\n\r\n".into(),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(200_000)),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(20_000)
        ),
        "\u{16}\u{3}\u{1}\u{0}not TLS".into(),
    ] {
        let mut stream = server.connect();
        // The server may hang up before it took everything.
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(server.get("/v.hgv", &["Range: bytes=0-1"]).status, 206);
}

#[test]
fn what_cannot_be_served_is_refused() {
    let (work, _) = folder();
    assert!(work.refused("serve nowhere").contains("nowhere"));
    assert!(
        work.refused("serve site/notes.txt")
            .contains("only folders and .hgv files")
    );
    assert!(
        work.refused("serve site --addr 127.0.0.1")
            .contains("--addr")
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    assert!(
        work.refused(&format!("serve site --addr {address}"))
            .contains(&address.to_string())
    );
}

/// Many clients at once on few connections each, every byte checked; memory stays bounded.
#[test]
fn a_crowd_is_served() {
    const CLIENTS: usize = 150;
    const REQUESTS: usize = 12;
    let (work, _) = folder();
    let file: Vec<u8> = (0..3_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    work.write("site/big.hgv", &file);
    let server = Serving::start(&work, "site");
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, file) = (&server, &file);
            let run = move || {
                let mut stream = server.connect();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                for request in 0..REQUESTS {
                    let first = (client * 7919 + request * 104_729) * 13 % (file.len() - 262_144);
                    let last = first + 262_143;
                    send(
                        &mut stream,
                        "GET",
                        "/big.hgv",
                        &[&format!("Range: bytes={first}-{last}")],
                    );
                    let part = reply(&mut reader, "GET");
                    assert!(part.status == 206 && part.body == file[first..=last]);
                }
            };
            std::thread::Builder::new()
                .stack_size(256 << 10)
                .spawn_scoped(scope, run)
                .unwrap();
        }
    });
    if let Some(peak) = peak_memory(server.id()) {
        assert!(peak < 256 << 20, "{peak} bytes");
    }
}

/// The most memory that a process had, in bytes, where the system tells it.
fn peak_memory(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}
