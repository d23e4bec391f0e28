//! Redrive beside NATS JetStream and Redis Streams: the same work through each one's ordinary Rust client, on loopback, in turns.
//!
//! Each turn has a fresh server in a fresh directory. The settings that matter are read back from the running server and must
//! be what the table's row says, or the run fails. `benches/README.md` says what is measured and how to read it.

mod feed;
mod install;
mod nats;
mod plot;
mod redis_streams;
mod redrive_broker;
mod report;
mod server;
mod turn;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::install::Tools;
use crate::report::Results;
use crate::turn::{Sizes, Variant};

/// What goes wrong here ends the run; nobody decides by its kind.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result with such an error.
pub type Result<T> = std::result::Result<T, Error>;

/// Redrive beside its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds; in each of them every server has its turn, one after the other
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Longest time of one measurement, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Largest amount of values of one measurement, in MB: stays below what makes the kernel throttle writers
    #[arg(long, default_value_t = 512)]
    megabytes: u64,
    /// Pause after each turn, behind a sync of all file systems, in seconds
    #[arg(long, default_value_t = 2.0)]
    pause: f64,
    /// Only the servers whose name has this in it
    #[arg(long, default_value = "")]
    only: String,
    /// Where servers are installed, data is written and results go
    #[arg(long, default_value_os_t = default_directory())]
    directory: PathBuf,
}

fn default_directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/compare"))
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    // The broker and its yardstick are in this very program.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "redrive")
    {
        return redrive::cli::run(std::iter::once(program).chain(arguments.skip(1)));
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    std::fs::create_dir_all(&arguments.directory)?;
    let directory = arguments.directory.canonicalize()?;
    let tools = Tools::install(&directory);
    for (peer, why) in &tools.left_out {
        eprintln!("left out: {peer}: {why}");
    }
    let sizes = Sizes {
        time: Duration::from_secs_f64(arguments.seconds),
        bytes: arguments.megabytes.saturating_mul(1_000_000),
    };
    let variants: Vec<Variant> = Variant::all(&tools)
        .into_iter()
        .filter(|variant| variant.name().contains(&arguments.only))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut results = Results::new(arguments.rounds, sizes, &tools);
    for round in 0..arguments.rounds {
        results.add_limits(turn::limits(&directory)?);
        // Each begins a round in turn, so that none is always the one behind the heaviest.
        for at in 0..variants.len() {
            let variant = variants[(at + round as usize) % variants.len()];
            let data = directory.join("data");
            remove(&data)?;
            std::fs::create_dir(&data)?;
            eprintln!(
                "round {} of {}: {}",
                round + 1,
                arguments.rounds,
                variant.name()
            );
            // What one server cannot do is a result like any other, and costs the others nothing.
            match runtime.block_on(turn::run_in_time(variant, &tools, &data, sizes)) {
                Ok(measured) => results.add(variant, measured),
                Err(error) => {
                    eprintln!("failed: {}: {error}", variant.name());
                    results.add_failure(variant, round + 1, &error);
                }
            }
            remove(&data)?;
            rustix::fs::sync();
            std::thread::sleep(Duration::from_secs_f64(arguments.pause));
        }
        results.write(&directory)?;
    }
    println!("{}", results.markdown());
    println!(
        "written: {0}/results.md, {0}/results.json, {0}/results.svg",
        directory.display()
    );
    match results.failure_count() {
        0 => Ok(()),
        count => Err(format!("{count} turns failed; results.md names them").into()),
    }
}

/// Removes a directory. A server that was killed may have left a process behind that still writes there, as Redis does.
fn remove(path: &std::path::Path) -> Result<()> {
    let mut tries = 50;
    loop {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty && tries > 0 => {
                tries -= 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            result => return Ok(result?),
        }
    }
}
