//! Errors as clients see them: a stable code, what happened, where, and the next step.
//!
//! Codes are append-only, since scripts match on them. Exit codes follow ux.md section 6 (sysexits above 64).

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($name:ident = $text:literal, $exit:literal, $retryable:expr, $meaning:literal;)+) => {
        /// Stable code of an error. Its text form is what scripts match on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ErrorCode { $( #[doc = $meaning] #[serde(rename = $text)] $name, )+ }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable text, as `E_NOT_FOUND`.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $text),+ } }

            /// Exit code of `orchctl` for this error.
            #[must_use]
            pub const fn exit_code(self) -> u8 { match self { $(Self::$name => $exit),+ } }

            /// Whether the same call can succeed later: yes, no, or not known.
            #[must_use]
            pub const fn retryable(self) -> Option<bool> { match self { $(Self::$name => $retryable),+ } }

            /// What the code means, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str { match self { $(Self::$name => $meaning),+ } }
        }
    };
}

codes! {
    Usage = "E_USAGE", 2, Some(false),
        "The command line or the request does not have the form that is needed.";
    Invalid = "E_INVALID", 2, Some(false),
        "A value in the request is not acceptable; the message names the field.";
    TooLarge = "E_TOO_LARGE", 2, Some(false),
        "The request, a file in it or its answer is over a stated limit.";
    EmptyVision = "E_EMPTY_VISION", 2, Some(false),
        "The Vision has no text.";
    NotText = "E_NOT_TEXT", 2, Some(false),
        "The file is binary or not UTF-8 where text is needed.";
    Recipe = "E_RECIPE", 2, Some(false),
        "A recipe does not parse or breaks a rule; the message has file, line and column.";
    NotFound = "E_NOT_FOUND", 3, Some(false),
        "Nothing has this name.";
    Ambiguous = "E_AMBIGUOUS", 2, Some(false),
        "The name fits more than one thing; put the project in front, as `shop/T-12`.";
    Exists = "E_EXISTS", 4, Some(false),
        "A thing with this name exists already.";
    Conflict = "E_CONFLICT", 4, Some(false),
        "The thing is in a state in which this cannot be done.";
    StaleDigest = "E_STALE_DIGEST", 4, Some(false),
        "What was shown has changed since; look again, then decide.";
    KeyReused = "E_KEY_REUSED", 4, Some(false),
        "The idempotency key was used before for another request.";
    Cycle = "E_CYCLE", 4, Some(false),
        "The dependency would make a cycle; the message names it.";
    Denied = "E_DENIED", 5, Some(false),
        "Policy denies the action; the message names the rule.";
    NeedsApproval = "E_NEEDS_APPROVAL", 6, Some(false),
        "The action waits for the approval that the message names.";
    Timeout = "E_TIMEOUT", 7, Some(true),
        "The time given ran out; the work itself goes on.";
    Removed = "E_REMOVED", 3, Some(false),
        "It was there, and was removed because it was kept for long enough; the message says when and by which setting.";
    Repository = "E_REPOSITORY", 2, Some(false),
        "The path is not a usable git repository.";
    Isolation = "E_ISOLATION", 78, Some(false),
        "The host cannot give the isolation that is required; the message has the fix.";
    ToolMissing = "E_TOOL_MISSING", 78, Some(false),
        "A program that is needed is not installed; the message has the command that installs it.";
    Config = "E_CONFIG", 78, Some(false),
        "The configuration is not usable; the message has file and line.";
    Locked = "E_LOCKED", 75, Some(true),
        "Another daemon uses this state directory.";
    SchemaTooNew = "E_SCHEMA_TOO_NEW", 78, Some(false),
        "The state was written by a newer version; it was left untouched.";
    StorageFull = "E_STORAGE_FULL", 75, Some(true),
        "The disk is full; nothing was lost and nothing was changed.";
    Storage = "E_STORAGE", 75, None,
        "The state could not be read or written; the daemon's log has the cause.";
    StateAccess = "E_STATE_ACCESS", 78, Some(false),
        "The state cannot be used as it lies there: it can only be read, is another user's, or something else is in its place; the message says which.";
    Busy = "E_BUSY", 75, Some(true),
        "Too many requests at once.";
    ShuttingDown = "E_SHUTTING_DOWN", 75, Some(true),
        "The daemon is stopping; runs go on and are taken up again at its next start.";
    Unreachable = "E_UNREACHABLE", 69, Some(true),
        "No daemon answers on the socket.";
    Protocol = "E_PROTOCOL", 76, Some(false),
        "Client and daemon speak different versions.";
    Permission = "E_PERMISSION", 77, Some(false),
        "Your role does not allow this.";
    Internal = "E_INTERNAL", 70, None,
        "A fault in the daemon. This call failed, others are not touched; the log has the cause.";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that a client can show as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// Stable code.
    pub code: ErrorCode,
    /// What happened and where, a lowercase fragment.
    pub message: String,
    /// The next step, if there is one: a command or a place to look.
    pub hint: Option<String>,
    /// How long to wait before a retry, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl RpcError {
    /// An error without a hint.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, retry_after_ms: None }
    }

    /// The same error with the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_round_trip() {
        let texts: std::collections::BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<ErrorCode>(&json).unwrap(), *code);
        }
    }
}
