//! Colours of program output: SGR sequences are understood and kept as data, all other sequences stay visible text.
//!
//! Nothing of the original bytes is passed on: a colour that is shown is one that [`paint`] wrote. What would hide text
//! (SGR 8, one colour on itself) and what blinks is left out.

use super::{Newlines, SafeText, Writer};

/// Longest parameter part of an SGR sequence that is understood, in bytes. Longer ones stay visible text.
const PARAMETERS_BYTES_MAX: usize = 64;

/// A colour as a program asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// One of the terminal's 256: 0 to 7 normal, 8 to 15 bright.
    Indexed(u8),
    /// Red, green, blue.
    Rgb(u8, u8, u8),
}

/// How a piece of text looks. The default is the terminal's own look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    pub foreground: Option<Color>,
    pub background: Option<Color>,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underline: bool,
    pub reverse: bool,
    pub strike: bool,
}

/// A piece of a line with one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub style: Style,
    pub text: SafeText,
}

/// Reads one line of program output. `style` is the look that the line starts with and, afterwards, that of the next.
#[must_use]
pub fn styled_line(bytes: &[u8], style: &mut Style) -> Vec<Span> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut spans = Vec::new();
    let mut writer = Writer::new(Newlines::Shown);
    let mut rest = bytes;
    while let Some(escape) = rest.iter().position(|&byte| byte == 0x1b) {
        let (before, sequence) = rest.split_at(escape);
        writer.push_bytes(before);
        if let Some((parameters, after)) = split_sgr(sequence) {
            let mut next = *style;
            apply(parameters, &mut next);
            if next != *style {
                writer = end_span(writer, *style, &mut spans);
                *style = next;
            }
            rest = after;
        } else {
            writer.push('\x1b');
            rest = &sequence[1..];
        }
    }
    writer.push_bytes(rest);
    end_span(writer, *style, &mut spans);
    spans
}

/// The spans with escape sequences of our own for their colours. The last one returns to the terminal's look.
#[must_use]
pub fn paint(spans: &[Span]) -> String {
    let mut out = String::new();
    for span in spans {
        let codes = codes(span.style);
        if codes.is_empty() {
            out.push_str(span.text.as_str());
        } else {
            out.extend(["\x1b[", &codes, "m", span.text.as_str(), "\x1b[0m"]);
        }
    }
    out
}

/// Puts what was written into a span and gives a writer that goes on in the same column.
fn end_span(writer: Writer, style: Style, spans: &mut Vec<Span>) -> Writer {
    let mut next = Writer::new(writer.newlines);
    // A mark at the start of the next span would sit on this one's last character, so it is named there.
    next.column = writer.column;
    let text = writer.finish();
    if !text.is_empty() {
        spans.push(Span { style: visible(style), text });
    }
    next
}

/// Splits `ESC [ parameters m rest`.
fn split_sgr(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let body = bytes.strip_prefix(b"\x1b[")?;
    let end = body.iter().take(PARAMETERS_BYTES_MAX).position(|&byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    (body[end] == b'm').then_some(())?;
    Some((std::str::from_utf8(&body[..end]).ok()?, &body[end + 1..]))
}

fn apply(parameters: &str, style: &mut Style) {
    let mut groups = parameters.split(';');
    while let Some(group) = groups.next() {
        let mut parts = group.split(':');
        let Some(code) = number(parts.next()) else { continue };
        match code {
            0 => *style = Style::default(),
            1 => style.bold = true,
            2 => style.dim = true,
            3 => style.italic = true,
            4 => style.underline = parts.next() != Some("0"),
            7 => style.reverse = true,
            9 => style.strike = true,
            21 | 22 => (style.bold, style.dim) = (false, false),
            23 => style.italic = false,
            24 => style.underline = false,
            27 => style.reverse = false,
            29 => style.strike = false,
            30..=37 => style.foreground = Some(Color::Indexed(code - 30)),
            39 => style.foreground = None,
            40..=47 => style.background = Some(Color::Indexed(code - 40)),
            49 => style.background = None,
            90..=97 => style.foreground = Some(Color::Indexed(code - 82)),
            100..=107 => style.background = Some(Color::Indexed(code - 92)),
            38 | 48 => {
                let color = if group.contains(':') { colon_color(group) } else { extended_color(&mut groups) };
                if let Some(color) = color {
                    let place = if code == 38 { &mut style.foreground } else { &mut style.background };
                    *place = Some(color);
                }
            }
            _ => {}
        }
    }
}

/// `38:5:n`, `38:2:r:g:b` or `38:2:space:r:g:b`.
fn colon_color(group: &str) -> Option<Color> {
    let parts: Vec<&str> = group.split(':').collect();
    match parts.as_slice() {
        [_, "5", index] => Some(Color::Indexed(index.parse().ok()?)),
        [_, "2", red, green, blue] | [_, "2", _, red, green, blue] => {
            Some(Color::Rgb(red.parse().ok()?, green.parse().ok()?, blue.parse().ok()?))
        }
        _ => None,
    }
}

/// `5;n` or `2;r;g;b` behind a `38;`.
fn extended_color<'a>(groups: &mut impl Iterator<Item = &'a str>) -> Option<Color> {
    match number(groups.next())? {
        5 => Some(Color::Indexed(number(groups.next())?)),
        2 => Some(Color::Rgb(number(groups.next())?, number(groups.next())?, number(groups.next())?)),
        _ => None,
    }
}

