//! Why a program ends, and with which exit status.

use std::error::Error;
use std::process::ExitCode;

/// What ends a program before it was asked to stop. Displayed as one line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or the configuration is wrong: where, which key, what is expected.
    #[error("{0}")]
    Configuration(String),
    /// Postgres cannot be reached, or could not for too long.
    #[error("Postgres cannot be reached: {0}")]
    Unreachable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// A wrong command line or configuration.
    #[must_use]
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::Configuration(message.into())
    }

    /// `doing`, and everything that `error` says of its causes.
    pub fn because(doing: &str, error: impl Error) -> Self {
        Self::Other(format!("{doing}: {}", causes(&error)))
    }

    /// The exit status: 2 configuration, 129 Postgres, 1 anything else.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) => ExitCode::from(2),
            Self::Unreachable(_) => ExitCode::from(129),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

/// An error's message and those of its causes, joined by colons.
///
/// Libraries differ in whether a message repeats its cause's; a repetition is left out.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}
