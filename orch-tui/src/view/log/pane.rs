//! How a log is looked at: following its end or standing on a line, wrapped or not, with matches of a search.
//!
//! Knows the buffer by line numbers only, so that what the ring drops never moves what is shown.

use orch_proto::Timestamp;
use orch_proto::view::LogStream;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthChar as _;

use super::{LogBuffer, LogLine};
use crate::text::{self, SafeText, Span};
use crate::view::action::Action;
use crate::view::canvas::{Canvas, Line, text};
use crate::view::theme::{Role, Theme};
use crate::view::when;

/// The time column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TimeColumn {
    #[default]
    OfDay,
    SinceStart,
    Off,
}

/// How logs are shown, for all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogView {
    pub(crate) wrap: bool,
    pub(crate) time: TimeColumn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Search {
    pattern: String,
    at: Option<u64>,
    matches: usize,
}

/// Where one log stands on the screen.
#[derive(Clone, Debug)]
pub(crate) struct LogPane {
    follow: bool,
    /// Number of the first line shown.
    top: u64,
    left: usize,
    /// Rows that were visible, for pages.
    height: u16,
    search: Option<Search>,
}

impl Default for LogPane {
    fn default() -> Self {
        Self { follow: true, top: 0, left: 0, height: 0, search: None }
    }
}

impl LogPane {
    /// Fits the position to what there is and to the room there is.
    pub(crate) fn settle(&mut self, buffer: &LogBuffer, view: LogView, area: Rect) {
        self.height = area.height;
        let last_top = last_top(buffer, view, area);
        self.top = if self.follow { last_top } else { self.top.clamp(buffer.first(), last_top) };
    }

    /// Moves by one of the list or log actions.
    pub(crate) fn act(&mut self, buffer: &LogBuffer, action: Action) {
        let page = u64::from(self.height.saturating_sub(1).max(1));
        match action {
            Action::Up => self.stand(self.top.saturating_sub(1)),
            Action::PageUp => self.stand(self.top.saturating_sub(page)),
            Action::Top => self.stand(buffer.first()),
            Action::Down if !self.follow => self.top += 1,
            Action::PageDown if !self.follow => self.top += page,
            Action::Bottom => self.follow = true,
            Action::Follow => self.follow = !self.follow,
            Action::Left => self.left = self.left.saturating_sub(crate::view::LEFT_STEP),
            Action::Right => self.left = (self.left + crate::view::LEFT_STEP).min(crate::view::LEFT_MAX),
            Action::NextStep | Action::PreviousStep => self.jump_step(buffer, action),
            Action::NextMatch | Action::PreviousMatch => self.next_match(buffer, action),
            _ => {}
        }
    }

    /// Searches for a pattern from the first visible line on. An empty one ends the search.
    pub(crate) fn search(&mut self, buffer: &LogBuffer, pattern: &str) {
        if pattern.is_empty() {
            self.search = None;
            return;
        }
        let numbers = matches(buffer, pattern);
        let at = numbers.iter().copied().find(|&number| number >= self.top).or_else(|| numbers.first().copied());
        self.search = Some(Search { pattern: pattern.to_owned(), at, matches: numbers.len() });
        self.show_match();
    }

    pub(crate) const fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    pub(crate) fn clear_search(&mut self) {
        self.search = None;
    }

    /// What the title says: following or how far behind, the search, the number of lines.
    pub(crate) fn state_line(&self, buffer: &LogBuffer) -> Line {
        let mut line = Line::new();
        if let Some(search) = &self.search {
            let count = text(format_args!("`{}` {} lines  ", search.pattern, search.matches));
            line = line.safe(count, if search.matches == 0 { Role::Warn } else { Role::Strong });
        }
        line = if buffer.is_ended() {
            line.lit("ended", Role::Dim)
        } else if self.follow {
            line.lit("follow", Role::Good)
        } else {
            let behind = buffer.end().saturating_sub(self.top + u64::from(self.height));
            line.safe(text(format_args!("paused +{behind}")), Role::Warn)
        };
        line.safe(text(format_args!("  {} lines", buffer.end())), Role::Dim)
    }

