//! What a configuration says that means nothing on this machine. Nothing of it keeps the daemon from starting: a user can
//! be removed at any time.

use nix::unistd::{Group, User};

use super::Config;

impl Config {
    /// What is probably not meant so, a line each.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        for (role, entries) in &self.roles {
            let role = role.label();
            let unknown = entries.iter().filter(|entry| !is_known(entry));
            doubts.extend(unknown.map(|entry| match entry.strip_prefix('@') {
                Some(group) => format!("`roles.{role}` has `{entry}`, and there is no group `{group}`"),
                None => format!("`roles.{role}` has `{entry}`, and there is no such user"),
            }));
        }
        if let Some(group) = self.socket_group.as_deref().filter(|group| !is_known(&format!("@{group}"))) {
            doubts.push(format!(
                "`daemon.socket_group` is `{group}`, and there is no such group: the daemon will not start"
            ));
        }
        if let Some(dir) = self.recipes_dir.as_deref().filter(|dir| !dir.is_dir()) {
            doubts.push(format!("`recipes.directory` is `{}`, and there is no such directory", dir.display()));
        }
        let blocks = self.network.house.iter().flat_map(|house| house.networks.iter().map(move |block| (house, block)));
        doubts.extend(blocks.filter_map(|(house, block)| {
            let kind = block.refused()?.word();
            let host = &house.host;
            Some(format!(
                "`network.house` has `{block}` for `{host}`: {kind} is never reached by a run, whatever is allowed"
            ))
        }));
        if self.allows_none {
            doubts.push(
                "`sandbox.allow_none` lets whoever makes tasks run programs as the daemon's user, without a sandbox"
                    .into(),
            );
        }
        if !self.sandbox_program.is_file() {
            doubts.push(format!(
                "the sandbox's program `{}` is not there: the daemon will not start",
                self.sandbox_program.display()
            ));
        }
        doubts
    }
}

/// Whether there is the user, or the `@group`. What cannot be looked up is not doubted.
fn is_known(entry: &str) -> bool {
    match entry.strip_prefix('@') {
        Some(group) => Group::from_name(group).map_or(true, |found| found.is_some()),
        None => User::from_name(entry).map_or(true, |found| found.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::Args;
    use crate::config::load;

    #[test]
    fn what_is_not_there_is_doubted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        let text = "[roles]\noperator = [\"@no-such-group\", \"root\"]\nviewer = [\"no-such-user\"]\n\
                    [recipes]\ndirectory = \"/nope\"\n[sandbox]\nprogram = \"/bin/sh\"\n[daemon]\nsocket_group = \"no-such\"\n\
                    [[network.house]]\nhost = \"a.org\"\nnetworks = [\"169.254.0.0/16\", \"10.0.0.0/8\"]\n";
        std::fs::write(&path, text).unwrap();
        let args = Args::try_parse_from(["orchd", "--config", path.to_str().unwrap()]).unwrap();
        let doubts = load(args, |name| (name == "HOME").then(|| "/h".to_owned())).unwrap().doubts();
        let keys: Vec<&str> = doubts.iter().filter_map(|doubt| doubt.split('`').nth(1)).collect();
        assert_eq!(
            keys,
            ["roles.viewer", "roles.operator", "daemon.socket_group", "recipes.directory", "network.house"],
            "{doubts:?}"
        );
    }
}
