//! What a verification found.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::control::ControlState;
use crate::error::Corruption;
use crate::log_id::{LogId, PartitionNumber};
use crate::offset::{FilePosition, Offset};
use crate::segment::{SegmentHeader, Unproven};

/// Findings, and notes, that a report lists; more are only counted. A disk that fails everywhere must not fill the memory.
pub const LISTED_MAX: usize = 10_000;

/// Something in the data directory that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file or directory.
    pub path: PathBuf,
    /// Where in the file it was met.
    pub position: FilePosition,
    /// The log, where it is in one.
    pub log: Option<LogId>,
    /// First offset that is concerned.
    pub from: Offset,
    /// First offset behind them (exclusive end); `from` when no offset is lost.
    pub to: Offset,
    /// What is wrong.
    pub what: Fault,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Bytes that must verify do not: the offsets cannot be read.
    #[error("{0}")]
    Unreadable(Corruption),
    /// The segment ends before its successor, or the checkpoint, says: the offsets cannot be read.
    #[error("the segment ends early")]
    EndsEarly,
    /// A segment is not there: the offsets cannot be read.
    #[error("the segment is missing")]
    Missing,
    /// A segment header verifies, and is that of another segment or follows another batch. The offsets can be read.
    #[error("segment header: {0}")]
    Header(Corruption),
    /// A segment header does not verify, and what it held is certain. The offsets can be read.
    #[error("segment header: {reason}; `repair` can mend it")]
    HeaderMendable {
        /// What does not verify.
        reason: Corruption,
        /// The header that must have stood there.
        rebuilt: SegmentHeader,
    },
    /// A segment header does not verify, and what it held is not certain. The offsets can be read.
    #[error("segment header: {reason}; `repair` cannot mend it: {why}")]
    HeaderUnproven {
        /// What does not verify.
        reason: Corruption,
        /// Why it is not certain.
        why: Unproven,
    },
    /// Bytes follow the last batch of a sealed segment.
    #[error("bytes follow the last batch of the sealed segment")]
    Trailing,
    /// A batch reaches over the offset at which the next segment begins.
    #[error("the batch reaches into the next segment")]
    Overlap,
    /// A batch verifies and what it holds does not decode.
    #[error("the batch does not decode: {0}")]
    Undecodable(Corruption),
    /// An entry of the control log cannot be read, or contradicts the ones before it.
    #[error("{0}")]
    Control(String),
    /// Entries that the control state depends on are gone.
    #[error("the control log has neither its first record nor a complete snapshot")]
    ControlHeadMissing,
    /// An index verifies, and says something else than the segment.
    #[error("the index differs from the segment")]
    IndexDiffers,
    /// A facet file verifies, and says something else than the segment.
    #[error("the facets differ from the segment")]
    FacetsDiffer,
    /// The live set of the checkpoint is not what the log folds to.
    #[error("the live set of the checkpoint differs from the log")]
    LiveSetDiffers,
    /// No slot of a checkpoint verifies.
    #[error("neither slot of the checkpoint verifies: {0}")]
    Checkpoint(Corruption),
    /// A record was republished from a letter that was never there.
    #[error("the record comes from letter {letter}, which the dead-letter log does not hold")]
    UnknownLetter {
        /// The letter.
        letter: Offset,
    },
    /// A letter was republished more than once.
    #[error("the record comes from letter {letter}, which was republished as another record")]
    RepublishedTwice {
        /// The letter.
        letter: Offset,
    },
    /// A letter was deleted, and republished.
    #[error("the record comes from letter {letter}, which was deleted")]
    RepublishedDeleted {
        /// The letter.
        letter: Offset,
    },
    /// A republish that counts as settled has no marker.
    #[error(
        "the record comes from letter {letter}, whose marker is missing and is not due any more"
    )]
    MarkerMissing {
        /// The letter.
        letter: Offset,
    },
    /// A marker names a record that is not there.
    #[error(
        "letter {letter} is marked as republished as record {target}, which does not come from it"
    )]
    RecordMissing {
        /// The letter.
        letter: Offset,
        /// The record.
        target: Offset,
    },
    /// Entries that the state of deliveries depends on are gone.
    #[error("the delivery log has neither its first record nor a complete snapshot")]
    DeliveryHeadMissing,
    /// The main log begins behind what the newest snapshot has seen of it.
    #[error("these records were deleted before the state of deliveries had seen them")]
    UnseenMessages,
    /// An entry is about a record that is not there.
    #[error("the entry is about record {message}, which the main log has never held")]
    UnknownMessage {
        /// The record.
        message: Offset,
    },
    /// A record that is still to be delivered, or to be told about, stands nowhere.
    #[error("record {message} is still needed, and neither the main log nor a copy holds it")]
    MessageMissing {
        /// The record.
        message: Offset,
    },
    /// A message counts as dead, and its letter is not there or is another one's.
    #[error("record {message} has died, and letter {letter} is not its own")]
    WrongLetter {
        /// The record.
        message: Offset,
        /// The letter.
        letter: Offset,
    },
    /// A callback answers an outcome that is not there or asks for none.
    #[error("the callback answers entry {outcome} of the delivery log, which asks for none")]
    UnknownOutcome {
        /// The outcome.
        outcome: Offset,
    },
    /// A callback stands twice.
    #[error("the callback that entry {outcome} of the delivery log asks for stands twice")]
    CalledBackTwice {
        /// The outcome.
        outcome: Offset,
    },
    /// Messages are neither pending nor at their ends.
    #[error("{accepted} messages were accepted, and {known} are pending or at their ends")]
    NotConserved {
        /// Messages accepted.
        accepted: u64,
        /// Messages that are known.
        known: u64,
    },
    /// A partition directory whose number was never given out.
    #[error("the control log never gave out this partition number")]
    UnknownPartition,
    /// `FORMAT` is missing or says something else.
    #[error("{0}")]
    Format(String),
}

