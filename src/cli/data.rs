//! `redrive verify`: what is in the data directory, and what is wrong with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use storage::data_dir;
use storage::disk::{Disk, RealDisk};
use storage::error::LogError;
use storage::log_id::{LogId, PartitionNumber};
use storage::verify::{Fault, Finding, Note, VerifyOptions, VerifyReport};

use super::error::CliError;
use super::output::{Output, Progress};
use super::view::counted;

/// Arguments of `redrive verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads every batch, checks both checksums and the chain, decodes every record, and compares indexes, facets, live sets and \
checkpoints with them. Exits 1 if anything is wrong, with the file and the range of offsets. Writes nothing. While a broker \
has the directory, the ends of the logs are left out.")]
pub struct VerifyArgs {
    /// The data directory
    #[arg(
        long,
        default_value = "./redrive-data",
        env = "REDRIVE_DATA_DIR",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// Check this partition number alone
    #[arg(long, value_name = "NUMBER")]
    pub partition: Option<u32>,
}

/// Runs `redrive verify`.
pub(super) fn verify(command: &VerifyArgs, output: &mut Output) -> Result<(), CliError> {
    refuse_foreign(&command.data_dir)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let bar = Progress::start(None, "bytes");
    let options = VerifyOptions {
        partition: command.partition.map(PartitionNumber),
        progress: &|bytes| bar.add(bytes),
    };
    let report = storage::verify::verify(&disk, &command.data_dir, &options);
    drop(bar);
    let report = report.map_err(|error| log_failed(&command.data_dir, &error))?;
    if let Some(number) = command.partition.filter(|_| report.counts.partitions == 0) {
        let message = format!("there is no partition {number}");
        return Err(CliError::failed(
            message,
            Some("`redrive verify` without --partition names all"),
        ));
    }
    let written = if output.is_json() {
        output.json(&VerifyJson::of(&report))
    } else {
        write_report(&report, output)
    };
    let written = written.and_then(|()| output.finish());
    if report.is_clean() {
        return written;
    }
    // That there is damage is the more important error, also for who has stopped reading.
    let count = report.finding_count();
    Err(CliError::failed(
        format!(
            "{}: the data directory is damaged",
            counted(count, "finding")
        ),
        hint_for(&report),
    ))
}

/// Says what `repair` can do about what was found.
fn hint_for(report: &VerifyReport) -> Option<&'static str> {
    let any =
        |claim: fn(&Fault) -> bool| report.findings.iter().any(|finding| claim(&finding.what));
    if any(|fault| matches!(fault, Fault::HeaderMendable { .. })) {
        return Some(
            "stop the broker: `redrive repair --headers` writes the headers anew that it can mend, and loses nothing",
        );
    }
    any(Fault::is_unreadable)
        .then_some("`redrive repair` gives a damaged range up; a backup may still have it")
}

fn write_report(report: &VerifyReport, output: &mut Output) -> Result<(), CliError> {
    if let Some(holder) = &report.in_use_by {
        output.line(&format!(
            "the directory is in use by {holder}: the ends of the logs are not checked"
        ))?;
    }
    if !report.findings.is_empty() {
        let rows = report.findings.iter().map(|finding| {
            vec![
                finding.path.display().to_string(),
                finding.position.to_string(),
                log_of(report, finding.log),
                format!("{}..{}", finding.from, finding.to),
                finding.what.to_string(),
            ]
        });
        output.table(&["FILE", "BYTE", "LOG", "OFFSETS", "DAMAGE"], rows)?;
    }
    if !report.notes.is_empty() {
        let rows = report.notes.iter().map(|note| {
            vec![
                note.path.display().to_string(),
                note.offset.to_string(),
                note.what.to_string(),
            ]
        });
        output.table(&["FILE", "OFFSET", "NOTE"], rows)?;
    }
    let counts = &report.counts;
    let looked_at = [
        (counts.partitions, "partition"),
        (counts.segments, "segment"),
        (counts.bytes, "byte"),
        (counts.batches, "batch"),
        (counts.records, "record"),
        (counts.letters, "dead letter"),
        (counts.markers, "marker"),
        (counts.entries, "delivery entry"),
        (counts.pending, "pending message"),
    ];
    let looked_at = looked_at.map(|(count, noun)| counted(count, noun));
    let found = counted(report.finding_count(), "finding");
    output.line(&format!("{}: {found}", looked_at.join(", ")))
}

