//! Prints every legal edge of every machine.
