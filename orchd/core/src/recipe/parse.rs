//! Text of a recipe file to a checked recipe, in both forms.
//!
//! The form is told by its keys: `tools` makes a run; `name`, `version`, `source` or `permissions` make a tool; anything
//! else is a run. So each file is read against one set of keys and an unknown key is exactly one error.

use super::access::{self, Access, HOSTS_MAX, Reach, secrets};
use super::checked::{
    Isolation, Permissions, Recipe, Requires, Retries, RunRecipe, Source, TOOLS_MAX, ToolRecipe, ToolUse,
};
use super::checksum::Checksum;
use super::problem::{Problem, RecipeError};
use super::provider::providers;
use super::reader::{Fields, boolean, checked, count, env, line, list_of, scalar, seconds_ms, wrong_type};
use super::step::{steps, timeout, without_checkpoints};
use super::text::{Domain, Network, printable};
use super::yaml::{self, Fault, Node, Value};

const TOOL_KEYS: &[&str] = &["name", "version", "description", "program", "source", "steps", "env", "permissions"];
const SOURCE_KEYS: &[&str] = &["url", "checksum", "x86_64", "aarch64"];
const PINNED_KEYS: &[&str] = &["url", "checksum"];
/// Processors that a tool can have a download of its own for, as the kernel calls them.
const PROCESSORS: [&str; 2] = ["x86_64", "aarch64"];
const PERMISSION_KEYS: &[&str] = &["network", "filesystem", "capabilities"];
const RUN_KEYS: &[&str] = &[
    "tools",
    "steps",
    "env",
    "retries",
    "requires",
    "network",
    "secrets",
    "channel",
    "providers",
    "checkout",
    "changes",
    "isolation",
    "timeout",
];
const TOOL_USE_KEYS: &[&str] = &["name", "version", "checksum", "env", "network"];
const RETRIES_KEYS: &[&str] = &["max_retries", "backoff_base_seconds", "backoff_jitter_seconds"];
const REQUIRES_KEYS: &[&str] = &["approval", "agent", "capability"];

const DOMAINS_MAX: usize = 100;
const RETRIES_MAX: u64 = 20;
const BACKOFF_MS_MAX: u64 = 24 * 60 * 60 * 1000;
const NAME_BYTES_MAX: usize = 64;
const URL_BYTES_MAX: usize = 2048;

/// Reads the text of a recipe file. `file` is only used to name it in an error.
///
/// # Errors
/// The first problem of the file, with its place.
pub fn parse(text: &str, file: &str) -> Result<Recipe, RecipeError> {
    let in_file = |fault: Fault| RecipeError { file: file.to_owned(), place: fault.place, problem: fault.problem };
    yaml::read(text).and_then(|node| recipe(&node)).map_err(in_file)
}

fn recipe(node: &Node) -> Result<Recipe, Fault> {
    let Value::Map(entries) = &node.value else {
        return Err(wrong_type(node, "recipe", "a mapping"));
    };
    let has = |key: &str| entries.iter().any(|entry| entry.key == key);
    let is_tool = !has("tools") && ["name", "version", "source", "permissions"].iter().any(|key| has(key));
    if is_tool { tool(node).map(Recipe::Tool) } else { run(node).map(Recipe::Run) }
}

fn tool(node: &Node) -> Result<ToolRecipe, Fault> {
    let fields = Fields::of(node, "a tool recipe", TOOL_KEYS)?;
    let name = fields.req("name", tool_name)?;
    Ok(ToolRecipe {
        program: fields.opt("program", tool_name)?.unwrap_or_else(|| name.clone()),
        name,
        version: fields.req("version", version)?,
        description: fields.opt("description", line)?,
        sources: fields.opt("source", sources)?.unwrap_or_default(),
        steps: fields.req("steps", |node, key| {
            without_checkpoints(node, steps(node, key)?, "a tool is installed as a whole, or not at all")
        })?,
        env: fields.opt("env", env)?.unwrap_or_default(),
        permissions: fields.opt("permissions", permissions)?.unwrap_or_default(),
    })
}

/// One download for all processors, or one for each.
fn sources(node: &Node, _key: &str) -> Result<Vec<Source>, Fault> {
    let fields = Fields::of(node, "`source`", SOURCE_KEYS)?;
    let mut found = Vec::new();
    for processor in PROCESSORS {
        let of_it = |node: &Node, _: &str| pinned(&Fields::of(node, "a source", PINNED_KEYS)?, Some(processor));
        found.extend(fields.opt(processor, of_it)?);
    }
    match fields.get("url").or_else(|| fields.get("checksum")) {
        Some(node) if !found.is_empty() => {
            let why = "it is one download for all processors, or one for each";
            Err(node.fault(Problem::Contradiction { key: "source", why }))
        }
        None if !found.is_empty() => Ok(found),
        _ => Ok(vec![pinned(&fields, None)?]),
    }
}

