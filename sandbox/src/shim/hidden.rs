//! What is taken out of everything that a run says: the values of the secrets that it was started with, and of those that it was
//! given since.
//!
//! **Invariant:** values are added and none is forgotten while the run lives. **Invariant:** their order stays, by which what was
//! found of them is known.

use std::sync::Arc;

use super::asked::AskedFilter;
use crate::log::ControlEvent;
use crate::redact::Patterns;
use crate::secrets::{Secrets, SecretsError, VALUES_BYTES_MAX};
use crate::spec::SECRETS_MAX;

/// Most values that a run is given after its start.
const LATER_MAX: usize = 4 * SECRETS_MAX;
/// Most bytes of these together. All spellings of a value take some hundred times its size in memory.
const LATER_BYTES_MAX: usize = 4 * VALUES_BYTES_MAX;

/// Values of one run, and how they are found.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    /// The first is what the run was started with.
    sets: Vec<Secrets>,
    spelled: Spelled,
}

/// The forms of values.
#[derive(Debug, Default)]
pub(super) struct Spelled {
    patterns: Option<Arc<Patterns>>,
    /// Only of a run that has a proxy to ask.
    asked: Option<AskedFilter>,
    has_proxy: bool,
}

impl Spelled {
    pub(super) fn of(sets: &[Secrets], has_proxy: bool) -> Result<Self, SecretsError> {
        let patterns = Patterns::of_sets(sets);
        let asked = patterns.as_ref().filter(|_| has_proxy);
        let asked = asked.map(|patterns| AskedFilter::new(patterns, sets)).transpose()?;
        Ok(Self { patterns, asked, has_proxy })
    }
}

/// What came of adding values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    Some,
    /// All of them were known.
    Nothing,
}

/// Why values cannot be added. Never contains one.
#[derive(Debug, thiserror::Error)]
pub(super) enum HideError {
    #[error(
        "more than {LATER_MAX} values or {LATER_BYTES_MAX} bytes that a run was given since its start cannot be taken out of its log"
    )]
    TooMuch,
    #[error("the values cannot be taken out of a log")]
    Values(#[source] SecretsError),
}

impl Hidden {
    /// For a run that starts with `first`, whose values are `spelled` so.
    pub(super) fn new(first: Secrets, spelled: Spelled) -> Self {
        Self { sets: vec![first], spelled }
    }

    /// What to look for; none without any value.
    pub(super) fn patterns(&self) -> Option<&Arc<Patterns>> {
        self.spelled.patterns.as_ref()
    }

    /// What a run asked the network for, as it may be logged.
    pub(super) fn clear(&self, event: ControlEvent) -> ControlEvent {
        match &self.spelled.asked {
            Some(asked) => asked.clear(event),
            None => event,
        }
    }

    /// Adds the values of `more` that are not known.
    pub(super) fn add(&mut self, more: &Secrets) -> Result<Added, HideError> {
        let is_known = |name: &str, value: &[u8]| self.sets.iter().any(|set| set.get(name) == Some(value));
        let mut new = Secrets::new();
        for (name, value) in more.iter().filter(|(name, value)| !is_known(name, value)) {
            new.insert(name, value.to_vec()).map_err(HideError::Values)?;
        }
        if new.is_empty() {
            return Ok(Added::Nothing);
        }
        let later = || self.sets.iter().skip(1).chain([&new]).flat_map(Secrets::iter);
        if later().count() > LATER_MAX || later().map(|(_, value)| value.len()).sum::<usize>() > LATER_BYTES_MAX {
            return Err(HideError::TooMuch);
        }
        self.sets.push(new);
        match Spelled::of(&self.sets, self.spelled.has_proxy) {
            Ok(spelled) => self.spelled = spelled,
            Err(error) => {
                self.sets.pop();
                return Err(HideError::Values(error));
            }
        }
        Ok(Added::Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[(&str, &str)]) -> Secrets {
        let mut secrets = Secrets::new();
        for (name, value) in values {
            secrets.insert(name, value.as_bytes().to_vec()).unwrap();
        }
        secrets
    }

    fn started_with(values: &[(&str, &str)]) -> Hidden {
        let first = secrets(values);
        let spelled = Spelled::of(std::slice::from_ref(&first), true).unwrap();
        Hidden::new(first, spelled)
    }

    #[test]
    fn a_name_can_have_several_values_and_one_that_is_known_is_nothing_new() {
        let mut hidden = started_with(&[]);
        assert!(hidden.patterns().is_none());
        assert_eq!(hidden.add(&secrets(&[("token", "hunter22")])).unwrap(), Added::Some);
        assert_eq!(hidden.add(&secrets(&[("token", "hunter22")])).unwrap(), Added::Nothing);
        assert_eq!(hidden.add(&secrets(&[("other", "swordfish"), ("token", "hunter33")])).unwrap(), Added::Some);
        assert_eq!(hidden.add(&secrets(&[("other", "swordfish"), ("token", "hunter22")])).unwrap(), Added::Nothing);
        let clear = hidden.patterns().unwrap().text("hunter22 hunter33 swordfish hunter44");
        assert_eq!(clear, "[secret token] [secret token] [secret other] hunter44");
        assert_eq!(format!("{:?}", hidden.patterns()), "Some({\"token\", \"other\", \"token\"})");
    }

    #[test]
    fn what_a_run_can_be_given_later_is_bounded() {
        let mut hidden = started_with(&[("first", "hunter22")]);
        let large = "x".repeat(VALUES_BYTES_MAX - 8);
        for round in 0..4 {
            let value = format!("{large}{round:08}");
            hidden.add(&secrets(&[("large", value.as_str())])).unwrap();
        }
        let error = hidden.add(&secrets(&[("more", "hunter33")])).unwrap_err();
        assert!(matches!(error, HideError::TooMuch), "{error}");
        assert_eq!(hidden.patterns().unwrap().text("hunter22 hunter33"), "[secret first] hunter33");
        let mut hidden = started_with(&[]);
        for round in 0..LATER_MAX {
            let value = format!("hunter{round}");
            hidden.add(&secrets(&[("one", value.as_str())])).unwrap();
        }
        hidden.add(&secrets(&[("one", "hunter0")])).unwrap();
        assert!(matches!(hidden.add(&secrets(&[("one", "hunter-x")])), Err(HideError::TooMuch)));
    }
}
