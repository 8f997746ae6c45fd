//! Looks for bytes in everything below a directory. Follows no link and opens nothing but plain files.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// How much of a file is looked at at once.
const PIECE_BYTES: usize = 256 << 10;

/// How many files there are below `root`, those below `but` left out, and which of them contain `needle`. What goes away
/// meanwhile is passed over.
pub(super) fn files_with(root: &Path, but: &Path, needle: &[u8]) -> io::Result<(usize, Vec<PathBuf>)> {
    let (mut files, mut found) = (0, Vec::new());
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() && path != but {
                open.push(path);
            } else if kind.is_file() {
                files += 1;
                if contains(&path, needle)? {
                    found.push(path);
                }
            }
        }
    }
    Ok((files, found))
}

fn contains(path: &Path, needle: &[u8]) -> io::Result<bool> {
    let Some(first) = needle.first() else { return Ok(false) };
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let mut kept = Vec::new();
    loop {
        let read = file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut kept)?;
        let mut at = 0;
        while let Some(next) = kept[at..].iter().position(|byte| byte == first) {
            if kept[at + next..].starts_with(needle) {
                return Ok(true);
            }
            at += next + 1;
        }
        if read == 0 {
            return Ok(false);
        }
        // It may begin at the end of this piece.
        kept.drain(..kept.len() - kept.len().min(needle.len() - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_also_where_two_pieces_meet_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["inner", "kept", "elsewhere"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        let mut long = vec![b'k'; PIECE_BYTES - 3];
        long.extend(b"key-1 and more");
        fs::write(root.join("inner/long"), &long).unwrap();
        fs::write(root.join("inner/none"), "key-2 key- ke").unwrap();
        fs::write(root.join("kept/secret"), "key-1").unwrap();
        std::os::unix::fs::symlink(root.join("kept"), root.join("elsewhere/link")).unwrap();
        let found = files_with(root, &root.join("kept"), b"key-1").unwrap();
        assert_eq!(found, (2, vec![root.join("inner/long")]));
    }
}
