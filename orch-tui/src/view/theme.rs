//! Looks by role. The default uses the terminal's own sixteen colours and no backgrounds but reverse; `mono` uses none.
//!
//! A colour never carries meaning alone: states have a glyph and a word as well.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of text is, from which its look follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Text,
    Dim,
    Strong,
    Heading,
    /// A key that can be pressed.
    Key,
    Good,
    Busy,
    Warn,
    Bad,
    /// The selected row of the pane that has the focus.
    Selected,
    /// The selected row of a pane that has not.
    Remembered,
    /// A search match.
    Match,
    Bar,
}

/// A set of looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    #[default]
    Ansi16,
    /// No colours: `NO_COLOR` or a dumb terminal.
    Mono,
}

impl Theme {
    /// The look of a role.
    pub(crate) const fn style(self, role: Role) -> Style {
        let style = Style::new();
        match role {
            Role::Text => style,
            Role::Dim => style.add_modifier(Modifier::DIM),
            Role::Strong => style.add_modifier(Modifier::BOLD),
            Role::Selected | Role::Bar => style.add_modifier(Modifier::REVERSED),
            Role::Remembered => style.add_modifier(Modifier::UNDERLINED),
            Role::Heading => self.colored(Color::Cyan).add_modifier(Modifier::BOLD),
            Role::Key => self.colored(Color::Cyan),
            Role::Good => self.colored(Color::Green),
            Role::Busy => self.colored(Color::Blue).add_modifier(Modifier::BOLD),
            Role::Warn => self.colored(Color::Yellow),
            Role::Bad => self.colored(Color::Red).add_modifier(Modifier::BOLD),
            Role::Match => self.colored(Color::Yellow).add_modifier(Modifier::REVERSED),
        }
    }

    const fn colored(self, color: Color) -> Style {
        match self {
            Self::Ansi16 => Style::new().fg(color),
            Self::Mono => Style::new(),
        }
    }
}
