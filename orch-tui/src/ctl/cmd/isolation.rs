//! The text of an isolation: each guarantee with its evidence, what mends it, and what is missing for more.

use orch_proto::view::{GuaranteeState, IsolationView};

use crate::fmt::color::{Paint, Role};
use crate::text::SafeText;

/// The guarantees, a line each, and a line for what mends one that is not enforced.
pub(crate) fn guarantees(isolation: &IsolationView, paint: Paint) -> String {
    let mut out = String::new();
    for guarantee in &isolation.guarantees {
        let (word, role) = match guarantee.state {
            GuaranteeState::Enforced => ("enforced", Role::Good),
            GuaranteeState::Degraded => ("degraded", Role::Warn),
            GuaranteeState::Absent => ("absent", Role::Bad),
        };
        let word = paint.apply(role, &SafeText::line(&format!("{word:<8}")));
        let text = format!("{} by {}: {}", guarantee.name, guarantee.how, guarantee.evidence);
        out.push_str(&format!("  {word}  {}\n", SafeText::line(&text)));
        if let Some(fix) = &guarantee.fix {
            out.push_str(&format!(
                "            {}: {}\n",
                paint.apply(Role::Active, &SafeText::literal("fix")),
                SafeText::line(fix)
            ));
        }
    }
    out
}

/// What is missing for the next level; empty at the highest.
pub(crate) fn next(isolation: &IsolationView) -> String {
    let Some(next) = &isolation.next else { return String::new() };
    format!("missing for level {}: {}", next.level, next.missing.join(", "))
}
