//! Tools of recipes: what there is, what of it is installed, and what a run that asks for one gets.
//!
//! In reading order: `records` says how far each tool is, `reconcile` has installed what somebody wants or needs, `install` does
//! it: a download that is compared with what the recipe pins, the steps of the recipe in a sandbox, and what they leave is
//! kept read-only. **Invariant:** the daemon asks no host that neither a person nor the configuration named.

mod install;
mod reconcile;
mod records;

use std::collections::BTreeMap;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use orch_adapters::host_tools::HostTools;
use orch_adapters::tool_cache::{self, FetchError, Fetcher, Mirrors, Tool, ToolCache, ToolCacheError};
use orch_adapters::tool_recipes::ToolRecipes;
use orch_core::digest::Digest;
use orch_core::recipe::{Access, Domain, Reach, Source, ToolRecipe, ToolRequest, misfit};
use tokio::sync::watch;

use crate::config::NetworkConfig;
use crate::error_chain::chain;
pub(crate) use install::users;
pub(crate) use reconcile::run;
pub(crate) use records::State;
use records::{REST, Records};

/// The processors of this host, as recipes call them.
pub(crate) const PROCESSOR: &str = std::env::consts::ARCH;
/// How often the rest before another look is doubled, to ten minutes.
const LOOKS_DOUBLED: u32 = 6;
/// Port of what is downloaded.
const HTTPS: u16 = 443;

/// What a run gets that asks for a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// No recipe installs it: the host has a program of this name, or not.
    Host {
        name: String,
    },
    Tool(Box<Tool>),
    /// Not yet, and what is to be done about it.
    Missing {
        fix: String,
    },
}

/// Why a tool that is installed cannot be removed or used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error("no recipe installs `{name}`")]
    Unknown { name: String },
    #[error("the recipe of `{name}` has no download for {PROCESSOR}")]
    NoSource { name: String },
    #[error("`{name}` is used by {by}")]
    InUse { name: String, by: String },
    #[error("`{name}` is being installed")]
    UnderWay { name: String },
    #[error("`{name}` is not installed")]
    Absent { name: String },
    #[error(transparent)]
    Cache(#[from] ToolCacheError),
}

/// All tools that recipes install.
#[derive(Debug)]
pub(crate) struct RecipeTools {
    recipes: ToolRecipes,
    cache: ToolCache,
    mirrors: Mirrors,
    records: Records,
    /// Held while a run is started with tools, and against that while one goes.
    in_place: RwLock<()>,
    fetcher: OnceLock<Fetcher>,
}

