//! `hgv-stream-bench`: a flight over one volume in one format through shaped links.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use hgv::render::{Renderer, TransferFunction};
use hgv::stream::schedule::{Camera, View};
use hgv::stream::{HttpClient, HttpOptions, StreamOptions, Streamer};
use hgv::{Error, Result};
use hgv_bench::stream::contents::{FormatName, open};
use hgv_bench::stream::flight::Flight;
use hgv_bench::stream::link::Link;
use hgv_bench::stream::replay::{Finish, Replay, Shelf};
use hgv_bench::stream::session::{Change, Log, Moment, Plan, fly};
use hgv_bench::stream::ssim::luminance;
use serde_json::{Value, json};

/// Points of a curve of similarity over bytes.
const POINTS: usize = 10;
/// Similarity at which the picture counts as there.
const THERE: f64 = 0.95;

/// Flies over a volume that a web server has, through a link of a given rate and latency, and says when
/// the picture came: one JSON object a link. Folders and paths are those that tools/bench/stream makes.
#[derive(Parser)]
#[command(after_help = "Example:
  hgv-stream-bench --server 127.0.0.1:8080 --path em --folder work/site/em --format hgv \\
      --transfer em.json --truth work/em.ppm --links 10:20,10:100,100:20,100:100")]
struct Args {
    /// Web server that has the files.
    #[arg(long)]
    server: SocketAddr,
    /// Path of the volume on it.
    #[arg(long)]
    path: String,
    /// The same files on disk.
    #[arg(long)]
    folder: PathBuf,
    /// hgv, raw, zarr or precomputed.
    #[arg(long)]
    format: FormatName,
    /// Transfer function, as JSON.
    #[arg(long)]
    transfer: PathBuf,
    /// Picture of the final view from all voxels; made from the raw bricks if it is not there (PPM).
    #[arg(long)]
    truth: PathBuf,
    /// Links, each Mbit/s:ms of a round trip.
    #[arg(long, value_delimiter = ',', value_parser = link)]
    links: Vec<Link>,
    /// Links at once.
    #[arg(long, default_value_t = 1)]
    at_once: usize,
    /// Distance of the final view from the middle, as a share of the longest side.
    #[arg(long, default_value_t = 0.75)]
    near: f32,
    /// Width and height of pictures.
    #[arg(long, value_delimiter = ',', num_args = 1, default_values_t = [400, 300])]
    pixels: Vec<u32>,
    /// Seconds after which a session is given up.
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// Writes the final picture of each session here (PPM), and what arrived when (CSV).
    #[arg(long)]
    pictures: Option<PathBuf>,
}

fn link(word: &str) -> Result<Link, String> {
    let wrong = || "Mbit/s:ms, such as 10:20".to_owned();
    let (rate, trip) = word.split_once(':').ok_or_else(wrong)?;
    let rate: u64 = rate.parse().map_err(|_| wrong())?;
    let trip: u64 = trip.parse().map_err(|_| wrong())?;
    Ok(Link {
        rate: rate * 1_000_000,
        round_trip: Duration::from_millis(trip),
    })
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hgv-stream-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let read = std::fs::read(&args.transfer)
        .map_err(|e| Error::io(args.transfer.display().to_string(), e))?;
    let transfer: TransferFunction = serde_json::from_slice(&read)
        .map_err(|e| Error::argument(format!("{}: {e}", args.transfer.display())))?;
    let pixels = <[u32; 2]>::try_from(args.pixels.as_slice())
        .map_err(|_| Error::argument("--pixels needs two numbers"))?;
    let client = HttpClient::new(HttpOptions::default())?;
    let address = format!("http://{}/{}", args.server, args.path);
    let near = open(args.format, &client, &address, &args.folder)?;
    let flight = Flight::new(near.catalogue().extent(), args.near, pixels);
    let finish = Finish::new(flight.camera(Flight::length()), &transfer);
    let plan = Plan {
        server: args.server,
        path: &args.path,
        folder: &args.folder,
        transfer: &transfer,
        flight,
        patience: Duration::from_secs(args.patience),
    };
    let truth = luminance(&truth(args, &plan, &finish, &client, &address)?);
    let shelf = Shelf::new(near);
    for links in args.links.chunks(args.at_once.max(1)) {
        let logs: Vec<Result<Log>> = std::thread::scope(|scope| {
            let plan = &plan;
            let start = |l: &Link| {
                let link = *l;
                scope.spawn(move || fly(plan, args.format, link))
            };
            let flights: Vec<_> = links.iter().map(start).collect();
            let joined = flights.into_iter().map(|f| f.join());
            let ended = || Err(Error::argument("a session ended without a word"));
            joined.map(|log| log.unwrap_or_else(|_| ended())).collect()
        });
        for (link, log) in links.iter().zip(logs) {
            let report = report(args, *link, &log?, &shelf, &finish, &truth)?;
            #[expect(clippy::print_stdout, reason = "reports are what the program is for")]
            {
                println!("{report}");
            }
        }
    }
    Ok(())
}