fn pinned(fields: &Fields<'_>, processor: Option<&str>) -> Result<Source, Fault> {
    Ok(Source {
        processor: processor.map(ToOwned::to_owned),
        url: fields.req("url", https_url)?,
        checksum: fields.req("checksum", checksum)?,
    })
}

fn permissions(node: &Node, _key: &str) -> Result<Permissions, Fault> {
    let fields = Fields::of(node, "`permissions`", PERMISSION_KEYS)?;
    Ok(Permissions {
        network: fields.opt("network", domains)?.unwrap_or_default(),
        filesystem: fields
            .opt("filesystem", |node, key| list_of(node, key, DOMAINS_MAX, permission_path))?
            .unwrap_or_default(),
        capabilities: fields
            .opt("capabilities", |node, key| list_of(node, key, DOMAINS_MAX, tool_name))?
            .unwrap_or_default(),
    })
}

fn run(node: &Node) -> Result<RunRecipe, Fault> {
    let fields = Fields::of(node, "a run recipe", RUN_KEYS)?;
    let tools = fields.opt("tools", |node, key| list_of(node, key, TOOLS_MAX, tool_use))?.unwrap_or_default();
    // A recipe that only names tools is complete (its task brings the steps); one without either says nothing.
    let steps = if tools.is_empty() { Some(fields.req("steps", steps)?) } else { fields.opt("steps", steps)? };
    for (index, tool) in tools.iter().enumerate() {
        if tools[..index].iter().any(|earlier| earlier.name == tool.name) {
            let problem = Problem::DuplicateName { key: "tools".into(), name: tool.name.clone() };
            return Err(fields.need("tools")?.fault(problem));
        }
    }
    let mut reached = fields.opt("network", access::network)?.unwrap_or_default();
    for tool in &tools {
        if let Network::Domains(domains) = &tool.network {
            reached.extend(domains.iter().cloned().map(Reach::web));
        }
    }
    if reached.len() > HOSTS_MAX {
        let problem = Problem::TooMany { key: "network".into(), found: reached.len(), max: HOSTS_MAX };
        return Err(node.fault(problem));
    }
    let starts_empty = !fields.opt("checkout", boolean)?.unwrap_or(true);
    let keeps_changes = fields.opt("changes", changes)?.unwrap_or(!starts_empty);
    let isolation = fields.opt("isolation", isolation)?.unwrap_or_default();
    let providers = fields.opt("providers", providers)?.unwrap_or_default();
    let access = Access {
        network: reached,
        secrets: fields.opt("secrets", secrets)?.unwrap_or_default(),
        // Asking needs one.
        channel: fields.opt("channel", boolean)?.unwrap_or(false) || !providers.is_empty(),
        providers: providers.into(),
    };
    let contradictions = [
        ("changes", starts_empty && keeps_changes, "without a checkout there is nothing that could have changed"),
        (
            "isolation",
            isolation == Isolation::None && !starts_empty,
            "git is never used outside of a sandbox: add `checkout: false`",
        ),
        (
            "isolation",
            isolation == Isolation::None && !access.is_nothing(),
            "only a sandbox can give `network`, `secrets`, `channel` and `providers`",
        ),
        (
            "providers",
            !access.providers.is_empty() && steps.iter().flatten().any(|step| step.checkpoint),
            "an attempt that goes on from a checkpoint asks nobody",
        ),
    ];
    if let Some(given) = fields.get("steps").filter(|_| starts_empty) {
        let why = "without a checkout there is no git to keep the workspace with";
        without_checkpoints(given, steps.clone().unwrap_or_default(), why)?;
    }
    if let Some((key, _, why)) = contradictions.into_iter().find(|(_, is_so, _)| *is_so) {
        return Err(fields.need(key)?.fault(Problem::Contradiction { key, why }));
    }
    Ok(RunRecipe {
        starts_empty,
        keeps_changes,
        isolation,
        steps: steps.unwrap_or_default(),
        env: fields.opt("env", env)?.unwrap_or_default(),
        retries: fields.opt("retries", retries)?.unwrap_or_default(),
        timeout_ms: fields.opt("timeout", timeout)?,
        requires: fields.opt("requires", requires)?.unwrap_or_default(),
        access,
        tools,
    })
}

/// Whether what the steps change is kept.
fn changes(node: &Node, key: &str) -> Result<bool, Fault> {
    one_of(node, key, &["propose", "discard"]).map(|word| word == "propose")
}

