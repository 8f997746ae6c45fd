//! What a run is given beyond its workspace: hosts that it may reach and secrets that it gets. Names only.
//!
//! Nothing is the default, and an empty list is nothing. **Invariant:** no value of a secret can be written here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::reader::{Fields, checked, list, list_of, scalar, wrong_type};
use super::text::{Domain, EnvName, Key, SecretName};
use super::yaml::{Fault, Node, Value};

/// Most hosts of a recipe.
pub const HOSTS_MAX: usize = 100;
/// Most ports of a host; the sandbox has no more.
pub const PORTS_MAX: usize = 16;
/// Most secrets of a recipe.
pub const SECRETS_MAX: usize = 32;
/// Ports of a host that names none: those of the web.
const PORTS_DEFAULT: [u16; 2] = [80, 443];

const HOST_KEYS: &[&str] = &["host", "ports"];
const SECRET_KEYS: &[&str] = &["name", "env"];

/// What a run is given beyond its workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Hosts that it may reach, through the proxy of its sandbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<Reach>,
    /// Secrets that it gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// It can speak to the daemon over a channel of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub channel: bool,
    /// Providers whose access people are asked for before its steps begin.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub providers: Box<[Key]>,
}

/// A host, or all hosts below a name, at some ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    pub host: Domain,
    /// TCP ports, ordered; never empty and never 0.
    pub ports: BTreeSet<u16>,
}

/// A secret, and how the steps get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    pub name: SecretName,
    /// The variable that has its value; without one it is a file of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<EnvName>,
}

impl Access {
    /// Whether it is what every run has.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.network.is_empty() && self.secrets.is_empty() && !self.channel && self.providers.is_empty()
    }

    /// What is given, a line each, for a person to decide about and to find again.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let network = self.network.iter().map(|reach| format!("network: {reach}"));
        let secrets = self.secrets.iter().map(|secret| format!("secret: {secret}"));
        let providers = self.providers.iter().map(|provider| format!("provider: {provider}"));
        network.chain(secrets).chain(self.channel.then(|| "channel".to_owned())).chain(providers).collect()
    }
}

impl Reach {
    /// A host at the ports of the web.
    #[must_use]
    pub fn web(host: Domain) -> Self {
        Self { host, ports: PORTS_DEFAULT.into() }
    }

    /// Whether everything that `other` means is meant here, too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.host.covers(&other.host) && other.ports.is_subset(&self.ports)
    }

    /// Reads `example.org`, `*.example.org` or `example.org:8443`.
    ///
    /// # Errors
    /// Those of [`Domain::parse`], and [`super::TextError::Port`].
    pub fn parse(text: &str) -> Result<Self, super::TextError> {
        let Some((host, port)) = text.rsplit_once(':') else { return Ok(Self::web(Domain::parse(text)?)) };
        let port = parse_port(port)?;
        Ok(Self { host: Domain::parse(host)?, ports: [port].into() })
    }
}

fn parse_port(text: &str) -> Result<u16, super::TextError> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let port = text.parse().ok().filter(|port| *port != 0 && digits);
    port.ok_or_else(|| super::TextError::Port { text: super::text::printable(text) })
}

impl std::fmt::Display for Reach {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        write!(out, "{}:{}", self.host, ports.join(","))
    }
}

impl std::fmt::Display for SecretUse {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.env {
            Some(env) => write!(out, "{} (variable {env})", self.name),
            None => write!(out, "{} (file)", self.name),
        }
    }
}

/// Reads the hosts of a recipe.
pub(super) fn network(node: &Node, key: &str) -> Result<Vec<Reach>, Fault> {
    list_of(node, key, HOSTS_MAX, reach)
}

fn reach(node: &Node, key: &str) -> Result<Reach, Fault> {
    match &node.value {
        Value::Scalar { .. } => checked(node, key, Reach::parse),
        Value::Map(_) => {
            let fields = Fields::of(node, "a host of `network`", HOST_KEYS)?;
            let host = fields.req("host", |node, key| checked(node, key, Domain::parse))?;
            let ports = fields.opt("ports", ports)?;
            Ok(Reach { host, ports: ports.unwrap_or_else(|| PORTS_DEFAULT.into()) })
        }
        Value::List(_) => Err(wrong_type(node, key, "a host name or a mapping with `host` and `ports`")),
    }
}

fn ports(node: &Node, key: &str) -> Result<BTreeSet<u16>, Fault> {
    let items = list(node, key, PORTS_MAX)?;
    if items.is_empty() {
        return Err(node.fault(Problem::EmptyValue { key: key.to_owned() }));
    }
    let port = |node: &Node| {
        let fault = |error| node.fault(Problem::Text { key: key.to_owned(), error });
        parse_port(&scalar(node, key)?).map_err(fault)
    };
    items.iter().map(port).collect()
}

/// Reads the secrets of a recipe.
pub(super) fn secrets(node: &Node, key: &str) -> Result<Vec<SecretUse>, Fault> {
    let found = list_of(node, key, SECRETS_MAX, secret)?;
    for (index, secret) in found.iter().enumerate() {
        let same = |other: &SecretUse| other.name == secret.name || (other.env.is_some() && other.env == secret.env);
        if found[..index].iter().any(same) {
            let name = secret.name.to_string();
            return Err(node.fault(Problem::DuplicateName { key: key.to_owned(), name }));
        }
    }
    Ok(found)
}

fn secret(node: &Node, key: &str) -> Result<SecretUse, Fault> {
    match &node.value {
        Value::Scalar { .. } => Ok(SecretUse { name: checked(node, key, SecretName::parse)?, env: None }),
        Value::Map(_) => {
            let fields = Fields::of(node, "a secret of `secrets`", SECRET_KEYS)?;
            Ok(SecretUse {
                name: fields.req("name", |node, key| checked(node, key, SecretName::parse))?,
                env: fields.opt("env", variable)?,
            })
        }
        Value::List(_) => Err(wrong_type(node, key, "a name or a mapping with `name` and `env`")),
    }
}

fn variable(node: &Node, key: &str) -> Result<EnvName, Fault> {
    let name = checked(node, key, EnvName::parse)?;
    // The daemon's own variables say which run it is, and the proxy's where its way out is.
    if name.as_str().starts_with("ORCH_") {
        return Err(node.fault(Problem::ReservedVariable { name: name.to_string() }));
    }
    Ok(name)
}
