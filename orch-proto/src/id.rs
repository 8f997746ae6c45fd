//! Typed ids: `UUIDv7` with a prefix that names the kind, as `task-0192f...`.
//!
//! There is no `From<Uuid>`: an id of one kind cannot become one of another. The registry of kinds is append-only,
//! since prefixes are stored in the audit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A text that is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id, which looks like `{prefix}-0192f0c0-...`")]
pub struct ParseIdError {
    /// The kind that was wanted.
    pub kind: &'static str,
    /// Its prefix.
    pub prefix: &'static str,
    /// What was given, cut to 80 characters.
    pub text: String,
}

/// What all ids have in common. Implemented by the macro of this module only.
pub trait Id: Copy + Ord + fmt::Display + fmt::Debug + FromStr<Err = ParseIdError> + Send + Sync + 'static {
    /// Name of the kind, as `task`.
    const KIND: &'static str;
    /// Makes an id from a UUID that the caller's id source drew.
    fn from_uuid(uuid: Uuid) -> Self;
    /// The UUID behind the id.
    fn uuid(&self) -> Uuid;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),+ $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl Id for $name {
            const KIND: &'static str = $prefix;
            fn from_uuid(uuid: Uuid) -> Self { Self(uuid) }
            fn uuid(&self) -> Uuid { self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0.as_hyphenated())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix(concat!($prefix, "-"))
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError {
                        kind: $prefix,
                        prefix: $prefix,
                        text: text.chars().take(80).collect(),
                    })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+ };
}

ids! {
    /// A project: one repository and everything that is made for it.
    ProjectId = "project",
    /// One submitted version of a Vision.
    VisionId = "vision",
    /// One version of a project's requirements.
    RequirementsId = "reqs",
    /// One version of a project's plan.
    PlanId = "plan",
    /// A task.
    TaskId = "task",
    /// One attempt at a task, or one execution of gates.
    RunId = "run",
    /// A question to a person: may this exact thing happen?
    ApprovalId = "approval",
    /// A proposed change of a project's repository.
    ChangeId = "change",
    /// A question of a run that a person answers field by field.
    InfoRequestId = "info",
    /// One request of a client; the key of its idempotency.
    CommandId = "cmd",
    /// One state directory: two daemons with the same one are the same installation.
    InstanceId = "instance",
}

impl CommandId {
    /// Draws a new command id. For clients: the daemon's own ids come from the core's id source.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_parse_are_inverse_and_the_prefix_is_checked() {
        let id = TaskId::from_uuid(Uuid::from_u128(0x0192_f0c0_0000_7000_8000_0000_0000_0001));
        assert_eq!(id.to_string(), "task-0192f0c0-0000-7000-8000-000000000001");
        assert_eq!(id.to_string().parse::<TaskId>(), Ok(id));
        let wrong = id.to_string().parse::<RunId>().unwrap_err();
        assert_eq!(wrong.kind, "run");
    }
}
