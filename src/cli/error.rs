//! Why a command failed, and the exit code for it.

use std::io;
use std::process::ExitCode;

use crate::config::ConfigError;

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
    /// The arguments contradict each other in a way that the parser does not see.
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
    /// The command is not in this build.
    #[error("`redrive {command}` is not in this build")]
    NotBuilt {
        /// The command.
        command: &'static str,
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

    /// Returns what to try, if that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Failed { hint, .. } => hint.as_deref(),
            Self::Config(_) | Self::Io { .. } | Self::Usage { .. } | Self::NotBuilt { .. } => None,
        }
    }

    /// Returns true if stdout was closed by its reader.
    pub fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::BrokenPipe,
            Self::Config(_) | Self::Usage { .. } | Self::Failed { .. } | Self::NotBuilt { .. } => {
                false
            }
        }
    }

    /// Returns 2 for wrong usage and 1 for everything else.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage { .. } => ExitCode::from(2),
            Self::Config(_) | Self::Io { .. } | Self::Failed { .. } | Self::NotBuilt { .. } => {
                ExitCode::from(1)
            }
        }
    }
}
