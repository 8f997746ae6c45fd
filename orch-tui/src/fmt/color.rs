//! Colours by meaning. Every state is also a word, so colour is never the only sign.

use crate::text::SafeText;

/// What a colour stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Plain,
    Good,
    Bad,
    Warn,
    Active,
    Dim,
    Strong,
}

/// What the user said about colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    #[default]
    Auto,
    Always,
    Never,
}

/// Writes colours or leaves them out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Without colours.
    pub const OFF: Self = Self { on: false };

    /// Decides: the flag, then `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR=0`, then whether it is a capable terminal.
    #[must_use]
    pub fn decide(choice: Choice, is_terminal: bool, env: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
        let on = match choice {
            Choice::Always => true,
            Choice::Never => false,
            Choice::Auto if set("NO_COLOR") => false,
            Choice::Auto if env("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0") => true,
            Choice::Auto if env("CLICOLOR").as_deref() == Some("0") => false,
            Choice::Auto => is_terminal && env("TERM").as_deref() != Some("dumb"),
        };
        Self { on }
    }

    /// Whether colours are written.
    #[must_use]
    pub const fn is_on(self) -> bool {
        self.on
    }

    /// The text in the colour of its role.
    #[must_use]
    pub fn apply(self, role: Role, text: &SafeText) -> String {
        let code = match role {
            Role::Plain => None,
            Role::Good => Some("32"),
            Role::Bad => Some("31"),
            Role::Warn => Some("33"),
            Role::Active => Some("36"),
            Role::Dim => Some("2"),
            Role::Strong => Some("1"),
        };
        match code {
            Some(code) if self.on && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            Some(_) | None => text.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_of_the_signs() {
        let decide = |choice, terminal, vars: &[(&str, &str)]| {
            let find = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            Paint::decide(choice, terminal, find).is_on()
        };
        assert!(decide(Choice::Auto, true, &[]));
        assert!(!decide(Choice::Auto, false, &[]));
        assert!(!decide(Choice::Auto, true, &[("TERM", "dumb")]));
        assert!(!decide(Choice::Auto, true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]));
        assert!(decide(Choice::Auto, true, &[("NO_COLOR", "")]));
        assert!(decide(Choice::Auto, false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!decide(Choice::Auto, true, &[("CLICOLOR", "0")]));
        assert!(decide(Choice::Always, false, &[("NO_COLOR", "1")]));
        assert!(!decide(Choice::Never, true, &[("CLICOLOR_FORCE", "1")]));
    }
}
