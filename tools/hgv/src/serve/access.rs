//! What was served: counters for `/metrics`, and a line in the access log for every request.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Instant, SystemTime};

/// Lines that wait for a slow log; more are dropped and counted.
const WAITING: usize = 8192;
/// Upper ends of the classes of durations, in seconds.
const SECONDS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Answers by hundreds of the status: 1xx to 5xx.
    answers: [AtomicU64; 5],
    sent: AtomicU64,
    durations: [AtomicU64; SECONDS.len() + 1],
    micros: AtomicU64,
    pub(super) connections: AtomicI64,
    pub(super) accepted: AtomicU64,
    pub(super) limited: AtomicU64,
    pub(super) thumbnails: AtomicU64,
    pub(super) thumbnails_cached: AtomicU64,
    log_dropped: AtomicU64,
}

impl Metrics {
    fn count(&self, status: u16, sent: u64, started: Instant) {
        if let Some(class) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            class.fetch_add(1, Relaxed);
        }
        self.sent.fetch_add(sent, Relaxed);
        let time = started.elapsed();
        let class = SECONDS.partition_point(|&end| time.as_secs_f64() > end);
        self.durations[class].fetch_add(1, Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Relaxed);
    }

    /// All counters in the text format of Prometheus.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        family(
            &mut out,
            "hgv_http_requests_total",
            "counter",
            "Requests answered.",
        );
        for (i, n) in self.answers.iter().enumerate() {
            let class = i + 1;
            let _ = writeln!(
                out,
                "hgv_http_requests_total{{code=\"{class}xx\"}} {}",
                n.load(Relaxed)
            );
        }
        self.histogram(&mut out);
        let counters = [
            (
                "hgv_http_sent_bytes_total",
                "Bytes of bodies sent.",
                &self.sent,
            ),
            (
                "hgv_http_connections_total",
                "Connections accepted.",
                &self.accepted,
            ),
            (
                "hgv_http_limited_total",
                "Requests over the rate limit.",
                &self.limited,
            ),
            ("hgv_thumbnails_total", "Thumbnails made.", &self.thumbnails),
            (
                "hgv_thumbnails_cached_total",
                "Thumbnails served from memory.",
                &self.thumbnails_cached,
            ),
            (
                "hgv_log_dropped_total",
                "Lines of the access log dropped.",
                &self.log_dropped,
            ),
        ];
        for (name, help, value) in counters {
            family(&mut out, name, "counter", help);
            let _ = writeln!(out, "{name} {}", value.load(Relaxed));
        }
        family(
            &mut out,
            "hgv_http_connections",
            "gauge",
            "Open connections.",
        );
        let _ = writeln!(
            out,
            "hgv_http_connections {}",
            self.connections.load(Relaxed)
        );
        out
    }

    fn histogram(&self, out: &mut String) {
        const NAME: &str = "hgv_http_request_duration_seconds";
        family(
            out,
            NAME,
            "histogram",
            "Time from request to the last byte.",
        );
        let mut total = 0;
        let ends = SECONDS.iter().map(f64::to_string).chain(["+Inf".into()]);
        for (end, n) in ends.zip(&self.durations) {
            total += n.load(Relaxed);
            let _ = writeln!(out, "{NAME}_bucket{{le=\"{end}\"}} {total}");
        }
        let _ = writeln!(out, "{NAME}_sum {}", self.micros.load(Relaxed) as f64 / 1e6);
        let _ = writeln!(out, "{NAME}_count {total}");
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// The access log and the counters.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) metrics: Metrics,
    log: Option<SyncSender<String>>,
}

impl Access {
    /// With a log on stderr, or none.
    pub(super) fn new(log: bool) -> Arc<Self> {
        let log = log.then(|| {
            let (sender, lines) = sync_channel(WAITING);
            std::thread::spawn(move || write_lines(&lines));
            sender
        });
        Arc::new(Self {
            metrics: Metrics::default(),
            log,
        })
    }

    fn write(&self, line: impl FnOnce() -> String) {
        let full = self
            .log
            .as_ref()
            .is_some_and(|log| log.try_send(line()).is_err());
        if full {
            self.metrics.log_dropped.fetch_add(1, Relaxed);
        }
    }
}

fn write_lines(lines: &Receiver<String>) {
    while let Ok(line) = lines.recv() {
        // Without stderr there is nobody to tell.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}

/// One request from its head to the last byte of its answer; counted and logged when dropped.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) access: Arc<Access>,
    pub(super) client: IpAddr,
    pub(super) started: Instant,
    /// Method and target, as they came: without control characters, which no target has.
    pub(super) request: String,
    pub(super) range: String,
    pub(super) status: u16,
    pub(super) sent: u64,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.access
            .metrics
            .count(self.status, self.sent, self.started);
        self.access.write(|| {
            format!(
                "{} - - [{}] \"{}\" {} {} \"{}\" {:.6}",
                self.client,
                httpdate::fmt_http_date(SystemTime::now()),
                self.request,
                self.status,
                self.sent,
                self.range,
                self.started.elapsed().as_secs_f64()
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_cumulative_text() {
        let metrics = Metrics::default();
        metrics.count(206, 100, Instant::now());
        metrics.count(404, 20, Instant::now());
        let text = metrics.text();
        for line in [
            "hgv_http_requests_total{code=\"2xx\"} 1",
            "hgv_http_requests_total{code=\"4xx\"} 1",
            "hgv_http_sent_bytes_total 120",
            "hgv_http_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "hgv_http_request_duration_seconds_count 2",
            "# TYPE hgv_http_connections gauge",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
