//! Why a request, or one partition's share of it, was refused: a number for programs and a message for people.
//!
//! On the wire a refusal is (code `u16`, message string). Code 0 with an empty message means that nothing was refused.

use super::cursor::{DecodeError, Reader, Wire, Writer};

macro_rules! error_codes {
    ($($(#[$docs:meta])* $name:ident = $number:literal, $retry:ident, $text:literal;)*) => {
        /// Why something was refused. The number is its `u16` on the wire and is never used again for something else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum ErrorCode {
            $($(#[$docs])* $name = $number,)*
        }

        impl ErrorCode {
            /// All codes, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the code with this number, or `None` for a number that no code has.
            #[must_use]
            pub fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Returns the code's number.
            #[must_use]
            pub fn number(self) -> u16 {
                match self {
                    $(Self::$name => $number,)*
                }
            }

            /// Returns whether the same request may succeed later without anybody changing it.
            #[must_use]
            pub fn is_retryable(self) -> bool {
                match self {
                    $(Self::$name => error_codes!(@retry $retry),)*
                }
            }

            /// Returns what the code says, in words.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
    (@retry retry) => { true };
    (@retry final) => { false };
}

error_codes! {
    /// The request does not decode. The broker closes the connection after this answer.
    MalformedRequest = 1, final, "malformed request";
    /// The frame is larger than the connection may send. The broker closes the connection after this answer.
    FrameTooLarge = 2, final, "frame too large";
    /// No request has this API key.
    UnknownApi = 3, final, "unknown request";
    /// The broker does not know this version of the request or of the protocol.
    UnsupportedVersion = 4, final, "unsupported version";
    /// The first request of the connection was not a handshake, or a second handshake came.
    HandshakeExpected = 5, final, "handshake expected";
    /// The token is not the broker's.
    WrongToken = 6, final, "wrong token";

    /// The topic's name breaks the rules for names.
    InvalidTopicName = 10, final, "invalid topic name";
    /// There is no such topic.
    UnknownTopic = 11, final, "unknown topic";
    /// The topic has no such partition.
    UnknownPartition = 12, final, "unknown partition";
    /// There is such a topic already.
    TopicExists = 13, final, "the topic exists";
    /// The topic holds live dead letters, pending messages or committed offsets; the message has the counts.
    TopicInUse = 14, final, "the topic is in use";
    /// A setting is out of its range.
    InvalidSettings = 15, final, "invalid settings";
    /// The topic belongs to the broker.
    ReservedTopic = 16, final, "reserved topic";

    /// The batch is larger than the topic takes.
    BatchTooLarge = 20, final, "batch too large";
    /// A record is larger than the topic takes.
    RecordTooLarge = 21, final, "record too large";
    /// A checksum does not match: the batch was damaged on its way.
    CorruptBatch = 22, retry, "corrupt batch";
    /// The batch contradicts itself or breaks a rule; the message has the place.
    InvalidBatch = 23, final, "invalid batch";
    /// A record has a header under the broker's prefix.
    ReservedHeader = 24, final, "reserved header";
    /// The batch does not follow the producer's last one: one in between is missing.
    OutOfOrderSequence = 25, final, "sequence out of order";
    /// A producer with the same id and a higher epoch has written.
    ProducerFenced = 26, final, "producer fenced";
    /// The partition does not remember the producer, and the batch is not its first.
    UnknownProducer = 27, final, "unknown producer";
    /// The batch was appended before, too long ago to tell where.
    DuplicateSequence = 28, final, "batch appended before";

    /// The offset is outside of what the log holds; the answer has the range.
    OffsetOutOfRange = 30, final, "offset out of range";
    /// The records that were asked for are damaged on the disk; the message has the range.
    DamagedRecords = 31, final, "records are damaged";

    /// The group's name breaks the rules for names.
    InvalidGroupName = 40, final, "invalid group name";
    /// There is no such group.
    UnknownGroup = 41, final, "unknown group";

    /// There is no such live letter.
    UnknownLetter = 50, final, "unknown dead letter";
    /// The id of a letter is malformed or mistyped.
    InvalidLetterId = 51, final, "invalid dead letter id";
    /// The cursor is malformed or of another selection.
    InvalidCursor = 52, final, "invalid cursor";
    /// The selection breaks a rule, such as its limit.
    InvalidSelection = 53, final, "invalid selection";
    /// The letter was resolved in another way.
    LetterResolved = 54, final, "dead letter already resolved";

    /// An earlier write of this log failed; it takes no appends until it has recovered.
    LogPoisoned = 60, retry, "the log is recovering";
    /// The disk has too little free space.
    StorageFull = 61, retry, "the disk is full";
    /// The broker has too much to do.
    Overloaded = 62, retry, "overloaded";
    /// The broker is shutting down.
    ShuttingDown = 63, retry, "shutting down";
    /// Whether the append happened is unknown until the log has recovered. Asking again is safe.
    OutcomeUnknown = 64, retry, "outcome unknown";
    /// The broker gave up waiting.
    TimedOut = 65, retry, "timed out";
    /// The partition is open for reads only.
    ReadOnly = 66, final, "read only";
    /// The disk failed.
    StorageFailed = 67, final, "storage failed";
    /// A number in the request is above the broker's limit; the message has both.
    LimitExceeded = 68, final, "limit exceeded";
    /// The broker is wrong.
    Internal = 69, final, "internal error";

    /// There is no such queue, URL group, schedule or flow-control key; the message says which.
    NotFound = 70, final, "not found";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// A refusal with its message, which names the value and says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// The facts, for people.
    pub message: String,
}

impl Refusal {
    /// Makes a refusal.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn write_optional(refusal: Option<&Self>, writer: &mut Writer) {
        match refusal {
            None => {
                0_u16.write(writer);
                writer.string("");
            }
            Some(refusal) => {
                refusal.code.number().write(writer);
                writer.string_cut(&refusal.message);
            }
        }
    }

    pub(crate) fn read_optional(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let number = u16::read(reader).map_err(|error| error.of("error code"))?;
        let code = match (number, ErrorCode::from_number(number)) {
            (0, _) => None,
            (_, Some(code)) => Some(code),
            (_, None) => return Err(reader.wrong(2, u64::from(number)).of("error code")),
        };
        let message = String::read(reader).map_err(|error| error.of("error message"))?;
        if code.is_none() && !message.is_empty() {
            let length = u64::try_from(message.len()).unwrap_or(u64::MAX);
            return Err(reader.wrong(message.len(), length).of("error message"));
        }
        Ok(code.map(|code| Self { code, message }))
    }
}

/// `Err`: code and message. `Ok`: code 0, an empty message, then the value.
impl<T: Wire> Wire for Result<T, Refusal> {
    fn write(&self, writer: &mut Writer) {
        Refusal::write_optional(self.as_ref().err(), writer);
        if let Ok(value) = self {
            value.write(writer);
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match Refusal::read_optional(reader)? {
            Some(refusal) => Err(refusal),
            None => Ok(T::read(reader)?),
        })
    }
}
