//! Developer commands: `cargo xtask demo|bench|ci|tidy`.

fn main() {}