    /// Draws the visible lines.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, (buffer, view): (&LogBuffer, LogView)) {
        let start = buffer.line(buffer.first()).map(|line| line.at);
        let mut row = 0;
        let mut number = self.top;
        while row < area.height
            && let Some(line) = buffer.line(number)
        {
            let inner = draw_gutter(canvas, area, row, (line, view, start));
            let found = self.search.as_ref().filter(|search| search.at == Some(number));
            let pattern = self.search.as_ref().map(|search| search.pattern.as_str());
            let rows = if view.wrap { wrapped(line, usize::from(inner.width)) } else { vec![styled(line)] };
            for pieces in rows {
                if row < area.height {
                    let left = if view.wrap { 0 } else { self.left };
                    let y = area.y + row;
                    draw_pieces(canvas, Rect { y, height: 1, ..inner }, (&pieces, left), pattern);
                    if found.is_some() {
                        let style = canvas.theme.style(Role::Remembered);
                        let area = Rect { y, height: 1, ..inner }.intersection(*canvas.buffer.area());
                        canvas.buffer.set_style(area, style);
                    }
                }
                row += 1;
            }
            number += 1;
        }
    }

    fn stand(&mut self, top: u64) {
        self.follow = false;
        self.top = top;
    }

    fn jump_step(&mut self, buffer: &LogBuffer, action: Action) {
        let step = |number: u64| buffer.line(number).and_then(|line| line.step);
        let begins =
            |number: u64| step(number).is_some() && (number == buffer.first() || step(number - 1) != step(number));
        let target = if action == Action::NextStep {
            (self.top + 1..buffer.end()).find(|&number| begins(number))
        } else {
            (buffer.first()..self.top).rev().find(|&number| begins(number))
        };
        if let Some(number) = target {
            self.stand(number);
        }
    }

    fn next_match(&mut self, buffer: &LogBuffer, action: Action) {
        let Some(search) = &mut self.search else { return };
        let numbers = matches(buffer, &search.pattern);
        search.matches = numbers.len();
        let here = search.at.unwrap_or(self.top);
        search.at = if action == Action::NextMatch {
            numbers.iter().copied().find(|&number| number > here).or_else(|| numbers.first().copied())
        } else {
            numbers.iter().rev().copied().find(|&number| number < here).or_else(|| numbers.last().copied())
        };
        self.show_match();
    }

    fn show_match(&mut self) {
        let Some(at) = self.search.as_ref().and_then(|search| search.at) else { return };
        let is_visible = (self.top..self.top + u64::from(self.height)).contains(&at);
        self.stand(if is_visible { self.top } else { at.saturating_sub(u64::from(self.height / 3)) });
    }
}

/// Numbers of the lines that contain the pattern; without regard to case if it has no capital.
fn matches(buffer: &LogBuffer, pattern: &str) -> Vec<u64> {
    let any_case = !pattern.chars().any(char::is_uppercase);
    (buffer.first()..buffer.end())
        .filter(|&number| {
            buffer.line(number).is_some_and(|line| {
                let plain = line.plain();
                if any_case { plain.to_lowercase().contains(pattern) } else { plain.contains(pattern) }
            })
        })
        .collect()
}

/// The highest first line with which the view is still full.
fn last_top(buffer: &LogBuffer, view: LogView, area: Rect) -> u64 {
    let height = u64::from(area.height.max(1));
    if !view.wrap {
        return buffer.end().saturating_sub(height).max(buffer.first());
    }
    let columns = usize::from(area.width).saturating_sub(gutter_width(view));
    let (mut rows, mut top) = (0, buffer.end());
    while top > buffer.first() {
        let Some(line) = buffer.line(top - 1) else { break };
        rows += wrapped(line, columns).len() as u64;
        if rows > height && top < buffer.end() {
            break;
        }
        top -= 1;
    }
    top
}

