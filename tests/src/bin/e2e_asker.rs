//! The program that benchmarks put in an agent's place. Parses nothing and decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_tests::asker::main_impl()
}
