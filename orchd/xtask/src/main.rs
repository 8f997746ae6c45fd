//! The program behind `cargo xtask` and `cargo demo`. Everything is in the library.

fn main() -> std::process::ExitCode {
    xtask::main_impl()
}
