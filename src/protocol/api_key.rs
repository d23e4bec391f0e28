//! The requests that exist, with their numbers. A number is never used again.
//!
//! A request names the version of its layout in its header, and is answered in the same version. A newer version appends
//! fields to values and changes nothing else; every version from [`API_VERSION_MIN`] up to a key's own is understood, any other
//! is refused.
//!
//! | version | brought |
//! |---|---|
//! | 1 | everything |
//! | 2 | requests about dead letters: what is told of destinations and attempts, and what they can be selected by |

/// Oldest version of requests and answers that is understood.
pub const API_VERSION_MIN: u16 = 1;
/// Newest version of any request or answer in this build.
pub const API_VERSION_MAX: u16 = 2;

macro_rules! api_keys {
    ($($(#[$docs:meta])* $name:ident = $number:literal,)*) => {
        /// What a request asks for. The number is its `u16` in the request header.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum ApiKey {
            $($(#[$docs])* $name = $number,)*
        }

        impl ApiKey {
            /// All keys, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the key with this number, or `None` for a number that no request has.
            #[must_use]
            pub fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Returns the key's number.
            #[must_use]
            pub fn number(self) -> u16 {
                match self {
                    $(Self::$name => $number,)*
                }
            }

            /// Returns the name, as the documentation and the metrics use it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

api_keys! {
    /// Opens a connection: versions, token, limits. The first request, and only the first.
    Handshake = 1,
    /// Describes topics and their partitions.
    Metadata = 2,
    /// Creates a topic.
    CreateTopic = 3,
    /// Changes a topic's settings, adds partitions.
    AlterTopic = 4,
    /// Deletes a topic.
    DeleteTopic = 5,
    /// Hands out an id for an idempotent producer.
    ProducerId = 6,
    /// Appends batches.
    Produce = 7,
    /// Reads batches, waiting for new ones.
    Fetch = 8,
    /// Finds offsets: the earliest, the latest, by append time.
    ListOffsets = 9,
    /// Stores the offsets that a group has got to.
    CommitOffsets = 10,
    /// Reads the offsets that a group has got to.
    FetchOffsets = 11,
    /// Lists the groups with their lag.
    ListGroups = 12,
    /// Deletes a group with its offsets.
    DeleteGroup = 13,
    /// Dead-letters a record on behalf of a group.
    Reject = 14,
    /// Lists live dead letters, a page at a time.
    ListLetters = 15,
    /// Reads one live dead letter.
    GetLetter = 16,
    /// Republishes dead letters.
    RetryLetters = 17,
    /// Resolves dead letters by deleting them.
    DeleteLetters = 18,
    /// Counts dead letters.
    LetterStats = 19,
}

impl ApiKey {
    /// Returns the newest version of the request and its answer.
    #[must_use]
    pub fn version(self) -> u16 {
        match self {
            Self::ListLetters
            | Self::GetLetter
            | Self::RetryLetters
            | Self::DeleteLetters
            | Self::LetterStats => 2,
            _ => 1,
        }
    }

    /// Returns what is being done when the request is sent, in words, as in "creating a topic".
    #[must_use]
    pub fn doing(self) -> &'static str {
        match self {
            Self::Handshake => "opening a connection",
            Self::Metadata => "looking at topics",
            Self::CreateTopic => "creating a topic",
            Self::AlterTopic => "altering a topic",
            Self::DeleteTopic => "deleting a topic",
            Self::ProducerId => "getting an id for a producer",
            Self::Produce => "producing records",
            Self::Fetch => "reading records",
            Self::ListOffsets => "finding offsets",
            Self::CommitOffsets => "committing offsets",
            Self::FetchOffsets => "reading a group's offsets",
            Self::ListGroups => "listing groups",
            Self::DeleteGroup => "deleting a group",
            Self::Reject => "rejecting a record",
            Self::ListLetters => "listing dead letters",
            Self::GetLetter => "reading a dead letter",
            Self::RetryLetters => "retrying dead letters",
            Self::DeleteLetters => "deleting dead letters",
            Self::LetterStats => "counting dead letters",
        }
    }

    /// Returns whether a version of the request is understood.
    #[must_use]
    pub fn understands(self, version: u16) -> bool {
        (API_VERSION_MIN..=self.version()).contains(&version)
    }
}
