//! Editing requirements: a YAML form that a person fills in, and what follows from the difference to its base.
//!
//! An entry that is gone is taken out, one without key is new, one that differs is replaced.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orch_proto::ErrorCode;
use orch_proto::request::{Accepted, Request, RequirementInput};
use orch_proto::view::{RequirementView, RequirementsView};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::req_draft::Draft;
use crate::ctl::failure::Failure;
use crate::ctl::input;
use crate::ctl::session::Session;
use crate::fmt::count;
use crate::text::SafeText;

/// Largest form that is read back, in bytes.
pub(super) const FORM_BYTES_MAX: usize = 4 << 20;

/// The words for the kind of a requirement.
const KINDS: [&str; 3] = ["functional", "non_functional", "constraint"];

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
struct Form<E> {
    /// The version that it was printed from; what is not in it would be taken out of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(default)]
    reason: String,
    requirements: Vec<E>,
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
    let reason = source.reason.as_deref();
    let accepted = match &source.file {
        Some(path) => {
            let (_, edited) = input::read_text(session, path, FORM_BYTES_MAX)?;
            hand_in(session, base, &edited, reason).await?
        }
        None => {
            let draft = Draft::write(session, &base.project, &form)?;
            let handed_in = match draft.edit(session) {
                Ok(edited) => hand_in(session, base, &edited, reason).await,
                Err(failure) => Err(failure),
            };
            let accepted = handed_in.map_err(|failure| draft.keep(failure))?;
            draft.remove();
            accepted
        }
    };
    match accepted {
        Some(accepted) => session.accepted(&accepted, "wrote"),
        None => {
            session.note("nothing was changed");
            Ok(())
        }
    }
}

/// Sends what the form says, unless it says what is there already.
async fn hand_in(
    session: &Session,
    base: &RequirementsView,
    form: &str,
    reason: Option<&str>,
) -> Result<Option<Accepted>, Failure> {
    let Some(request) = request(base, form, reason)? else { return Ok(None) };
    if let Request::RequirementsEdit { upsert, remove, .. } = &request
        && upsert.is_empty()
        && remove.len() == base.requirements.len()
    {
        let all =
            format!("this removes all of {} ({}); is that meant?", base.project, count(remove.len(), "requirement"));
        session.decide(&all, "say `--yes` if it is").await?;
    }
    session.submit(request).await.map(Some)
}

/// The request that makes the form true, or none if it is true already.
fn request(base: &RequirementsView, text: &str, reason: Option<&str>) -> Result<Option<Request>, Failure> {
    let form: Form<Spanned<Entry>> = serde_saphyr::from_str(text).map_err(|error| {
        Failure::new(ErrorCode::Invalid, format!("the form is not right: {error}"), "see `orchctl req edit --print`")
    })?;
    if let Some(version) = form.version.filter(|version| *version != base.version) {
        return Err(Failure::new(
            ErrorCode::Conflict,
            format!("the form is of version {version}, and {} is the newest of {}", base.version, base.project),
            format!(
                "see `orchctl req diff {version} {}`, and begin with `orchctl req edit --print` again",
                base.version
            ),
        ));
    }
    let mut left: BTreeMap<&str, &RequirementView> =
        base.requirements.iter().map(|item| (item.key.as_str(), item)).collect();
    let mut upsert = Vec::new();
    check(&form.requirements)?;
    for entry in form.requirements.iter().map(|entry| &entry.value) {
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

/// Refuses what the daemon would refuse or could only misread, while the place is still known.
fn check(entries: &[Spanned<Entry>]) -> Result<(), Failure> {
    let mut places: BTreeMap<&str, String> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("entry {} (line {})", index + 1, entry.referenced.line());
        let wrong = |problem: String, hint: &str| Err(Failure::new(ErrorCode::Invalid, problem, hint));
        if !KINDS.contains(&entry.value.kind.as_str()) {
            let problem = format!("{place}: requirement kind `{}` is not known", entry.value.kind);
            return wrong(problem, &format!("use {}", KINDS.join(", ")));
        }
        if entry.value.title.trim().is_empty() {
            return wrong(format!("{place} has no title"), "give it one, or take the entry out");
        }
        let Some(key) = entry.value.key.as_deref() else { continue };
        if let Some(first) = places.insert(key, place.clone()) {
            let problem = format!("{first} and {place} both have the key `{key}`");
            return wrong(problem, "give one of them another key, or none: it gets the next free one");
        }
    }
    Ok(())
}

fn form_of(base: &RequirementsView, reason: &str) -> Result<String, Failure> {
    let form = Form {
        version: Some(base.version),
        reason: reason.to_owned(),
        requirements: base.requirements.iter().map(entry_of).collect(),
    };
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
    fn a_key_twice_and_other_wrong_entries_are_refused_with_their_place() {
        let refused = |from: &str, to: &str| {
            let failure = edited(|form| form.replacen(from, to, 1)).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            failure.to_string()
        };
        let twice = refused("key: NFR-1", "key: FR-1");
        assert!(twice.contains("entry 1 (line 8) and entry 3 (line "), "{twice}");
        assert!(twice.ends_with("both have the key `FR-1`"), "{twice}");
        assert!(refused("kind: non_functional", "kind: quality").contains("kind `quality` is not known"));
        assert!(refused("title: Answer errors as problem documents", "title: ' '").contains("entry 2 (line "));
    }

    #[test]
    fn a_form_of_another_version_takes_nothing_back() {
        let failure = edited(|form| form.replacen("version: 1", "version: 3", 1)).unwrap_err();
        assert_eq!(failure.to_string(), "the form is of version 3, and 1 is the newest of shop");
        let without = edited(|form| form.replacen("version: 1\n", "", 1)).unwrap();
        assert_eq!(without, None, "a form of one's own need not say it");
    }

    #[test]
    fn a_wrong_form_is_refused_with_its_place() {
        let failure = edited(|form| form.replacen("kind: functional\n", "knd: functional\n", 1)).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().contains("knd"), "{failure}");
    }
}
