//! What a run asked the network for, without values of its secrets: a host can be a token by accident, or carry one.
//!
//! **Invariant:** no name goes to the log that has not been through here.

use std::sync::Arc;

use crate::egress::NAME_BYTES_MAX;
use crate::log::ControlEvent;
use crate::redact::Patterns;
use crate::secrets::{Secrets, SecretsError};

/// Stands for a name that cannot be shown in part.
const HIDDEN: &str = "[hidden: it may hold a secret]";

/// Takes values out of what was asked for.
#[derive(Debug)]
pub(super) struct AskedFilter {
    patterns: Arc<Patterns>,
    /// The values in lower case, into which clients put names.
    folded: Patterns,
}

impl AskedFilter {
    /// For a run with these `sets` of secrets, of which `patterns` are the forms.
    pub(super) fn new(patterns: &Arc<Patterns>, sets: &[Secrets]) -> Result<Self, SecretsError> {
        let folded = sets.iter().map(folded).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { patterns: Arc::clone(patterns), folded: Patterns::of_values(&folded) })
    }

    /// `event` as it may be logged.
    pub(super) fn clear(&self, mut event: ControlEvent) -> ControlEvent {
        if let ControlEvent::Egress { record, .. } = &mut event {
            record.rename_host(|host| self.cleared(host));
        }
        event
    }

    fn cleared(&self, host: &str) -> String {
        let shown = self.patterns.text(host);
        // Of a name that was cut the rest of a value may be gone, by which it is known.
        let cut = host.len() >= NAME_BYTES_MAX;
        if cut || self.folded.first_in(shown.to_ascii_lowercase().as_bytes()).is_some() {
            return HIDDEN.to_owned();
        }
        shown
    }
}

/// The values in lower case.
fn folded(secrets: &Secrets) -> Result<Secrets, SecretsError> {
    let mut folded = Secrets::new();
    secrets.iter().try_for_each(|(name, value)| folded.insert(name, value.to_ascii_lowercase()))?;
    Ok(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_no_value() {
        let mut secrets = Secrets::new();
        secrets.insert("token", b"AbCdEf0123456789".to_vec()).unwrap();
        secrets.insert("long", b"x".repeat(400)).unwrap();
        let filter = AskedFilter::new(&Patterns::new(&secrets).unwrap(), &[secrets]).unwrap();
        assert_eq!(filter.cleared("api.example.com"), "api.example.com");
        assert_eq!(filter.cleared("user:AbCdEf0123456789@api.example.com"), "user:[secret token]@api.example.com");
        assert_eq!(filter.cleared("abcdef0123456789"), HIDDEN);
        assert_eq!(filter.cleared("ABCDEF0123456789.example.com"), HIDDEN);
        assert_eq!(filter.cleared(&"x".repeat(NAME_BYTES_MAX)), HIDDEN);
    }
}
