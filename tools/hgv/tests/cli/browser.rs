//! The page of `hgv view` in a real browser: headless Chromium, driven through its DevTools protocol.
//!
//! With `HGV_SCREENSHOTS=FOLDER` in the environment, pictures of the page are left there.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::support::Work;
use crate::view::Viewing;

const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// A page in a browser that ends with the test.
struct Page {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    next: u64,
    /// What the console and the browser complained about.
    complaints: Vec<String>,
}

/// The browser, if there is one.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).flat_map(|folder| NAMES.map(|n| folder.join(n)));
    found.into_iter().find(|p| p.is_file())
}

impl Page {
    fn start(program: &Path, work: &Work) -> Self {
        let mut child = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-port=0",
            ])
            .args([
                "--no-first-run",
                "--disable-extensions",
                "--disable-background-networking",
            ])
            .args(["--no-proxy-server", "--hide-scrollbars"])
            .arg(format!(
                "--user-data-dir={}",
                work.path("profile").display()
            ))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                Some(
                    line.ok()?
                        .strip_prefix("DevTools listening on ")?
                        .to_owned(),
                )
            })
            .expect("an address of the DevTools");
        // It would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let host = address
            .trim_start_matches("ws://")
            .split('/')
            .next()
            .unwrap();
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = address.into_client_request().unwrap();
        let (socket, _) = tungstenite::client::client(request, stream).unwrap();
        let mut page = Self {
            child,
            socket,
            session: None,
            next: 0,
            complaints: Vec::new(),
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let words = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", words);
        page.session = attached["sessionId"].as_str().map(String::from);
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page
    }

    /// Calls a method and waits for what it gives.
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.socket
            .send(Message::text(message.to_string()))
            .unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            let value: Value = serde_json::from_str(&text).unwrap();
            if value["id"] == self.next {
                assert!(value.get("error").is_none(), "{method}: {value}");
                return value["result"].clone();
            }
            self.hear(&value);
        }
    }

    fn hear(&mut self, event: &Value) {
        let parameters = &event["params"];
        let bad = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => parameters["type"] == "error",
            Some("Log.entryAdded") => parameters["entry"]["level"] == "error",
            _ => false,
        };
        if bad {
            self.complaints.push(event.to_string());
        }
    }

    /// The value of an expression in the page.
    fn evaluate(&mut self, expression: &str) -> Value {
        let words = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", words);
        assert!(
            result.get("exceptionDetails").is_none(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    fn wait(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.evaluate(expression) != true {
            if Instant::now() > end {
                let status = self.evaluate("document.body.innerText");
                panic!("never: {expression}; {:?}; {status}", self.complaints);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The number of the frame that is shown.
    fn frame(&mut self) -> u64 {
        let shown = self.evaluate("Number(document.getElementById('view').dataset.frame ?? 0)");
        shown.as_u64().unwrap()
    }

    /// Pixels of the picture, once a frame with all pixels is shown that is newer than `than`: red, green and
    /// blue of every 7th one.
    fn still(&mut self, than: u64) -> Vec<u8> {
        self.wait(&format!(
            "(v => v.getAttribute('aria-busy') === 'false' && Number(v.dataset.frame) > {than})\
             (document.getElementById('view'))"
        ));
        let pixels = self.evaluate(
            "(v => Array.from(v.getContext('2d').getImageData(0, 0, v.width, v.height).data)\
             .filter((_, i) => i % 4 < 3 && (i >> 2) % 7 === 0))(document.getElementById('view'))",
        );
        let pixels = pixels.as_array().unwrap();
        pixels.iter().map(|p| p.as_u64().unwrap() as u8).collect()
    }

    /// Does something that changes the picture; returns the picture with all pixels then.
    fn after(&mut self, act: impl FnOnce(&mut Self)) -> Vec<u8> {
        let before = self.frame();
        act(self);
        self.still(before)
    }

    fn mouse(&mut self, kind: &str, [x, y]: [f64; 2], more: Value) {
        let mut words = json!({"type": kind, "x": x, "y": y, "pointerType": "mouse"});
        words
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.call("Input.dispatchMouseEvent", words);
    }

    /// Drags from one place to another.
    fn drag(&mut self, from: [f64; 2], to: [f64; 2]) {
        let left = json!({"button": "left", "buttons": 1, "clickCount": 1});
        self.mouse("mouseMoved", from, json!({}));
        self.mouse("mousePressed", from, left.clone());
        for step in 1..=6 {
            let part = f64::from(step) / 6.0;
            let at = [0, 1].map(|a| from[a] + part * (to[a] - from[a]));
            self.mouse("mouseMoved", at, left.clone());
        }
        self.mouse("mouseReleased", to, left);
    }

    fn key(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let words =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", words);
        }
    }

    /// Middle of an element.
    fn place(&mut self, selector: &str) -> [f64; 2] {
        let found = self.evaluate(&format!(
            "(e => (e.scrollIntoView({{block: 'center'}}), (b => [b.x + b.width / 2, b.y + b.height / 2])\
             (e.getBoundingClientRect())))(document.querySelector('{selector}'))"
        ));
        [0, 1].map(|i| found[i].as_f64().unwrap())
    }

    fn resize(&mut self, [width, height]: [u32; 2]) {
        let words =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", words);
    }

    fn scheme(&mut self, value: &str) {
        let words = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.call("Emulation.setEmulatedMedia", words);
    }

    fn screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("HGV_SCREENSHOTS") else {
            return;
        };
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let bytes = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            shot["data"].as_str().unwrap(),
        );
        std::fs::write(Path::new(&folder).join(name), bytes.unwrap()).unwrap();
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pixels that differ visibly.
fn apart(a: &[u8], b: &[u8]) -> usize {
    assert_eq!(a.len(), b.len());
    let differs = |(a, b): &(&[u8], &[u8])| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > 24);
    a.chunks(3).zip(b.chunks(3)).filter(differs).count()
}

/// Two balls in a haze, so that every side looks different.
fn volume(work: &Work) -> &'static str {
    const SIDE: usize = 64;
    let mut voxels = Vec::with_capacity(SIDE * SIDE * SIDE);
    let away = |p: [usize; 3], c: [f32; 3]| {
        let d = [0, 1, 2].map(|a| p[a] as f32 - c[a]);
        (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt()
    };
    for z in 0..SIDE {
        for y in 0..SIDE {
            for x in 0..SIDE {
                let large = 20.0 - away([x, y, z], [26.0, 26.0, 30.0]);
                let small = 10.0 - away([x, y, z], [50.0, 40.0, 45.0]);
                let noise = (x * 7 + y * 13 + z * 29) % 11;
                let value = 20.0 + noise as f32 + (large * 20.0).clamp(0.0, 120.0);
                voxels.push((value + (small * 30.0).clamp(0.0, 200.0)).min(255.0) as u8);
            }
        }
    }
    work.write("balls_64x64x64_uint8.raw", voxels);
    work.ok("encode balls_64x64x64_uint8.raw -o balls.hgv --levels 2");
    "balls.hgv"
}

#[test]
fn the_page_works() {
    let Some(program) = browser() else {
        eprintln!("SKIPPED: no chromium here (Debian package chromium)");
        return;
    };
    let work = Work::new();
    let viewing = Viewing::start(&work, volume(&work));
    let mut page = Page::start(&program, &work);
    page.resize([1100, 700]);
    page.scheme("dark");
    page.call("Page.navigate", json!({"url": viewing.url()}));
    page.wait("document.readyState === 'complete' && document.getElementById('name').textContent === 'balls.hgv'");
    let first = page.still(0);
    let seen = first
        .chunks(3)
        .filter(|p| p.iter().any(|&c| c > 40))
        .count();
    assert!(
        seen > first.len() / 3 / 20,
        "{seen} of {} pixels",
        first.len() / 3
    );
    page.screenshot("desktop.png");

    // Gestures and keys.
    let turned = page.after(|p| p.drag([300.0, 300.0], [520.0, 330.0]));
    assert!(apart(&first, &turned) > 100, "a drag turns");
    let nearer = page.after(|p| {
        p.mouse(
            "mouseWheel",
            [300.0, 300.0],
            json!({"deltaX": 0, "deltaY": -300}),
        );
    });
    assert!(apart(&turned, &nearer) > 100, "the wheel zooms");
    let by_key = page.after(|p| p.key("ArrowLeft", 37));
    assert!(apart(&nearer, &by_key) > 30, "an arrow key turns");
    let again = page.after(|p| p.key("Home", 36));
    assert!(apart(&first, &again) < 5, "Home shows what was shown first");

    // The curve: by mouse, by keyboard, by preset.
    let handle = page.place("#transfer .handle");
    let edited = page.after(|p| p.drag(handle, [handle[0], handle[1] - 60.0]));
    assert!(
        apart(&first, &edited) > 30,
        "a point that is dragged changes opacity"
    );
    page.evaluate("document.querySelector('#transfer .handle:last-of-type').focus()");
    let points = page.evaluate("document.querySelectorAll('#transfer .handle').length");
    page.after(|p| p.key("Insert", 45));
    let more = page.evaluate("document.querySelectorAll('#transfer .handle').length");
    assert_eq!(more.as_u64(), points.as_u64().map(|n| n + 1));
    page.after(|p| p.key("Delete", 46));
    let choose = |id: &str, value: &str| {
        format!(
            "(e => (e.value = '{value}', e.dispatchEvent(new Event('input'))))\
             (document.getElementById('{id}'))"
        )
    };
    let preset = page.after(|p| drop(p.evaluate(&choose("preset", "ct-bone"))));
    assert!(apart(&edited, &preset) > 30, "a preset changes colours");

    // Modes, light, box, detail.
    let mut last = preset;
    for (id, value) in [
        ("mode", "maximum"),
        ("mode", "surface"),
        ("light-azimuth", "90"),
        ("background", "#8090a0"),
        ("clip-x-from", "28"),
        ("lod", "2"),
    ] {
        let next = page.after(|p| drop(p.evaluate(&choose(id, value))));
        assert!(apart(&last, &next) > 10, "{id} {value}");
        last = next;
    }

    // A picture to keep.
    let folder = work.path("downloads");
    std::fs::create_dir(&folder).unwrap();
    let session = page.session.take();
    let words = json!({"behavior": "allow", "downloadPath": folder});
    page.call("Browser.setDownloadBehavior", words);
    page.session = session;
    let at = page.place("#save");
    page.drag(at, at);
    let end = Instant::now() + PATIENCE;
    let saved = loop {
        match std::fs::read(folder.join("balls.png")) {
            Ok(bytes) if bytes.ends_with(b"IEND\xaeB`\x82") => break bytes,
            _ => assert!(
                Instant::now() < end,
                "no picture was saved: {:?}",
                page.complaints
            ),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(saved.starts_with(b"\x89PNG"));

    // Small and light screens.
    page.scheme("light");
    page.after(|p| p.resize([360, 740]));
    let wide = page.evaluate("document.documentElement.scrollWidth");
    assert!(wide.as_u64().unwrap() <= 360, "{wide}");
    page.screenshot("narrow.png");
    page.evaluate("document.getElementById('help').click()");
    assert_eq!(
        page.evaluate("document.getElementById('help-dialog').open"),
        true
    );
    page.screenshot("help.png");
    assert_eq!(page.complaints, Vec::<String>::new());
}
