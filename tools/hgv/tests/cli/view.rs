//! `hgv view` from the outside: who may see it, and what it says over the WebSocket.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::serve::{Reply, announced_url, reply};
use crate::support::{Work, assert_keys};

const PATIENCE: Duration = Duration::from_secs(60);

/// A program that shows a volume, and ends with the test.
pub(crate) struct Viewing {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    /// `/TOKEN/`.
    path: String,
}

impl Viewing {
    pub(crate) fn start(work: &Work, words: &str) -> Self {
        let words = format!("view {words} --no-open --json --quiet");
        let mut child = work.command(&words).spawn().unwrap();
        let url = announced_url(&mut child);
        let rest = url.strip_prefix("http://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        Self {
            child,
            host: host.into(),
            path: format!("/{path}"),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.host, self.path)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn ask(&self, method: &str, target: &str, headers: &[&str]) -> Reply {
        let mut stream = self.connect();
        let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
        write!(stream, "{method} {target} HTTP/1.1\r\n{headers}\r\n").unwrap();
        reply(&mut BufReader::new(stream), method)
    }

    fn open(&self) -> Window {
        let url = format!("ws://{}{}socket", self.host, self.path);
        let request = url.into_client_request().unwrap();
        let (socket, _) = tungstenite::client::client(request, self.connect()).unwrap();
        Window(socket)
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A page, as far as the program can see one.
struct Window(WebSocket<TcpStream>);

/// Kind, number, size and file of a frame.
type Frame = (u32, u32, [u32; 2], Vec<u8>);

impl Window {
    fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    fn camera(&mut self, azimuth: f32) {
        self.say(
            &json!({"type": "camera", "target": [20, 20, 20], "azimuth": azimuth, "elevation": 20,
            "distance": 120, "orthographic": false, "size": [80, 60]}),
        );
    }

    /// The next message in words that is of this type.
    fn words(&mut self, kind: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Message::Text(text) = self.0.read().unwrap() {
                let value: Value = serde_json::from_str(&text).unwrap();
                if value["type"] == kind {
                    return value;
                }
            }
        }
        panic!("no {kind}");
    }

    /// The next frame, without an answer.
    fn frame(&mut self) -> Frame {
        loop {
            if let Message::Binary(bytes) = self.0.read().unwrap() {
                let word =
                    |i: usize| u32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap());
                return (word(0), word(1), [word(2), word(3)], bytes[16..].to_vec());
            }
        }
    }

    /// The next frame of a kind; all are answered.
    fn frame_of(&mut self, kind: u32) -> Frame {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let frame = self.frame();
            self.say(&json!({"type": "shown", "frame": frame.1}));
            if frame.0 == kind {
                return frame;
            }
        }
        panic!("no frame of kind {kind}");
    }
}

fn volume(work: &Work) {
    let volume = work.raw("v", [40, 44, 36], "uint8");
    work.ok(&format!("encode {volume} -o v.hgv --levels 2"));
}

