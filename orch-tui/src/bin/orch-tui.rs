//! The program `orch-tui`. Everything is in the library.

fn main() -> std::process::ExitCode {
    orch_tui::app::main_impl()
}
