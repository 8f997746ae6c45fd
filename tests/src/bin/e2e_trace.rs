//! The program that watches a daemon of a story. Parses nothing and decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_tests::trace::main_impl()
}
