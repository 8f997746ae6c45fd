//! The `orch-sandbox` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_sandbox::main_impl()
}
