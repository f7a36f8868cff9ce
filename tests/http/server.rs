//! A web server on loopback that answers as a test says, byte for byte.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hgv::stream::{HttpClient, HttpOptions, ProxyRules};

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// How many came before it.
    pub(crate) number: usize,
}

impl Asked {
    /// First and last byte that it asks for.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        let (first, last) = self
            .headers
            .get("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some((first.parse().unwrap(), last.parse().unwrap()))
    }
}

/// What happens on the connection.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// The connection ends.
    Close,
}

/// An answer before it is bytes.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) chunked: bool,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            chunked: false,
        }
    }

    /// What a good server says to a request for a range of `file`.
    pub(crate) fn part(file: &[u8], etag: Option<&str>, asked: &Asked) -> Self {
        if let (Some(wanted), Some(etag)) = (asked.headers.get("if-match"), etag)
            && wanted != etag
        {
            return Self::status(412);
        }
        let Some((first, last)) = asked.range() else {
            let mut whole = Self::status(200);
            whole.body = file.to_vec();
            return whole.with_etag(etag);
        };
        let total = file.len() as u64;
        if first >= total {
            return Self::status(416).with("Content-Range", &format!("bytes */{total}"));
        }
        let last = last.min(total - 1);
        let mut part =
            Self::status(206).with("Content-Range", &format!("bytes {first}-{last}/{total}"));
        part.body = file[first as usize..=last as usize].to_vec();
        part.with_etag(etag)
    }

    fn with_etag(self, etag: Option<&str>) -> Self {
        match etag {
            Some(etag) => self.with("ETag", etag),
            None => self,
        }
    }

    /// Sets a header, in place of one of this name.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        let mut answer = self.without(name);
        answer.headers.push((name.into(), value.into()));
        answer
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|h| !h.0.eq_ignore_ascii_case(name));
        self
    }

    /// The head, with the length of the body unless a test said another one.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Reason\r\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.chunked {
            text.push_str("Transfer-Encoding: chunked\r\n");
        } else if !self.headers.iter().any(|h| h.0 == "Content-Length") {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    pub(crate) fn send(self) -> Vec<Step> {
        let mut bytes = self.head();
        if self.chunked {
            bytes.extend(format!("{:x}\r\n", self.body.len()).bytes());
            bytes.extend(&self.body);
            bytes.extend(b"\r\n0\r\n\r\n");
        } else {
            bytes.extend(&self.body);
        }
        vec![Step::Send(bytes)]
    }
}

type Script = dyn Fn(&Asked) -> Vec<Step> + Send + Sync;

/// What a server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: Vec<Asked>,
    /// Requests that came while no other was being answered.
    pub(crate) waves: usize,
    pub(crate) most_at_once: usize,
    pub(crate) connections: usize,
    now: usize,
}

/// A server that answers by a script. It ends with the test's process.
pub(crate) struct Server {
    pub(crate) address: String,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    pub(crate) fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (script, shared): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                shared.lock().unwrap().connections += 1;
                let (script, seen) = (Arc::clone(&script), Arc::clone(&shared));
                // A client that goes away in the middle is part of the tests.
                std::thread::spawn(move || serve(&stream, script.as_ref(), &seen).ok());
            }
        });
        Self { address, seen }
    }

    /// A good server with one file under any name.
    pub(crate) fn good(file: Vec<u8>) -> Self {
        Self::start(move |asked| Answer::part(&file, Some("\"v1\""), asked).send())
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/volume.hgv", self.address)
    }

    pub(crate) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

fn serve(stream: &TcpStream, script: &Script, seen: &Mutex<Seen>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some((method, path, headers)) = request(&mut reader)? {
        let asked = {
            let mut seen = seen.lock().unwrap();
            seen.waves += usize::from(seen.now == 0);
            seen.now += 1;
            seen.most_at_once = seen.most_at_once.max(seen.now);
            let number = seen.requests.len();
            seen.requests.push(Asked {
                method,
                path,
                headers,
                number,
            });
            seen.requests[number].clone()
        };
        let open = answer(stream, &script(&asked));
        let mut seen = seen.lock().unwrap();
        seen.now = seen.now.saturating_sub(1);
        if !open? {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}

/// Plays the steps; whether the connection stays open.
fn answer(mut stream: &TcpStream, steps: &[Step]) -> std::io::Result<bool> {
    for step in steps {
        match step {
            Step::Send(bytes) => stream.write_all(bytes)?,
            Step::Wait(time) => std::thread::sleep(*time),
            Step::Close => return Ok(false),
        }
    }
    Ok(true)
}

type Head = (String, String, BTreeMap<String, String>);

fn request(reader: &mut impl BufRead) -> std::io::Result<Option<Head>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some((method, path, headers)));
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

/// Options that reach servers on loopback, whatever proxies the environment names.
pub(crate) fn direct() -> HttpOptions {
    let mut options = HttpOptions::default();
    options.proxy = ProxyRules::Direct;
    options
}

/// A client that gives up soon.
pub(crate) fn hasty() -> HttpClient {
    let mut options = direct();
    options.stall_timeout = Duration::from_millis(400);
    options.patience = Duration::from_secs(5);
    options.backoff = Duration::from_millis(4);
    HttpClient::new(options).unwrap()
}
