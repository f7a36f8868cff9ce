//! A link in virtual time: bandwidth shared by what is under way, latency, loss and slow start.
//!
//! A fluid model: between two events every transfer moves at a constant rate. The rates are the fair
//! shares of the bandwidth, none over what the window of its connection allows for each round trip.

use super::share;

/// Bytes of a segment of TCP.
const SEGMENT: f64 = 1460.0;
/// Window of a new connection, and of one that was idle for a second.
const FIRST_WINDOW: f64 = 10.0 * SEGMENT;
/// Largest window: what servers send by default before they wait.
const MOST_WINDOW: f64 = 4.0 * 1024.0 * 1024.0;
/// Less than this is nothing left.
const CRUMB: f64 = 1e-6;

/// What a link is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkOptions {
    /// Bytes a second towards the reader.
    pub bytes_per_second: f64,
    /// Seconds from a request to the first byte of its answer.
    pub round_trip: f64,
    /// Share of segments that are lost and sent again.
    pub loss: f64,
    /// Round trips before the first request of a connection: 1 for TCP, 2 for TLS over it.
    pub setup_trips: f64,
    /// Whether connections start slowly.
    pub slow_start: bool,
    /// One connection for all requests at once, as HTTP/2 has it, rather than one for each.
    pub multiplexed: bool,
    /// Bytes of the head of an answer.
    pub answer_head: u32,
    /// For losses.
    pub seed: u64,
}

impl LinkOptions {
    /// A link over HTTP/1.1 with TLS, without loss.
    pub fn new(megabits: f64, milliseconds: f64) -> Self {
        Self {
            bytes_per_second: megabits * 125_000.0,
            round_trip: milliseconds / 1000.0,
            loss: 0.0,
            setup_trips: 2.0,
            slow_start: true,
            multiplexed: false,
            answer_head: 350,
            seed: 1,
        }
    }
}

#[derive(Debug)]
struct Connection {
    window: f64,
    /// Window from which on growth is slow.
    threshold: f64,
    /// Bytes until the next segment is lost.
    until_loss: f64,
    stalled_until: f64,
    last_used: f64,
    busy: usize,
    open: bool,
}

#[derive(Debug)]
struct Transfer {
    id: u64,
    connection: usize,
    /// When its first byte is here.
    starts: f64,
    left: f64,
    moved: f64,
    rate: f64,
    /// It was ended; what the server sends until it knows.
    ends: Option<f64>,
}

/// Counts of a link.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LinkCounts {
    /// Bytes that came, heads of answers and what was ended included.
    pub bytes: f64,
    /// Bytes of transfers that were ended.
    pub cancelled: f64,
    /// Connections that were set up.
    pub connections: u64,
    /// Segments that were lost.
    pub lost: u64,
}

/// A link with what is under way on it.
#[derive(Debug)]
pub struct Link {
    options: LinkOptions,
    now: f64,
    connections: Vec<Connection>,
    transfers: Vec<Transfer>,
    counts: LinkCounts,
    draws: u64,
}

impl Link {
    /// Nothing under way at time 0.
    pub fn new(options: LinkOptions) -> Self {
        Self {
            options,
            now: 0.0,
            connections: Vec::new(),
            transfers: Vec::new(),
            counts: LinkCounts::default(),
            draws: 0,
        }
    }

    /// What came so far.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// Asks for `bytes` bytes; `id` is handed back by [`Self::advance`].
    pub fn start(&mut self, id: u64, bytes: u64) {
        let (connection, setup) = self.connection();
        self.connections[connection].busy += 1;
        self.transfers.push(Transfer {
            id,
            connection,
            starts: self.now + (1.0 + setup) * self.options.round_trip,
            left: bytes as f64 + f64::from(self.options.answer_head),
            moved: 0.0,
            rate: 0.0,
            ends: None,
        });
    }

    /// A connection that is free, and the round trips until it can be asked.
    fn connection(&mut self) -> (usize, f64) {
        let free = |c: &Connection| c.open && (self.options.multiplexed || c.busy == 0);
        if let Some(i) = self.connections.iter().position(free) {
            let connection = &mut self.connections[i];
            if self.now - connection.last_used > 1.0 && connection.busy == 0 {
                connection.window = FIRST_WINDOW;
            }
            return (i, 0.0);
        }
        self.counts.connections += 1;
        let until_loss = self.draw_loss();
        self.connections.push(Connection {
            window: FIRST_WINDOW,
            threshold: MOST_WINDOW,
            until_loss,
            stalled_until: 0.0,
            last_used: self.now,
            busy: 0,
            open: true,
        });
        (self.connections.len() - 1, self.options.setup_trips)
    }