/// The picture of the final view from voxels at most half a pixel wide, or of full resolution: that of the
/// file, which is made if it is not there.
fn truth(
    args: &Args,
    plan: &Plan<'_>,
    finish: &Finish,
    client: &HttpClient,
    address: &str,
) -> Result<Vec<u8>> {
    let [width, height] = plan.flight.pixels;
    let header = format!("P6 {width} {height} 255\n");
    if let Ok(bytes) = std::fs::read(&args.truth) {
        let pixels = bytes.strip_prefix(header.as_bytes());
        let pixels = pixels.filter(|p| p.len() == width as usize * height as usize * 3);
        let wrong = || Error::argument(format!("{}: another picture", args.truth.display()));
        return Ok(pixels.ok_or_else(wrong)?.to_vec());
    }
    let camera = plan.flight.camera(Flight::length());
    let fine = Camera {
        pixels: camera.pixels.map(|n| n * 2),
        ..camera
    };
    let (client, address) = (client.clone(), address.to_owned());
    let folder = args.folder.clone();
    let streamer = Streamer::new(
        move || open(FormatName::Raw, &client, &address, &folder),
        StreamOptions::default(),
    )?;
    let opacity = Arc::new(plan.transfer.clone());
    streamer.look(View::new(&fine), [0.0; 3], opacity);
    let progress = streamer.wait_until(Duration::from_secs(600), |p| p.settled);
    if !progress.settled || progress.error.is_some() {
        let why = progress.error.unwrap_or_else(|| "it took too long".into());
        return Err(Error::argument(format!("no true picture: {why}")));
    }
    let picture = finish.picture(&mut Renderer::new(0), &streamer.bricks())?;
    write_picture(&args.truth, &header, &picture)?;
    Ok(picture)
}

fn write_picture(path: &Path, header: &str, picture: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, [header.as_bytes(), picture].concat())
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|e| Error::io(path.display().to_string(), e))
}

/// Every layer that arrived and every block that was decoded or forgotten, as CSV.
fn write_log(path: &Path, log: &Log) -> Result<()> {
    let mut text = String::from("seconds,bytes,event,tier,x,y,z,layers,lod,layer_bytes,error\n");
    let catalogue = log.content.catalogue();
    for (moment, change) in &log.changes {
        let (word, block, layers) = match change {
            Change::Arrived(block, layer) => ("arrived", block, layer + 1),
            Change::Decoded(block, layers) => ("decoded", block, *layers),
            Change::Evicted(block) => ("evicted", block, 0),
        };
        let facts = catalogue.block(*block);
        let layer = usize::from(layers).checked_sub(1);
        let facts = facts.and_then(|f| f.layers.get(layer?).copied());
        let (lod, bytes, error) = facts.map_or((0, 0, 0.0), |l| (l.lod, l.bytes, l.error));
        let [x, y, z] = block.block;
        text += &format!(
            "{:.4},{},{word},{},{x},{y},{z},{layers},{lod},{bytes},{error}\n",
            moment.time.as_secs_f64(),
            moment.bytes,
            block.tier
        );
    }
    std::fs::write(path, text).map_err(|e| Error::io(path.display().to_string(), e))
}

