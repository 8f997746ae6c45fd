//! `orchctl agent provide`: asks people for what providers need, before the steps of a run begin, and leaves it where the steps
//! find it. Called by the daemon's own first step.
//!
//! **Invariant:** what is secret is written into files for this user alone, and printed nowhere.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use orch_proto::ErrorCode;
use orch_proto::channel::{EXPIRES_MS_DEFAULT, Verb};
use orch_proto::provider::{Provider, fill};
use orch_proto::view::FieldKind;

use super::agent::ask;
use crate::channel::Outcome;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;

/// Directory in the run's home for all of it, and the file that the steps read their variables from.
const PLACE: &str = ".orch/provided";
const VARIABLES: &str = "env";

#[derive(Debug, Args)]
pub(crate) struct ProvideArgs {
    /// What is needed, as JSON
    needs: String,
}

pub(crate) async fn run(session: &Session, args: ProvideArgs) -> Result<(), Failure> {
    let providers: Vec<Provider> = serde_json::from_str(&args.needs)
        .map_err(|error| Failure::usage(format!("what is needed cannot be read: {error}")))?;
    let home = session.console.env("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let home = home.ok_or_else(|| Failure::usage("`HOME` names no directory"))?;
    let place = home.join(PLACE);
    let mut variables = BTreeMap::new();
    for provider in &providers {
        session.note(&format!("{}: asks for {}", provider.name, names(provider)));
        let values = asked(session, provider).await?;
        provide(provider, &values, &place.join(&provider.name), &mut variables)
            .map_err(|error| Failure::cannot_write(&place, &error))?;
    }
    let lines: String = variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect();
    write(&place.join(VARIABLES), &lines).map_err(|error| Failure::cannot_write(&place, &error))
}

fn names(provider: &Provider) -> String {
    provider.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Values by the names of the fields.
async fn asked(session: &Session, provider: &Provider) -> Result<BTreeMap<String, String>, Failure> {
    let question = Verb::RequestInfo {
        key: format!("provider.{}", provider.name),
        text: provider.question.clone(),
        fields: provider.fields.clone(),
        expires_ms: EXPIRES_MS_DEFAULT,
        wait_ms: 0,
    };
    let mut values = match ask(session, question).await? {
        Outcome::Answered(values) => values,
        Outcome::Without { state, reason } => {
            return Err(Failure::Negative(format!("{}: {state}: {reason}", provider.name)));
        }
        Outcome::Withdrawn => return Err(Failure::Detached),
        Outcome::Granted | Outcome::Here { .. } | Outcome::NextAttempt | Outcome::Waiting => {
            let hint = "have the task tried again, which asks again";
            return Err(Failure::new(ErrorCode::Timeout, format!("{}: nobody has answered", provider.name), hint));
        }
    };
    // Of a secret there is the file that has it.
    for field in provider.fields.iter().filter(|field| field.kind == FieldKind::Secret) {
        if let Some(value) = values.get_mut(&field.name) {
            *value = fs::read_to_string(&*value)?;
        }
    }
    Ok(values)
}

/// Writes the files of a provider, and adds its variables.
fn provide(
    provider: &Provider,
    values: &BTreeMap<String, String>,
    place: &Path,
    variables: &mut BTreeMap<String, String>,
) -> io::Result<()> {
    for file in &provider.files {
        let path = place.join(&file.path);
        write(&path, &fill(&file.content, values))?;
        variables.insert(file.variable.clone(), path.display().to_string());
    }
    variables.extend(provider.variables.iter().map(|(name, template)| (name.clone(), fill(template, values))));
    Ok(())
}

/// Writes a file for this user alone.
fn write(path: &Path, content: &str) -> io::Result<()> {
    if let Some(place) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(place)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content.as_bytes())
}

/// A text as a shell takes it whole.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use orch_proto::provider::ProvidedFile;

    use super::*;

    #[test]
    fn steps_find_values_as_they_were_given_whatever_is_in_them() {
        let home = tempfile::tempdir().unwrap();
        let hostile = "a'b \"c\" $(touch x) `d`\n\\e";
        let provider = Provider {
            name: "house".into(),
            question: "?".into(),
            fields: Vec::new(),
            variables: BTreeMap::from([("PLAIN".to_owned(), "<{A}>".to_owned())]),
            files: vec![ProvidedFile { path: "a/key".into(), variable: "KEY".into(), content: "{A}".into() }],
        };
        let (values, mut variables) = (BTreeMap::from([("A".to_owned(), hostile.to_owned())]), BTreeMap::new());
        provide(&provider, &values, &home.path().join("house"), &mut variables).unwrap();
        let key = home.path().join("house/a/key");
        assert_eq!(fs::read_to_string(&key).unwrap(), hostile);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let shown =
            Command::new("/bin/sh").arg("-c").arg(format!("printf %s {}", quoted(&variables["PLAIN"]))).output();
        assert_eq!(String::from_utf8(shown.unwrap().stdout).unwrap(), format!("<{hostile}>"));
    }
}