impl RecipeTools {
    /// Finds what is installed of the recipes.
    pub(crate) fn open(recipes: ToolRecipes, cache: ToolCache, mirrors: Mirrors) -> Self {
        let mut ready = BTreeMap::new();
        for recipe in recipes.iter() {
            let Some(key) = recipe.source_for(PROCESSOR).map(|source| tool_cache::key(recipe, source)) else {
                continue;
            };
            match cache.find(key) {
                Ok(Some(tool)) => drop(ready.insert(recipe.name.clone(), State::Ready(Box::new(tool)))),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(tool = recipe.name, error = chain(&error), "an installed tool cannot be used");
                    drop(ready.insert(recipe.name.clone(), unusable(&error, 0)));
                }
            }
        }
        Self {
            recipes,
            cache,
            mirrors,
            records: Records::new(ready),
            in_place: RwLock::new(()),
            fetcher: OnceLock::new(),
        }
    }

    /// The recipe of a tool that is installed for runs.
    pub(crate) fn recipe(&self, name: &str) -> Option<&ToolRecipe> {
        self.recipes.get(name).filter(|recipe| recipe.is_installed())
    }

    /// The recipe that is meant by a name: its own, or that of its program.
    pub(crate) fn meant(&self, name: &str) -> Option<&ToolRecipe> {
        self.recipe(name).or_else(|| self.recipes.iter().find(|recipe| recipe.is_installed() && recipe.program == name))
    }

    /// What a person is offered who is asked for the tool, when it is there or may be installed without a question: the same as
    /// long as its recipe is.
    pub(crate) fn offer(&self, recipe: &ToolRecipe, network: &NetworkConfig) -> Option<String> {
        let source = recipe.source_for(PROCESSOR)?;
        let is_there = matches!(self.records.state(&recipe.name), State::Ready(_));
        let key = tool_cache::key(recipe, source);
        let line = || format!("recipe {} {}, {key}", recipe.name, recipe.version);
        (is_there || self.questions(recipe, source, network).is_empty()).then(line)
    }

    /// All recipes.
    pub(crate) fn recipes(&self) -> impl Iterator<Item = &ToolRecipe> {
        self.recipes.iter()
    }

    pub(crate) fn state(&self, name: &str) -> State {
        self.records.state(name)
    }

    /// Whether it comes to be installed by itself.
    pub(crate) fn is_coming(&self, name: &str) -> bool {
        self.records.state(name).is_under_way()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.records.subscribe()
    }

    /// What a run gets, as far as that is known without a look at the disk. What the host has of this name is enough for who wants
    /// nothing more of it, until the tool is installed.
    pub(crate) fn answer(&self, request: &str, host: &HostTools, network: &NetworkConfig) -> Answer {
        let request = ToolRequest::parse(request);
        let Some(recipe) = self.recipe(&request.name) else {
            return match &request.checksum {
                // Whatever the host has of that name is not known to be it.
                Some(_) => {
                    Answer::Missing { fix: format!("add a recipe `tools/{}.yaml` that installs it", request.name) }
                }
                None => Answer::Host { name: request.name },
            };
        };
        let source = recipe.source_for(PROCESSOR);
        if let Some(misfit) = misfit(&request, &recipe.version, source.map(|source| &source.checksum)) {
            return Answer::Missing { fix: format!("{misfit}; change the recipe of the task or that of the tool") };
        }
        if let State::Ready(tool) = self.records.state(&request.name) {
            return Answer::Tool(tool);
        }
        if !request.is_pinned() && host.require(&request.name).is_ok() {
            return Answer::Host { name: request.name };
        }
        Answer::Missing { fix: self.fix(recipe, network) }
    }

    /// What is to be done about the tool of an agent that is not there; none when it is.
    pub(crate) fn missing(&self, name: &str, network: &NetworkConfig) -> Option<String> {
        let Some(recipe) = self.recipe(name) else { return Some(format!("add a recipe `tools/{name}.yaml`")) };
        match self.records.state(name) {
            State::Ready(_) => None,
            _ => Some(self.fix(recipe, network)),
        }
    }

    /// What is to be done about one that is not there. Says nothing that changes all the time: who waits is told of each change.
    fn fix(&self, recipe: &ToolRecipe, network: &NetworkConfig) -> String {
        let name = &recipe.name;
        let Some(source) = recipe.source_for(PROCESSOR) else {
            return format!("its recipe has no download for {PROCESSOR}; add one");
        };
        match self.records.state(name) {
            State::Ready(_) => String::new(),
            State::Failed { reason, again: None, .. } => {
                format!("it could not be installed: {reason}; `orchctl tool install {name}` tries again")
            }
            State::Unread { reason, .. } => {
                format!("its files could not be read: {reason}; it is looked at again by itself")
            }
            state if state.is_under_way() => {
                format!("it is being installed; `orchctl tool get {name}` says how far that is")
            }
            State::Absent if self.questions(recipe, source, network).is_empty() => {
                format!("it is about to be installed; `orchctl tool get {name}` says how far that is")
            }
            _ => {
                let hosts = hosts(recipe, source).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                format!("`orchctl tool install {name}` downloads it ({hosts})")
            }
        }
    }

    /// Hosts that nobody allowed to be asked for it.
    fn questions(&self, recipe: &ToolRecipe, source: &Source, network: &NetworkConfig) -> Vec<String> {
        let is_mirrored = |host: &Domain| self.mirrors.iter().any(|(of, _)| of == host);
        let asked = hosts(recipe, source).into_iter().filter(|host| !is_mirrored(host));
        let reach = |host| Reach { host, ports: [HTTPS].into() };
        network.questions(&Access { network: asked.map(reach).collect(), ..Access::default() })
    }

    /// The digest of the files of a tool that is there, by its record: there may be many, and who looks at them all takes its time.
    /// Who uses it looks ([`Self::installed`]).
    pub(crate) fn content(&self, name: &str) -> Option<Digest> {
        match self.records.state(name) {
            State::Ready(tool) => Some(tool.record.content),
            _ => None,
        }
    }

    /// The tool, after a look at its files: nobody changes them, and who did is noticed.
    pub(crate) fn installed(&self, name: &str) -> Result<Tool, ToolError> {
        let (_, _, key) = self.made_from(name)?;
        match self.cache.find(key) {
            Ok(Some(tool)) => Ok(tool),
            Ok(None) => {
                if matches!(self.records.state(name), State::Ready(_)) {
                    self.records.set(name, State::Absent);
                }
                Err(ToolError::Absent { name: name.to_owned() })
            }
            Err(error) => {
                tracing::error!(tool = name, error = chain(&error), "an installed tool cannot be used");
                self.records.set(name, unusable(&error, 0));
                Err(error.into())
            }
        }
    }

    /// Looks once more at one that could not be read. Blocks.
    fn look_again(&self, name: &str, looks: u32) {
        let Ok((_, _, key)) = self.made_from(name) else { return };
        let found = match self.cache.find(key) {
            Ok(Some(tool)) => State::Ready(Box::new(tool)),
            Ok(None) => State::Absent,
            Err(error) => unusable(&error, looks),
        };
        self.records.looked_at(name, found);
    }

    /// Keeps all tools where they are until this is dropped.
    pub(crate) fn stay(&self) -> RwLockReadGuard<'_, ()> {
        self.in_place.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A person wants it, whatever hosts that takes.
    pub(crate) fn ask(&self, name: &str, by: &str) -> Result<(), ToolError> {
        self.made_from(name)?;
        self.records.ask(name, by);
        Ok(())
    }

    /// Removes a tool that no run uses; `users` says which do. Blocks.
    pub(crate) fn remove(&self, name: &str, users: impl FnOnce(Digest) -> Vec<String>) -> Result<(), ToolError> {
        let (_, _, key) = self.made_from(name)?;
        let name = name.to_owned();
        if self.records.state(&name).is_under_way() {
            return Err(ToolError::UnderWay { name });
        }
        let _alone = self.in_place.write().unwrap_or_else(PoisonError::into_inner);
        let users = users(key);
        if !users.is_empty() {
            return Err(ToolError::InUse { name, by: users.join(", ") });
        }
        let was_there = self.cache.remove(key);
        self.records.set(&name, State::Removed);
        if was_there? { Ok(()) } else { Err(ToolError::Absent { name }) }
    }

    /// Removes tools that no recipe makes any more and no run uses. Blocks.
    fn sweep(&self, is_used: impl Fn(Digest) -> bool) -> Result<(), ToolCacheError> {
        let _alone = self.in_place.write().unwrap_or_else(PoisonError::into_inner);
        let made = |recipe: &ToolRecipe| Some(tool_cache::key(recipe, recipe.source_for(PROCESSOR)?));
        let kept: Vec<Digest> = self.recipes.iter().filter_map(made).collect();
        for record in self.cache.list()? {
            if !kept.contains(&record.recipe) && !is_used(record.recipe) {
                tracing::info!(tool = record.name, version = record.version, "no recipe makes it any more; removed");
                self.cache.remove(record.recipe)?;
            }
        }
        Ok(())
    }

    /// The recipe, its download and the key of what that makes.
    fn made_from(&self, name: &str) -> Result<(&ToolRecipe, &Source, Digest), ToolError> {
        let recipe = self.recipe(name).ok_or_else(|| ToolError::Unknown { name: name.to_owned() })?;
        let source = recipe.source_for(PROCESSOR).ok_or_else(|| ToolError::NoSource { name: name.to_owned() })?;
        Ok((recipe, source, tool_cache::key(recipe, source)))
    }

    fn fetcher(&self) -> Result<&Fetcher, FetchError> {
        match self.fetcher.get() {
            Some(fetcher) => Ok(fetcher),
            None => Fetcher::new().map(|fetcher| self.fetcher.get_or_init(|| fetcher)),
        }
    }
}

