//! Unified diffs for a terminal: made harmless line by line, coloured by their first character.

use super::color::{Paint, Role};
use crate::text::SafeText;

/// The diff with colours, each line with a newline.
#[must_use]
pub fn render(text: &str, paint: Paint) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let role = if line.starts_with("diff ") || line.starts_with("+++") || line.starts_with("---") {
            Role::Strong
        } else if line.starts_with("@@") {
            Role::Active
        } else if line.starts_with('+') {
            Role::Good
        } else if line.starts_with('-') {
            Role::Bad
        } else {
            Role::Plain
        };
        out.push_str(&paint.apply(role, &SafeText::line(line)));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_of_a_diff_are_shown() {
        let text = "@@ -1 +1 @@\n-old\n+new\u{202e}\x1b[2J\r\n context\n";
        assert_eq!(render(text, Paint::OFF), "@@ -1 +1 @@\n-old\n+new<U+202E>^[[2J\n context\n");
    }
}
