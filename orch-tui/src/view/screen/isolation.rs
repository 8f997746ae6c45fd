//! The guarantees of a sandbox, as the runs' and the system's screen show them.

use crate::view::canvas::{Line, text};
use crate::view::doc::Doc;
use crate::view::rows::IsolationRow;
use crate::view::theme::Role;
use crate::view::words;

/// The level, what is missing for the next one, and every guarantee with its evidence and what mends it.
pub(super) fn rows(isolation: &IsolationRow, columns: usize) -> Vec<Line> {
    let (level, required) = (isolation.level, isolation.required);
    let role = if level >= required { Role::Good } else { Role::Bad };
    let mut rows = vec![
        Line::of("isolation level ", Role::Text)
            .safe(text(format_args!("{level}")), role)
            .safe(text(format_args!(" of 4, {required} required; probed inside the sandbox")), Role::Dim),
    ];
    if let Some((level, missing)) = &isolation.next {
        let missing = text(format_args!("missing for level {level}: {missing}"));
        rows.extend(Doc::new().item(" ", missing, Role::Warn).rows(columns));
    }
    rows.push(Line::new());
    for guarantee in &isolation.guarantees {
        let line = words::guarantee(guarantee.state).line().pad(11);
        rows.push(
            line.safe(guarantee.name.clone(), Role::Strong)
                .lit("  ", Role::Text)
                .safe(guarantee.how.clone(), Role::Text),
        );
        rows.extend(Doc::new().item("          ", guarantee.evidence.clone(), Role::Dim).rows(columns));
        if let Some(fix) = &guarantee.fix {
            rows.extend(Doc::new().item("      fix:", fix.clone(), Role::Key).rows(columns));
        }
    }
    rows
}
