//! What the operator says of the network: hosts that tasks may reach without a question, and hosts of the house.

use orch_adapters::job::House;
use orch_core::recipe::{Access, Domain, Reach};
use serde::{Deserialize, Serialize};

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NetworkSection {
    allow: Vec<String>,
    house: Vec<HouseSection>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HouseSection {
    host: String,
    networks: Vec<String>,
}

/// The section, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkConfig {
    /// What a task may reach without anybody being asked.
    pub(crate) allow: Vec<Reach>,
    /// Hosts that may lead to addresses that are refused otherwise.
    pub(crate) house: Vec<House>,
}

impl NetworkConfig {
    /// What a person has to be asked about before a task is given it: every secret, and hosts that are not allowed here.
    pub(crate) fn questions(&self, access: &Access) -> Vec<String> {
        // Port by port: several entries may allow the ports of one host.
        let covers = |one: Reach| self.allow.iter().any(|allowed| allowed.covers(&one));
        let allowed = |reach: &&Reach| {
            reach.ports.iter().all(|port| covers(Reach { host: reach.host.clone(), ports: [*port].into() }))
        };
        let hosts = access.network.iter().filter(|reach| !allowed(reach)).map(ToString::to_string);
        hosts.chain(access.secrets.iter().map(|secret| format!("secret {}", secret.name))).collect()
    }
}

impl NetworkSection {
    /// Checks every text; the error is what is wrong with which key.
    pub(super) fn checked(&self) -> Result<NetworkConfig, (&'static str, String)> {
        let wrong = |key, text: &str, error: &dyn std::fmt::Display| (key, format!("has `{text}`: {error}"));
        let mut config = NetworkConfig::default();
        for text in &self.allow {
            config.allow.push(Reach::parse(text).map_err(|error| wrong("network.allow", text, &error))?);
        }
        for house in &self.house {
            let host = Domain::parse(&house.host).map_err(|error| wrong("network.house.host", &house.host, &error))?;
            let mut networks = Vec::new();
            for text in &house.networks {
                networks.push(text.parse().map_err(|error| wrong("network.house.networks", text, &error))?);
            }
            if networks.is_empty() {
                return Err(("network.house.networks", "is empty; name a block such as `10.1.0.0/16`".to_owned()));
            }
            config.house.push(House { host, networks });
        }
        Ok(config)
    }
}

impl From<&NetworkConfig> for NetworkSection {
    fn from(config: &NetworkConfig) -> Self {
        let one = |reach: &Reach| reach.ports.iter().map(|port| format!("{}:{port}", reach.host)).collect::<Vec<_>>();
        Self {
            allow: config.allow.iter().flat_map(one).collect(),
            house: config
                .house
                .iter()
                .map(|house| HouseSection {
                    host: house.host.to_string(),
                    networks: house.networks.iter().map(ToString::to_string).collect(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(allow: &[&str]) -> NetworkSection {
        NetworkSection { allow: allow.iter().map(ToString::to_string).collect(), house: Vec::new() }
    }

    #[test]
    fn what_is_not_allowed_here_and_every_secret_is_a_question() {
        let config = section(&["crates.io", "*.crates.io:443"]).checked().unwrap();
        let reach = |text: &str| Reach::parse(text).unwrap();
        let network = ["crates.io", "static.crates.io:443", "static.crates.io", "example.org:22"].map(reach).to_vec();
        let access = Access { network, ..Access::default() };
        assert_eq!(config.questions(&access), ["static.crates.io:80,443", "example.org:22"]);
        assert!(config.questions(&Access::default()).is_empty());
    }

    #[test]
    fn a_wrong_host_is_named_with_its_key() {
        for (text, said) in
            [("*", "is not a host name"), ("a.org:x", "is not a port"), ("10.0.0.1", "is not a host name")]
        {
            let (key, problem) = section(&[text]).checked().unwrap_err();
            assert_eq!(key, "network.allow");
            assert!(problem.contains(said), "{problem}");
        }
        let house = HouseSection { host: "a.org".into(), networks: vec!["0.0.0.0/0".into()] };
        let section = NetworkSection { allow: Vec::new(), house: vec![house] };
        assert_eq!(section.checked().unwrap_err().0, "network.house.networks");
    }
}
