//! The program `orch-sandbox` as the tests and benchmarks of this package start it. Decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_sandbox::main_impl()
}
