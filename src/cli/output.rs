//! What commands write: tables for people, JSON for scripts, errors with a hint, progress on a terminal.

use std::error::Error;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::error::CliError;
use super::view::plain;

/// Buffer for stdout: `consume` writes a line for each record.
const BUFFER_BYTES: usize = 64 << 10;

/// Where a command writes its result.
pub struct Output {
    writer: BufWriter<Box<dyn Write>>,
    is_json: bool,
    is_terminal: bool,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("is_json", &self.is_json)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// Writes to stdout.
    pub fn standard(is_json: bool) -> Self {
        Self {
            is_terminal: io::stdout().is_terminal(),
            ..Self::to_writer(Box::new(io::stdout()), is_json)
        }
    }

    /// Writes to `writer`.
    pub fn to_writer(writer: Box<dyn Write>, is_json: bool) -> Self {
        Self {
            writer: BufWriter::with_capacity(BUFFER_BYTES, writer),
            is_json,
            is_terminal: false,
        }
    }

    /// Returns true if a script reads the output.
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// [`CliError::Io`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.writer.write_all(bytes).map_err(write_failed)
    }

    /// Writes bytes from elsewhere: as they are to a pipe or a file, and without what would steer it to a terminal.
    ///
    /// # Errors
    /// [`CliError::Io`].
    pub fn foreign(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        if self.is_terminal {
            self.bytes(plain(&String::from_utf8_lossy(bytes)).as_bytes())
        } else {
            self.bytes(bytes)
        }
    }

    /// Writes text and a line's end.
    ///
    /// # Errors
    /// [`CliError::Io`].
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.writer, "{text}").map_err(write_failed)
    }

    /// Writes a value as JSON on one line.
    ///
    /// # Errors
    /// [`CliError::Io`].
    pub fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.writer, value).map_err(|e| write_failed(e.into()))?;
        self.line("")
    }

    /// Writes rows as a table with a head.
    ///
    /// # Errors
    /// [`CliError::Io`].
    pub fn table<R>(&mut self, head: &[&str], rows: R) -> Result<(), CliError>
    where
        R: IntoIterator<Item = Vec<String>>,
    {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(head.to_vec());
        for row in rows {
            table.add_row(row);
        }
        self.line(&table.trim_fmt())
    }

    /// Writes what is buffered: before waiting for something, and at the end.
    ///
    /// # Errors
    /// [`CliError::Io`].
    pub fn finish(&mut self) -> Result<(), CliError> {
        self.writer.flush().map_err(write_failed)
    }
}

fn write_failed(source: io::Error) -> CliError {
    CliError::Io {
        action: "write to stdout".to_owned(),
        source,
    }
}

/// Writes an error and its causes to stderr, with a hint if there is one.
pub(super) fn report(error: &CliError) {
    // With stderr gone there is nobody left to tell.
    let _written = io::stderr().write_all(error_text(error).as_bytes());
}

fn error_text(error: &CliError) -> String {
    let mut text = format!("error: {error}");
    let mut cause = match error {
        // Transparent: what it says is its source's text already.
        CliError::Config(config) => config.source(),
        other => other.source(),
    };
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text.push('\n');
    if let Some(hint) = error.hint() {
        text.push_str("hint: ");
        text.push_str(hint);
        text.push('\n');
    }
    text
}

/// Progress of long work, shown only where stderr is a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts a bar over `total` units, or a spinner if the end is not known.
    pub fn start(total: Option<u64>, unit: &str) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => format!("{{bar:30}} {{human_pos}}/{{human_len}} {unit} {{per_sec}} {{eta}}"),
            None => format!("{{spinner}} {{human_pos}} {unit} {{per_sec}}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Counts `units` more.
    pub fn add(&self, units: u64) {
        self.bar.inc(units);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn an_error_names_its_causes_and_a_hint() {
        let error = CliError::Io {
            action: "read f".to_owned(),
            source: io::Error::new(ErrorKind::NotFound, "no such file"),
        };
        assert_eq!(error_text(&error), "error: cannot read f: no such file\n");
        let error = CliError::failed("no topic flights", Some("create it"));
        assert_eq!(
            error_text(&error),
            "error: no topic flights\nhint: create it\n"
        );
    }

    /// Takes what is written, for the test to see.
    #[derive(Clone, Default)]
    struct Seen(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

    impl Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_from_elsewhere_do_not_steer_a_terminal() {
        for (is_terminal, expected) in [
            (false, &b"a\x1b[2J\xffb\n"[..]),
            (true, "a\u{fffd}[2J\u{fffd}b\n".as_bytes()),
        ] {
            let seen = Seen::default();
            let mut output = Output::to_writer(Box::new(seen.clone()), false);
            output.is_terminal = is_terminal;
            output.foreign(b"a\x1b[2J\xffb\n").unwrap();
            output.finish().unwrap();
            assert_eq!(*seen.0.borrow(), expected, "{is_terminal}");
        }
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_failures() {
        let failed = |kind: ErrorKind| write_failed(kind.into());
        assert!(failed(ErrorKind::BrokenPipe).is_closed_pipe());
        assert!(!failed(ErrorKind::StorageFull).is_closed_pipe());
        let json = serde_json::Error::io(ErrorKind::BrokenPipe.into());
        assert!(write_failed(json.into()).is_closed_pipe());
    }
}
