//! What all parts of the daemon share: the state, the doors to effects, what is known of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use orch_adapters::blobs::BlobStore;
use orch_adapters::executor::Executor;
use orch_adapters::fingerprint::Fingerprints;
use orch_adapters::gateway::{Client, ClientError};
use orch_adapters::git::{BareRepo, Hardened, OpenError};
use orch_adapters::host_tools::{HostTools, ToolSet};
use orch_adapters::providers::Providers;
use orch_adapters::recipe_store::RecipeStore;
use orch_adapters::roles::Roles;
use orch_adapters::secret_store::SecretStore;
use orch_core::actor::Actor;
use orch_core::command::{Command, Envelope};
use orch_core::digest::Digest;
use orch_core::recipe::{Prices, Role, SecretName};
use orch_core::schedule::{Limits, Shortage, Staff};
use orch_core::view::ReadError;
use orch_proto::Timestamp;
use orch_proto::id::{CommandId, ProjectId, RunId};
use orch_store::{Committed, ExecuteError, Outage, ReadView, Store};
use tokio::sync::{Semaphore, watch};

use crate::agents;
use crate::answers::Answers;
use crate::config::{AgentConfig, Config};
use crate::gateway::Gateways;
use crate::host::{self, HostFacts, KnownRoom, Room};
use crate::jail::JailError;
use crate::kept_book::KeptBook;
use crate::kept_history::KeptHistory;
use crate::state_dir::StateDir;
use crate::tools::{Answer, RecipeTools};
use crate::troubles::Troubles;
use crate::upkeep::Upkeep;
use crate::watches::Watches;
use crate::workspaces::Workspaces;

/// Runs that are launched at once: each waits for the disk a few times, in a thread of its own.
const LAUNCHES_MAX: usize = 16;
/// Interrupted agents of which something is kept at once.
const KEEPS_MAX: usize = 2;
/// Agents whose prompt is put together at once.
const BRIEFS_MAX: usize = 4;

/// Files of runs that are taken in at once: each has a thread of its own, and a run can be slow.
const INTAKES_MAX: usize = 4;

/// The shared parts. One per process, behind an [`Arc`].
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) dirs: StateDir,
    pub(crate) store: Store,
    pub(crate) git: Hardened,
    pub(crate) blobs: BlobStore,
    pub(crate) recipes: RecipeStore,
    /// What agents are for.
    pub(crate) roles: Roles,
    /// What people are asked for before steps begin.
    pub(crate) providers: Providers,
    /// What models cost.
    pub(crate) prices: Prices,
    /// Digests of programs.
    pub(crate) fingerprints: Fingerprints,
    pub(crate) tools: HostTools,
    /// Tools that recipes install.
    pub(crate) recipe_tools: RecipeTools,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) workspaces: Workspaces,
    pub(crate) secrets: SecretStore,
    /// Values that people answered questions of runs with.
    pub(crate) answers: Answers,
    /// The program that speaks to the channels of runs; none when it is not installed.
    pub(crate) channel_program: Option<PathBuf>,
    pub(crate) started_at: Timestamp,
    /// Nothing lives that an earlier daemon has begun: the host was started anew since.
    pub(crate) is_new_boot: bool,
    pub(crate) host: RwLock<HostFacts>,
    pub(crate) room: KnownRoom,
    /// Agents and roles, and how many runs each may have. Known from the first look at them on.
    staff: OnceLock<Arc<Staff>>,
    pub(crate) book: KeptBook,
    pub(crate) history: KeptHistory,
    pub(crate) troubles: Troubles,
    /// Work on the state as a whole.
    pub(crate) upkeep: Upkeep,
    /// Directories of runs that are followed; without, they are looked at now and then.
    pub(crate) watches: Option<Arc<Watches>>,
    /// Turns true when the daemon is to stop.
    pub(crate) stopping: watch::Sender<bool>,
    /// Changes when reconcilers are to look again at something that is no part of the state.
    pub(crate) woken: watch::Sender<u64>,
    /// Held by those who launch a run: there are not threads for any number of them.
    pub(crate) launches: Semaphore,
    /// What interrupted agents left is kept for a few at once. Held by the threads that do.
    pub(crate) keeps: Arc<Semaphore>,
    /// What agents are told is put together by a few at once: repositories decide how long that takes.
    pub(crate) briefs: Semaphore,
    /// Held by those who take in a file of a run, for as long as that comes.
    pub(crate) intakes: Semaphore,
    tool_sets: Mutex<BTreeMap<String, ToolSet>>,
    /// What runs ask of models.
    pub(crate) gateways: Gateways,
    /// Connections to the servers of models, from the first agent on.
    models: OnceLock<Client>,
    /// Repositories that were opened. What git said of them then does not change.
    repositories: Mutex<BTreeMap<ProjectId, BareRepo>>,
}