    /// Bytes until the next loss.
    fn draw_loss(&mut self) -> f64 {
        if self.options.loss <= 0.0 {
            return f64::INFINITY;
        }
        self.draws += 1;
        let even = share(
            self.options
                .seed
                .wrapping_mul(0x1_0001)
                .wrapping_add(self.draws),
        );
        SEGMENT * (1.0 - even).ln() / (1.0 - self.options.loss.min(0.5)).ln()
    }

    /// Ends a transfer: the server hears of it half a round trip later, and what it sent until then
    /// comes all the same. Without multiplexing the connection is lost with it.
    pub fn cancel(&mut self, id: u64) {
        let ends = self.now + self.options.round_trip;
        for transfer in self.transfers.iter_mut().filter(|t| t.id == id) {
            transfer.ends = Some(ends);
            if !self.options.multiplexed {
                self.connections[transfer.connection].open = false;
            }
        }
    }

    /// Shares of the bandwidth, none over its cap: the smallest caps are served first.
    fn share_out(&mut self) {
        let now = self.now;
        let active = |t: &Transfer, c: &[Connection]| {
            t.starts <= now && c[t.connection].stalled_until <= now
        };
        let mut members = vec![0usize; self.connections.len()];
        for t in &mut self.transfers {
            t.rate = 0.0;
            if active(t, &self.connections) {
                members[t.connection] += 1;
            }
        }
        let capped = self.options.slow_start && self.options.round_trip > 0.0;
        let cap = |t: &Transfer, c: &[Connection]| {
            if capped {
                c[t.connection].window / self.options.round_trip / members[t.connection] as f64
            } else {
                f64::INFINITY
            }
        };
        let mut order: Vec<usize> = (0..self.transfers.len())
            .filter(|&i| active(&self.transfers[i], &self.connections))
            .collect();
        order.sort_by(|&a, &b| {
            let key = |i: usize| cap(&self.transfers[i], &self.connections);
            key(a).total_cmp(&key(b)).then(a.cmp(&b))
        });
        let mut rest = self.options.bytes_per_second;
        for (place, &i) in order.iter().enumerate() {
            let fair = rest / (order.len() - place) as f64;
            let rate = cap(&self.transfers[i], &self.connections).min(fair);
            self.transfers[i].rate = rate;
            rest -= rate;
        }
    }

    /// When anything changes next by itself; infinite if nothing is under way.
    pub fn next_event(&mut self) -> f64 {
        self.share_out();
        let mut next = f64::INFINITY;
        let mut rates = vec![0.0; self.connections.len()];
        for t in &self.transfers {
            let connection = &self.connections[t.connection];
            if t.starts > self.now {
                next = next.min(t.starts);
            } else if connection.stalled_until > self.now {
                next = next.min(connection.stalled_until);
            } else if t.rate > 0.0 {
                next = next.min(self.now + t.left / t.rate);
                rates[t.connection] += t.rate;
            }
            next = next.min(t.ends.unwrap_or(f64::INFINITY).max(self.now));
        }
        for (connection, rate) in self.connections.iter().zip(rates) {
            if rate > 0.0 {
                next = next.min(self.now + connection.until_loss / rate);
                if self.options.slow_start && connection.window < MOST_WINDOW {
                    next = next.min(self.now + self.options.round_trip.max(1e-4) / 2.0);
                }
            }
        }
        next
    }

    /// Moves on to `time`, which is not past [`Self::next_event`]; returns what is complete.
    pub fn advance(&mut self, time: f64) -> Vec<u64> {
        self.share_out();
        let span = (time - self.now).max(0.0);
        self.now = time;
        for i in 0..self.transfers.len() {
            let t = &mut self.transfers[i];
            if t.rate <= 0.0 {
                continue;
            }
            // A crumb that time cannot resolve is nothing left.
            let whole = t.left / t.rate <= span.max(f64::EPSILON * time);
            let moved = if whole { t.left } else { t.rate * span };
            t.left -= moved;
            t.moved += moved;
            self.counts.bytes += moved;
            let connection = t.connection;
            self.carry(connection, moved);
        }
        self.collect()
    }

