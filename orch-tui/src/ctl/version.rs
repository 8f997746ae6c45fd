//! Versions of a document: which one an answer of the daemon is about.

use orch_proto::reference::RefForm;
use orch_proto::request::Accepted;
use orch_proto::{EntityKind, ErrorCode, Ref};

use super::failure::Failure;

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
