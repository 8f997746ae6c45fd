//! The only way onto the screen: lines of [`SafeText`] with roles, clipped to where they belong.
//!
//! Knows no model. Coordinates outside of the buffer draw nothing, so no size can make a drawing fail.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::theme::{Role, Theme};
use crate::text::SafeText;

/// Text of our own making (numbers, times, fixed words), made safe like any other.
pub(crate) fn text(arguments: std::fmt::Arguments<'_>) -> SafeText {
    SafeText::line(&arguments.to_string())
}

/// A line of pieces with roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    parts: Vec<(SafeText, Role)>,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line of one fixed text.
    pub(crate) fn of(literal: &'static str, role: Role) -> Self {
        Self::new().lit(literal, role)
    }

    /// A line of one text.
    pub(crate) fn from_safe(text: SafeText, role: Role) -> Self {
        Self::new().safe(text, role)
    }

    /// Adds a fixed text.
    pub(crate) fn lit(self, literal: &'static str, role: Role) -> Self {
        self.safe(SafeText::literal(literal), role)
    }

    /// Adds a text.
    pub(crate) fn safe(mut self, text: SafeText, role: Role) -> Self {
        if !text.is_empty() {
            self.parts.push((text, role));
        }
        self
    }

    /// Adds a number.
    pub(crate) fn num(self, number: impl Into<u64>, role: Role) -> Self {
        self.safe(text(format_args!("{}", number.into())), role)
    }

    /// Adds another line.
    pub(crate) fn line(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self
    }

    /// Fills up with spaces to `columns`; cuts what is longer.
    pub(crate) fn pad(self, columns: usize) -> Self {
        let cut = self.clip(columns);
        let missing = columns.saturating_sub(cut.width());
        cut.safe(SafeText::line(&" ".repeat(missing)), Role::Text)
    }

    /// Cuts to `columns`, marking the cut.
    pub(crate) fn clip(self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns;
        let mut parts = Vec::new();
        for (text, role) in self.parts {
            let clipped = text.clip(left);
            let was_cut = clipped.width() < text.width();
            left = left.saturating_sub(clipped.width());
            parts.push((clipped, role));
            if was_cut || left == 0 {
                break;
            }
        }
        Self { parts }
    }

    /// Gives every piece the same role.
    pub(crate) fn all(mut self, role: Role) -> Self {
        for part in &mut self.parts {
            part.1 = role;
        }
        self
    }

    /// Columns that the line takes.
    pub(crate) fn width(&self) -> usize {
        self.parts.iter().map(|(text, _)| text.width()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn parts(&self) -> &[(SafeText, Role)] {
        &self.parts
    }
}

/// Where drawing happens: a buffer, the looks, and whether lines may be drawn with box characters.
#[derive(Debug)]
pub(crate) struct Canvas<'a> {
    pub(crate) buffer: &'a mut Buffer,
    pub(crate) theme: Theme,
    pub(crate) unicode: bool,
    /// Where the text cursor stands, if a text is being edited.
    pub(crate) cursor: Option<Position>,
}

impl Canvas<'_> {
    /// Draws a line at a row of an area, cut to the area's width.
    pub(crate) fn put(&mut self, area: Rect, row: u16, line: &Line) {
        if row >= area.height {
            return;
        }
        let clipped = line.clone().clip(usize::from(area.width));
        let mut x = area.x;
        for (text, role) in clipped.parts() {
            x = self.put_text(area, (x, area.y + row), text, self.theme.style(*role));
        }
    }

    /// Draws a line whose whole row has the look of `role`.
    pub(crate) fn put_bar(&mut self, area: Rect, row: u16, line: &Line, role: Role) {
        if row >= area.height {
            return;
        }
        self.put(area, row, line);
        let style = self.theme.style(role);
        let bar = Rect { y: area.y + row, height: 1, ..area }.intersection(*self.buffer.area());
        self.buffer.set_style(bar, style);
    }

    /// Draws text at a position with a look, not past the area's right edge. Gives the column after it.
    pub(crate) fn put_text(&mut self, area: Rect, (x, y): (u16, u16), text: &SafeText, style: Style) -> u16 {
        if !self.buffer.area().contains(Position { x, y }) || x >= area.right() {
            return x;
        }
        let columns = usize::from(area.right().saturating_sub(x));
        self.buffer.set_stringn(x, y, text.as_str(), columns, style).0
    }

    /// Draws a horizontal rule with a title in it.
    pub(crate) fn rule(&mut self, area: Rect, row: u16, title: &Line) {
        if row >= area.height {
            return;
        }
        let dash = if self.unicode { "\u{2500}" } else { "-" };
        let line = SafeText::line(&dash.repeat(usize::from(area.width)));
        let y = area.y + row;
        self.put_text(area, (area.x, y), &line, self.theme.style(Role::Dim));
        if !title.is_empty() && area.width > 6 {
            let inner = Rect { x: area.x + 2, width: area.width - 4, y, height: 1 };
            self.put(inner, 0, &Line::of(" ", Role::Text).line(title.clone()).lit(" ", Role::Text));
        }
    }

    /// Draws a vertical line at the left edge of an area.
    pub(crate) fn divider(&mut self, x: u16, area: Rect) {
        let bar = SafeText::literal(if self.unicode { "\u{2502}" } else { "|" });
        for y in area.top()..area.bottom() {
            self.put_text(Rect { x, width: 1, ..area }, (x, y), &bar, self.theme.style(Role::Dim));
        }
    }

    /// Empties an area and draws a frame around it; gives the inside.
    pub(crate) fn boxed(&mut self, area: Rect, title: &Line) -> Rect {
        let area = area.intersection(*self.buffer.area());
        for position in area.positions() {
            if let Some(cell) = self.buffer.cell_mut(position) {
                cell.reset();
            }
        }
        if area.width < 4 || area.height < 3 {
            return Rect { width: 0, height: 0, ..area };
        }
        let [corner_a, corner_b, corner_c, corner_d] =
            if self.unicode { ["\u{250c}", "\u{2510}", "\u{2514}", "\u{2518}"] } else { ["+"; 4] };
        self.rule(area, 0, title);
        self.rule(area, area.height - 1, &Line::new());
        self.divider(area.x, area);
        self.divider(area.right() - 1, area);
        let style = self.theme.style(Role::Dim);
        let (left, right, top, bottom) = (area.x, area.right() - 1, area.y, area.bottom() - 1);
        for (corner, x, y) in
            [(corner_a, left, top), (corner_b, right, top), (corner_c, left, bottom), (corner_d, right, bottom)]
        {
            self.put_text(area, (x, y), &SafeText::line(corner), style);
        }
        Rect { x: area.x + 2, y: area.y + 1, width: area.width - 4, height: area.height - 2 }
    }
}

/// A box of at most the wanted size in the middle of an area.
pub(crate) fn centered(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

/// Splits off `height` rows at the bottom.
pub(crate) const fn split_bottom(area: Rect, height: u16) -> (Rect, Rect) {
    let height = if height > area.height { area.height } else { height };
    let upper = Rect { height: area.height - height, ..area };
    (upper, Rect { y: area.y + upper.height, height, ..area })
}

/// Splits off `width` columns at the left, with one column between the two for a divider.
pub(crate) const fn split_left(area: Rect, width: u16) -> (Rect, Rect) {
    let width = if width > area.width { area.width } else { width };
    let gap = if area.width > width { 1 } else { 0 };
    (Rect { width, ..area }, Rect { x: area.x + width + gap, width: area.width - width - gap, ..area })
}
