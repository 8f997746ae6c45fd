//! Files and names that the user hands in. Sizes are checked before anything is read whole.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use orch_proto::ErrorCode;

use super::failure::Failure;
use super::session::Session;

/// Most names that standard input may hold, in bytes.
const NAMES_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of words that are said; the daemon takes less.
const WORDS_BYTES_MAX: usize = 64 << 10;

/// A file's name and bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Input {
    /// Without directories.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Reads a file, or standard input for `-`, of at most `bytes_max` bytes.
pub(crate) fn read(session: &Session, path: &Path, bytes_max: usize) -> Result<Input, Failure> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    if path.as_os_str() == "-" {
        let bytes = session.console.read_stdin(limit.saturating_add(1))?;
        return sized("standard input", bytes, bytes_max).map(|bytes| Input { name: "stdin".into(), bytes });
    }
    let shown = path.display().to_string();
    let cannot = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => {
            Failure::new(ErrorCode::NotFound, format!("there is no file `{shown}`"), "check the path")
        }
        ErrorKind::PermissionDenied => {
            Failure::new(ErrorCode::Permission, format!("`{shown}` may not be read by you"), "check its permissions")
        }
        _ => Failure::usage(format!("`{shown}` cannot be read: {error}")),
    };
    let metadata = fs::metadata(path).map_err(cannot)?;
    if metadata.is_dir() {
        return Err(Failure::new(ErrorCode::Usage, format!("`{shown}` is a directory"), "name a file, or `-`"));
    }
    if metadata.is_file() && metadata.len() > limit {
        return Err(too_large(&shown, metadata.len(), bytes_max));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes)).map_err(cannot)?;
    let name = path.file_name().map_or_else(|| shown.clone(), |name| name.to_string_lossy().into_owned());
    sized(&shown, bytes, bytes_max).map(|bytes| Input { name, bytes })
}

/// Reads a text file as [`read`] does.
pub(crate) fn read_text(session: &Session, path: &Path, bytes_max: usize) -> Result<(String, String), Failure> {
    let Input { name, bytes } = read(session, path, bytes_max)?;
    let text = text(&name, bytes)?;
    Ok((name, text))
}

/// Words that are said: as they are given, or standard input for `-`.
pub(crate) fn words(session: &Session, given: &str) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let Input { name, bytes } = read(session, Path::new(given), WORDS_BYTES_MAX)?;
    text(&name, bytes)
}

/// The bytes as text.
pub(crate) fn text(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        let message = format!("`{name}` is binary: there is a NUL at byte {at}");
        return Err(Failure::new(ErrorCode::NotText, message, "hand in plain text in UTF-8"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("`{name}` is not UTF-8 from byte {at} on");
        Failure::new(ErrorCode::NotText, message, format!("convert it, as with `iconv -t UTF-8 {name}`"))
    })
}

/// The names as given, with `-` replaced by those on standard input: one per line, or JSON lines with `name` or `id`.
pub(crate) fn names(session: &Session, given: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for name in given {
        if name != "-" {
            names.push(name.clone());
            continue;
        }
        let bytes = session.console.read_stdin(NAMES_BYTES_MAX)?;
        for line in text("standard input", bytes)?.lines().map(str::trim).filter(|line| !line.is_empty()) {
            names.push(name_of_line(line)?);
        }
    }
    if names.is_empty() {
        return Err(Failure::usage("no name was given"));
    }
    Ok(names)
}

fn name_of_line(line: &str) -> Result<String, Failure> {
    if !line.starts_with('{') {
        return Ok(line.to_owned());
    }
    let value: serde_json::Value = serde_json::from_str(line)
        .map_err(|error| Failure::usage(format!("a line of standard input is not JSON: {error}")))?;
    ["name", "id"]
        .iter()
        .find_map(|field| value.get(field)?.as_str())
        .map(str::to_owned)
        .ok_or_else(|| Failure::usage("a line of standard input has neither `name` nor `id`"))
}

fn sized(shown: &str, bytes: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    if bytes.len() > bytes_max {
        return Err(too_large(shown, u64::try_from(bytes.len()).unwrap_or(u64::MAX), bytes_max));
    }
    Ok(bytes)
}

fn too_large(shown: &str, bytes: u64, bytes_max: usize) -> Failure {
    let message = format!("`{shown}` has {bytes} bytes or more; {bytes_max} are accepted");
    Failure::new(ErrorCode::TooLarge, message, "hand in less, or split it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_lines_and_json_lines() {
        assert_eq!(name_of_line("shop/T-1").unwrap(), "shop/T-1");
        assert_eq!(name_of_line(r#"{"kind":"Task","name":"shop/T-2","id":"x"}"#).unwrap(), "shop/T-2");
        assert_eq!(name_of_line(r#"{"id":"task-1"}"#).unwrap(), "task-1");
        assert!(name_of_line("{}").is_err());
        assert!(name_of_line("{oops").is_err());
    }

    #[test]
    fn what_is_not_text_is_refused_with_its_place() {
        assert!(text("v.md", b"fine \xc3\xa9".to_vec()).is_ok());
        for (bytes, place) in [(&b"ab\0c"[..], "byte 2"), (b"abc\xff", "byte 3")] {
            let failure = text("v.md", bytes.to_vec()).unwrap_err();
            assert!(failure.to_string().contains(place), "{failure}");
            assert_eq!(failure.exit_code(), 2);
        }
    }
}
