//! `redrive repair`: what can be mended or given up in the data directory, while no broker runs on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;
use storage::disk::{Disk, RealDisk};
use storage::log_id::{LogKind, PartitionNumber};
use storage::offset::Offset;
use storage::repair::{Mended, MendedHeader, Repair, RepairError, Repaired};
use storage::segment::Unproven;
use storage::verify::{Fault, Finding};

use super::data::{chain, log_failed};
use super::error::CliError;
use super::output::Output;
use super::parse::{self, OffsetRange};
use super::view::counted;
use crate::clock::{Clock, SystemClock};

/// What others read who want the directory meanwhile.
const PROGRAM: &str = "redrive repair";

/// Arguments of `redrive repair`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("order").required(true))]
#[command(after_help = "\
With --headers, segment headers that do not verify are written anew where it is certain what they held. No record is lost; \
what stood there is kept beside the segment, in a file that ends in .old-header, in the place of what an earlier repair has kept.

With --drop, the range is given up for good: readers pass over it, and the control log keeps a note of it. `redrive verify` says \
which range is damaged.

Examples:
  redrive repair --data-dir /var/lib/redrive --headers
  redrive repair --data-dir /var/lib/redrive --partition 3 --drop 1200..1310")]
pub struct RepairArgs {
    /// The data directory
    #[arg(
        long,
        default_value = "./redrive-data",
        env = "REDRIVE_DATA_DIR",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// Mend the damaged segment headers, of all logs or of those of --partition and the control log
    #[arg(long, group = "order", conflicts_with = "log")]
    pub headers: bool,
    /// Partition number, as `verify` names it
    #[arg(long, value_name = "NUMBER")]
    pub partition: Option<u32>,
    /// Offsets to give up, the end excluded
    #[arg(
        long,
        value_name = "FROM..TO",
        value_parser = parse::offset_range,
        group = "order",
        requires = "partition"
    )]
    pub drop: Option<OffsetRange>,
    /// Which log of the partition
    #[arg(long, value_enum, default_value_t = RepairLog::Main)]
    pub log: RepairLog,
}

/// A log that can be repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RepairLog {
    /// The records
    Main,
    /// The dead letters and what was done about them
    DeadLetter,
}

/// Runs `redrive repair`.
pub(super) fn repair(command: &RepairArgs, output: &mut Output) -> Result<(), CliError> {
    match (command.partition, command.drop) {
        (Some(partition), Some(range)) => give_up(command, partition, range, output),
        // The parser lets nothing else through than an order to mend headers.
        _ => mend(command, output),
    }
}

/// Writes the damaged headers anew that are certain, and says of the others why they are not.
fn mend(command: &RepairArgs, output: &mut Output) -> Result<(), CliError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let holder = (PROGRAM, std::process::id());
    let partition = command.partition.map(PartitionNumber);
    let mended = storage::repair::mend_headers(&disk, &command.data_dir, holder, partition)
        .map_err(|error| repair_failed(&command.data_dir, &error))?;
    if output.is_json() {
        output.json(&MendedJson::of(&mended))?;
    } else {
        write_mended(&mended, output)?;
    }
    output.finish()?;
    if mended.left_out > 0 {
        let text = format!(
            "{} more were not looked at",
            counted(mended.left_out, "finding")
        );
        let hint = "go on with one partition at a time: `redrive repair --headers --partition N`";
        return Err(CliError::failed(text, Some(hint)));
    }
    if mended.left.is_empty() {
        return Ok(());
    }
    let count = u64::try_from(mended.left.len()).unwrap_or(u64::MAX);
    let text = format!(
        "{} left as {}",
        counted(count, "damaged header"),
        if count == 1 { "it is" } else { "they are" }
    );
    let is_first_bad = |finding: &Finding| match &finding.what {
        Fault::HeaderUnproven { why, .. } => !matches!(why, Unproven::Neighbour(_)),
        _ => false,
    };
    let hint = if mended.left.iter().any(is_first_bad) {
        "restore the files from a copy, or give up the ranges that `redrive verify` names: a segment needs no header whose first \
         batch was given up"
    } else {
        "restore the files from a copy"
    };
    Err(CliError::failed(text, Some(hint)))
}

