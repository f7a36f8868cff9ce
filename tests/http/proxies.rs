//! Proxies: requests without TLS go through them in the open, those with TLS in tunnels.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use hgv::Error;
use hgv::io::{RangeSource, conformance};
use hgv::stream::{HttpClient, HttpOptions, HttpSource, ProxyRules};

use crate::server::Server;
use crate::tls;

/// The first lines of requests that came to a proxy, and what they said of who asks.
type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A proxy that passes everything on; with a `password` only for those who know it.
struct Proxy {
    address: String,
    seen: Seen,
}

impl Proxy {
    fn start(password: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Seen::default();
        let list = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&list);
                std::thread::spawn(move || pass(client, password, &seen));
            }
        });
        Self { address, seen }
    }

    fn rules(&self, user: &str, except: &str) -> ProxyRules {
        let mut rules = ProxyRules::fixed(&format!("http://{user}{}", self.address));
        if let ProxyRules::Fixed { except: list, .. } = &mut rules {
            *list = except.into();
        }
        rules
    }

    fn seen(&self) -> Vec<(String, Option<String>)> {
        self.seen.lock().unwrap().clone()
    }
}

/// Reads the head of one request, connects where it leads, then copies both ways.
fn pass(mut client: TcpStream, password: Option<&str>, seen: &Seen) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let (mut first, mut rest, mut user) = (String::new(), String::new(), None);
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("proxy-authorization: ") {
            user = Some(line[line.len() - value.len()..].trim().to_owned());
        } else {
            rest.push_str(&line);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    seen.lock()
        .unwrap()
        .push((first.trim().to_owned(), user.clone()));
    if password.is_some() && user.as_deref() != password {
        let refusal = b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n";
        return client.write_all(refusal).ok();
    }
    let target = first.split(' ').nth(1)?;
    if let Some(after) = target.strip_prefix("http://") {
        let (host, path) = after.split_once('/')?;
        let mut server = TcpStream::connect(host).ok()?;
        let head = format!("GET /{path} HTTP/1.1\r\n{rest}");
        server.write_all(head.as_bytes()).ok()?;
        // One request a connection is enough here.
        server.shutdown(Shutdown::Write).ok()?;
        std::io::copy(&mut server, &mut client).ok()?;
        return client.shutdown(Shutdown::Both).ok();
    }
    let mut server = TcpStream::connect(target).ok()?;
    client
        .write_all(b"HTTP/1.1 200 There you go\r\n\r\n")
        .ok()?;
    let (mut back, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let answers = std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut reader, &mut server);
    let _ = server.shutdown(Shutdown::Both);
    answers.join().ok()
}

fn client(rules: ProxyRules, certificate: Option<Vec<u8>>) -> HttpClient {
    let mut options = HttpOptions::default();
    options.backoff = std::time::Duration::from_millis(4);
    options.root_certificates.extend(certificate);
    options.proxy = rules;
    HttpClient::new(options).unwrap()
}

#[test]
fn requests_without_tls_are_sent_to_the_proxy() {
    let data = conformance::sample(300_000);
    let server = Server::good(data.clone());
    let proxy = Proxy::start(Some("Basic bmFtZTpwYXNz"));
    let source = HttpSource::open(&client(proxy.rules("name:pass@", ""), None), &server.url());
    conformance::check_source(&source.unwrap(), &data).unwrap();
    let seen = proxy.seen();
    let expected = format!("GET {} HTTP/1.1", server.url());
    assert!(
        seen.len() > 1 && seen.iter().all(|s| s.0 == expected),
        "{seen:?}"
    );
    assert!(
        server
            .seen()
            .requests
            .iter()
            .all(|a| !a.headers.contains_key("proxy-authorization"))
    );
    let stranger = HttpSource::open(&client(proxy.rules("", ""), None), &server.url());
    match stranger {
        Err(e @ Error::HttpStatus { status: 407, .. }) => {
            assert!(e.to_string().contains("NAME:PASSWORD"), "{e}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn connections_with_tls_are_tunnels() {
    let data: &'static [u8] = conformance::sample(300_000).leak();
    let (port, certificate) = tls::start(data, &[b"h2"], &tls::Versions::default());
    let proxy = Proxy::start(Some("Basic bmFtZTpwYXNz"));
    let url = format!("https://localhost:{port}/f.hgv");
    let rules = proxy.rules("name:pass@", "");
    let source = HttpSource::open(&client(rules, Some(certificate.clone())), &url).unwrap();
    let mut found = vec![0; data.len()];
    source.read_at(0, &mut found).unwrap();
    assert!(found == data);
    let seen = proxy.seen();
    let expected = format!("CONNECT localhost:{port} HTTP/1.1");
    assert!(
        !seen.is_empty() && seen.iter().all(|s| s.0 == expected),
        "{seen:?}"
    );
    let stranger = HttpSource::open(&client(proxy.rules("", ""), Some(certificate)), &url);
    match stranger {
        Err(Error::Unreachable { detail, .. }) => {
            assert!(detail.contains("authorization"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn hosts_that_need_no_proxy_get_none() {
    let server = Server::good(conformance::sample(1000));
    let proxy = Proxy::start(None);
    for rules in [
        proxy.rules("", "127.0.0.0/8"),
        proxy.rules("", "*"),
        ProxyRules::Direct,
    ] {
        HttpSource::open(&client(rules, None), &server.url()).unwrap();
    }
    assert!(proxy.seen().is_empty());
    let nowhere = ProxyRules::fixed("https://127.0.0.1:9");
    let result = HttpSource::open(&client(nowhere, None), &server.url());
    assert!(
        matches!(&result, Err(Error::Unreachable { detail, .. }) if detail.contains("http://")),
        "{result:?}"
    );
}