/// The parts that [`App::new`] puts together.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) dirs: StateDir,
    pub(crate) store: Store,
    pub(crate) git: Hardened,
    pub(crate) blobs: BlobStore,
    pub(crate) recipes: RecipeStore,
    pub(crate) roles: Roles,
    pub(crate) providers: Providers,
    pub(crate) prices: Prices,
    pub(crate) tools: HostTools,
    pub(crate) recipe_tools: RecipeTools,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) workspaces: Workspaces,
    pub(crate) secrets: SecretStore,
    pub(crate) answers: Answers,
    pub(crate) host: HostFacts,
    pub(crate) is_new_boot: bool,
}

impl App {
    pub(crate) fn new(parts: Parts, gateways: Gateways) -> Arc<Self> {
        // As what it is and no link: that is how it is mounted.
        let channel_program = parts.config.orchctl_program.canonicalize().ok().filter(|program| program.is_file());
        Arc::new(Self {
            config: parts.config,
            dirs: parts.dirs,
            store: parts.store,
            git: parts.git,
            blobs: parts.blobs,
            recipes: parts.recipes,
            roles: parts.roles,
            providers: parts.providers,
            prices: parts.prices,
            tools: parts.tools,
            recipe_tools: parts.recipe_tools,
            fingerprints: Fingerprints::default(),
            executor: parts.executor,
            workspaces: parts.workspaces,
            secrets: parts.secrets,
            answers: parts.answers,
            channel_program,
            started_at: crate::clock::now(),
            is_new_boot: parts.is_new_boot,
            host: RwLock::new(parts.host),
            room: KnownRoom::default(),
            staff: OnceLock::new(),
            book: KeptBook::default(),
            history: KeptHistory::default(),
            troubles: Troubles::default(),
            upkeep: Upkeep::default(),
            watches: watches(),
            stopping: watch::Sender::new(false),
            woken: watch::Sender::new(0),
            launches: Semaphore::new(LAUNCHES_MAX),
            keeps: Arc::new(Semaphore::new(KEEPS_MAX)),
            briefs: Semaphore::new(BRIEFS_MAX),
            intakes: Semaphore::new(INTAKES_MAX),
            tool_sets: Mutex::default(),
            gateways,
            models: OnceLock::new(),
            repositories: Mutex::default(),
        })
    }