/// Names a log as `repair` does, by the partition's number, and as everybody else does.
fn log_of(report: &VerifyReport, log: Option<LogId>) -> String {
    let Some(log) = log else {
        return String::new();
    };
    report
        .topic_of(Some(log))
        .map_or_else(|| log.to_string(), |of| format!("{log} ({of})"))
}

/// Tells a directory that no broker has begun in from one whose files are lost.
fn refuse_foreign(dir: &Path) -> Result<(), CliError> {
    // What cannot be listed is told where it is opened.
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Ok(());
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    let is_ours = |name: &OsString| name.to_str().is_some_and(data_dir::is_name);
    let why = match names.as_slice() {
        [] => "it is empty",
        names if names.iter().any(is_ours) => return Ok(()),
        _ => "nothing in it is a broker's",
    };
    let message = format!("{} is no data directory: {why}", dir.display());
    Err(CliError::failed(message, Some("name it with --data-dir")))
}

pub(super) fn log_failed(dir: &Path, error: &LogError) -> CliError {
    let text = chain(error);
    match error {
        LogError::Locked { .. } => {
            CliError::failed(text, Some("stop the broker first, then try again"))
        }
        LogError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("{} is no data directory: {text}", dir.display());
            CliError::failed(message, Some("name it with --data-dir"))
        }
        _ => CliError::failed(text, None),
    }
}

/// The error with what caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[derive(Serialize)]
struct VerifyJson<'a> {
    is_clean: bool,
    in_use_by: Option<&'a str>,
    finding_count: u64,
    findings: Vec<FindingJson<'a>>,
    notes: Vec<NoteJson<'a>>,
    partitions: u64,
    segments: u64,
    bytes: u64,
    batches: u64,
    records: u64,
    letters: u64,
    markers: u64,
    entries: u64,
    pending: u64,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    file: std::borrow::Cow<'a, str>,
    position: u64,
    partition: Option<u32>,
    topic: Option<&'a str>,
    partition_index: Option<u32>,
    log: Option<&'static str>,
    from: u64,
    to: u64,
    is_unreadable: bool,
    what: String,
}

#[derive(Serialize)]
struct NoteJson<'a> {
    file: std::borrow::Cow<'a, str>,
    partition: Option<u32>,
    topic: Option<&'a str>,
    partition_index: Option<u32>,
    log: Option<&'static str>,
    offset: u64,
    what: String,
}

impl<'a> VerifyJson<'a> {
    fn of(report: &'a VerifyReport) -> Self {
        let counts = &report.counts;
        let topic = |log| report.topic_of(log).map(|of| of.topic.as_str());
        let index = |log| report.topic_of(log).map(|of| of.index);
        let finding = |finding: &'a Finding| FindingJson {
            file: finding.path.to_string_lossy(),
            position: finding.position.0,
            partition: finding.log.map(|log| log.partition.0),
            topic: topic(finding.log),
            partition_index: index(finding.log),
            log: finding.log.map(|log| log.kind.name()),
            from: finding.from.0,
            to: finding.to.0,
            is_unreadable: finding.what.is_unreadable(),
            what: finding.what.to_string(),
        };
        let note = |note: &'a Note| NoteJson {
            file: note.path.to_string_lossy(),
            partition: note.log.map(|log| log.partition.0),
            topic: topic(note.log),
            partition_index: index(note.log),
            log: note.log.map(|log| log.kind.name()),
            offset: note.offset.0,
            what: note.what.to_string(),
        };
        Self {
            is_clean: report.is_clean(),
            in_use_by: report.in_use_by.as_deref(),
            finding_count: report.finding_count(),
            findings: report.findings.iter().map(finding).collect(),
            notes: report.notes.iter().map(note).collect(),
            partitions: counts.partitions,
            segments: counts.segments,
            bytes: counts.bytes,
            batches: counts.batches,
            records: counts.records,
            letters: counts.letters,
            markers: counts.markers,
            entries: counts.entries,
            pending: counts.pending,
        }
    }
}