fn write_mended(mended: &Mended, output: &mut Output) -> Result<(), CliError> {
    for header in &mended.headers {
        output.line(&format!(
            "{}: the segment header of the {} was written anew ({}); what stood there is kept in {}",
            header.path.display(),
            header.log,
            header.reason,
            header.copy.display()
        ))?;
    }
    for finding in &mended.left {
        let (path, what) = (finding.path.display(), &finding.what);
        output.line(&format!("{path}: left as it is: {what}"))?;
    }
    if mended.headers.is_empty() && mended.left.is_empty() && mended.left_out == 0 {
        return output.line("no segment header is damaged, nothing was changed");
    }
    let count = u64::try_from(mended.headers.len()).unwrap_or(u64::MAX);
    output.line(&format!("{} written anew", counted(count, "header")))
}

/// Gives a damaged range up.
fn give_up(
    command: &RepairArgs,
    partition: u32,
    range: OffsetRange,
    output: &mut Output,
) -> Result<(), CliError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let request = Repair {
        partition: PartitionNumber(partition),
        kind: match command.log {
            RepairLog::Main => LogKind::Main,
            RepairLog::DeadLetter => LogKind::DeadLetter,
        },
        from: range.from,
        to: range.to,
    };
    let holder = (PROGRAM, std::process::id());
    let now = SystemClock::new().now();
    let repaired = storage::repair::repair(&disk, &command.data_dir, holder, &request, now)
        .map_err(|error| repair_failed(&command.data_dir, &error))?;
    if output.is_json() {
        return output.json(&RepairJson::of(&repaired));
    }
    if repaired.lost.is_empty() {
        return output.line("the range had been given up before, nothing was changed");
    }
    for (from, to) in &repaired.lost {
        output.line(&format!(
            "offsets {from}..{to} of the {} are lost",
            repaired.log
        ))?;
    }
    if request.kind == LogKind::DeadLetter {
        output.line("dead letters among them are gone; letters that were deleted or republished by them may be live again")?;
    }
    output.line(&format!(
        "{} offsets were given up: readers pass over them from the next start on",
        repaired.lost_count()
    ))
}

fn repair_failed(dir: &Path, error: &RepairError) -> CliError {
    match error {
        RepairError::Log(error) => log_failed(dir, error),
        RepairError::NotDamaged { .. }
        | RepairError::Partial { .. }
        | RepairError::UnknownPartition { .. } => CliError::failed(
            error.to_string(),
            Some("`redrive verify` names the damaged ranges"),
        ),
        RepairError::Control(_) | RepairError::ControlLog => CliError::failed(chain(error), None),
    }
}

#[derive(Serialize)]
struct RepairJson {
    partition: u32,
    log: &'static str,
    lost: Vec<RangeJson>,
    lost_count: u64,
}

#[derive(Serialize)]
struct MendedJson {
    mended: Vec<MendedHeaderJson>,
    left: Vec<LeftJson>,
}

#[derive(Serialize)]
struct MendedHeaderJson {
    file: String,
    partition: u32,
    log: &'static str,
    base_offset: u64,
    what: String,
    copy: String,
}

#[derive(Serialize)]
struct LeftJson {
    file: String,
    partition: Option<u32>,
    log: Option<&'static str>,
    what: String,
}

#[derive(Serialize)]
struct RangeJson {
    from: u64,
    to: u64,
}

impl RepairJson {
    fn of(repaired: &Repaired) -> Self {
        let range = |(from, to): &(Offset, Offset)| RangeJson {
            from: from.0,
            to: to.0,
        };
        Self {
            partition: repaired.log.partition.0,
            log: repaired.log.kind.name(),
            lost: repaired.lost.iter().map(range).collect(),
            lost_count: repaired.lost_count(),
        }
    }
}

impl MendedJson {
    fn of(mended: &Mended) -> Self {
        let header = |header: &MendedHeader| MendedHeaderJson {
            file: header.path.display().to_string(),
            partition: header.log.partition.0,
            log: header.log.kind.name(),
            base_offset: header.base_offset.0,
            what: header.reason.to_string(),
            copy: header.copy.display().to_string(),
        };
        let left = |finding: &Finding| LeftJson {
            file: finding.path.display().to_string(),
            partition: finding.log.map(|log| log.partition.0),
            log: finding.log.map(|log| log.kind.name()),
            what: finding.what.to_string(),
        };
        Self {
            mended: mended.headers.iter().map(header).collect(),
            left: mended.left.iter().map(left).collect(),
        }
    }
}