fn isolation(node: &Node, key: &str) -> Result<Isolation, Fault> {
    let word = one_of(node, key, &["sandbox", "none"])?;
    Ok(if word == "none" { Isolation::None } else { Isolation::Sandbox })
}

/// One of a few words.
fn one_of(node: &Node, key: &str, known: &'static [&'static str]) -> Result<&'static str, Fault> {
    let found = scalar(node, key)?;
    let word = known.iter().find(|word| **word == found);
    word.copied().ok_or_else(|| node.fault(Problem::NotOneOf { key: key.to_owned(), found: printable(&found), known }))
}

fn tool_use(node: &Node, _key: &str) -> Result<ToolUse, Fault> {
    let fields = Fields::of(node, "a tool of `tools`", TOOL_USE_KEYS)?;
    Ok(ToolUse {
        name: fields.req("name", tool_name)?,
        version: fields.opt("version", version)?,
        checksum: fields.opt("checksum", checksum)?,
        env: fields.opt("env", env)?.unwrap_or_default(),
        network: fields.opt("network", network)?.unwrap_or_default(),
    })
}

fn network(node: &Node, key: &str) -> Result<Network, Fault> {
    match &node.value {
        Value::List(_) => {
            let domains = domains(node, key)?;
            Ok(if domains.is_empty() { Network::None } else { Network::Domains(domains.into_iter().collect()) })
        }
        Value::Scalar { .. } | Value::Map(_) => match boolean(node, key) {
            Ok(true) => Ok(Network::Any),
            Ok(false) => Ok(Network::None),
            Err(_) => Err(wrong_type(node, key, "`true`, `false` or a list of hosts")),
        },
    }
}

fn retries(node: &Node, _key: &str) -> Result<Retries, Fault> {
    let fields = Fields::of(node, "`retries`", RETRIES_KEYS)?;
    let seconds = |node: &Node, key: &str| seconds_ms(node, key, BACKOFF_MS_MAX);
    let max_retries = fields.opt("max_retries", |node, key| count(node, key, RETRIES_MAX))?;
    Ok(Retries {
        max_retries: max_retries.and_then(|retries| u32::try_from(retries).ok()),
        backoff_base_ms: fields.opt("backoff_base_seconds", seconds)?,
        backoff_jitter_ms: fields.opt("backoff_jitter_seconds", seconds)?,
    })
}

fn requires(node: &Node, _key: &str) -> Result<Requires, Fault> {
    let fields = Fields::of(node, "`requires`", REQUIRES_KEYS)?;
    Ok(Requires {
        approval: fields.opt("approval", boolean)?.unwrap_or(false),
        agent: fields.opt("agent", tool_name)?,
        capability: fields.opt("capability", tool_name)?,
    })
}

fn checksum(node: &Node, key: &str) -> Result<Checksum, Fault> {
    checked(node, key, Checksum::parse)
}

fn domains(node: &Node, key: &str) -> Result<Vec<Domain>, Fault> {
    list_of(node, key, DOMAINS_MAX, |node, key| checked(node, key, Domain::parse))
}

fn tool_name(node: &Node, key: &str) -> Result<String, Fault> {
    let name = line(node, key)?;
    let fits = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.+".contains(&b));
    if !fits || name.len() > NAME_BYTES_MAX || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(node.fault(Problem::ToolName { found: printable(&name) }));
    }
    Ok(name)
}

/// Reads a version: letters, digits and the punctuation that versions have. `1.10` is text here.
pub(crate) fn version(node: &Node, key: &str) -> Result<String, Fault> {
    let version = scalar(node, key)?;
    let fits = version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+_-:~".contains(&b));
    if !fits || version.len() > NAME_BYTES_MAX || !version.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(node.fault(Problem::Version { found: printable(&version) }));
    }
    Ok(version)
}

fn https_url(node: &Node, key: &str) -> Result<String, Fault> {
    let url = line(node, key)?;
    let wrong = || node.fault(Problem::Url { found: printable(&url) });
    let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').ok_or_else(wrong)?;
    let path_fits = !path.is_empty() && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\');
    if url.len() > URL_BYTES_MAX || host.starts_with('*') || Domain::parse(host).is_err() || !path_fits {
        return Err(wrong());
    }
    Ok(url)
}

fn permission_path(node: &Node, key: &str) -> Result<String, Fault> {
    let path = line(node, key)?;
    if !path.starts_with('/') || path.split('/').any(|segment| segment == "..") {
        return Err(node.fault(Problem::PermissionPath { found: printable(&path) }));
    }
    Ok(path)
}