fn gutter_width(view: LogView) -> usize {
    let time = match view.time {
        TimeColumn::OfDay => 9,
        TimeColumn::SinceStart => 10,
        TimeColumn::Off => 0,
    };
    time + 4
}

/// Draws time, step and stream; gives the room that is left for the text.
fn draw_gutter(
    canvas: &mut Canvas<'_>,
    area: Rect,
    row: u16,
    (line, view, start): (&LogLine, LogView, Option<Timestamp>),
) -> Rect {
    let time = match (view.time, start) {
        (TimeColumn::OfDay, _) => when::time_of_day(line.at),
        (TimeColumn::SinceStart, Some(start)) => when::offset(start, line.at),
        (TimeColumn::SinceStart, None) | (TimeColumn::Off, _) => SafeText::default(),
    };
    let width = gutter_width(view);
    let step = line.step.map_or_else(SafeText::default, |step| text(format_args!("{}", step.saturating_add(1))));
    let (mark, role) = match line.stream {
        LogStream::Stdout => (" ", Role::Dim),
        LogStream::Stderr => ("!", Role::Warn),
        LogStream::Control => ("*", Role::Busy),
    };
    let gutter =
        Line::from_safe(time, Role::Dim).pad(width - 4).line(Line::from_safe(step, Role::Dim).pad(2)).lit(mark, role);
    canvas.put(area, row, &gutter);
    let width = u16::try_from(width).unwrap_or(u16::MAX).min(area.width);
    Rect { x: area.x + width, width: area.width - width, ..area }
}

type Pieces = Vec<(SafeText, text::Style)>;

fn styled(line: &LogLine) -> Pieces {
    line.spans.iter().map(|Span { style, text }| (text.clone(), *style)).collect()
}

/// The line in rows of at most `columns`, broken before a character that does not fit.
fn wrapped(line: &LogLine, columns: usize) -> Vec<Pieces> {
    let columns = columns.max(2);
    let (mut rows, mut row, mut used) = (Vec::new(), Vec::new(), 0);
    for span in &line.spans {
        let mut piece = String::new();
        for char in span.text.as_str().chars() {
            let width = char.width().unwrap_or(0);
            if used + width > columns {
                row.push((SafeText::line(&piece), span.style));
                rows.push(std::mem::take(&mut row));
                piece.clear();
                used = 0;
            }
            piece.push(char);
            used += width;
        }
        row.push((SafeText::line(&piece), span.style));
    }
    rows.push(row);
    rows
}

fn draw_pieces(canvas: &mut Canvas<'_>, area: Rect, (pieces, left): (&Pieces, usize), pattern: Option<&str>) {
    let (mut x, mut skipped) = (area.x, left);
    for (text, style) in pieces {
        let shown = text.skip_columns(skipped);
        skipped = skipped.saturating_sub(text.width());
        let style = terminal_style(canvas.theme, *style);
        let from = x;
        x = canvas.put_text(area, (x, area.y), &shown, style);
        if let Some(pattern) = pattern {
            mark_matches(canvas, Rect { x: from, width: x.saturating_sub(from), ..area }, &shown, pattern);
        }
    }
}

fn mark_matches(canvas: &mut Canvas<'_>, area: Rect, shown: &SafeText, pattern: &str) {
    let any_case = !pattern.chars().any(char::is_uppercase);
    let haystack = if any_case { shown.as_str().to_lowercase() } else { shown.as_str().to_owned() };
    // Lower case can have another length; then the columns would not fit and the underlined line has to do.
    if haystack.len() != shown.as_str().len() {
        return;
    }
    for (at, _) in haystack.match_indices(pattern) {
        let column = SafeText::line(&haystack[..at]).width();
        let width = SafeText::line(pattern).width();
        let (column, width) = (u16::try_from(column).unwrap_or(u16::MAX), u16::try_from(width).unwrap_or(u16::MAX));
        let hit = Rect { x: area.x.saturating_add(column), width, ..area }.intersection(area);
        let style = canvas.theme.style(Role::Match);
        canvas.buffer.set_style(hit.intersection(*canvas.buffer.area()), style);
    }
}

