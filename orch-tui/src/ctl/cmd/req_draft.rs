//! A form on disk while a person edits it. It stays until the daemon has taken what is in it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use orch_proto::ErrorCode;
use orch_proto::id::CommandId;

use super::req_form::FORM_BYTES_MAX;
use crate::ctl::failure::Failure;
use crate::ctl::input;
use crate::ctl::session::Session;

/// The file, and the project that it is for.
pub(super) struct Draft {
    path: PathBuf,
    project: String,
}

impl Draft {
    /// Writes the form where only this user can read it.
    pub(super) fn write(session: &Session, project: &str, form: &str) -> Result<Self, Failure> {
        if !session.console.terminal.stdin || session.options.no_input {
            return Err(Failure::new(
                ErrorCode::Usage,
                "there is no terminal for an editor",
                "print the form with `orchctl req edit --print`, change it, hand it in with `-f FILE`",
            ));
        }
        let directory = session.console.env("TMPDIR").unwrap_or_else(|| "/tmp".to_owned());
        let path = Path::new(&directory).join(format!("orchctl-{}.yaml", CommandId::generate()));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        written
            .and_then(|mut file| file.write_all(form.as_bytes()))
            .map_err(|error| Failure::cannot_write(&path, &error))?;
        Ok(Self { path, project: project.to_owned() })
    }

    /// Opens the user's editor and reads what it left.
    pub(super) fn edit(&self, session: &Session) -> Result<String, Failure> {
        let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| session.console.env(name));
        let editor = editor.unwrap_or_else(|| "vi".to_owned());
        // The variable may hold arguments, as `code --wait`; a shell splits it as git and others do.
        let status =
            Command::new("/bin/sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("editor").arg(&self.path).status()?;
        if !status.success() {
            return Err(Failure::Negative(format!("the editor `{editor}` failed; nothing was changed")));
        }
        input::read_text(session, &self.path, FORM_BYTES_MAX).map(|(_, text)| text)
    }

    /// Adds to the failure where the work is and how to go on with it.
    pub(super) fn keep(&self, failure: Failure) -> Failure {
        let path = self.path.display();
        let how = format!("your text is in `{path}`; go on with `orchctl req edit --file {path} -p {}`", self.project);
        match failure {
            Failure::Refused(mut error) => {
                let hint = error.hint.take().map_or_else(|| how.clone(), |hint| format!("{hint}\n{how}"));
                Failure::Refused(error.hint(hint))
            }
            Failure::Negative(message) => Failure::Negative(format!("{message}\n{how}")),
            other => other,
        }
    }

    pub(super) fn remove(&self) {
        // A draft that stays behind does no harm.
        drop(fs::remove_file(&self.path));
    }
}
