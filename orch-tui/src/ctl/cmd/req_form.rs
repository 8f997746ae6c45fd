//! Editing requirements: a YAML form that a person fills in, and what follows from the difference to its base.
//!
//! An entry that is gone is taken out, one without key is new, one that differs is replaced.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use orch_proto::ErrorCode;
use orch_proto::id::CommandId;
use orch_proto::request::{Request, RequirementInput};
use orch_proto::view::{RequirementView, RequirementsView};
use serde::{Deserialize, Serialize};

use crate::ctl::failure::Failure;
use crate::ctl::input;
use crate::ctl::session::Session;
use crate::text::SafeText;

/// Largest form that is read back, in bytes.
const FORM_BYTES_MAX: usize = 4 << 20;

const EXPLANATION: &str = "\
# Change, add or take out entries, then save and leave the editor; an unchanged form changes nothing.
# A new entry has no key, or one that is not used yet. kind: functional, non_functional or constraint.
# reason: why the requirements change; it is kept with the new version.
";

/// Where the wanted requirements come from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: Option<PathBuf>,
    pub(crate) print: bool,
    pub(crate) reason: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    reason: String,
    requirements: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    kind: String,
    title: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    acceptance: Vec<String>,
}

/// Makes a new version from a form.
pub(crate) async fn edit(session: &Session, base: &RequirementsView, source: Source) -> Result<(), Failure> {
    let form = form_of(base, source.reason.as_deref().unwrap_or(""))?;
    if source.print {
        // A pipe gets the form as it is handed in again, a terminal one that is harmless.
        let shown = if session.console.terminal.stdout { SafeText::block(&form).to_string() } else { form };
        return Ok(session.console.data(shown.as_bytes())?);
    }
    let edited = match &source.file {
        Some(path) => input::read_text(session, path, FORM_BYTES_MAX)?.1,
        None => {
            let draft = Draft::write(session, &form)?;
            let edited = draft.edit(session)?;
            // A draft that is wrong stays, so that the work in it is not lost.
            request(base, &edited, source.reason.as_deref()).map_err(|failure| draft.keep(failure))?;
            draft.remove();
            edited
        }
    };
    match request(base, &edited, source.reason.as_deref())? {
        Some(request) => session.change(request, "wrote").await.map(drop),
        None => {
            session.note("nothing was changed");
            Ok(())
        }
    }
}

/// The request that makes the form true, or none if it is true already.
fn request(base: &RequirementsView, text: &str, reason: Option<&str>) -> Result<Option<Request>, Failure> {
    let form: Form = serde_saphyr::from_str(text).map_err(|error| {
        Failure::new(ErrorCode::Invalid, format!("the form is not right: {error}"), "see `orchctl req edit --print`")
    })?;
    let mut left: BTreeMap<&str, &RequirementView> =
        base.requirements.iter().map(|item| (item.key.as_str(), item)).collect();
    let mut upsert = Vec::new();
    for entry in &form.requirements {
        let before = entry.key.as_deref().and_then(|key| left.remove(key));
        if before.is_none_or(|before| entry_of(before) != *entry) {
            upsert.push(RequirementInput {
                key: entry.key.clone(),
                kind: entry.kind.clone(),
                title: entry.title.clone(),
                text: entry.text.clone(),
                acceptance: entry.acceptance.clone(),
            });
        }
    }
    let remove: Vec<String> = left.into_keys().map(str::to_owned).collect();
    if upsert.is_empty() && remove.is_empty() {
        return Ok(None);
    }
    let reason = reason.map_or(form.reason, str::to_owned);
    let reason = if reason.trim().is_empty() { "edited by hand".to_owned() } else { reason };
    Ok(Some(Request::RequirementsEdit {
        project: base.project.as_str().into(),
        base_version: base.version,
        upsert,
        remove,
        reason,
    }))
}

