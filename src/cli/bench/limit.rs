//! `redrive bench limit`: the yardstick. Threads and blocking calls, nothing of the broker but its checksum.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::json;
use storage::checksum::crc32;

use super::super::error::CliError;
use super::super::output::Output;
use super::super::topic::DurabilityArg;
use super::LimitArgs;
use super::load::Batches;
use super::read_limit;
use super::report::{Latencies, Report};
use crate::client::backoff::random;

/// Bytes that are worth a sync.
const SYNC_BYTES: u64 = 8 << 20;
/// Bytes that may be written and not synced.
const UNSYNCED_BYTES_MAX: u64 = 64 << 20;

/// Runs `redrive bench limit`.
pub(super) fn run(arguments: &LimitArgs, output: &mut Output) -> Result<(), CliError> {
    let load = &arguments.load;
    if load.connections != 1 || load.partitions != 1 {
        return Err(CliError::usage(
            "the limit is that of one connection and one file: leave out --connections and --partitions",
        ));
    }
    let batches = Batches::encode(load, load.records)?;
    let is_synced = load.acks == DurabilityArg::Synced;
    let directory =
        TemporaryDirectory::create(&arguments.data_dir).map_err(|source| CliError::Io {
            action: format!("create a directory below {}", arguments.data_dir.display()),
            source,
        })?;
    if arguments.read {
        let (elapsed, latencies) = read_limit::measure(&batches, &directory.0)?;
        let report = Report {
            what: "read limit",
            latency_of: "for a batch to be received and checked",
            elapsed,
            latencies,
            effective: json!({ "file": "in the page cache" }),
        };
        return report.write(load, output);
    }
    if load.window == Some(1) {
        let (elapsed, latencies) = one_at_a_time(&batches, is_synced, &directory.0)?;
        let report = Report {
            what: "limit, one at a time",
            latency_of: "for a batch to be written, and synced if so",
            elapsed,
            latencies,
            effective: json!({ "durability": if is_synced { "synced" } else { "written" } }),
        };
        return report.write(load, output);
    }
    let (elapsed, latencies) = measure(&batches, is_synced, &directory.0)?;
    let report = Report {
        what: "limit",
        latency_of: "for a batch to be received, checked and written",
        elapsed,
        latencies,
        effective: json!({
            "durability": if is_synced { "synced" } else { "written" },
            "sync_bytes": is_synced.then_some(SYNC_BYTES),
            "unsynced_bytes_max": is_synced.then_some(UNSYNCED_BYTES_MAX),
        }),
    };
    report.write(load, output)
}

fn measure(
    batches: &Batches,
    is_synced: bool,
    directory: &Path,
) -> Result<(Duration, Latencies), CliError> {
    let file = File::create_new(directory.join("limit")).map_err(failed)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let stream = TcpStream::connect(address).map_err(failed)?;
    let (receiver, _) = listener.accept().map_err(failed)?;
    let mut latencies = Latencies::new()?;
    let progress = Progress::default();
    let start = Instant::now();
    let result = thread::scope(|scope| {
        let sender = scope.spawn(|| send(stream, batches));
        let syncer = is_synced.then(|| scope.spawn(|| progress.sync_all(&file)));
        let receiving = receive(
            receiver,
            batches,
            &file,
            is_synced,
            &progress,
            &mut latencies,
        );
        progress.end();
        let last_sync = syncer.map_or(Ok(()), join);
        join(sender).and(receiving).and(last_sync)
    });
    result.map_err(failed)?;
    Ok((start.elapsed(), latencies))
}

fn failed(source: io::Error) -> CliError {
    CliError::Io {
        action: "measure".to_owned(),
        source,
    }
}

/// Appends to a file batch by batch, each synced before the next if so: what one who waits for each cannot be faster than.
fn one_at_a_time(
    batches: &Batches,
    is_synced: bool,
    directory: &Path,
) -> Result<(Duration, Latencies), CliError> {
    let mut file = File::create_new(directory.join("limit")).map_err(failed)?;
    let mut latencies = Latencies::new()?;
    let start = Instant::now();
    for batch in batches.iter() {
        let began = Instant::now();
        file.write_all(&batch).map_err(failed)?;
        if is_synced {
            file.sync_data().map_err(failed)?;
        }
        latencies.record(began.elapsed());
    }
    Ok((start.elapsed(), latencies))
}

pub(super) fn join(thread: thread::ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn send(mut stream: TcpStream, batches: &Batches) -> io::Result<()> {
    for batch in batches.iter() {
        stream.write_all(&batch)?;
    }
    Ok(())
}

fn receive(
    mut stream: TcpStream,
    batches: &Batches,
    file: &File,
    is_synced: bool,
    progress: &Progress,
    latencies: &mut Latencies,
) -> io::Result<()> {
    let mut buffer = vec![0; batches.batch_bytes()];
    let mut position = 0_u64;
    for expected in batches.iter() {
        let began = Instant::now();
        let (batch, _) = buffer
            .split_at_mut_checked(expected.len())
            .ok_or(io::ErrorKind::InvalidData)?;
        stream.read_exact(batch)?;
        std::hint::black_box(crc32(batch));
        file.write_all_at(batch, position)?;
        position += u64::try_from(batch.len()).unwrap_or(u64::MAX);
        if is_synced {
            progress.wrote(position);
        }
        latencies.record(began.elapsed());
    }
    Ok(())
}

/// How far the file is written and synced.
#[derive(Debug, Default)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    written: u64,
    synced: u64,
    is_over: bool,
}

impl Progress {
    /// Tells how far it is written; waits while too much is not synced.
    fn wrote(&self, position: u64) {
        let mut state = self.state.lock();
        state.written = position;
        if position.saturating_sub(state.synced) >= SYNC_BYTES {
            self.changed.notify_all();
        }
        while position.saturating_sub(state.synced) > UNSYNCED_BYTES_MAX && !state.is_over {
            self.changed.wait(&mut state);
        }
    }

    fn end(&self) {
        self.state.lock().is_over = true;
        self.changed.notify_all();
    }

    /// Syncs until the end, the last bytes as well.
    fn sync_all(&self, file: &File) -> io::Result<()> {
        loop {
            let (target, is_over) = {
                let mut state = self.state.lock();
                while state.written.saturating_sub(state.synced) < SYNC_BYTES && !state.is_over {
                    self.changed.wait(&mut state);
                }
                (state.written, state.is_over)
            };
            let result = file.sync_data();
            let mut state = self.state.lock();
            state.synced = target;
            // After a failure nobody waits for this thread.
            state.is_over |= result.is_err();
            drop(state);
            self.changed.notify_all();
            result?;
            if is_over {
                return Ok(());
            }
        }
    }
}

/// A directory that is deleted with what is in it.
pub(super) struct TemporaryDirectory(pub(super) PathBuf);

impl TemporaryDirectory {
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("redrive-bench-{:016x}", random()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // What cannot be deleted is left to whoever finds it by its name.
        fs::remove_dir_all(&self.0).ok();
    }
}
