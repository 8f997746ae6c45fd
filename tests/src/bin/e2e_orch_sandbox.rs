//! The program `orch-sandbox` as the stories start it. Parses nothing and decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_sandbox::main_impl()
}
