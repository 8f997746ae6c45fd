//! The program `orch-tui` as the stories start it. Parses nothing and decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_tui::app::main_impl()
}