#[test]
fn only_those_who_know_the_address_see_it() {
    let work = Work::new();
    volume(&work);
    let mut viewing = Viewing::start(&work, "v.hgv");
    let host = format!("Host: {}", viewing.host);
    let origin = format!("Origin: http://{}", viewing.host);
    let page = viewing.path.clone();
    let found = viewing.ask("GET", &page, &[&host, &origin]);
    assert_eq!(found.status, 200);
    let policy = found.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert_eq!(found.header("referrer-policy"), Some("no-referrer"));
    // Every file that the page names is there, and it names no other origin.
    let text = String::from_utf8(found.body).unwrap();
    for name in ["style.css", "main.js"] {
        assert!(text.contains(&format!("\"{name}\"")));
        let found = viewing.ask("GET", &format!("{page}{name}"), &[&host]);
        assert_eq!(found.status, 200, "{name}");
    }
    assert!(!text.contains("http:") && !text.contains("https:"));

    let wrong = format!("/{}/", "0".repeat(page.len() - 2));
    let socket = format!("{page}socket");
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let with = |more: &[&'static str], host: &str| -> Vec<String> {
        let lines = more.iter().map(|l| (*l).to_owned());
        lines
            .chain(upgrade.map(String::from))
            .chain([host.to_owned()])
            .collect()
    };
    for (method, target, headers, status) in [
        ("GET", wrong.as_str(), vec![host.clone()], 403),
        ("GET", "/", vec![host.clone()], 403),
        ("GET", &page, vec!["Host: evil.example".into()], 403),
        (
            "GET",
            &page,
            vec![host.clone(), "Origin: http://evil.example".into()],
            403,
        ),
        (
            "GET",
            &socket,
            with(&["Origin: http://evil.example"], &host),
            403,
        ),
        ("GET", &socket, with(&["Origin: null"], &host), 403),
        ("GET", &socket, with(&[], "Host: evil.example"), 403),
        ("GET", &wrong.replace("/0", "/1"), with(&[], &host), 403),
        ("GET", &socket, vec![host.clone()], 400),
        ("GET", &format!("{page}none.js"), vec![host.clone()], 404),
        ("POST", &page, vec![host.clone()], 405),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let found = viewing.ask(method, target, &headers);
        assert_eq!(found.status, status, "{method} {target} {headers:?}");
    }
    assert_eq!(viewing.ask("HEAD", &page, &[&host]).status, 200);

    #[cfg(unix)]
    {
        let id = viewing.child.id().to_string();
        let killed = std::process::Command::new("kill")
            .args(["-INT", &id])
            .status();
        assert!(killed.unwrap().success());
        assert_eq!(viewing.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn windows_get_what_they_ask_for() {
    let work = Work::new();
    volume(&work);
    let viewing = Viewing::start(&work, "v.hgv --mode maximum");
    let mut window = viewing.open();
    let hello = window.words("hello");
    assert_keys(
        &hello,
        "name extent spacing lods levels range histogram look presets backend",
    );
    assert_eq!(
        (&hello["name"], &hello["extent"]),
        (&json!("v.hgv"), &json!([40, 44, 36]))
    );
    assert_eq!(
        (&hello["levels"], &hello["look"]["mode"]),
        (&json!(2), &json!("maximum"))
    );

    window.camera(30.0);
    let (_, _, size, file) = window.frame_of(2);
    assert_eq!((size, &file[..3]), ([80, 60], &[0xff, 0xd8, 0xff][..]));
    let stats = window.words("stats");
    assert!(stats["fetched"].as_u64().unwrap() > 0, "{stats}");

    // Another place, and back again: the same picture.
    window.camera(75.0);
    let (.., turned) = window.frame_of(2);
    assert_ne!(turned, file);
    window.camera(30.0);
    assert_eq!(window.frame_of(2).3, file);
    // Another look: a lower level, and a light background.
    let mut look = hello["look"].clone();
    look["type"] = json!("look");
    for (key, value) in [("level", json!(0)), ("background", json!([1, 1, 1]))] {
        window.camera(30.0);
        let before = window.frame_of(2).3;
        look[key] = value;
        window.say(&look);
        assert_ne!(window.frame_of(2).3, before, "{key}");
    }

    window.say(&json!({"type": "save"}));
    let (_, _, size, file) = window.frame_of(3);
    assert_eq!((size, &file[..4]), ([80, 60], &b"\x89PNG"[..]));
}

#[test]
fn nonsense_is_told_and_harms_nobody() {
    let work = Work::new();
    let file = work.raw("v", [20, 20, 20], "uint8");
    let viewing = Viewing::start(&work, &file);
    let mut window = viewing.open();
    for text in [
        "",
        "{",
        "null",
        r#"{"type":"nothing"}"#,
        r#"{"type":"camera","size":[0,0]}"#,
    ] {
        window.0.send(Message::text(text)).unwrap();
        let error = window.words("error");
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("not understood"),
            "{error}"
        );
    }
    window.0.send(Message::binary(vec![1, 2, 3])).unwrap();
    assert!(
        window.words("error")["message"]
            .as_str()
            .unwrap()
            .contains("binary")
    );
    window.camera(0.0);
    assert_eq!(window.frame_of(2).2, [80, 60]);

    // Without answers no third frame comes, however much the camera moves.
    let mut frames = 0;
    for step in 0..20 {
        window.camera(step as f32);
        std::thread::sleep(Duration::from_millis(20));
    }
    window.say(&json!({"type": "nothing"}));
    loop {
        match window.0.read().unwrap() {
            Message::Binary(_) => frames += 1,
            Message::Text(text) if text.contains("\"error\"") => break,
            _ => {}
        }
    }
    assert!((1..=2).contains(&frames), "{frames}");

    // Another window takes over.
    let mut second = viewing.open();
    second.words("hello");
    let code = loop {
        if let Message::Close(frame) = window.0.read().unwrap() {
            break frame.map(|f| u16::from(f.code));
        }
    };
    assert_eq!(code, Some(4001));
    // A message that is too long ends the connection, not the program.
    let _ = second.0.send(Message::text("x".repeat(2 << 20)));
    while second.0.read().is_ok() {}
    let mut third = viewing.open();
    third.words("hello");
    third.camera(10.0);
    assert_eq!(third.frame_of(2).2, [80, 60]);
}

#[test]
fn bad_words_are_refused() {
    let work = Work::new();
    let volume = work.raw("v", [20, 20, 20], "uint8");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (words, part) in [
        ("view none.hgv --no-open".to_owned(), "none.hgv"),
        (format!("view {volume} --no-open --lod 1"), "--lod 1"),
        (format!("view {volume} --no-open --level 1"), "--level 1"),
        (
            format!("view {volume} --no-open --port {port}"),
            "127.0.0.1",
        ),
        (format!("render {volume} -o v.png --lod 1"), "--lod 1"),
    ] {
        let error = work.refused(&words);
        assert!(error.contains(part), "{words}: {error}");
    }
}
