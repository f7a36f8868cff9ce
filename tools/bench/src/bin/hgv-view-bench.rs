//! `hgv-view-bench`: how many frames a second `hgv view` gives while a volume turns.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use hgv::volume::DType;
use hgv::{Error, Result};
use hgv_bench::generate::{Phantom, write};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// Kind of a frame that has all pixels.
const STILL: u32 = 2;
/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds before the measurement in which the resolution settles.
const WARM_UP: f32 = 2.0;

/// Opens a volume with `hgv view`, as a page would, turns it, and answers every frame at once: one JSON object
/// with frames a second and their mean resolution. Then stands still until a frame has all pixels.
#[derive(Parser)]
#[command(after_help = "Examples:
  cargo build --release --workspace && target/release/hgv-view-bench
  hgv-view-bench --input scan.hgv --mode maximum --size 1920,1080")]
struct Args {
    /// The program [default: hgv beside this one].
    #[arg(long)]
    hgv: Option<PathBuf>,
    /// Volume to show [default: a generated head of 256^3 voxels, encoded with --preset fast].
    #[arg(long)]
    input: Option<PathBuf>,
    /// Mode, as for `hgv view`.
    #[arg(long, default_value = "medium")]
    mode: String,
    /// Transfer function, as for `hgv view`.
    #[arg(long)]
    transfer: Option<String>,
    /// Width and height of the whole picture.
    #[arg(long, value_delimiter = ',', num_args = 1, default_values_t = [1280, 720])]
    size: Vec<u32>,
    /// Seconds of the turn.
    #[arg(long, default_value_t = 10.0)]
    seconds: f32,
    /// Degrees a second.
    #[arg(long, default_value_t = 36.0)]
    speed: f32,
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hgv-view-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn io(context: &str) -> impl Fn(std::io::Error) -> Error {
    move |e| Error::io(context, e)
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::Input(format!("hgv view: {what}"))
}

fn run(args: &Args) -> Result<Value> {
    let &[width, height] = args.size.as_slice() else {
        return Err(Error::argument("--size needs two numbers: 1280,720"));
    };
    let program = match &args.hgv {
        Some(path) => path.clone(),
        None => {
            let own = std::env::current_exe().map_err(io("the path of this program"))?;
            own.with_file_name(format!("hgv{}", std::env::consts::EXE_SUFFIX))
        }
    };
    let folder = tempfile::tempdir().map_err(io("a temporary folder"))?;
    let input = match &args.input {
        Some(path) => path.clone(),
        None => made(&program, folder.path())?,
    };
    let viewing = Viewing::start(&program, &input, args)?;
    let mut page = Page::open(&viewing.url, [width, height])?;
    page.turn(WARM_UP, args.speed)?;
    let turned = page.turn(args.seconds, args.speed)?;
    let still = page.stand()?;
    let seconds = f64::from(args.seconds);
    let frames = turned.frames.max(1) as f64;
    let share = turned.pixels as f64 / frames / f64::from(width * height);
    Ok(json!({
        "extent": page.hello["extent"],
        "backend": page.hello["backend"],
        "size": [width, height],
        "seconds": seconds,
        "frames": turned.frames,
        "frames_per_second": turned.frames as f64 / seconds,
        "mean_pixels": turned.pixels as f64 / frames,
        "mean_resolution": [f64::from(width) * share.sqrt(), f64::from(height) * share.sqrt()],
        "mean_frame_bytes": turned.bytes as f64 / frames,
        "longest_gap_milliseconds": turned.longest.as_secs_f64() * 1e3,
        "whole_picture_seconds": still.as_secs_f64(),
    }))
}

/// A head of 256^3 voxels as a .hgv file.
fn made(program: &Path, folder: &Path) -> Result<PathBuf> {
    let extent = [256; 3];
    let head = Phantom::new(extent, 0, 12.0);
    let raw = write(&head, extent, DType::Int16, &folder.join("head.npy"), false)?;
    let path = folder.join("head.hgv");
    let status = Command::new(program)
        .args(["encode", "--quiet", "--preset", "fast", "-o"])
        .args([&path, &raw])
        .status()
        .map_err(io("hgv encode"))?;
    if status.success() {
        Ok(path)
    } else {
        Err(broken(format!("hgv encode ended with {status}")))
    }
}

/// The program, which ends with the measurement.
struct Viewing {
    child: Child,
    url: String,
}

impl Viewing {
    fn start(program: &Path, input: &Path, args: &Args) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("view").arg(input).args([
            "--no-open",
            "--json",
            "--quiet",
            "--mode",
            &args.mode,
        ]);
        if let Some(transfer) = &args.transfer {
            command.args(["--transfer", transfer]);
        }
        let spawned = command.stdout(Stdio::piped()).spawn();
        let mut viewing = Self {
            child: spawned.map_err(io("hgv view"))?,
            url: String::new(),
        };
        let out = viewing.child.stdout.take();
        let mut line = String::new();
        BufReader::new(out.ok_or_else(|| broken("it has no output"))?)
            .read_line(&mut line)
            .map_err(io("the address of hgv view"))?;
        let json: Value = serde_json::from_str(&line).map_err(broken)?;
        viewing.url = json["url"].as_str().unwrap_or_default().to_owned();
        Ok(viewing)
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        // If it has ended already, there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a turn gave.
#[derive(Default)]
struct Turned {
    frames: u32,
    pixels: u64,
    bytes: u64,
    longest: Duration,
}

/// A page as the program sees one.
struct Page {
    socket: WebSocket<TcpStream>,
    hello: Value,
    size: [u32; 2],
    azimuth: f32,
}

impl Page {
    fn open(url: &str, size: [u32; 2]) -> Result<Self> {
        let rest = url.strip_prefix("http://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        let stream = TcpStream::connect(host).map_err(io(host))?;
        stream.set_nodelay(true).map_err(io(host))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(io(host))?;
        let request = format!("ws://{rest}socket").into_client_request();
        let (socket, _) =
            tungstenite::client::client(request.map_err(broken)?, stream).map_err(broken)?;
        let mut page = Self {
            socket,
            hello: Value::Null,
            size,
            azimuth: 30.0,
        };
        let first = page.socket.read().map_err(broken)?;
        page.hello = serde_json::from_str(first.to_text().map_err(broken)?).map_err(broken)?;
        Ok(page)
    }

    fn say(&mut self, message: &Value) -> Result<()> {
        let message = Message::text(message.to_string());
        self.socket.send(message).map_err(broken)
    }

    /// Looks at the middle from where all of the volume is seen.
    fn look(&mut self) -> Result<()> {
        let side = |a: usize| {
            let extent = self.hello["extent"][a].as_f64().unwrap_or(1.0);
            extent * self.hello["spacing"][a].as_f64().unwrap_or(1.0)
        };
        let sides = [0, 1, 2].map(side);
        let diagonal = sides.iter().map(|s| s * s).sum::<f64>().sqrt();
        let field = self.hello["field"].as_f64().unwrap_or(0.5);
        self.say(&json!({
            "type": "camera",
            "target": sides.map(|s| s / 2.0),
            "azimuth": self.azimuth,
            "elevation": 20.0,
            // The sphere around the volume is a little higher than the picture, as it is in the page.
            "distance": 0.45 * diagonal / (field / 2.0).sin(),
            "orthographic": false,
            "size": self.size,
        }))
    }

    /// The next frame, answered: kind, pixels, bytes.
    fn frame(&mut self) -> Result<(u32, u64, u64)> {
        loop {
            let Message::Binary(bytes) = self.socket.read().map_err(broken)? else {
                continue;
            };
            let (head, _) = bytes.as_chunks::<4>();
            let &[kind, number, width, height, ..] = head else {
                return Err(broken("a frame without a head"));
            };
            let [kind, number, width, height] =
                [kind, number, width, height].map(u32::from_le_bytes);
            self.say(&json!({"type": "shown", "frame": number}))?;
            let pixels = u64::from(width) * u64::from(height);
            return Ok((kind, pixels, bytes.len() as u64));
        }
    }

    /// Turns for some seconds, a little with every frame.
    fn turn(&mut self, seconds: f32, speed: f32) -> Result<Turned> {
        let (start, first) = (Instant::now(), self.azimuth);
        let mut last = start;
        let mut turned = Turned::default();
        while start.elapsed().as_secs_f32() < seconds {
            let azimuth = first + speed * start.elapsed().as_secs_f32();
            self.azimuth = (azimuth + 180.0).rem_euclid(360.0) - 180.0;
            self.look()?;
            let (_, pixels, bytes) = self.frame()?;
            turned.frames += 1;
            turned.pixels += pixels;
            turned.bytes += bytes;
            turned.longest = turned.longest.max(last.elapsed());
            last = Instant::now();
        }
        Ok(turned)
    }

    /// Stands still until a frame has all pixels; returns how long that took.
    fn stand(&mut self) -> Result<Duration> {
        let start = Instant::now();
        while self.frame()?.0 != STILL {
            if start.elapsed() > PATIENCE {
                return Err(broken("no frame has all pixels"));
            }
        }
        Ok(start.elapsed())
    }
}
