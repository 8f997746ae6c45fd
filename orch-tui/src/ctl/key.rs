//! Idempotency keys: drawn at random, or made from the name that the user gave.

use orch_proto::id::CommandId;

use super::failure::Failure;

/// Longest name of a request, in bytes.
const KEY_BYTES_MAX: usize = 200;

/// The key of a request: a new one, the given id, or one that stands for the given name.
///
/// Two names could in theory fall on one key. The daemon compares requests too, so that would be `E_KEY_REUSED` and
/// never a lost request.
pub(crate) fn command_id(name: Option<&str>) -> Result<CommandId, Failure> {
    let Some(name) = name else { return Ok(CommandId::generate()) };
    if name.is_empty() || name.len() > KEY_BYTES_MAX {
        return Err(Failure::usage(format!("an idempotency key has 1 to {KEY_BYTES_MAX} bytes, not {}", name.len())));
    }
    if let Ok(id) = name.parse().or_else(|_| format!("cmd-{name}").parse()) {
        return Ok(id);
    }
    let hex = format!("{:032x}", fnv1a(name.as_bytes()));
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..]);
    // Version 8 of a UUID is free for uses such as this.
    format!("cmd-{a}-{b}-8{c}-8{d}-{e}")
        .parse()
        .map_err(|_| Failure::usage(format!("`{name}` cannot be an idempotency key")))
}

/// The 128-bit FNV-1a hash.
fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_always_gives_the_same_key_and_ids_stay_themselves() {
        let id = "cmd-0192f0c0-0000-7000-8000-000000000001";
        assert_eq!(command_id(Some(id)).unwrap().to_string(), id);
        assert_eq!(command_id(Some(&id[4..])).unwrap().to_string(), id);
        let named = command_id(Some("release-7")).unwrap();
        assert_eq!(named, command_id(Some("release-7")).unwrap());
        assert_ne!(named, command_id(Some("release-8")).unwrap());
        assert_ne!(command_id(None).unwrap(), command_id(None).unwrap());
        assert!(command_id(Some("")).is_err());
        assert!(command_id(Some(&"k".repeat(201))).is_err());
        // The published test vector of the hash.
        assert_eq!(fnv1a(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }
}
