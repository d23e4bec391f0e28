//! What the logs say, as the surfaces say it. PURE: one exhaustive match for each layer's error.

use std::io::ErrorKind;

use storage::batch::BatchRefusal;
use storage::error::{LogError, PoisonCause, RecordFault};
use storage::partition::Refused;
use storage::producers::Verdict;

use crate::causes::Causes;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// Says why a log did not do what was asked.
pub(super) fn of_log(error: &LogError) -> Refusal {
    let code = match error {
        // A sync that found no space has failed like any other: what it was to make durable may be there or not.
        LogError::Io { op, source, .. }
            if *op != "sync"
                && matches!(
                    source.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded
                ) =>
        {
            ErrorCode::StorageFull
        }
        LogError::Io { op: "write", .. }
        | LogError::Poisoned {
            cause: PoisonCause::WriteFailed,
            ..
        } => ErrorCode::LogPoisoned,
        LogError::Io { op: "sync", .. }
        | LogError::Poisoned {
            cause: PoisonCause::SyncFailed,
            ..
        } => ErrorCode::OutcomeUnknown,
        LogError::Poisoned {
            cause: PoisonCause::Damaged,
            ..
        } => ErrorCode::ReadOnly,
        LogError::Corrupt { .. } => ErrorCode::DamagedRecords,
        LogError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        LogError::BatchTooLarge { .. } => ErrorCode::BatchTooLarge,
        LogError::Rolling { .. } => ErrorCode::Overloaded,
        LogError::Io { .. } | LogError::UnknownVersion { .. } | LogError::Locked { .. } => {
            ErrorCode::StorageFailed
        }
    };
    Refusal::new(code, Causes(error).to_string())
}

/// Says why a partition did not append a batch.
pub(super) fn of_append(refused: &Refused) -> Refusal {
    match refused {
        Refused::Log(error) => of_log(error),
        Refused::Sequence(verdict) => {
            let (code, message) = match verdict {
                Verdict::Gap { expected, found } => (
                    ErrorCode::OutOfOrderSequence,
                    format!("the batch has sequence {found}, {expected} was to come"),
                ),
                Verdict::Forgotten { expected, found } => (
                    ErrorCode::DuplicateSequence,
                    format!(
                        "the batch has sequence {found}, which lies behind {expected} and is no longer remembered"
                    ),
                ),
                Verdict::Unknown { found } => (
                    ErrorCode::UnknownProducer,
                    format!(
                        "the producer is not remembered here and begins at sequence {found} instead of 0"
                    ),
                ),
                Verdict::Fenced { current_epoch } => (
                    ErrorCode::ProducerFenced,
                    format!("epoch {current_epoch} of the producer has taken over"),
                ),
                Verdict::Fresh | Verdict::Repeat { .. } => (
                    ErrorCode::Internal,
                    "a batch that fits was refused".to_owned(),
                ),
            };
            Refusal::new(code, message)
        }
    }
}

/// Says why a produced batch was refused before the log saw it.
pub(super) fn of_batch(refusal: &BatchRefusal) -> Refusal {
    let code = match refusal {
        BatchRefusal::Corrupt(_) => ErrorCode::CorruptBatch,
        BatchRefusal::TooLarge { .. } => ErrorCode::BatchTooLarge,
        BatchRefusal::Record {
            fault: RecordFault::ReservedHeader { .. },
            ..
        } => ErrorCode::ReservedHeader,
        BatchRefusal::Record {
            fault: RecordFault::TooLarge { .. },
            ..
        } => ErrorCode::RecordTooLarge,
        BatchRefusal::Length { .. }
        | BatchRefusal::BrokerField { .. }
        | BatchRefusal::Record { .. }
        | BatchRefusal::MaxTimestamp { .. } => ErrorCode::InvalidBatch,
    };
    Refusal::new(code, refusal.to_string())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_full_disk_and_a_used_up_quota_are_retryable_unless_a_sync_met_them() {
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            for op in ["write", "allocate", "create"] {
                let error = LogError::io(op, Path::new("log"), io::Error::from(kind));
                assert_eq!(of_log(&error).code, ErrorCode::StorageFull, "{op}: {kind}");
            }
            let error = LogError::io("sync", Path::new("log"), io::Error::from(kind));
            assert_eq!(of_log(&error).code, ErrorCode::OutcomeUnknown, "{kind}");
        }
    }
}
