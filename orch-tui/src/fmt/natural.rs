//! The order in which people expect names with numbers: `REQ-2` before `REQ-10`.

/// What to sort a name by: its texts and the numbers between them.
#[must_use]
pub fn natural(name: &str) -> Vec<(&str, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (text, after) = rest.split_at(rest.find(|char: char| char.is_ascii_digit()).unwrap_or(rest.len()));
        let digits = after.find(|char: char| !char.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        // Only text is left, or a number that no list reaches.
        parts.push((text, number.parse().unwrap_or(u64::MAX)));
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_and_do_not_spell() {
        let mut names = ["REQ-10", "REQ-2.10", "FR-3", "REQ-1", "REQ-2.9", "REQ-2", "NFR-1"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["FR-3", "NFR-1", "REQ-1", "REQ-2", "REQ-2.9", "REQ-2.10", "REQ-10"]);
    }
}
