//! How patient and how greedy a client is.

use std::time::Duration;

/// Options of an [`crate::stream::HttpClient`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpOptions {
    /// Time to connect. Default 10 s.
    pub connect_timeout: Duration,
    /// An attempt ends if no byte arrives for this long. Default 10 s.
    pub stall_timeout: Duration,
    /// A range, with all its attempts and pauses, may take this long, and the time that its bytes
    /// need at [`Self::slowest`]. Default 20 s.
    pub patience: Duration,
    /// Bytes a second under which a transfer is given up. Default 8 KiB/s.
    pub slowest: u64,
    /// Attempts without a byte, one after the other, before a range is given up. Default 5.
    pub attempts: u32,
    /// Longest pause before the second attempt; every further one doubles it, up to 5 s. The pause
    /// is random up to that. Default 200 ms.
    pub backoff: Duration,
    /// Redirects followed for one request. Default 5.
    pub redirects: u32,
    /// Ranges in flight, over all sources of the client. Default 24.
    pub in_flight: usize,
    /// Proxies to go through. Default: those that the environment names.
    pub proxy: ProxyRules,
    /// Certificates (DER) of authorities to trust beside those of the system.
    pub root_certificates: Vec<Vec<u8>>,
    /// Asked now and then while a read waits; `true` ends it with [`crate::Error::Cancelled`].
    pub cancelled: Option<fn() -> bool>,
}

/// Which proxies lead to servers. Through them, requests without TLS are sent to the proxy, which
/// passes them on; connections with TLS are tunnels that it cannot look into (CONNECT).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyRules {
    /// What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` (or the same in lower case) say,
    /// as they do for curl.
    Environment,
    /// None.
    Direct,
    /// Addresses of proxies, `http://NAME:PASSWORD@HOST:PORT` with the name and the password left out
    /// where there are none; empty for no proxy.
    Fixed {
        /// For servers without TLS.
        http: String,
        /// For servers with TLS.
        https: String,
        /// Hosts and networks that are reached without, separated by commas.
        except: String,
    },
}

impl ProxyRules {
    /// One proxy for all servers.
    #[must_use]
    pub fn fixed(address: &str) -> Self {
        Self::Fixed {
            http: address.into(),
            https: address.into(),
            except: String::new(),
        }
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(20),
            slowest: 8 << 10,
            attempts: 5,
            backoff: Duration::from_millis(200),
            redirects: 5,
            in_flight: 24,
            proxy: ProxyRules::Environment,
            root_certificates: Vec::new(),
            cancelled: None,
        }
    }
}

impl HttpOptions {
    /// Time that all attempts for `length` bytes may take together.
    pub(super) fn deadline(&self, length: u64) -> Duration {
        let millis = length.saturating_mul(1000) / self.slowest.max(1);
        self.patience.saturating_add(Duration::from_millis(millis))
    }
}
