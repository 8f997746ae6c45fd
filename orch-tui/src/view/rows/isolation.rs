//! The isolation of a run or of the host.

use orch_proto::view::{GuaranteeState, IsolationView};

use super::safe_opt;
use crate::text::SafeText;

/// One guarantee of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuaranteeRow {
    pub(crate) name: SafeText,
    pub(crate) state: GuaranteeState,
    pub(crate) how: SafeText,
    pub(crate) evidence: SafeText,
    /// What mends it.
    pub(crate) fix: Option<SafeText>,
}

/// What a sandbox gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IsolationRow {
    pub(crate) level: u8,
    pub(crate) required: u8,
    pub(crate) guarantees: Vec<GuaranteeRow>,
    /// The next level and what is missing for it.
    pub(crate) next: Option<(u8, SafeText)>,
}

impl From<&IsolationView> for IsolationRow {
    fn from(view: &IsolationView) -> Self {
        let guarantees = view.guarantees.iter().map(|guarantee| GuaranteeRow {
            name: SafeText::line(&guarantee.name),
            state: guarantee.state,
            how: SafeText::line(&guarantee.how),
            evidence: SafeText::line(&guarantee.evidence),
            fix: safe_opt(guarantee.fix.as_deref()),
        });
        Self {
            level: view.level,
            required: view.required,
            guarantees: guarantees.collect(),
            next: view.next.as_ref().map(|next| (next.level, SafeText::line(&next.missing.join(", ")))),
        }
    }
}
