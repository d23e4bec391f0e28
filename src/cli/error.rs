//! Why a command failed, and the exit code for it.

use std::io;
use std::process::ExitCode;

use storage::error::LogError;

use crate::broker::OpenError;
use crate::client::ClientError;
use crate::config::{ConfigError, Settings, Source};
use crate::delivery::client::SetupError;
use crate::protocol::error_code::ErrorCode;
use crate::run::RunError;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Reading or writing failed.
    #[error("cannot {action}")]
    Io {
        /// What was tried, as in "write to stdout".
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// The arguments are wrong in a way that the parser does not see.
    #[error("{message}")]
    Usage {
        /// What is wrong and what would be right.
        message: String,
    },
    /// The command was understood and failed.
    #[error("{message}")]
    Failed {
        /// What failed.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
    /// The broker cannot be reached, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The broker did not start.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Deliveries cannot be set up as they are configured.
    #[error("{place}")]
    Destinations {
        /// Where the value stands.
        place: Source,
        /// What is wrong with it.
        source: Box<SetupError>,
    },
}

impl CliError {
    /// Builds a failure with a hint.
    pub fn failed(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self::Failed {
            message: message.into(),
            hint: hint.map(str::to_owned),
        }
    }

    /// Builds wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
        }
    }

    /// Names the place of the configured value that kept a broker from starting, where it was one.
    #[must_use]
    pub fn placed(self, settings: &Settings) -> Self {
        match self {
            Self::Run(RunError::Destinations(source)) => {
                match source.key().and_then(|key| settings.source(key)) {
                    Some(place) => Self::Destinations {
                        place: place.clone(),
                        source: Box::new(source),
                    },
                    None => Self::Run(RunError::Destinations(source)),
                }
            }
            other => other,
        }
    }

    /// Returns what to try, if that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Failed { hint, .. } => hint.as_deref(),
            Self::Client(error) => client_hint(error),
            Self::Run(error) => run_hint(error),
            Self::Config(_) | Self::Destinations { .. } | Self::Io { .. } | Self::Usage { .. } => {
                None
            }
        }
    }

    /// Returns true if stdout was closed by its reader.
    pub fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    /// Returns 2 for wrong usage and 1 for everything else.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage { .. } => ExitCode::from(2),
            Self::Config(error) if error.is_of_flag() => ExitCode::from(2),
            _ => ExitCode::from(1),
        }
    }
}

fn client_hint(error: &ClientError) -> Option<&'static str> {
    match error {
        ClientError::Connect { .. } => Some(
            "is the broker running? `redrive serve` starts one; --addr or REDRIVE_ADDR says where it is",
        ),
        ClientError::OtherProtocol { .. } => Some(
            "--addr or REDRIVE_ADDR takes the address that `redrive serve` calls protocol, by default port 7733; that of HTTP goes to --url or REDRIVE_URL",
        ),
        ClientError::GaveUp { source, .. } => client_hint(source),
        ClientError::OffsetOutOfRange { .. } => Some(
            "--from earliest begins at the first offset that there is, also for a group whose committed one is gone",
        ),
        _ => match error.refusal()?.code {
            ErrorCode::UnknownTopic => {
                Some("`redrive topic list` shows the topics, `redrive topic create` makes one")
            }
            ErrorCode::WrongToken => Some("give the broker's token with --token or REDRIVE_TOKEN"),
            ErrorCode::TopicInUse => Some("--force deletes it all the same"),
            _ => None,
        },
    }
}

fn run_hint(error: &RunError) -> Option<&'static str> {
    match error {
        RunError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => Some(
            "another program listens there: stop it, or choose with --listen and --http; port 0 takes a free one",
        ),
        RunError::Open(OpenError::Log(LogError::Locked { .. })) => Some(
            "one broker at a time can have a data directory: stop that one, or choose another with --data-dir",
        ),
        RunError::Open(error) if is_disk_full(error) => Some(
            "the disk is full, and a start writes a little: free some space there, then start again; nothing is lost",
        ),
        _ => None,
    }
}

fn is_disk_full(error: &OpenError) -> bool {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |error| error.source());
    causes.any(|error| {
        let io = error.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_full_disk_at_the_start_has_a_hint_and_another_error_has_none() {
        let of = |kind: io::ErrorKind| {
            let log = LogError::io("write", Path::new("/data/a.log"), kind.into());
            CliError::Run(RunError::Open(OpenError::Log(log)))
        };
        let full = of(io::ErrorKind::StorageFull);
        assert!(
            full.hint()
                .is_some_and(|hint| hint.contains("free some space"))
        );
        assert_eq!(of(io::ErrorKind::PermissionDenied).hint(), None);
    }
}