/// An absent number is 0, as in `ESC [ m`.
fn number(text: Option<&str>) -> Option<u8> {
    let text = text?;
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}

/// The style without what would make the text invisible.
fn visible(style: Style) -> Style {
    let background = style.background.filter(|background| style.foreground != Some(*background));
    Style { background, ..style }
}

fn codes(style: Style) -> String {
    let switches = [
        (style.bold, "1"),
        (style.dim, "2"),
        (style.italic, "3"),
        (style.underline, "4"),
        (style.reverse, "7"),
        (style.strike, "9"),
    ];
    let mut codes: Vec<String> = switches.iter().filter(|(on, _)| *on).map(|(_, code)| (*code).to_owned()).collect();
    for (color, base) in [(style.foreground, 38_u8), (style.background, 48)] {
        match color {
            Some(Color::Indexed(index @ 0..=7)) => codes.push((base - 8 + index).to_string()),
            Some(Color::Indexed(index @ 8..=15)) => codes.push((base + 44 + index).to_string()),
            Some(Color::Indexed(index)) => codes.push(format!("{base};5;{index}")),
            Some(Color::Rgb(red, green, blue)) => codes.push(format!("{base};2;{red};{green};{blue}")),
            None => {}
        }
    }
    codes.join(";")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::tests::assert_harmless;

    fn check(raw: &str, painted: &str) {
        assert_eq!(paint(&styled_line(raw.as_bytes(), &mut Style::default())), painted, "{raw:?}");
    }

    #[test]
    fn colours_stay_and_everything_else_is_shown() {
        check("\x1b[32mok\x1b[0m done", "\x1b[32mok\x1b[0m done");
        check("\x1b[1;38;5;196mred", "\x1b[1;38;5;196mred\x1b[0m");
        check("\x1b[38:2::1:2:3mrgb", "\x1b[38;2;1;2;3mrgb\x1b[0m");
        check("\x1b[91mbright", "\x1b[91mbright\x1b[0m");
        check("\x1b[107mbright", "\x1b[107mbright\x1b[0m");
        check("\x1b[2Jgone?", "^[[2Jgone?");
        check("\x1b]8;;http://x\x1b\\link", "^[]8;;http://x^[\\link");
        check("\x1b[8mhidden", "hidden");
        check("\x1b[31;41mhidden", "\x1b[31mhidden\x1b[0m");
        check("\x1b[", "^[[");
        check("\x1b[999m?", "?");
        check(&format!("\x1b[{}m", "1;".repeat(200)), &format!("^[[{}m", "1;".repeat(200)));
    }

    #[test]
    fn the_look_goes_on_in_the_next_line() {
        let mut style = Style::default();
        assert_eq!(paint(&styled_line(b"\x1b[33mone", &mut style)), "\x1b[33mone\x1b[0m");
        assert_eq!(paint(&styled_line(b"two\x1b[m.", &mut style)), "\x1b[33mtwo\x1b[0m.");
        assert_eq!(style, Style::default());
    }

    proptest! {
        /// What is painted holds escapes of the form `ESC [ digits ; m` only.
        #[test]
        fn painted_lines_have_no_foreign_escape(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec!["\x1b[", "\x1b]", "\x1b", "m", "31", ";", ":", "\u{9b}", "\u{202e}", "\r"])
                        .prop_map(|piece| piece.as_bytes().to_vec()),
                    prop::collection::vec(any::<u8>(), 0..4),
                ],
                0..40,
            )
        ) {
            let painted = paint(&styled_line(&pieces.concat(), &mut Style::default()));
            let mut rest = painted.as_str();
            while let Some(at) = rest.find('\x1b') {
                assert_harmless(&rest[..at], false);
                let (_, after) = split_sgr(&rest.as_bytes()[at..]).expect("an escape is one of ours");
                rest = &rest[rest.len() - after.len()..];
            }
            assert_harmless(rest, false);
        }
    }
}
