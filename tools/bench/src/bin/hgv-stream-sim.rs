//! `hgv-stream-sim`: the scheduler of `hgv::stream` over made-up links and volumes, in virtual time.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hgv::{Error, Result};
use hgv_bench::stream_sim::link::LinkOptions;
use hgv_bench::stream_sim::measure::Outcome;
use hgv_bench::stream_sim::path::CameraPath;
use hgv_bench::stream_sim::policy::Policy;
use hgv_bench::stream_sim::profile::Profile;
use hgv_bench::stream_sim::run::{Heap, Scenario, run};
use hgv_bench::stream_sim::volume::VirtualVolume;
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Replays a camera path over a link of given bandwidth, latency and loss, for a volume that exists only
/// as functions of place, and says how soon the picture is right and what was fetched for it.
#[derive(Parser)]
#[command(after_help = "Examples:
  hgv-stream-sim profile scan.hgv -o tools/bench/stream-sim/profiles/scan.json
  hgv-stream-sim run --profile scan.json --blocks 1e8 --path orbit.json --link 100,20
  hgv-stream-sim run --profile scan.json --path jump.json --link 10,100,0.001 --policy fifo --json")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures the blocks of a file, to make volumes of.
    Profile {
        /// The file.
        file: PathBuf,
        /// Where the profile goes.
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Runs one or more policies.
    Run(RunArgs),
}

#[derive(clap::Args)]
struct RunArgs {
    /// What blocks are like.
    #[arg(long)]
    profile: PathBuf,
    /// About how many blocks, such as 1e6.
    #[arg(long, default_value_t = 1e6)]
    blocks: f64,
    /// Camera path.
    #[arg(long)]
    path: PathBuf,
    /// Megabits a second, milliseconds of a round trip, and share of segments lost.
    #[arg(long, default_value = "100,20", value_delimiter = ',', num_args = 1)]
    link: Vec<f64>,
    /// All requests on one connection, as HTTP/2 has it.
    #[arg(long)]
    multiplexed: bool,
    /// Who decides: scheduler, no-coalescing, no-prediction, no-cancelling, fifo, nearest; several with commas.
    #[arg(long, default_value = "scheduler", value_delimiter = ',')]
    policy: Vec<String>,
    /// Seconds that the scheduler looks ahead, if not as many as by default.
    #[arg(long)]
    horizon: Option<f32>,
    /// Fetches under way at once.
    #[arg(long)]
    fetches: Option<usize>,
    /// Bytes of resident layers, MiB.
    #[arg(long)]
    encoded: Option<u64>,
    /// For the volume and for losses.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A line of JSON for each run instead of text.
    #[arg(long)]
    json: bool,
    /// Writes time, bytes and error of every look at the picture of the last run.
    #[arg(long)]
    moments: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Profile { file, output } => profile(&file, &output),
        Command::Run(args) => runs(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hgv-stream-sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// Writes a whole file or nothing.
fn write(path: &Path, text: &str) -> Result<()> {
    let failed =
        |e: std::io::Error| Error::argument(format!("{} cannot be written: {e}", path.display()));
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text).map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)
}

fn profile(file: &Path, output: &Path) -> Result<()> {
    let name = file
        .file_stem()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let profile = Profile::measure(&hgv::Volume::open(file)?, &name)?;
    write(output, &profile.text())
}

fn runs(args: &RunArgs) -> Result<()> {
    let profile = Profile::load(&args.profile)?;
    let path = CameraPath::load(&args.path)?;
    if !(1.0..=8e9).contains(&args.blocks) {
        return Err(Error::argument(format!(
            "--blocks {}, 1 to 8e9 are allowed",
            args.blocks
        )));
    }
    let mut out = std::io::stdout().lock();
    for name in &args.policy {
        let scenario = scenario(args, name)?;
        let volume = VirtualVolume::new(profile.clone(), args.blocks as u64, args.seed)?;
        let outcome = run(&scenario, volume, &path);
        let text = if args.json {
            json(args, name, &path, &outcome)
        } else {
            told(name, &outcome)
        };
        if writeln!(out, "{text}").is_err() {
            return Ok(());
        }
        if let Some(file) = &args.moments {
            let lines = outcome
                .moments
                .iter()
                .map(|m| format!("{},{},{}\n", m.time, m.bytes, m.error));
            write(
                file,
                &format!("time,bytes,error\n{}", lines.collect::<String>()),
            )?;
        }
    }
    Ok(())
}

fn scenario(args: &RunArgs, policy: &str) -> Result<Scenario> {
    let (megabits, milliseconds, loss) = match args.link[..] {
        [megabits, milliseconds] => (megabits, milliseconds, 0.0),
        [megabits, milliseconds, loss] => (megabits, milliseconds, loss),
        _ => {
            return Err(Error::argument(
                "--link takes two or three numbers, such as 100,20",
            ));
        }
    };
    if !(megabits > 0.0 && milliseconds >= 0.0 && (0.0..0.5).contains(&loss)) {
        return Err(Error::argument(
            "--link takes a bandwidth over 0, a round trip of 0 or more and a loss under 0.5",
        ));
    }
    let link = LinkOptions {
        loss,
        multiplexed: args.multiplexed,
        seed: args.seed,
        ..LinkOptions::new(megabits, milliseconds)
    };
    let mut scenario = Scenario::new(Policy::named(policy)?, link);
    scenario.horizon = args.horizon;
    scenario.budgets.fetches = args.fetches.unwrap_or(scenario.budgets.fetches).max(1);
    scenario.budgets.encoded = args.encoded.map_or(scenario.budgets.encoded, |m| m << 20);
    scenario.heap = Some(Heap {
        used: || HEAP.current_usage(),
        reset: || HEAP.reset_peak_usage(),
        peak: || HEAP.peak_usage(),
    });
    Ok(scenario)
}

fn json(args: &RunArgs, policy: &str, path: &CameraPath, outcome: &Outcome) -> String {
    let what = serde_json::json!({
        "policy": policy,
        "blocks": args.blocks,
        "path": path.name,
        "link": args.link,
        "outcome": outcome,
    });
    what.to_string()
}

fn told(policy: &str, o: &Outcome) -> String {
    let seconds = |t: Option<f64>| t.map_or_else(|| "never".into(), |t| format!("{t:.2} s"));
    let mib = |bytes: f64| format!("{:.2} MiB", bytes / f64::from(1 << 20));
    format!(
        "{policy}: first picture {} ({}), mean error {:.4} ({:.4} moving), rest 95 % {} 99 % {} settled {}, \
         {} in {} requests on {} connections (gaps {}, cancelled {}, vain {}), heap {}, \
         set_view {:.2} ms mean {:.2} longest of {}, next_fetch {:.3} ms mean {:.2} longest of {}",
        seconds(o.first_picture),
        mib(o.first_picture_bytes),
        o.mean_error,
        o.moving_error,
        seconds(o.rest_95),
        seconds(o.rest_99),
        seconds(o.settled),
        mib(o.bytes),
        o.requests,
        o.connections,
        mib(o.gap_bytes as f64),
        mib(o.cancelled_bytes),
        mib(o.vain_bytes as f64),
        mib(o.memory as f64),
        o.set_view.total / o.set_view.count.max(1) as f64,
        o.set_view.longest,
        o.set_view.count,
        o.next_fetch.total / o.next_fetch.count.max(1) as f64,
        o.next_fetch.longest,
        o.next_fetch.count,
    )
}
