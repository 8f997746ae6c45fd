//! Providers: what the steps of a run need to work on a cloud, asked of people before the steps begin, as data.

use orch_proto::provider::{ProvidedFile, Provider, fields_of};
use orch_proto::view::{FieldKind, FieldSpec};

use super::problem::{Problem, RecipeError};
use super::reader::{Fields, boolean, checked, env, line, list_of, text};
use super::text::{EnvName, Key, RelPath};
use super::yaml::{self, Fault, Node};
use crate::decide::{FIELDS_MAX, SAID_BYTES_MAX};

const KEYS: &[&str] = &["name", "question", "fields", "variables", "files"];
const FIELD_KEYS: &[&str] = &["name", "label", "secret", "required"];
const FILE_KEYS: &[&str] = &["path", "variable", "content"];
/// Most files of a provider.
const FILES_MAX: usize = 8;
/// Longest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 4 << 10;
/// Most providers of a recipe.
const PROVIDERS_MAX: usize = 8;

/// Reads the text of a provider. `file` is only used to name it in an error.
///
/// # Errors
/// The first problem of the file, with its place.
pub fn parse_provider(text: &str, file: &str) -> Result<Provider, RecipeError> {
    let in_file = |fault: Fault| RecipeError { file: file.to_owned(), place: fault.place, problem: fault.problem };
    yaml::read(text).and_then(|node| provider(&node)).map_err(in_file)
}

/// Reads the names of the providers of a recipe.
pub(super) fn providers(node: &Node, key: &str) -> Result<Vec<Key>, Fault> {
    let named = list_of(node, key, PROVIDERS_MAX, |node, key| checked(node, key, Key::parse))?;
    match named.iter().enumerate().find(|(at, name)| named[..*at].contains(name)) {
        Some((_, twice)) => Err(node.fault(Problem::DuplicateName { key: key.to_owned(), name: twice.to_string() })),
        None => Ok(named),
    }
}

fn provider(node: &Node) -> Result<Provider, Fault> {
    let fields = Fields::of(node, "a provider", KEYS)?;
    let asked = fields.req("fields", |node, key| list_of(node, key, FIELDS_MAX, field))?;
    if asked.is_empty() {
        return Err(fields.need("fields")?.fault(Problem::EmptyValue { key: "fields".into() }));
    }
    let provider = Provider {
        name: fields.req("name", |node, key| checked(node, key, Key::parse))?.to_string(),
        question: fields.req("question", |node, key| text(node, key, SAID_BYTES_MAX))?.trim().to_owned(),
        fields: asked,
        variables: fields
            .opt("variables", env)?
            .unwrap_or_default()
            .into_iter()
            .map(|(name, template)| (name.to_string(), template))
            .collect(),
        files: fields.opt("files", |node, key| list_of(node, key, FILES_MAX, file))?.unwrap_or_default(),
    };
    let templates = provider.variables.values().chain(provider.files.iter().map(|file| &file.content));
    let is_field = |name: &&str| provider.fields.iter().any(|field| field.name == **name);
    if let Some(unknown) = templates.flat_map(|template| fields_of(template)).find(|name| !is_field(name)) {
        return Err(node.fault(Problem::Unresolved { kind: "field", name: unknown.to_owned(), nearest: None }));
    }
    Ok(provider)
}

fn field(node: &Node, _key: &str) -> Result<FieldSpec, Fault> {
    let fields = Fields::of(node, "a field of a provider", FIELD_KEYS)?;
    let is_secret = fields.opt("secret", boolean)?.unwrap_or(false);
    Ok(FieldSpec {
        // Variables are named as fields are, but for one that begins with `_`, which asking would refuse.
        name: fields.req("name", |node, key| checked(node, key, EnvName::parse))?.to_string(),
        label: fields.opt("label", line)?.unwrap_or_default(),
        kind: if is_secret { FieldKind::Secret } else { FieldKind::Text },
        required: fields.opt("required", boolean)?.unwrap_or(true),
    })
}

fn file(node: &Node, _key: &str) -> Result<ProvidedFile, Fault> {
    let fields = Fields::of(node, "a file of a provider", FILE_KEYS)?;
    let path = fields.req("path", |node, key| checked(node, key, RelPath::parse))?;
    if path.below().is_empty() {
        return Err(fields.need("path")?.fault(Problem::EmptyValue { key: "path".into() }));
    }
    Ok(ProvidedFile {
        path: path.as_str().to_owned(),
        variable: fields.req("variable", |node, key| checked(node, key, EnvName::parse))?.to_string(),
        content: fields.req("content", |node, key| text(node, key, TEMPLATE_BYTES_MAX))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "name: house\nquestion: What?\nfields:\n  - { name: A, secret: true }\n  - name: B\n";

    #[test]
    fn a_provider_is_read_whole() {
        let more = "variables: { TOKEN: \"{A}\" }\nfiles:\n  - { path: a/b, variable: F, content: \"x {B}\" }\n";
        let house = parse_provider(&format!("{BASE}{more}"), "house.yaml").unwrap();
        assert_eq!((house.name.as_str(), house.fields.len(), house.variables["TOKEN"].as_str()), ("house", 2, "{A}"));
        assert_eq!((&house.fields[0].kind, &house.fields[1].kind), (&FieldKind::Secret, &FieldKind::Text));
        assert_eq!((house.files[0].path.as_str(), house.files[0].content.as_str()), ("a/b", "x {B}"));
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (more, says) in [
            ("variables: { T: \"{C}\" }\n", "field `C` does not exist"),
            ("variables: { ORCH_T: \"{A}\" }\n", "reserved"),
            ("files: [{ path: ../a, variable: F, content: x }]\n", "leaves"),
            ("files: [{ path: a, variable: \"1\", content: x }]\n", "variable name"),
            ("network: true\n", "unknown key"),
        ] {
            let error = parse_provider(&format!("{BASE}{more}"), "house.yaml").unwrap_err().to_string();
            assert!(error.contains(says), "{more}: {error}");
        }
        assert!(parse_provider("name: a\nquestion: b\nfields: []\n", "a.yaml").is_err());
    }
}
