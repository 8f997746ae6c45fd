//! The spellings of a value that are looked for, as patterns for each view.

use super::views::{BASE64, Views};

/// Shortest line of a value with several lines that is looked for by itself.
const LINE_BYTES_MIN: usize = 12;
/// Formats that write some bytes as others.
const QUOTINGS: [&[(u8, &[u8])]; 7] = [
    // A shell, and Python's for it.
    &[(b'\'', b"'\\''")],
    &[(b'\'', b"'\"'\"'")],
    // YAML and SQL, and CSV.
    &[(b'\'', b"''")],
    &[(b'"', b"\"\"")],
    // HTML and XML as most write them, as Go does and as Python does.
    &[(b'&', b"&amp;"), (b'<', b"&lt;"), (b'>', b"&gt;"), (b'"', b"&quot;"), (b'\'', b"&#39;")],
    &[(b'&', b"&amp;"), (b'<', b"&lt;"), (b'>', b"&gt;"), (b'"', b"&#34;"), (b'\'', b"&#39;")],
    &[(b'&', b"&amp;"), (b'<', b"&lt;"), (b'>', b"&gt;"), (b'"', b"&quot;"), (b'\'', b"&#x27;")],
];
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Adds every value as it is.
pub(super) fn add_values(values: &[&[u8]], views: &mut Views) {
    for (owner, value) in (0..).zip(values) {
        views.text.add(value.trim_ascii(), owner);
    }
}

/// Adds every spelling of every value to the automaton of its view.
pub(super) fn add_all(values: &[&[u8]], views: &mut Views) {
    for (owner, value) in (0..).zip(values) {
        let value = value.trim_ascii();
        for literal in literals(value) {
            views.text.add(&literal, owner);
        }
        let json = json_escaped(value);
        let forms = [Some(value), (json != value).then_some(json.as_slice())];
        for form in forms.into_iter().flatten() {
            views.text.add(form, owner);
            for before in 0..3 {
                views.base64.add(&base64_core(form, before), owner);
            }
            views.base64.add(&base64_padded(form), owner);
            views.hex.add(&hex(form), owner);
        }
    }
}

/// The value as it is, its longer lines, and what formats without backslashes make of it.
fn literals(value: &[u8]) -> Vec<Vec<u8>> {
    let mut literals = vec![value.to_vec()];
    literals.extend(QUOTINGS.iter().map(|quoting| quoted(value, quoting)).filter(|quoted| quoted != value));
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let secret = |line: &&[u8]| line.len() >= LINE_BYTES_MIN && line.len() < value.len() && !is_armour(line);
    literals.extend(lines.filter(secret).map(<[u8]>::to_vec));
    literals
}

/// The first and last lines of keys are the same in all of them.
fn is_armour(line: &[u8]) -> bool {
    line.starts_with(b"-----BEGIN ") || line.starts_with(b"-----END ")
}

fn quoted(value: &[u8], quoting: &[(u8, &[u8])]) -> Vec<u8> {
    let by = |byte: &u8| quoting.iter().find(|(from, _)| from == byte).map(|(_, to)| *to);
    value.iter().flat_map(|byte| by(byte).unwrap_or(std::slice::from_ref(byte))).copied().collect()
}

/// The value in a string of JSON, with no more escapes than JSON demands.
fn json_escaped(value: &[u8]) -> Vec<u8> {
    let escaped = |byte: &u8| match byte {
        b'"' => b"\\\"".to_vec(),
        b'\\' => b"\\\\".to_vec(),
        b'\n' => b"\\n".to_vec(),
        b'\r' => b"\\r".to_vec(),
        b'\t' => b"\\t".to_vec(),
        0x08 => b"\\b".to_vec(),
        0x0c => b"\\f".to_vec(),
        control @ 0..0x20 => format!("\\u{control:04x}").into_bytes(),
        other => vec![*other],
    };
    value.iter().flat_map(escaped).collect()
}

fn hex(value: &[u8]) -> Vec<u8> {
    value.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]).collect()
}

/// The characters that the value alone decides when `before` bytes, at most 2, come before it in its group of three.
fn base64_core(value: &[u8], before: usize) -> Vec<u8> {
    let padded = [&[0; 2][..before], value, &[0]].concat();
    let (first, last) = ((8 * before).div_ceil(6), 8 * (before + value.len()) / 6);
    (first..last).map(|index| base64_at(&padded, index)).collect()
}

/// All characters of the value by itself, and the padding.
fn base64_padded(value: &[u8]) -> Vec<u8> {
    let zeros = [value, &[0]].concat();
    let mut text: Vec<u8> = (0..(8 * value.len()).div_ceil(6)).map(|index| base64_at(&zeros, index)).collect();
    text.resize(text.len().next_multiple_of(4), b'=');
    text
}

/// Character `index` of the base64 form of `bytes`, which go on behind it.
fn base64_at(bytes: &[u8], index: usize) -> u8 {
    let (byte, bit) = (6 * index / 8, 6 * index % 8);
    let pair = u16::from_be_bytes([bytes[byte], bytes.get(byte + 1).copied().unwrap_or(0)]);
    BASE64[usize::from(pair >> (10 - bit) & 63)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_all_alignments() {
        assert_eq!(base64_padded(b"hunter22"), b"aHVudGVyMjI=");
        assert_eq!(base64_core(b"hunter22", 0), b"aHVudGVyMj");
        // `xhunter22y` is eGh1bnRlcjIyeQ==, `xxhunter22y` is eHhodW50ZXIyMnk=.
        assert_eq!(base64_core(b"hunter22", 1), b"h1bnRlcjIy");
        assert_eq!(base64_core(b"hunter22", 2), b"odW50ZXIyM");
    }

    #[test]
    fn lines_of_keys_are_looked_for() {
        let key = b"-----BEGIN KEY-----\nAAAABBBBCCCC\r\nDDDD\n  EEEEFFFFGGGG\n-----END KEY-----";
        let lines = literals(key);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1..], [b"AAAABBBBCCCC".to_vec(), b"EEEEFFFFGGGG".to_vec()]);
        assert!(literals(b"it's me").contains(&b"it&#x27;s me".to_vec()));
        assert_eq!(literals(b"plain").len(), 1);
    }

    #[test]
    fn json_escapes_what_it_must() {
        assert_eq!(json_escaped(b"a\"b\\c\nd\x01e/f"), br#"a\"b\\c\nd\u0001e/f"#);
    }
}
