//! Files that lie on an nginx of the system. Without one the tests say so and pass.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::remote::{folder, same_from};
use crate::support::Work;

/// An nginx of this user that serves the folder `site`; it ends with the test.
struct Nginx {
    child: Child,
    port: u16,
    log: std::path::PathBuf,
}

/// One line of its access log.
#[derive(Debug)]
struct Request {
    connection: String,
    status: String,
    range: String,
    guarded: bool,
}

impl Nginx {
    /// `None`, with a line that says so, if there is no nginx.
    fn start(work: &Work) -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .find(|p| Path::new(p).exists());
        let Some(program) = program else {
            eprintln!("SKIPPED: no nginx here (Debian package nginx)");
            return None;
        };
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let home = work.path("nginx");
        std::fs::create_dir(&home).unwrap();
        let config = home.join("nginx.conf");
        std::fs::write(&config, configuration(&home, &work.path("site"), port)).unwrap();
        let error_log = home.join("error.log");
        let mut child = Command::new(program)
            .arg("-p")
            .arg(&home)
            .arg("-e")
            .arg(&error_log)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let over = child.try_wait().unwrap().is_some();
            if over || start.elapsed() > Duration::from_secs(20) {
                let _ = child.kill();
                let said = std::fs::read_to_string(&error_log).unwrap_or_default();
                panic!("nginx does not start: {said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self {
            child,
            port,
            log: home.join("access.log"),
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// The requests so far, once there are `least` of them: a line is written when an answer is over,
    /// which may be a moment after its last byte.
    fn requests(&self, least: usize) -> Vec<Request> {
        let start = Instant::now();
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().filter_map(parse).collect();
            if lines.len() >= least || start.elapsed() > Duration::from_secs(10) {
                return lines;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(home: &Path, site: &Path, port: u16) -> String {
    let (home, site) = (home.display(), site.display());
    let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|n| format!("{n}_temp_path {home}/{n};\n"))
        .collect();
    // One process, so that it runs as the user of the test and ends with it.
    format!(
        "daemon off;
         master_process off;
         pid {home}/pid;
         events {{ worker_connections 64; }}
         http {{
             log_format line '$connection|$status|$http_range|$http_if_match';
             access_log {home}/access.log line;
             {scratch}
             default_type application/octet-stream;
             sendfile on;
             server {{
                 listen 127.0.0.1:{port};
                 location / {{ root {site}; }}
                 location /zipped/ {{
                     alias {site}/;
                     gzip on;
                     gzip_types *;
                     gzip_min_length 1;
                 }}
                 location /whole/ {{ alias {site}/; max_ranges 0; }}
             }}
         }}"
    )
}

fn parse(line: &str) -> Option<Request> {
    let mut parts = line.split('|').map(str::to_owned);
    let (connection, status, range) = (parts.next()?, parts.next()?, parts.next()?);
    // Who only looked whether the server is up asked for nothing.
    (range != "-").then_some(Request {
        connection,
        status,
        range,
        guarded: parts.next().is_some_and(|tag| tag != "-"),
    })
}

#[test]
fn every_reading_command_takes_a_file_from_nginx() {
    let work = folder();
    let Some(nginx) = Nginx::start(&work) else {
        return;
    };
    work.json(&format!("info {}", nginx.url("v.hgv")));
    let opening = nginx.requests(1);
    assert_eq!(opening.len(), 1, "{opening:?}");
    assert_eq!(opening[0].range, "bytes=0-65535");
    same_from(&work, &nginx.url("v.hgv"));
    work.ok(&format!("decode {} -o again.raw", nginx.url("v.hgv")));
    let all = nginx.requests(opening.len() + 20);
    assert!(all.iter().all(|r| r.status == "206"), "{all:?}");
    let later = all.iter().filter(|r| r.range != "bytes=0-65535");
    assert!(
        later.clone().count() > 0 && later.clone().all(|r| r.guarded),
        "{all:?}"
    );
    // The last command's connections are used again.
    let mut connections: Vec<_> = all.iter().map(|r| &r.connection).collect();
    connections.sort();
    connections.dedup();
    assert!(connections.len() < all.len(), "{all:?}");
}

#[test]
fn nginx_that_would_compress_or_sends_whole_files_only() {
    let work = folder();
    let Some(nginx) = Nginx::start(&work) else {
        return;
    };
    let local = work.json("info site/v.hgv");
    let zipped = work.json(&format!("info {}", nginx.url("zipped/v.hgv")));
    assert_eq!(
        zipped["file_bytes"], local["file_bytes"],
        "nothing is encoded for us"
    );
    let line = work.refused(&format!("decode {} -o o.raw", nginx.url("whole/v.hgv")));
    assert!(
        line.contains("range requests") && line.contains("whole/v.hgv"),
        "{line}"
    );
    let line = work.refused(&format!("info {}", nginx.url("none.hgv")));
    assert!(line.contains("404"), "{line}");
}
