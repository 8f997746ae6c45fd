//! The program `orchctl`. Everything is in the library.

fn main() -> std::process::ExitCode {
    orch_tui::ctl::main_impl()
}