/// What is told of a session.
fn report(
    args: &Args,
    link: Link,
    log: &Log,
    shelf: &Shelf,
    finish: &Finish,
    truth: &[f64],
) -> Result<Value> {
    let began = Instant::now();
    let mut network = Replay::new(log, shelf, finish, truth);
    let curve = curve(&mut network)?;
    let there = there(&mut network, &curve)?;
    let end = network.moments().len().saturating_sub(1);
    let similar = if network.moments().is_empty() {
        0.0
    } else {
        network.similarity(end)?
    };
    if let Some(folder) = &args.pictures {
        let name = format!(
            "{}-{}-{}-{}",
            args.path.replace('/', "-"),
            args.format,
            link.rate / 1_000_000,
            link.round_trip.as_millis()
        );
        let [width, height] = [args.pixels[0], args.pixels[1]];
        let header = format!("P6 {width} {height} 255\n");
        let picture = network.picture(end)?;
        write_picture(&folder.join(format!("{name}.ppm")), &header, &picture)?;
        write_log(&folder.join(format!("{name}.csv")), log)?;
    }
    let last = network.moments().last().map(|m| m.0);
    let points: Vec<Value> = curve
        .iter()
        .map(|(i, similarity)| {
            let moment = network.moments()[*i].0;
            json!([moment.time.as_secs_f64(), moment.bytes, similarity])
        })
        .collect();
    let decoded = there.and_then(|i| network.decoded(i));
    let there = there.map(|i| network.moments()[i].0);
    Ok(json!({
        "volume": args.path,
        "format": args.format.to_string(),
        "mbit": link.rate / 1_000_000,
        "ms": link.round_trip.as_millis() as u64,
        "first": moment(log.first),
        "there": moment(there),
        "there_decoded": moment(decoded),
        "last": moment(last),
        "end": moment(Some(log.end)),
        "settled": log.settled,
        "ssim": similar,
        "requests": log.requests,
        "connections": log.connections,
        "error": log.error,
        "curve": points,
        "replay_seconds": began.elapsed().as_secs_f64(),
    }))
}

fn moment(moment: Option<Moment>) -> Value {
    moment.map_or(
        Value::Null,
        |m| json!({ "seconds": m.time.as_secs_f64(), "bytes": m.bytes }),
    )
}

/// Similarity at moments that are about evenly spread over the bytes.
fn curve(replay: &mut Replay<'_>) -> Result<Vec<(usize, f64)>> {
    let bytes: Vec<u64> = replay.moments().iter().map(|m| m.0.bytes).collect();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Ok(Vec::new());
    };
    let mut places: Vec<usize> = (0..POINTS)
        .map(|i| {
            // Closer together at first, where more happens.
            let part = (i as f64 / (POINTS - 1) as f64).powi(2);
            let want = *first + ((last - first) as f64 * part) as u64;
            bytes.partition_point(|b| *b < want).min(bytes.len() - 1)
        })
        .collect();
    places.dedup();
    if let Some(end) = places.last_mut() {
        *end = bytes.len() - 1;
    }
    let measure = |i: usize| Ok((i, replay.similarity(i)?));
    places.into_iter().map(measure).collect()
}

/// The moment at which the picture is there, found between two points of a curve.
fn there(replay: &mut Replay<'_>, curve: &[(usize, f64)]) -> Result<Option<usize>> {
    let Some(after) = curve.iter().position(|(_, s)| *s >= THERE) else {
        return Ok(None);
    };
    let from = after.checked_sub(1).map_or(0, |i| curve[i].0);
    replay.reaches(THERE, from, curve[after].0)
}