    /// Reads the state, off the async threads.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&ReadView<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let app = Arc::clone(self);
        blocking(move || app.store.read(read)).await
    }

    /// Executes a command of one of the daemon's own parts. It is queued at once, not when the future is first polled.
    ///
    /// # Errors
    /// When it is refused or cannot be committed.
    pub(crate) fn execute(
        &self,
        part: &str,
        command: Command,
    ) -> impl Future<Output = Result<Committed, ExecuteError>> + Send + 'static + use<> {
        self.execute_as(CommandId::generate(), part, command)
    }

    /// The same under an id that was used for the same before: it happens once, however often it is asked for.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub(crate) fn execute_as(
        &self,
        id: CommandId,
        part: &str,
        command: Command,
    ) -> impl Future<Output = Result<Committed, ExecuteError>> + Send + 'static + use<> {
        let request = Digest::of(id.to_string().as_bytes());
        self.store.execute(Envelope { id, actor: Actor::daemon(part), request, command })
    }

    /// A project's repository. Git is asked about it once.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn repository(&self, project: ProjectId) -> Result<BareRepo, OpenError> {
        let known = |known: &Self| {
            let known = known.repositories.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&project).filter(|repository| repository.is_there()).cloned()
        };
        if let Some(repository) = known(self) {
            return Ok(repository);
        }
        let repository = BareRepo::open(&self.git, &self.dirs.repository(project))?;
        let mut known = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(project, repository.clone());
        Ok(repository)
    }

    /// Mounts and paths for what is asked for: tools of recipes, and programs of the host.
    pub(crate) fn tool_set(&self, requests: &[String]) -> ToolSet {
        let (mut of_host, mut installed, mut missing) = (Vec::new(), Vec::new(), BTreeMap::new());
        for request in requests {
            match self.recipe_tools.answer(request, &self.tools, &self.config.network) {
                Answer::Host { name } => of_host.push(name),
                Answer::Tool(tool) => installed.push(tool),
                Answer::Missing { fix } => drop(missing.insert(request.clone(), fix)),
            }
        }
        let mut set = self.host_tools(&of_host);
        installed.iter().for_each(|tool| set.add_tree(&tool.root));
        set.missing.extend(missing);
        set
    }

    /// Whether a run gets what it asks for.
    pub(crate) fn has_tool(&self, request: &str) -> bool {
        match self.recipe_tools.answer(request, &self.tools, &self.config.network) {
            Answer::Host { name } => self.tools.require(&name).is_ok(),
            Answer::Tool(_) => true,
            Answer::Missing { .. } => false,
        }
    }

    /// Programs of the host. Looked up once while they are there; a missing one is looked for again.
    fn host_tools(&self, tools: &[String]) -> ToolSet {
        let mut sorted: Vec<&str> = tools.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let key = sorted.join(" ");
        let mut known = self.tool_sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = known.get(&key) {
            return set.clone();
        }
        let set = self.tools.resolve(sorted);
        if set.missing.is_empty() {
            known.insert(key, set.clone());
        }
        set
    }

    /// Programs of the host are looked for anew.
    pub(crate) fn forget_host_tools(&self) {
        self.tool_sets.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What asks models. Reads the certificates that the host trusts, the first time.
    ///
    /// # Errors
    /// When there are none.
    pub(crate) fn models(&self) -> Result<Client, ClientError> {
        match self.models.get() {
            Some(client) => Ok(client.clone()),
            None => Client::new().map(|client| self.models.get_or_init(|| client).clone()),
        }
    }

    /// What the agents that are configured can do, by themselves and in their roles.
    pub(crate) fn capabilities(&self) -> BTreeSet<String> {
        let mut capabilities = self.config.agents.capabilities();
        let has_agent = |role: &&Role| {
            role.agent.as_ref().is_some_and(|agent| self.config.agents.agents.contains_key(agent.as_str()))
        };
        let of_roles = self.roles.common().filter(has_agent).flat_map(|role| &role.capabilities);
        capabilities.extend(of_roles.map(ToString::to_string));
        capabilities
    }

    /// Tells the book what scheduling may use at the moment. Blocks: looking for programs asks the file system, and a
    /// toolchain for its home.
    pub(crate) fn renew_limits(&self) {
        let wanted = self.book.wanted();
        let missing_tools = wanted.tools.into_iter().flat_map(|tool| self.missing_tool(tool)).collect();
        let is_missing = |name: &String| SecretName::parse(name).is_ok_and(|name| !self.secrets.has(&name));
        let missing_secrets = wanted.secrets.into_iter().filter(is_missing).collect();
        self.book.set_limits(self.limits(missing_tools, missing_secrets, &wanted.disk));
    }

    /// The program with the command that installs it, when it is not there.
    fn missing_tool(&self, tool: String) -> BTreeMap<String, String> {
        let is_known = self.tool_sets.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&tool);
        if is_known && self.recipe_tools.recipe(&tool).is_none() {
            return BTreeMap::new();
        }
        match self.recipe_tools.answer(&tool, &self.tools, &self.config.network) {
            // Said of what was asked for, with the version that was.
            Answer::Host { name } => {
                self.host_tools(&[name]).missing.into_values().map(|fix| (tool.clone(), fix)).collect()
            }
            Answer::Tool(_) => BTreeMap::new(),
            Answer::Missing { fix } => [(tool, fix)].into(),
        }
    }

    /// Agents whose program is a tool that is not there, with its name and what is to be done about it.
    fn missing_programs(&self) -> BTreeMap<String, (String, String)> {
        let missing = |agent: &AgentConfig| {
            let tool = agent.tool.as_ref()?;
            let fix = self.recipe_tools.missing(tool, &self.config.network)?;
            Some((agent.name.clone(), (tool.clone(), fix)))
        };
        self.config.agents.agents.values().filter_map(missing).collect()
    }

    fn limits(
        &self,
        missing_tools: BTreeMap<String, String>,
        missing_secrets: BTreeSet<String>,
        asked: &BTreeMap<RunId, u64>,
    ) -> Limits {
        let host = self.host.read().unwrap_or_else(PoisonError::into_inner);
        let room = Room::of(self.dirs.root());
        let trees = |run| [self.dirs.run(run), self.dirs.workspace(run)];
        let written = self.room.written(asked, Instant::now(), trees);
        Limits {
            runs_max: self.config.runs_max,
            totals: self.config.totals(host.bounds_memory(), room.map(|room| (room, written)), self.staff()),
            shortage: self.shortage_of(room),
            capabilities: self.capabilities(),
            missing_tools,
            missing_programs: self.missing_programs(),
            missing_secrets,
            level: host.level,
            level_required: host.required(self.config.required_level),
            level_fix: host.fix.clone(),
            freezes: self.config.freezes.clone(),
            patience: self.config.patience,
            hold_ms: self.config.hold_ms,
            paused: self.standstill(),
        }
    }

    /// Agents and roles, and how many runs each may have at once.
    fn staff(&self) -> Arc<Staff> {
        Arc::clone(self.staff.get_or_init(|| Arc::new(agents::staff(self))))
    }

    /// That the disk which runs write to is nearly full, if it is.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        self.shortage_of(Room::of(self.dirs.root()))
    }

    fn shortage_of(&self, room: Option<Room>) -> Option<Shortage> {
        self.room.shortage(room?, self.config.shares.disk_free_bytes)
    }

    /// Why nothing new begins anywhere, if it is so.
    fn standstill(&self) -> Option<String> {
        if *self.stopping.borrow() {
            return Some("the daemon is stopping".to_owned());
        }
        let outage = self.store.outage();
        let outage = outage.borrow();
        outage.as_ref().map(|outage| self.outage_line(outage))
    }

    /// What a person is told while the state cannot be written.
    pub(crate) fn outage_line(&self, outage: &Outage) -> String {
        let (root, since) = (self.dirs.root().display(), outage.since);
        if outage.is_full {
            format!(
                "no space left to write the state since {since}; make room for `{root}`. Runs go on, nothing new begins"
            )
        } else {
            format!(
                "the state cannot be written since {since}; look at the disk of `{root}`. Runs go on, nothing new begins: {}",
                outage.reason
            )
        }
    }

    /// Fails while an attack on the sandbox works: jails read what others wrote, as runs do.
    pub(crate) fn jails_hold(&self) -> Result<(), JailError> {
        let host = self.host.read().unwrap_or_else(PoisonError::into_inner);
        if host.withstands() { Ok(()) } else { Err(JailError::Escapes { fix: host.fix.clone() }) }
    }

    /// Measures the host again, in a jail of this name, and has everybody go by what was found.
    pub(crate) async fn measure_host(&self, name: &str) -> HostFacts {
        let facts = host::measure_in(&self.config, self.executor.as_ref(), &self.dirs.jail(name)).await;
        *self.host.write().unwrap_or_else(PoisonError::into_inner) = facts.clone();
        self.look_again();
        facts
    }

    /// Has reconcilers look again at something that is no part of the state.
    pub(crate) fn look_again(&self) {
        self.woken.send_modify(|times| *times = times.wrapping_add(1));
    }

    /// Ends when the daemon is to stop.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail while somebody waits.
        let _closed = stopping.wait_for(|stopping| *stopping).await.is_err();
    }
}

fn watches() -> Option<Arc<Watches>> {
    match Watches::new() {
        Ok(watches) => Some(Arc::new(watches)),
        Err(error) => {
            tracing::warn!(%error, "what runs write is seen late: raise fs.inotify.max_user_instances");
            None
        }
    }
}

/// Does work that may wait for a disk, on this thread: somebody waits for its answer and nothing else, and another thread
/// goes on with everything else. Sooner done than [`blocking`], which wakes two threads one after the other.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// Runs blocking work off the async threads. A panic in it goes on here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
