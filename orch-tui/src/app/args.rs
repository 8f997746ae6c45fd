//! The command line and the environment of `orch-tui`.

use std::path::PathBuf;

use clap::Parser;

use crate::view::{Options, Theme};

/// Board, live logs, approvals and plan of a Codex Orchestrator daemon, in the terminal.
#[derive(Debug, Parser)]
#[command(name = "orch-tui", version, max_term_width = 100)]
pub(super) struct Args {
    /// Socket of the daemon [default: $ORCH_SOCKET, then the usual places]
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,

    /// Project to show; `p` switches
    #[arg(long, short, value_name = "NAME", env = "ORCH_PROJECT")]
    pub(super) project: Option<String>,
}

impl Args {
    /// What the view needs to know of command line and environment, and nothing else.
    pub(super) fn options(&self, env: impl Fn(&str) -> Option<String>) -> Options {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let is_plain = set("NO_COLOR").is_some() || set("TERM").is_none();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
        Options {
            theme: if is_plain { Theme::Mono } else { Theme::Ansi16 },
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
            project: self.project.clone().filter(|project| !project.is_empty()),
            ..Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn options(vars: &[(&str, &str)]) -> (Theme, bool) {
        let args = Args::parse_from(["orch-tui"]);
        let options =
            args.options(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()));
        (options.theme, options.unicode)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn colours_and_box_characters_need_a_terminal_that_has_them() {
        assert_eq!(options(&[("TERM", "xterm"), ("LANG", "de_DE.UTF-8")]), (Theme::Ansi16, true));
        assert_eq!(options(&[("TERM", "xterm"), ("LANG", "en_US.utf8"), ("LC_ALL", "C")]), (Theme::Ansi16, false));
        assert_eq!(options(&[("TERM", "xterm"), ("NO_COLOR", "1")]), (Theme::Mono, false));
        assert_eq!(options(&[("TERM", "xterm"), ("NO_COLOR", "")]), (Theme::Ansi16, false));
        assert_eq!(options(&[("TERM", "")]), (Theme::Mono, false));
        assert_eq!(options(&[]), (Theme::Mono, false));
    }
}
