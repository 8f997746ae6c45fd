//! What an operator says of an agent program that is any: its arguments, its variables and the files of its home, with
//! places in them that each run fills in.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path};

use orch_sandbox::spec::HOME_INSIDE;

use super::command::{GATEWAY_PORT, NO_KEY};

/// Most arguments, variables and files, each.
const ENTRIES_MAX: usize = 64;
/// Most bytes of all of them together, before places are filled in.
const BYTES_MAX: usize = 256 << 10;

/// Where the name of a model is put in.
const MODEL: &str = "{model}";
/// Variables that say who and where a run is.
const HELD: [&str; 2] = ["HOME", "TMPDIR"];

/// Arguments, variables and files. `{gateway}` in a value is the address of the run's gateway without a path, `{key}` what
/// stands where a key belongs, `{model}` the name of the model, `{home}` the home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// By their paths below the home.
    pub files: BTreeMap<String, String>,
}

/// What is wrong with one of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {problem}")]
pub struct SettingsError {
    pub key: &'static str,
    pub problem: String,
}

impl Settings {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks all of it. `has_model` says that there is a name to put in.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn check(&self, has_model: bool) -> Result<(), SettingsError> {
        let wrong = |key, problem: String| Err(SettingsError { key, problem });
        let counts =
            [("arguments", self.arguments.len()), ("environment", self.environment.len()), ("files", self.files.len())];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count > ENTRIES_MAX) {
            return wrong(key, format!("has more than {ENTRIES_MAX} entries"));
        }
        if self.texts().map(|(_, text)| text.len()).sum::<usize>() > BYTES_MAX {
            return wrong("files", format!("and the others have more than {BYTES_MAX} bytes together"));
        }
        if let Some((key, _)) = self.texts().find(|(_, text)| text.contains('\0')) {
            return wrong(key, "has a NUL in it".to_owned());
        }
        if let Some((key, _)) = self.texts().find(|(_, text)| text.contains(MODEL) && !has_model) {
            return wrong(key, format!("names `{MODEL}`, and no `model` is set"));
        }
        if let Some(name) = self.environment.keys().find(|name| !is_variable(name)) {
            return wrong("environment", format!("sets `{}`, which cannot be set here", name.escape_default()));
        }
        match self.files.keys().find(|path| !is_below(path)) {
            Some(path) => wrong("files", format!("has `{}`, which is no path below the home", path.escape_default())),
            None => Ok(()),
        }
    }

    /// With all places in values filled in.
    #[must_use]
    pub fn filled(&self, model: Option<&str>) -> Self {
        let fill = |text: &String| {
            text.replace("{gateway}", &format!("http://127.0.0.1:{GATEWAY_PORT}"))
                .replace("{key}", NO_KEY)
                .replace("{home}", HOME_INSIDE)
                .replace(MODEL, model.unwrap_or_default())
        };
        let values = |map: &BTreeMap<String, String>| map.iter().map(|(key, text)| (key.clone(), fill(text))).collect();
        Self {
            arguments: self.arguments.iter().map(fill).collect(),
            environment: values(&self.environment),
            files: values(&self.files),
        }
    }

    /// Writes the files below `directory`, which is made.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn write_files(&self, directory: &Path) -> io::Result<()> {
        for (path, text) in &self.files {
            let path = directory.join(path);
            let parent = path.parent().unwrap_or(directory);
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            std::fs::write(&path, text)?;
        }
        Ok(())
    }

    /// All values, with the key under which each is written.
    fn texts(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let arguments = self.arguments.iter().map(|text| ("arguments", text));
        let variables = self.environment.values().map(|text| ("environment", text));
        arguments.chain(variables).chain(self.files.values().map(|text| ("files", text)))
    }
}

/// A name that a variable can have, and that is not one by which a run knows who it is.
fn is_variable(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    begins && name.bytes().all(plain) && !name.starts_with("ORCH_") && !HELD.contains(&name)
}

fn is_below(path: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    !path.is_empty() && !path.ends_with('/') && !path.contains('\0') && Path::new(path).components().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> BTreeMap<String, String> {
        [(key.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn places_are_filled_in_and_other_braces_stay() {
        let settings = Settings {
            arguments: vec!["--model={model}".into()],
            environment: one("KEY", "{key}"),
            files: one(".config/a.json", r#"{"url":"{gateway}/v1","at":"{home}/x","{other}":{}}"#),
        };
        assert_eq!(settings.check(true), Ok(()));
        let filled = settings.filled(Some("m"));
        assert_eq!(filled.arguments, ["--model=m"]);
        assert_eq!(filled.environment["KEY"], "held-by-the-gateway");
        let expected = r#"{"url":"http://127.0.0.1:4141/v1","at":"/home/run/x","{other}":{}}"#;
        assert_eq!(filled.files[".config/a.json"], expected);
        let directory = tempfile::tempdir().unwrap();
        filled.write_files(&directory.path().join("home")).unwrap();
        assert_eq!(std::fs::read_to_string(directory.path().join("home/.config/a.json")).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let variables = ["HOME", "ORCH_RUN", "1A", "A B", "", "A="]
            .map(|name| Settings { environment: one(name, ""), ..Settings::default() });
        let files = ["/etc/x", "../x", "a/../x", "", "a/", "./a"]
            .map(|path| Settings { files: one(path, ""), ..Settings::default() });
        let words = [
            Settings { arguments: vec!["{model}".into()], ..Settings::default() },
            Settings { arguments: vec!["\0".into()], ..Settings::default() },
            Settings { arguments: vec![String::new(); ENTRIES_MAX + 1], ..Settings::default() },
        ];
        for (all, key) in [(&variables[..], "environment"), (&files[..], "files"), (&words[..], "arguments")] {
            for settings in all {
                assert_eq!(settings.check(false).map_err(|error| error.key), Err(key), "{settings:?}");
            }
        }
        let large = Settings { files: one("a", &"x".repeat(BYTES_MAX + 1)), ..Settings::default() };
        assert_eq!(large.check(false).map_err(|error| error.key), Err("files"));
    }
}
