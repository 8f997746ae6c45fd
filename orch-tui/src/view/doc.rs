//! A small text with headings, labelled fields and items, broken to the width at hand.

use super::canvas::Line;
use super::theme::Role;
use crate::text::SafeText;

const LABEL_COLUMNS: usize = 12;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Head(Line),
    Field(&'static str, SafeText, Role),
    Item(&'static str, SafeText, Role),
    Gap,
}

/// A text to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doc {
    parts: Vec<Part>,
}

impl Doc {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line that is cut, not broken.
    pub(crate) fn head(mut self, line: Line) -> Self {
        self.parts.push(Part::Head(line));
        self
    }

    /// A text with a label in front. Left out when there is no text.
    pub(crate) fn field(self, label: &'static str, text: SafeText) -> Self {
        self.field_as(label, text, Role::Text)
    }

    /// A field with a look of its own.
    pub(crate) fn field_as(mut self, label: &'static str, text: SafeText, role: Role) -> Self {
        if !text.is_empty() {
            self.parts.push(Part::Field(label, text, role));
        }
        self
    }

    /// A text behind a mark, as in a list.
    pub(crate) fn item(mut self, mark: &'static str, text: SafeText, role: Role) -> Self {
        self.parts.push(Part::Item(mark, text, role));
        self
    }

    /// A heading with items, if there are any.
    pub(crate) fn list(mut self, heading: &'static str, items: &[SafeText]) -> Self {
        if items.is_empty() {
            return self;
        }
        self = self.gap().head(Line::of(heading, Role::Heading));
        for item in items {
            self = self.item("-", item.clone(), Role::Text);
        }
        self
    }

    pub(crate) fn gap(mut self) -> Self {
        self.parts.push(Part::Gap);
        self
    }

    /// The lines for a width.
    pub(crate) fn rows(&self, columns: usize) -> Vec<Line> {
        let mut rows = Vec::new();
        for part in &self.parts {
            match part {
                Part::Head(line) => rows.push(line.clone()),
                Part::Gap => rows.push(Line::new()),
                Part::Field(label, text, role) => hang(&mut rows, (label, LABEL_COLUMNS), (text, *role), columns),
                Part::Item(mark, text, role) => hang(&mut rows, (mark, mark.len() + 1), (text, *role), columns),
            }
        }
        rows
    }
}

/// Puts a text behind a label, its further lines below its first.
fn hang(rows: &mut Vec<Line>, (label, indent): (&'static str, usize), (text, role): (&SafeText, Role), columns: usize) {
    let room = columns.saturating_sub(indent).max(8);
    for (index, piece) in text.wrap(room).into_iter().enumerate() {
        let front = if index == 0 { Line::of(label, Role::Dim) } else { Line::new() };
        rows.push(front.pad(indent).safe(piece, role));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_hang_behind_their_label() {
        let doc = Doc::new()
            .field("why", SafeText::line("a policy that asks for a person"))
            .field("cmd", SafeText::default());
        let shown: Vec<String> = doc
            .rows(28)
            .iter()
            .map(|line| line.parts().iter().map(|(text, _)| text.as_str()).collect::<String>().trim_end().to_owned())
            .collect();
        assert_eq!(shown, ["why         a policy that", "            asks for a", "            person"]);
    }
}