fn form_of(base: &RequirementsView, reason: &str) -> Result<String, Failure> {
    let form = Form { reason: reason.to_owned(), requirements: base.requirements.iter().map(entry_of).collect() };
    let yaml = serde_saphyr::to_string(&form).map_err(|error| Failure::Yaml(Box::new(error)))?;
    Ok(format!("# Requirements of {}, version {}.\n{EXPLANATION}{yaml}", base.project, base.version))
}

fn entry_of(item: &RequirementView) -> Entry {
    Entry {
        key: Some(item.key.clone()),
        kind: item.kind.clone(),
        title: item.title.clone(),
        text: item.text.clone(),
        acceptance: item.acceptance.clone(),
    }
}

/// A form on disk, while a person edits it.
struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Writes the form where only this user can read it.
    fn write(session: &Session, form: &str) -> Result<Self, Failure> {
        if !session.console.terminal.stdin || session.options.no_input {
            return Err(Failure::new(
                ErrorCode::Usage,
                "there is no terminal for an editor",
                "print the form with `orchctl req edit --print`, change it, hand it in with `-f FILE`",
            ));
        }
        let directory = session.console.env("TMPDIR").unwrap_or_else(|| "/tmp".to_owned());
        let path = Path::new(&directory).join(format!("orchctl-{}.yaml", CommandId::generate()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(form.as_bytes())?;
        Ok(Self { path })
    }

    /// Opens the user's editor and reads what it left.
    fn edit(&self, session: &Session) -> Result<String, Failure> {
        let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| session.console.env(name));
        let editor = editor.unwrap_or_else(|| "vi".to_owned());
        // The variable may hold arguments, as `code --wait`; a shell splits it as git and others do.
        let status =
            Command::new("/bin/sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("editor").arg(&self.path).status()?;
        if !status.success() {
            return Err(self.keep(Failure::Negative(format!("the editor `{editor}` failed; nothing was changed"))));
        }
        input::read_text(session, &self.path, FORM_BYTES_MAX)
            .map(|(_, text)| text)
            .map_err(|failure| self.keep(failure))
    }

    /// Adds to the failure where the draft is.
    fn keep(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Refused(error) => {
                Failure::Refused(error.hint(format!("your text is in `{}`; hand it in with `-f`", self.path.display())))
            }
            other => other,
        }
    }

    fn remove(&self) {
        // A draft that stays behind does no harm.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fmt::samples;

    fn edited(change: impl FnOnce(String) -> String) -> Result<Option<Request>, Failure> {
        let base = samples::requirements();
        let form = change(form_of(&base, "").unwrap());
        request(&base, &form, Some("because"))
    }

    #[test]
    fn the_form_as_it_is_changes_nothing_even_with_hostile_text() {
        let mut base = samples::requirements();
        base.requirements[0].title = "a: b # c \x1b[2J \u{202e} \"x\" 'y'\nnext\n\n  deep".into();
        base.requirements[1].text = "- no\nyes: 1".into();
        let form = form_of(&base, "").unwrap();
        assert_eq!(request(&base, &form, None).unwrap(), None, "{form}");
    }

    #[test]
    fn differences_become_one_request() {
        let title = samples::requirements().requirements[0].title.clone();
        let request = edited(|form| {
            let changed = form.replacen(&title, "Changed", 1);
            let keep = changed.find("- key: FR-2").unwrap();
            changed[..keep].to_owned() + "- kind: functional\n  title: New one\n"
        });
        let Request::RequirementsEdit { upsert, remove, reason, base_version, .. } = request.unwrap().unwrap() else {
            panic!("another request");
        };
        let shown: Vec<_> = upsert.iter().map(|item| (item.key.as_deref(), item.title.as_str())).collect();
        assert_eq!(shown, [(Some("FR-1"), "Changed"), (None, "New one")]);
        assert_eq!(
            (remove, reason.as_str(), base_version),
            (vec!["FR-2".to_owned(), "NFR-1".to_owned()], "because", 1)
        );
    }

    #[test]
    fn a_wrong_form_is_refused_with_its_place() {
        let failure = edited(|form| form.replacen("kind: functional\n", "knd: functional\n", 1)).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().contains("knd"), "{failure}");
    }
}
