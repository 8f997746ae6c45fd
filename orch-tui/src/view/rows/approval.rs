//! Questions to a person.

use orch_proto::id::ApprovalId;
use orch_proto::reference::EntityKind;
use orch_proto::view::{ApprovalView, Choice};
use orch_proto::{Ref, Timestamp};

use super::{joined, local_name, safe_all};
use crate::text::SafeText;
use crate::view::filter::Filtered;

/// An approval that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApprovalRow {
    pub(crate) id: ApprovalId,
    /// `A-3`.
    pub(crate) name: SafeText,
    pub(crate) full_name: SafeText,
    pub(crate) kind: EntityKind,
    pub(crate) subject: SafeText,
    /// The subject as the daemon names it, for requests only.
    pub(crate) subject_ref: Ref,
    pub(crate) action: SafeText,
    pub(crate) details: Vec<SafeText>,
    pub(crate) rule: SafeText,
    /// What can be answered; nothing: yes or no.
    pub(crate) choices: Vec<Choice>,
    pub(crate) digest: SafeText,
    /// The digest as the daemon gave it, which goes back with the answer.
    pub(crate) digest_sent: String,
    pub(crate) needed: u32,
    pub(crate) granted: u32,
    pub(crate) granted_by: SafeText,
    pub(crate) requested_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

impl From<ApprovalView> for ApprovalRow {
    fn from(view: ApprovalView) -> Self {
        Self {
            id: view.id,
            name: local_name(&view.name),
            full_name: SafeText::line(&view.name),
            kind: view.subject_kind,
            subject: SafeText::line(&view.subject),
            subject_ref: Ref::from(view.subject),
            action: SafeText::line(&view.action),
            details: safe_all(&view.details),
            rule: SafeText::line(&view.rule),
            choices: view.choices,
            digest: SafeText::line(&view.digest),
            digest_sent: view.digest,
            needed: view.needed,
            granted: u32::try_from(view.granted_by.len()).unwrap_or(u32::MAX),
            granted_by: joined(&view.granted_by),
            requested_at: view.requested_at,
            expires_at: view.expires_at,
        }
    }
}

impl Filtered for ApprovalRow {
    fn haystack(&self) -> String {
        let details: Vec<_> = self.details.iter().map(SafeText::as_str).collect();
        [self.full_name.as_str(), self.subject.as_str(), self.action.as_str(), self.rule.as_str(), &details.join(" ")]
            .join(" ")
    }

    fn field(&self, name: &str) -> Option<String> {
        Some(match name {
            "kind" => self.kind.label().to_owned(),
            "subject" => self.subject.to_string(),
            "rule" => self.rule.to_string(),
            _ => return None,
        })
    }
}
