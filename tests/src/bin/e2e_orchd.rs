//! The program `orchd` as the stories start it. Parses nothing and decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    orchd::main_impl()
}
