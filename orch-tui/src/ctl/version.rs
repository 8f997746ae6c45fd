//! Versions of a document: how people name them, and which one an answer of the daemon is about.

use std::str::FromStr;

use clap::Args;
use orch_proto::reference::RefForm;
use orch_proto::request::Accepted;
use orch_proto::{EntityKind, ErrorCode, Ref};

use super::current_project::current;
use super::failure::Failure;
use super::session::Session;

/// A version as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    project: Option<String>,
    letter: Option<String>,
    number: u32,
}

/// A text that names no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version such as `6`, `v6`, `Q-6` or `shop/Q-6`")]
pub(crate) struct ParseVersionError(String);

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseVersionError(text.chars().take(40).collect());
        match Ref::from(text).form() {
            RefForm::Number { project, letter, number } => Ok(Self { project, letter: Some(letter), number }),
            RefForm::Name { project, name } => {
                let digits = name.strip_prefix(['v', 'V']).unwrap_or(&name);
                let number = digits.parse().map_err(|_| error())?;
                Ok(Self { project, letter: None, number })
            }
            RefForm::Latest { .. } => Err(error()),
        }
    }
}

impl Version {
    /// Its number, if it is one of this kind in this project.
    pub(crate) fn number_in(&self, project: &Ref, kind: EntityKind) -> Result<u32, Failure> {
        let other = self.project.as_ref().filter(|named| **named != project.0);
        if let Some(other) = other {
            return Err(Failure::usage(format!("version {} of `{other}` is not one of `{project}`", self.number)));
        }
        match (self.letter.as_deref(), kind.letter()) {
            (Some(letter), Some(right)) if letter != right => Err(Failure::new(
                ErrorCode::Usage,
                format!("`{letter}-{}` names no version of the {kind}", self.number),
                format!("name it `{right}-{0}`, or `{0}`", self.number),
            )),
            _ => Ok(self.number),
        }
    }
}

/// The version that a command is about.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct VersionArgs {
    /// The version, as `6`, `v6` or by its name in lists; the newest unless named
    #[arg(value_name = "VERSION", conflicts_with = "version_option")]
    version: Option<Version>,
    /// The same
    #[arg(long = "version", value_name = "VERSION")]
    version_option: Option<Version>,
}

impl VersionArgs {
    /// The project, and the number of the version if one was named.
    pub(crate) async fn find(&self, session: &Session, kind: EntityKind) -> Result<(Ref, Option<u32>), Failure> {
        find(session, kind, self.version.as_ref().or(self.version_option.as_ref())).await
    }
}

/// The project, which the version can name too, and the number of the version if there is one.
pub(crate) async fn find(
    session: &Session,
    kind: EntityKind,
    version: Option<&Version>,
) -> Result<(Ref, Option<u32>), Failure> {
    let named = version.and_then(|version| version.project.as_deref());
    let project = match named {
        Some(named) if session.given_project().is_none() => Ref::from(named),
        Some(_) | None => current(session).await?,
    };
    let number = version.map(|version| version.number_in(&project, kind)).transpose()?;
    Ok((project, number))
}

/// The version that a request made, or found to be there already.
///
/// Not the number after the newest: a proposal that says nothing new makes no version.
pub(crate) fn touched(accepted: &Accepted, kind: EntityKind) -> Result<u32, Failure> {
    let numbers =
        accepted.touched.iter().filter(|touched| touched.kind == kind).filter_map(|touched| {
            match Ref::from(touched.name.as_str()).form() {
                RefForm::Number { number, .. } => Some(number),
                RefForm::Latest { .. } | RefForm::Name { .. } => None,
            }
        });
    // Versions before it may have been touched too, to be withdrawn.
    numbers.max().ok_or_else(|| {
        let message = format!("the daemon did not say which version of the {kind} it made");
        Failure::new(ErrorCode::Protocol, message, "look at the newest; use an `orchctl` of the daemon's version")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_four_forms_and_one_meaning() {
        let number = |text: &str| {
            let version: Version = text.parse().map_err(|error: ParseVersionError| error.to_string())?;
            version.number_in(&Ref::from("units"), EntityKind::Requirements).map_err(|failure| failure.to_string())
        };
        for good in ["6", "v6", "V6", "Q-6", "q-6", "units/Q-6", "units/6"] {
            assert_eq!(number(good), Ok(6), "{good}");
        }
        assert_eq!(number("P-6"), Err("`P-6` names no version of the requirements".to_owned()));
        assert_eq!(number("shop/Q-6"), Err("version 6 of `shop` is not one of `units`".to_owned()));
        for wrong in ["", "v", "-6", "six", "@latest"] {
            assert!(number(wrong).is_err_and(|error| error.contains("is not a version")), "{wrong}");
        }
    }
}