    /// Growth of the window and losses for `moved` bytes on a connection.
    fn carry(&mut self, index: usize, moved: f64) {
        let lost = self.connections[index].until_loss - moved <= CRUMB;
        let next_loss = if lost { self.draw_loss() } else { 0.0 };
        let connection = &mut self.connections[index];
        connection.last_used = self.now;
        let grown = if connection.window < connection.threshold {
            moved
        } else {
            SEGMENT * moved / connection.window
        };
        connection.window = (connection.window + grown).min(MOST_WINDOW);
        connection.until_loss -= moved;
        if lost {
            self.counts.lost += 1;
            connection.until_loss = next_loss;
            connection.threshold = (connection.window / 2.0).max(2.0 * SEGMENT);
            connection.window = connection.threshold;
            connection.stalled_until = self.now + self.options.round_trip;
        }
    }

    fn collect(&mut self) -> Vec<u64> {
        let mut done = Vec::new();
        let (now, connections, counts) = (self.now, &mut self.connections, &mut self.counts);
        self.transfers.retain(|t| {
            let over = t.ends.is_some_and(|e| e <= now);
            if t.left > CRUMB && !over {
                return true;
            }
            connections[t.connection].busy -= 1;
            match t.ends {
                Some(_) => counts.cancelled += t.moved,
                None => done.push(t.id),
            }
            false
        });
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> LinkOptions {
        LinkOptions {
            slow_start: false,
            setup_trips: 0.0,
            answer_head: 0,
            ..LinkOptions::new(8.0, 100.0)
        }
    }

    /// Times at which each transfer is complete.
    fn drain(link: &mut Link) -> Vec<(u64, f64)> {
        let mut done = Vec::new();
        loop {
            let next = link.next_event();
            if next.is_infinite() {
                return done;
            }
            let ids = link.advance(next);
            done.extend(ids.into_iter().map(|id| (id, next)));
        }
    }

    #[test]
    fn bandwidth_is_shared_and_latency_is_not() {
        let mut link = Link::new(plain());
        // 1 MB/s: half a megabyte alone takes 0.5 s after one round trip.
        link.start(1, 500_000);
        assert!(matches!(drain(&mut link)[..], [(1, t)] if (t - 0.6).abs() < 1e-9));
        let mut link = Link::new(plain());
        link.start(1, 500_000);
        link.start(2, 250_000);
        let done = drain(&mut link);
        assert!(
            matches!(done[..], [(2, a), (1, b)] if (a - 0.6).abs() < 1e-9 && (b - 0.85).abs() < 1e-9)
        );
        assert_eq!(link.counts().bytes.round(), 750_000.0);
    }

    #[test]
    fn a_new_connection_starts_slowly_and_a_used_one_does_not() {
        let options = LinkOptions {
            slow_start: true,
            ..plain()
        };
        let mut link = Link::new(LinkOptions {
            bytes_per_second: 1e8,
            ..options
        });
        link.start(1, 1_000_000);
        let first = drain(&mut link).first().map_or(0.0, |d| d.1);
        link.start(2, 1_000_000);
        let second = drain(&mut link).first().map_or(0.0, |d| d.1) - first;
        // 14,600 bytes doubling need over six round trips for a megabyte.
        assert!(first > 0.5 && second < 0.25, "{first} {second}");
        assert_eq!(link.counts().connections, 1);
    }

    #[test]
    fn losses_delay_and_cancelled_bytes_count() {
        let lossy = LinkOptions {
            loss: 0.01,
            ..plain()
        };
        let mut link = Link::new(lossy);
        link.start(1, 1_000_000);
        let time = drain(&mut link).first().map_or(0.0, |d| d.1);
        assert!(link.counts().lost > 2 && time > 1.2, "{time}");

        let mut link = Link::new(plain());
        link.start(1, 1_000_000);
        assert!(link.advance(0.1).is_empty());
        assert!(link.advance(0.2).is_empty());
        link.cancel(1);
        assert!(drain(&mut link).is_empty());
        // 0.1 s before it was ended, and a round trip after.
        assert!((link.counts().cancelled - 200_000.0).abs() < 1.0);
    }
}