/// A tool that is there and cannot be used. What the host could not read may be as it was, which is looked at again, after longer each
/// time; when its files are others, only a person has it installed anew.
fn unusable(error: &ToolCacheError, looks: u32) -> State {
    let reason = chain(error);
    if error.is_hosts() {
        let again = Instant::now() + REST.saturating_mul(1 << looks.min(LOOKS_DOUBLED));
        State::Unread { reason, looks: looks.saturating_add(1), again }
    } else {
        State::Failed { by: String::new(), reason, tries: 1, again: None }
    }
}

/// Hosts that the installation asks or may be sent to.
pub(crate) fn hosts(recipe: &ToolRecipe, source: &Source) -> Vec<Domain> {
    let own = source.url.strip_prefix("https://").and_then(|rest| rest.split(['/', ':']).next());
    let own = own.and_then(|host| Domain::parse(host).ok());
    let named = recipe.permissions.network.iter().filter(|named| own.as_ref() != Some(*named)).cloned();
    own.clone().into_iter().chain(named).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use orch_adapters::recipe_store::RecipeStore;
    use orch_adapters::tool_cache::{Made, Mirror, TreeError};
    use tempfile::TempDir;

    use super::*;

    /// The shipped recipes, and one for a program that every host has.
    fn tools(mirrors: Mirrors) -> (TempDir, RecipeTools) {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("own");
        fs::create_dir_all(own.join("tools")).unwrap();
        let source =
            format!("source: {{ url: \"https://example.org/sh.tgz\", checksum: \"sha256:{}\" }}", "0".repeat(64));
        let text =
            format!("name: sh\nversion: \"1.0\"\n{source}\nsteps: [make]\npermissions: {{ network: [a.org] }}\n");
        fs::write(own.join("tools/sh.yaml"), text).unwrap();
        let recipes = RecipeStore::install(&directory.path().join("recipes"), Some(own)).unwrap().tools().unwrap();
        let cache = ToolCache::open(&directory.path().join("tools")).unwrap();
        (directory, RecipeTools::open(recipes, cache, mirrors))
    }

    /// Installs the one of its own; where it lies.
    fn install(tools: &RecipeTools) -> Tool {
        let (recipe, source, key) = tools.made_from("sh").unwrap();
        let draft = tools.cache.draft(key).unwrap();
        let tree = draft.join("work");
        fs::create_dir_all(tree.join("bin")).unwrap();
        fs::write(tree.join("bin/sh"), "#!/bin/true\n").unwrap();
        fs::set_permissions(tree.join("bin/sh"), fs::Permissions::from_mode(0o755)).unwrap();
        let made = Made { key, recipe, source, at: crate::clock::now(), by: "alice" };
        let tool = tools.cache.keep((&draft, &tree), &made).unwrap();
        tools.cache.discard(&draft).unwrap();
        tools.records.set("sh", State::Ready(Box::new(tool.clone())));
        tool
    }

    fn allowed(hosts: &[&str]) -> NetworkConfig {
        let allow = hosts.iter().map(|host| Reach::parse(host).unwrap()).collect();
        NetworkConfig { allow, ..NetworkConfig::default() }
    }

    fn said(tools: &RecipeTools, request: &str, network: &NetworkConfig) -> String {
        match tools.answer(request, &HostTools::new(|_| None), network) {
            Answer::Host { name } => format!("host {name}"),
            Answer::Tool(tool) => format!("tool {}", tool.record.name),
            Answer::Missing { fix } => fix,
        }
    }

    #[test]
    fn a_program_of_the_host_will_do_for_who_wants_nothing_more() {
        let (_directory, tools) = tools(Mirrors::default());
        let network = allowed(&[]);
        for (request, answer) in
            [("sh", "host sh"), ("git@2.38+", "host git"), ("nothing-of-that-name", "host nothing-of-that-name")]
        {
            assert_eq!(said(&tools, request, &network), answer);
        }
        let asked = said(&tools, "sh@1.0", &network);
        assert_eq!(asked, "`orchctl tool install sh` downloads it (example.org, a.org)");
        let other = said(&tools, "sh@2.x", &network);
        assert!(other.starts_with("its recipe is for 1.0, and 2.x is wanted"), "{other}");
        let other = said(&tools, &format!("sh#sha256:{}", "1".repeat(64)), &network);
        assert!(other.contains("change the recipe of the task or that of the tool"), "{other}");
    }

    #[test]
    fn what_the_configuration_allows_is_installed_without_a_question() {
        let (_directory, own) = tools(Mirrors::default());
        assert!(said(&own, "sh@1.0", &allowed(&["example.org:443"])).contains("orchctl tool install"), "one is left");
        assert!(said(&own, "sh@1.0", &allowed(&["example.org", "a.org:443"])).contains("about to be installed"));
        let mirror = (Domain::parse("example.org").unwrap(), Mirror::parse("http://127.0.0.1:9").unwrap());
        let (_directory, mirrored) = tools(Mirrors::new([mirror].into()));
        assert!(said(&mirrored, "sh@1.0", &allowed(&["a.org"])).contains("about to be installed"));
    }

    /// A link to itself can be read by nobody, root included, and is in the way of nothing that is moved back.
    #[test]
    fn what_the_host_cannot_read_for_a_moment_is_looked_at_again() {
        let (_directory, tools) = tools(Mirrors::default());
        let tool = install(&tools);
        let record = tool.root.with_file_name("tool.json");
        for path in [&tool.root, &record] {
            let aside = path.with_file_name("aside");
            fs::rename(path, &aside).unwrap();
            symlink(path, path).unwrap();
            let error = tools.installed("sh").unwrap_err();
            let is_io = |error: &ToolError| match error {
                ToolError::Cache(ToolCacheError::Tree(TreeError::Io { .. })) => *path == tool.root,
                ToolError::Cache(ToolCacheError::Io { .. }) => *path == record,
                _ => false,
            };
            assert!(is_io(&error), "{error:?}");
            let later = Instant::now() + REST;
            assert!(matches!(tools.state("sh"), State::Unread { looks: 1, .. }), "tasks wait for it");
            assert!(said(&tools, "sh@1.0", &allowed(&[])).starts_with("its files could not be read: "));
            let opened = RecipeTools::open(tools.recipes.clone(), tools.cache.clone(), Mirrors::default());
            assert!(matches!(opened.state("sh"), State::Unread { looks: 1, .. }), "at a start as well");
            assert!(tools.records.unread(later - REST).is_none(), "not so soon");
            assert_eq!(tools.records.unread(later), Some(("sh".to_owned(), 1)));
            assert!(tools.records.next(later).is_none(), "nobody has it installed");
            tools.look_again("sh", 1);
            assert!(tools.records.unread(later).is_none(), "after longer each time");
            fs::remove_file(path).unwrap();
            fs::rename(&aside, path).unwrap();
            tools.look_again("sh", 2);
            assert_eq!(tools.state("sh"), State::Ready(Box::new(tool.clone())));
            assert_eq!(tools.installed("sh").unwrap().record.content, tool.record.content);
        }
        tools.remove("sh", |_| Vec::new()).unwrap();
    }

    #[test]
    fn files_that_are_others_or_gone_are_noticed_by_who_looks_at_them() {
        let (_directory, tools) = tools(Mirrors::default());
        let tool = install(&tools);
        let (program, bin) = (tool.root.join("bin/sh"), tool.root.join("bin"));
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(&program).unwrap();
        fs::write(&program, "another").unwrap();
        assert_eq!(tools.content("sh"), Some(tool.record.content), "nobody has looked yet");
        let error = tools.installed("sh").unwrap_err();
        assert!(matches!(error, ToolError::Cache(ToolCacheError::Changed { .. })), "{error:?}");
        assert!(matches!(tools.state("sh"), State::Failed { again: None, .. }));
        assert_eq!(tools.content("sh"), None);
        tools.records.set("sh", State::Ready(Box::new(tool.clone())));
        fs::rename(&tool.root, tool.root.with_file_name("aside")).unwrap();
        tools.installed("sh").unwrap_err();
        assert!(matches!(tools.state("sh"), State::Failed { again: None, .. }), "a person has it installed anew");
        tools.remove("sh", |_| Vec::new()).unwrap();
        // Removed behind its back.
        tools.records.set("sh", State::Ready(Box::new(tool)));
        assert!(matches!(tools.installed("sh"), Err(ToolError::Absent { .. })));
        assert_eq!(tools.state("sh"), State::Absent);
    }

    #[test]
    fn who_waits_is_told_how_far_it_is_and_why_it_is_not_there() {
        let (_directory, tools) = tools(Mirrors::default());
        let network = allowed(&[]);
        tools.ask("sh", "alice").unwrap();
        assert!(said(&tools, "sh@1.0", &network).starts_with("it is being installed"));
        let removed = tools.remove("sh", |_| Vec::new());
        assert!(matches!(removed, Err(ToolError::UnderWay { .. })), "{removed:?}");
        let job = tools.records.next(Instant::now()).unwrap();
        tools.records.failed(&job, "another checksum".into(), false, Instant::now());
        let why = said(&tools, "sh@1.0", &network);
        assert_eq!(why, "it could not be installed: another checksum; `orchctl tool install sh` tries again");
        assert_eq!(tools.missing("sh", &network), Some(why));
        assert!(matches!(tools.installed("sh"), Err(ToolError::Absent { .. })));
        let in_use = tools.remove("sh", |_| vec!["R-1".into()]);
        assert!(matches!(in_use, Err(ToolError::InUse { .. })), "{in_use:?}");
        assert!(matches!(tools.remove("sh", |_| Vec::new()), Err(ToolError::Absent { .. })));
        for unknown in ["git", "nothing"] {
            assert!(matches!(tools.ask(unknown, "alice"), Err(ToolError::Unknown { .. })), "{unknown}");
        }
    }
}
