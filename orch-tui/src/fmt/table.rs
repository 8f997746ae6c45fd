//! Tables: columns with names that `--columns` picks, aligned, cut to the terminal's width if there is one.

use std::borrow::Cow;

use orch_proto::Timestamp;

use super::color::{Paint, Role};
use crate::text::SafeText;

const GAP: &str = "  ";

/// A flexible column is not made narrower than this.
const FLEXIBLE_COLUMNS_MIN: usize = 12;

/// One field of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub text: SafeText,
    pub role: Role,
}

impl Cell {
    /// A text in the colour of its role. Anything in it is made harmless.
    #[must_use]
    pub fn new(text: impl AsRef<str>, role: Role) -> Self {
        Self { text: SafeText::line(text.as_ref()), role }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Role::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Role::Plain)
    }
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        text.map_or_else(|| Self::new("-", Role::Dim), Self::from)
    }
}

/// Whether a column is shown without being asked for, and whether it may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    Usual,
    /// Usual, and cut first when the terminal is narrow.
    Flexible,
    /// Only when `--columns` names it.
    OnDemand,
}

/// A column of a kind of thing.
#[derive(Debug)]
pub struct Column<T> {
    /// What `--columns` calls it; in capitals it is the header.
    pub name: &'static str,
    pub show: Show,
    pub cell: fn(&T, Timestamp) -> Cell,
}

/// A column was asked for that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no column `{name}`; there are {known}")]
pub struct UnknownColumn {
    pub name: String,
    pub known: String,
}

/// How a table is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// Width of the terminal; none: nothing is cut.
    pub width: Option<usize>,
    pub headers: bool,
    pub paint: Paint,
}

/// The columns that were asked for, or the usual ones.
///
/// # Errors
/// A name that no column has.
pub fn pick<T>(all: &'static [Column<T>], names: &[String]) -> Result<Vec<&'static Column<T>>, UnknownColumn> {
    if names.is_empty() {
        return Ok(all.iter().filter(|column| column.show != Show::OnDemand).collect());
    }
    let find = |name: &String| {
        all.iter().find(|column| column.name.eq_ignore_ascii_case(name.trim())).ok_or_else(|| UnknownColumn {
            name: name.clone(),
            known: all.iter().map(|column| column.name).collect::<Vec<_>>().join(", "),
        })
    };
    names.iter().map(find).collect()
}

/// The table as text, one line per item, each with a newline.
#[must_use]
pub fn render<T>(items: &[T], columns: &[&Column<T>], now: Timestamp, layout: Layout) -> String {
    let rows = items.iter().map(|item| columns.iter().map(|column| (column.cell)(item, now)).collect()).collect();
    let titles: Vec<_> = columns.iter().map(|column| column.name.to_uppercase()).collect();
    let flexible: Vec<_> = columns.iter().map(|column| column.show == Show::Flexible).collect();
    lay_out(&titles, &flexible, rows, layout)
}

/// Like [`render`] for rows that are no things of their own. Columns named in `flexible` are cut first.
#[must_use]
pub fn lay_out(titles: &[impl AsRef<str>], flexible: &[bool], mut rows: Vec<Vec<Cell>>, layout: Layout) -> String {
    if layout.headers {
        rows.insert(0, titles.iter().map(|title| Cell::new(title, Role::Strong)).collect());
    }
    let mut widths = vec![0; titles.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.text.width().max(*width);
        }
    }
    if let Some(available) = layout.width {
        shrink(&mut widths, flexible, available);
    }
    rows.iter().map(|row| line(row, &widths, layout.paint)).collect()
}

/// Makes flexible columns narrower, the widest first, until the line fits or nothing can be given.
fn shrink(widths: &mut [usize], flexible: &[bool], available: usize) {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    loop {
        let total = widths.iter().sum::<usize>() + gaps;
        if total <= available {
            return;
        }
        let widest = (0..widths.len())
            .filter(|&at| flexible.get(at).copied().unwrap_or(false) && widths[at] > FLEXIBLE_COLUMNS_MIN)
            .max_by_key(|&at| widths[at]);
        let Some(widest) = widest else { return };
        let excess = total - available;
        widths[widest] = widths[widest].saturating_sub(excess).max(FLEXIBLE_COLUMNS_MIN);
    }
}

fn line(row: &[Cell], widths: &[usize], paint: Paint) -> String {
    let mut out = String::new();
    for (at, (cell, &width)) in row.iter().zip(widths).enumerate() {
        let text =
            if cell.text.width() > width { Cow::Owned(cell.text.clip(width)) } else { Cow::Borrowed(&cell.text) };
        out.push_str(&paint.apply(cell.role, &text));
        if at + 1 < row.len() {
            out.extend(std::iter::repeat_n(' ', width - text.width()));
            out.push_str(GAP);
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec!["T-1".into(), "a rather long title of a task".into(), "done".into()],
            vec!["T-12".into(), "evil\x1b[2J".into(), Cell::new("failed", Role::Bad)],
        ]
    }

    const TITLES: [&str; 3] = ["NAME", "TITLE", "STATE"];

    #[test]
    fn columns_align_and_nothing_is_cut_without_a_terminal() {
        let layout = Layout { width: None, headers: true, paint: Paint::OFF };
        insta::assert_snapshot!(lay_out(&TITLES, &[false, true, false], rows(), layout), @r"
        NAME  TITLE                          STATE
        T-1   a rather long title of a task  done
        T-12  evil^[[2J                      failed
        ");
    }

    #[test]
    fn flexible_columns_give_way_to_the_terminal() {
        let layout = Layout { width: Some(30), headers: false, paint: Paint::OFF };
        let text = lay_out(&TITLES, &[false, true, false], rows(), layout);
        assert!(text.lines().all(|line| line.len() <= 30), "{text}");
        assert!(text.contains("a rather long..."), "{text}");
    }

    #[test]
    fn an_unknown_column_is_answered_with_those_there_are() {
        static COLUMNS: [Column<u8>; 2] = [
            Column { name: "name", show: Show::Usual, cell: |item, _| item.to_string().into() },
            Column { name: "age", show: Show::OnDemand, cell: |_, _| "".into() },
        ];
        assert_eq!(pick(&COLUMNS, &["AGE".into()]).unwrap()[0].name, "age");
        assert_eq!(pick(&COLUMNS, &[]).unwrap().len(), 1);
        let error = pick(&COLUMNS, &["size".into()]).unwrap_err();
        assert_eq!(error.to_string(), "there is no column `size`; there are name, age");
    }
}
