//! `redrive bench limit --read`: the yardstick of consuming. One thread reads a file that is in the page cache, batch by
//! batch, and sends it; another receives it and computes the checksum. Nothing of the broker but that.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use storage::checksum::crc32;

use super::super::error::CliError;
use super::limit::join;
use super::load::Batches;
use super::report::Latencies;

/// Writes the batches to a file below `directory`, then measures how fast they are read, sent, received and checked.
pub(super) fn measure(
    batches: &Batches,
    directory: &Path,
) -> Result<(Duration, Latencies), CliError> {
    let failed = |source| CliError::Io {
        action: "measure".to_owned(),
        source,
    };
    let path = directory.join("limit");
    let file = written(batches, &path).map_err(failed)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let stream = TcpStream::connect(address).map_err(failed)?;
    let (receiver, _) = listener.accept().map_err(failed)?;
    let mut latencies = Latencies::new()?;
    let start = Instant::now();
    let result = thread::scope(|scope| {
        let sender = scope.spawn(|| send(stream, batches, &file));
        let receiving = receive(receiver, batches, &mut latencies);
        join(sender).and(receiving)
    });
    result.map_err(failed)?;
    Ok((start.elapsed(), latencies))
}

/// Writes the file and syncs it: what is measured then is not in the way of writing it back.
fn written(batches: &Batches, path: &Path) -> io::Result<File> {
    let mut file = File::create_new(path)?;
    for batch in batches.iter() {
        file.write_all(&batch)?;
    }
    file.sync_all()?;
    File::open(path)
}

fn send(mut stream: TcpStream, batches: &Batches, file: &File) -> io::Result<()> {
    let mut buffer = vec![0; batches.batch_bytes()];
    let mut position = 0_u64;
    for expected in batches.iter() {
        let (batch, _) = buffer
            .split_at_mut_checked(expected.len())
            .ok_or(io::ErrorKind::InvalidData)?;
        file.read_exact_at(batch, position)?;
        stream.write_all(batch)?;
        position = position.saturating_add(u64::try_from(batch.len()).unwrap_or(u64::MAX));
    }
    Ok(())
}

fn receive(mut stream: TcpStream, batches: &Batches, latencies: &mut Latencies) -> io::Result<()> {
    let mut buffer = vec![0; batches.batch_bytes()];
    for expected in batches.iter() {
        let began = Instant::now();
        let (batch, _) = buffer
            .split_at_mut_checked(expected.len())
            .ok_or(io::ErrorKind::InvalidData)?;
        stream.read_exact(batch)?;
        std::hint::black_box(crc32(batch));
        latencies.record(began.elapsed());
    }
    Ok(())
}