/// The look that a program asked for, as far as the theme allows colours.
fn terminal_style(theme: Theme, style: text::Style) -> Style {
    let mut shown = Style::new();
    if theme == Theme::Ansi16 {
        shown.fg = style.foreground.map(terminal_color);
        shown.bg = style.background.map(terminal_color);
    }
    for (is_set, modifier) in [
        (style.bold, Modifier::BOLD),
        (style.dim, Modifier::DIM),
        (style.italic, Modifier::ITALIC),
        (style.underline, Modifier::UNDERLINED),
        (style.reverse, Modifier::REVERSED),
        (style.strike, Modifier::CROSSED_OUT),
    ] {
        if is_set {
            shown = shown.add_modifier(modifier);
        }
    }
    shown
}

/// True colours are reduced to the nearest of the 6x6x6 cube, which every terminal with 256 colours has.
fn terminal_color(color: text::Color) -> Color {
    let level = |part: u8| u8::try_from((u16::from(part) * 5 + 127) / 255).unwrap_or(5);
    match color {
        text::Color::Indexed(index) => Color::Indexed(index),
        text::Color::Rgb(red, green, blue) => Color::Indexed(16 + 36 * level(red) + 6 * level(green) + level(blue)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::tests::{chunk, page};
    use super::*;

    const AREA: Rect = Rect { x: 0, y: 0, width: 40, height: 5 };

    fn filled(lines: usize) -> LogBuffer {
        let mut buffer = LogBuffer::default();
        buffer.push(0, &page((0..lines).map(|number| chunk(&format!("line {number}"), true)).collect(), 1));
        buffer
    }

    #[test]
    fn following_stays_at_the_end_and_scrolling_up_stops_it() {
        let (mut pane, view) = (LogPane::default(), LogView::default());
        let mut buffer = filled(20);
        pane.settle(&buffer, view, AREA);
        assert_eq!(pane.top, 15);
        pane.act(&buffer, Action::Up);
        pane.settle(&buffer, view, AREA);
        buffer.push(1, &page(vec![chunk("new", true)], 2));
        pane.settle(&buffer, view, AREA);
        assert_eq!((pane.follow, pane.top), (false, 14));
        pane.act(&buffer, Action::Bottom);
        pane.settle(&buffer, view, AREA);
        assert_eq!((pane.follow, pane.top), (true, 16));
    }

    #[test]
    fn a_search_goes_round_and_counts() {
        let (mut pane, buffer) = (LogPane::default(), filled(30));
        pane.settle(&buffer, LogView::default(), AREA);
        pane.search(&buffer, "LINE");
        assert_eq!(pane.search.as_ref().unwrap().matches, 0);
        pane.search(&buffer, "line 1");
        let search = |pane: &LogPane| pane.search.clone().unwrap();
        assert_eq!((search(&pane).matches, search(&pane).at), (11, Some(1)));
        pane.act(&buffer, Action::PreviousMatch);
        assert_eq!(search(&pane).at, Some(19));
        pane.act(&buffer, Action::NextMatch);
        assert_eq!(search(&pane).at, Some(1));
    }

    #[test]
    fn wrapping_keeps_every_character() {
        let text = format!("{}\u{4e2d}{}", "a".repeat(7), "b".repeat(20));
        let mut buffer = LogBuffer::default();
        buffer.push(0, &page(vec![chunk(&text, true)], 1));
        let rows = wrapped(buffer.line(0).unwrap(), 8);
        let joined: String = rows.iter().flatten().map(|(text, _)| text.as_str()).collect();
        assert_eq!(joined, text);
        assert!(rows.iter().all(|row| row.iter().map(|(text, _)| text.width()).sum::<usize>() <= 8));
    }
}
