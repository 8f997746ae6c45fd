//! Fuzzes `orch_sandbox::fuzzing::log`, which says what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| orch_sandbox::fuzzing::log(data));