impl Fault {
    /// Returns whether offsets cannot be read because of it, so that they can be given up.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::EndsEarly | Self::Missing)
    }

    /// Returns whether it is a segment header, which costs no offset.
    #[must_use]
    pub fn is_header(&self) -> bool {
        matches!(
            self,
            Self::Header(_) | Self::HeaderMendable { .. } | Self::HeaderUnproven { .. }
        )
    }
}

/// Something worth knowing that is no damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The file or directory.
    pub path: PathBuf,
    /// The log, where it is in one.
    pub log: Option<LogId>,
    /// The offset that is concerned.
    pub offset: Offset,
    /// What it is.
    pub what: Remark,
}

/// What is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// A torn tail: nobody was told that it is stored.
    #[error("{bytes} bytes from byte {position} are a torn tail, which the next start cuts")]
    TornTail {
        /// Where it begins.
        position: FilePosition,
        /// How long it is, zeros included.
        bytes: u64,
    },
    /// The creation of a segment was interrupted.
    #[error("the segment was being created, the next start does it again")]
    TornCreation,
    /// A hint does not verify and is rebuilt.
    #[error("the hint does not verify, it is rebuilt when it is needed: {0}")]
    HintRebuilt(Corruption),
    /// A hint that fits no segment as it is now.
    #[error("the hint is not that of the segment as it is, it is rebuilt when it is needed")]
    StaleHint,
    /// A slot of a checkpoint does not verify; the other one counts.
    #[error("the slot does not verify, the other one counts: {0}")]
    TornSlot(Corruption),
    /// A file that is not Redrive's.
    #[error("the file is not Redrive's")]
    Foreign,
    /// What retention or the deletion of a topic had not yet unlinked.
    #[error("left by an interrupted deletion, the next start removes it")]
    ToBeDeleted,
    /// Republishes whose markers are still to be written.
    #[error("{count} republished letters have their markers due, the next start writes them")]
    MarkersDue {
        /// How many.
        count: u64,
    },
    /// Letters and callbacks that are still to be appended.
    #[error(
        "{letters} letters and {callbacks} outcomes with callbacks are due, the next start goes on with them"
    )]
    DeliveriesDue {
        /// Messages that die.
        letters: u64,
        /// Outcomes that owe callbacks.
        callbacks: u64,
    },
    /// Damaged offsets that an operator has given up.
    #[error("{count} damaged offsets were given up")]
    GivenUp {
        /// How many.
        count: u64,
    },
    /// The file went away while it was to be read, as retention does it.
    #[error("the file was deleted meanwhile")]
    Gone,
}

/// How much was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyCounts {
    /// Partitions.
    pub partitions: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of segments.
    pub bytes: u64,
    /// Batches that verify.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Dead letters.
    pub letters: u64,
    /// Resolution markers.
    pub markers: u64,
    /// Entries of delivery logs.
    pub entries: u64,
    /// Messages that are not at their ends.
    pub pending: u64,
}

/// What a partition is to those who use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: String,
    /// Index of the partition within it.
    pub index: u32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {}", self.index, self.topic)
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// What is wrong, in the order in which it was met; at most [`LISTED_MAX`].
    pub findings: Vec<Finding>,
    /// Findings that are not listed.
    pub findings_left_out: u64,
    /// What else is worth knowing; at most [`LISTED_MAX`].
    pub notes: Vec<Note>,
    /// The topics of the partitions that findings and notes are about, as far as the control log names them.
    pub topics: BTreeMap<PartitionNumber, TopicPartition>,
    /// How much was read.
    pub counts: VerifyCounts,
    /// Who has the directory, when it is in use: then nothing is said about the ends of logs, and little about what was
    /// not yet written.
    pub in_use_by: Option<String>,
}

impl VerifyReport {
    /// Returns whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns how many findings there are, listed or not.
    #[must_use]
    pub fn finding_count(&self) -> u64 {
        let listed = u64::try_from(self.findings.len()).unwrap_or(u64::MAX);
        self.findings_left_out.saturating_add(listed)
    }

    /// Returns the topic of a log's partition, and the partition's index in it.
    #[must_use]
    pub fn topic_of(&self, log: Option<LogId>) -> Option<&TopicPartition> {
        self.topics.get(&log?.partition)
    }

    /// Names the topics of what was found.
    pub(super) fn name_topics(&mut self, state: &ControlState) {
        let found = self.findings.iter().filter_map(|finding| finding.log);
        let noted = self.notes.iter().filter_map(|note| note.log);
        let named = found.chain(noted).filter_map(|log| {
            let (topic, index) = state.partition(log.partition)?;
            let topic = topic.to_owned();
            Some((log.partition, TopicPartition { topic, index }))
        });
        self.topics = named.collect();
    }

    pub(super) fn find(&mut self, finding: Finding) {
        if self.findings.len() < LISTED_MAX {
            self.findings.push(finding);
        } else {
            self.findings_left_out = self.findings_left_out.saturating_add(1);
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        if self.notes.len() < LISTED_MAX {
            self.notes.push(note);
        }
    }
}

/// What to verify, and whom to tell how it goes on.
#[derive(Clone, Copy)]
pub struct VerifyOptions<'a> {
    /// This partition alone, instead of all.
    pub partition: Option<PartitionNumber>,
    /// Is called with the number of bytes that were read since the last call.
    pub progress: &'a dyn Fn(u64),
}

impl Default for VerifyOptions<'_> {
    fn default() -> Self {
        Self {
            partition: None,
            progress: &|_| {},
        }
    }
}

impl fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions")
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}
