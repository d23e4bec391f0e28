//! Reading lines: a thread reads blocks of whole lines, so that neither side waits for the other.

use std::io::{ErrorKind, Read};
use std::path::Path;

use storage::limits::BATCH_BYTES_CEILING;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::super::error::CliError;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;
/// Blocks that wait for the producer.
const BLOCKS_AHEAD: usize = 4;

/// Reads `input` on a thread of its own, in blocks that end with a line's end, but for the last one.
pub(super) fn read_blocks(
    input: Box<dyn Read + Send>,
    path: Option<&Path>,
) -> Receiver<Result<Vec<u8>, CliError>> {
    let (sender, receiver) = channel(BLOCKS_AHEAD);
    let name = path.map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read_all(input, &name, &sender) {
            // The receiver that is gone has its own reason to end.
            sender.blocking_send(Err(error)).ok();
        }
    });
    receiver
}

fn read_all(
    mut input: Box<dyn Read + Send>,
    name: &str,
    blocks: &Sender<Result<Vec<u8>, CliError>>,
) -> Result<(), CliError> {
    let line_bytes_max = usize::try_from(BATCH_BYTES_CEILING).unwrap_or(usize::MAX);
    let mut buffer = Vec::new();
    let mut arrived = vec![0; READ_BYTES];
    loop {
        let count = match input.read(&mut arrived) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(source) => {
                let action = format!("read {name}");
                return Err(CliError::Io { action, source });
            }
        };
        let (new, _) = arrived.split_at_checked(count).unwrap_or_default();
        if new.is_empty() {
            break;
        }
        // What was there before has no line's end.
        let end = new.iter().rposition(|byte| *byte == b'\n');
        let (whole, rest) = new.split_at(end.map_or(0, |end| end + 1));
        if !whole.is_empty() {
            buffer.extend_from_slice(whole);
            if blocks
                .blocking_send(Ok(std::mem::take(&mut buffer)))
                .is_err()
            {
                return Ok(());
            }
        }
        buffer.extend_from_slice(rest);
        if buffer.len() > line_bytes_max {
            return Err(CliError::failed(
                format!(
                    "a line of {name} is longer than the largest batch of {line_bytes_max} bytes"
                ),
                None,
            ));
        }
    }
    if !buffer.is_empty() {
        blocks.blocking_send(Ok(buffer)).ok();
    }
    Ok(())
}

/// Returns the lines of a block without their ends.
pub(super) fn of(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let block = block.strip_suffix(b"\n").unwrap_or(block);
    block.split(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::collections::VecDeque;

    use super::*;

    /// Gives its parts one at a time, as a pipe does.
    struct Parts(VecDeque<Vec<u8>>);

    impl Read for Parts {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some(part) = self.0.pop_front() else {
                return Ok(0);
            };
            buffer.get_mut(..part.len()).unwrap().copy_from_slice(&part);
            Ok(part.len())
        }
    }

    async fn lines_of(parts: &[&str]) -> Vec<String> {
        let parts = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
        let mut blocks = read_blocks(Box::new(Parts(parts)), None);
        let mut lines = Vec::new();
        while let Some(block) = blocks.recv().await {
            let block = block.unwrap();
            lines.extend(of(&block).map(|line| String::from_utf8(line.to_vec()).unwrap()));
        }
        lines
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_arrive() {
        for (parts, expected) in [
            (&["a\nb\n"][..], &["a", "b"][..]),
            (&["a", "\n", "b"], &["a", "b"]),
            (&["a\nb", "c\nd", "\n"], &["a", "bc", "d"]),
            (&["\n\n", "a\r\n"], &["", "", "a\r"]),
            (&["\n"], &[""]),
            (&[], &[]),
        ] {
            assert_eq!(lines_of(parts).await, expected, "{parts:?}");
        }
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused() {
        let mut blocks = read_blocks(Box::new(std::io::repeat(b'x')), None);
        assert!(blocks.recv().await.unwrap().is_err());
    }
}
