//! Who may see the pictures: only those who know the address that was printed.
//!
//! Other pages of the same browser can send requests to this machine too. They do not know the token in the
//! address; a name of theirs that leads here shows in `Host`, a script of theirs in `Origin`.

use hgv::{Error, Result};
use hyper::HeaderMap;
use hyper::header::{self, HeaderName};

/// Bytes of a token: more than anybody can try.
const TOKEN: usize = 16;

/// Lets requests in.
#[derive(Debug)]
pub(crate) struct Guard {
    token: String,
    /// What the server is called by those who open its address.
    hosts: [String; 2],
}

impl Guard {
    /// For a server on a port of this machine.
    ///
    /// # Errors
    /// [`Error::Io`] if the system gives no random numbers.
    pub(crate) fn new(port: u16) -> Result<Self> {
        let mut bytes = [0; TOKEN];
        getrandom::fill(&mut bytes).map_err(|e| {
            Error::io(
                "random numbers of the system",
                std::io::Error::other(e.to_string()),
            )
        })?;
        Ok(Self {
            token: bytes.iter().map(|b| format!("{b:02x}")).collect(),
            hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")],
        })
    }

    /// The address of the page.
    pub(crate) fn address(&self) -> String {
        format!("http://{}/{}/", self.hosts[0], self.token)
    }

    /// Names of the server, with the port.
    pub(crate) fn hosts(&self) -> &[String; 2] {
        &self.hosts
    }

    /// What a request asks for behind the token; `None` if it may not have it.
    pub(crate) fn admit<'a>(&self, path: &'a str, headers: &HeaderMap) -> Option<&'a str> {
        let (token, rest) = path.strip_prefix('/')?.split_once('/')?;
        let host = only(headers, &header::HOST)?;
        let named = self.hosts.iter().any(|h| Some(h.as_str()) == host);
        let ours = match only(headers, &header::ORIGIN)? {
            Some(origin) => {
                let origin = origin.strip_prefix("http://");
                self.hosts.iter().any(|h| Some(h.as_str()) == origin)
            }
            // Browsers name the origin of every request that another origin could gain from.
            None => true,
        };
        (self.knows(token) && named && ours).then_some(rest)
    }

    /// Takes as long for every token of the right length, however much of it is right.
    fn knows(&self, token: &str) -> bool {
        let pairs = self.token.bytes().zip(token.bytes());
        token.len() == self.token.len() && pairs.fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

/// The value of a header that may be there once; `None` if there are several, or no text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Some(None);
    };
    if values.next().is_some() {
        return None;
    }
    first.to_str().ok().map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(host: &[&'static str], origin: &[&'static str]) -> HeaderMap {
        let mut out = HeaderMap::new();
        for (name, values) in [(header::HOST, host), (header::ORIGIN, origin)] {
            for value in values {
                out.append(name.clone(), HeaderValue::from_static(value));
            }
        }
        out
    }

    #[test]
    fn only_those_who_know_the_address_come_in() {
        let guard = Guard::new(8080).unwrap();
        let good = guard.address().replace("http://127.0.0.1:8080", "") + "main.js";
        let host = ["127.0.0.1:8080"];
        let ours = headers(&host, &["http://localhost:8080"]);
        assert_eq!(guard.admit(&good, &ours), Some("main.js"));
        assert_eq!(guard.admit(&good, &headers(&host, &[])), Some("main.js"));
        for (hosts, origins) in [
            (&["evil.example:8080"][..], &[][..]),
            (&["127.0.0.1"], &[]),
            (&[], &[]),
            (&["127.0.0.1:8080", "127.0.0.1:8080"], &[]),
            (&host, &["http://evil.example"]),
            (&host, &["http://127.0.0.1:8081"]),
            (&host, &["https://127.0.0.1:8080"]),
            (&host, &["null"]),
        ] {
            let headers = headers(hosts, origins);
            assert_eq!(guard.admit(&good, &headers), None, "{headers:?}");
        }
        let wrong = good.replace(&guard.token[..1], "x");
        for path in ["/", "", "/main.js", "//main.js", &good[1..], &wrong] {
            assert_eq!(guard.admit(path, &ours), None, "{path}");
        }
        assert_ne!(guard.token, Guard::new(8080).unwrap().token);
        assert_eq!(guard.token.len(), 2 * TOKEN);
    }
}
