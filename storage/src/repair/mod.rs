//! What an operator orders for a damaged directory while no broker has it: segment headers are written anew where it is certain
//! what they held, and ranges that cannot be read are given up.
//!
//! # Invariants
//! 1. What is done follows from a verification made under the lock, and from nothing else.
//! 2. Nothing that can be read is lost, and a file about which anything is uncertain is left as it is.

use std::path::Path;
use std::sync::Arc;

use crate::control::ControlError;
use crate::data_dir::{self, DataDir};
use crate::disk::Disk;
use crate::error::LogError;
use crate::log_id::{LogId, PartitionNumber};
use crate::offset::Offset;
use crate::verify::{VerifyOptions, VerifyReport, verify_held};

mod drop;
mod headers;

pub use drop::{Repair, Repaired, repair};
pub use headers::{Mended, MendedHeader, mend_headers};

/// Why nothing was repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The data directory cannot be read or written, or is in use.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The control log cannot be opened or written.
    #[error("cannot use the control log")]
    Control(#[from] ControlError),
    /// No range of the control log is given up.
    #[error(
        "the control log cannot be repaired: nothing else knows what it held; restore a backup"
    )]
    ControlLog,
    /// No topic has the partition.
    #[error("there is no partition {number}")]
    UnknownPartition {
        /// The number asked for.
        number: PartitionNumber,
    },
    /// Some of the offsets can be read.
    #[error("offsets {from}..{to} of the {log} are not damaged, and are kept")]
    NotDamaged {
        /// The log.
        log: LogId,
        /// First offset that is not damaged.
        from: Offset,
        /// First offset behind them (exclusive end).
        to: Offset,
    },
    /// Only some of a damaged range was named.
    #[error("the damaged range of the {log} is {from}..{to}: it can only be given up whole")]
    Partial {
        /// The log.
        log: LogId,
        /// First offset of the damaged range.
        from: Offset,
        /// First offset behind it (exclusive end).
        to: Offset,
    },
}

/// Takes the directory and verifies it. It stays taken for as long as the first value lives.
fn examine(
    disk: &Arc<dyn Disk>,
    root: &Path,
    (program, pid): (&str, u32),
    partition: Option<PartitionNumber>,
) -> Result<(DataDir, VerifyReport), RepairError> {
    if !data_dir::read_format(disk.as_ref(), root)? {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no data directory");
        return Err(LogError::io("open", root, source).into());
    }
    let held = DataDir::open(disk.as_ref(), root, program, pid)?;
    let options = VerifyOptions {
        partition,
        ..VerifyOptions::default()
    };
    let report = verify_held(disk, root, &options, None)?;
    if let Some(number) = partition.filter(|_| report.counts.partitions == 0) {
        return Err(RepairError::UnknownPartition { number });
    }
    Ok((held, report))
}
