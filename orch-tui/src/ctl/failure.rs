//! Why a command did not succeed: its exit code and how it is told.
//!
//! Texts from the daemon pass through [`SafeText`] here.

use std::io;
use std::path::Path;

use orch_proto::{ErrorCode, RpcError};
use serde::Serialize;

use crate::fmt::color::{Paint, Role};
use crate::fmt::document::json_line;
use crate::text::SafeText;

/// Outcome of a command other than success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon or the command line said no.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// The thing that was asked about has failed: a run, a check.
    #[error("{0}")]
    Negative(String),
    /// The thing that was asked about is not decided yet.
    #[error("{0}")]
    Pending(String),
    /// Some of several succeeded.
    #[error("{failed} of {total} failed")]
    Partial {
        /// How many failed.
        failed: usize,
        /// Of how many.
        total: usize,
    },
    /// The user stopped watching.
    #[error("stopped watching")]
    Detached,
    /// What takes the place of a program ends as that is to end.
    #[error("ends with {0}, as it was told")]
    Exit(u8),
    /// Output could not be written.
    #[error("failed to write output")]
    Output(#[from] io::Error),
    /// A view has no form in the output format.
    #[error("failed to write the value as JSON")]
    Json(#[from] serde_json::Error),
    /// A view has no form in YAML.
    #[error("failed to write the value as YAML")]
    Yaml(#[source] Box<serde_saphyr::ser::Error>),
}

/// Exit code after SIGINT, by the custom of shells.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Exit code after SIGPIPE, by the custom of shells.
pub(crate) const EXIT_PIPE: u8 = 141;

impl Failure {
    /// A mistake in how the command was called.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Refused(RpcError::new(ErrorCode::Usage, message))
    }

    /// A failure with code and next step.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused(RpcError::new(code, message).hint(hint))
    }

    /// A file or directory that could not be made or written.
    pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Self {
        let (code, hint) = match error.kind() {
            io::ErrorKind::AlreadyExists => (ErrorCode::Exists, "name another file, or remove that one first"),
            io::ErrorKind::NotFound => (ErrorCode::NotFound, "make the directory first, or name another place"),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                (ErrorCode::Permission, "name a place where you may write")
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (ErrorCode::StorageFull, "free some space, or name another place")
            }
            _ => (ErrorCode::Usage, "name another place"),
        };
        Self::new(code, format!("`{}` cannot be written: {error}", path.display()), hint)
    }

    /// Exit code of the program.
    #[must_use]
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(error) => error.code.exit_code(),
            Self::Negative(_) => 1,
            Self::Pending(_) => 8,
            Self::Partial { .. } => 9,
            Self::Detached => EXIT_INTERRUPTED,
            Self::Exit(code) => *code,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => EXIT_PIPE,
            Self::Output(_) => 74,
            Self::Json(_) | Self::Yaml(_) => ErrorCode::Internal.exit_code(),
        }
    }

    /// Whether the daemon was only away or busy, so that a watcher goes on.
    #[must_use]
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Refused(error) if crate::connect::is_worth_another_try(error))
    }

    /// The failure for a person: `error[E_X]: what` and `hint: next step`. Empty when there is nothing to say.
    #[must_use]
    pub(crate) fn text(&self, paint: Paint) -> String {
        let label = |text: &str| paint.apply(Role::Bad, &SafeText::line(text));
        match self {
            Self::Refused(error) => {
                let head = label(&format!("error[{}]", error.code));
                let message = SafeText::block(error.message.trim_end());
                let hint = error.hint.as_deref().map(|hint| {
                    format!(
                        "\n{}: {}",
                        paint.apply(Role::Active, &SafeText::literal("hint")),
                        SafeText::block(hint.trim_end())
                    )
                });
                format!("{head}: {message}{}", hint.unwrap_or_default())
            }
            Self::Negative(message) | Self::Pending(message) => SafeText::block(message).to_string(),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => String::new(),
            Self::Detached | Self::Exit(_) => String::new(),
            Self::Partial { .. } | Self::Output(_) | Self::Json(_) | Self::Yaml(_) => {
                format!("{}: {}", label("error"), SafeText::block(&self.chain()))
            }
        }
    }

    /// The failure for a program, as one line of JSON.
    #[must_use]
    pub(crate) fn json(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            error: Body<'a>,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: String,
            hint: Option<&'a str>,
            retryable: Option<bool>,
            retry_after_ms: Option<u64>,
            exit_code: u8,
        }
        let plain = |code| Body {
            code,
            message: self.chain(),
            hint: None,
            retryable: Some(false),
            retry_after_ms: None,
            exit_code: self.exit_code(),
        };
        let error = match self {
            Self::Refused(error) => Body {
                code: error.code.as_str(),
                message: error.message.clone(),
                hint: error.hint.as_deref(),
                retryable: error.code.retryable(),
                retry_after_ms: error.retry_after_ms,
                exit_code: self.exit_code(),
            },
            Self::Negative(_) => plain("FAILED"),
            Self::Pending(_) => plain("PENDING"),
            Self::Partial { .. } => plain("PARTIAL"),
            Self::Detached => plain("DETACHED"),
            Self::Exit(_) => plain("EXIT"),
            Self::Output(_) | Self::Json(_) | Self::Yaml(_) => plain("OUTPUT"),
        };
        json_line(&Line { error }).unwrap_or_default()
    }

    /// Message and causes in one line.
    fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_table() {
        let refused = |code| Failure::from(RpcError::new(code, "x")).exit_code();
        assert_eq!(refused(ErrorCode::NotFound), 3);
        assert_eq!(refused(ErrorCode::StaleDigest), 4);
        assert_eq!(refused(ErrorCode::Unreachable), 69);
        assert_eq!(Failure::Negative(String::new()).exit_code(), 1);
        assert_eq!(Failure::Pending(String::new()).exit_code(), 8);
        assert_eq!(Failure::Partial { failed: 1, total: 2 }.exit_code(), 9);
        assert_eq!(Failure::Output(io::ErrorKind::BrokenPipe.into()).exit_code(), 141);
    }

    #[test]
    fn what_cannot_be_written_says_why_and_what_next() {
        let code = |kind: io::ErrorKind| match Failure::cannot_write(Path::new("/a/b"), &kind.into()) {
            Failure::Refused(error) => (error.code, error.message.contains("`/a/b`"), error.hint.is_some()),
            other => panic!("{other:?}"),
        };
        assert_eq!(code(io::ErrorKind::PermissionDenied), (ErrorCode::Permission, true, true));
        assert_eq!(code(io::ErrorKind::ReadOnlyFilesystem), (ErrorCode::Permission, true, true));
        assert_eq!(code(io::ErrorKind::AlreadyExists), (ErrorCode::Exists, true, true));
        assert_eq!(code(io::ErrorKind::NotFound), (ErrorCode::NotFound, true, true));
    }

    #[test]
    fn failures_have_two_forms_and_neither_is_obeyed_by_a_terminal() {
        let failure = Failure::new(ErrorCode::StaleDigest, "`x\x1b[2J` changed", "orchctl approval get A-12");
        assert_eq!(
            failure.text(Paint::OFF),
            "error[E_STALE_DIGEST]: `x^[[2J` changed\nhint: orchctl approval get A-12"
        );
        assert_eq!(
            failure.json(),
            r#"{"error":{"code":"E_STALE_DIGEST","message":"`x\u001b[2J` changed","hint":"orchctl approval get A-12","retryable":false,"retry_after_ms":null,"exit_code":4}}"#
        );
    }
}
