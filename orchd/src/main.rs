//! The daemon's program. Parses nothing and decides nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    orchd::main_impl()
}
