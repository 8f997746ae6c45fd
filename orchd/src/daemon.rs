//! The daemon's life: what is started in which order, and how it stops.
//!
//! Start: lock, state, programs, sandbox, recovery of what was under way, reconcilers, and only then the socket. Stop:
//! no new connection, no new decision, effects under way are brought to their end, the state is closed. Runs go on.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use orch_adapters::blobs::BlobStore;
use orch_adapters::executor::Local;
use orch_adapters::git::{BareRepo, Hardened};
use orch_adapters::host_tools::HostTools;
use orch_adapters::recipe_store::{RecipeStore, RecipeStoreError};
use orch_adapters::sealing::{KeyError, Sealer};
use orch_adapters::secret_store::{SecretStore, SecretStoreError};
use orch_adapters::tool_cache::ToolCache;
use orch_adapters::tool_recipes::ToolRecipes;
use orch_core::recipe::ToolRecipe;
use orch_proto::{ErrorCode, RpcError};
use orch_sandbox::SpawnerOptions;
use orch_store::{OpenOptions, Store};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::answers::{self, Answers};
use crate::app::{App, Parts};
use crate::config::Config;
use crate::error_chain::chain;
use crate::gateway::Gateways;
use crate::instance_lock::{InstanceLock, LockError};
use crate::logging::Logging;
use crate::rpc::Listener;
use crate::state_dir::StateDir;
use crate::tools::RecipeTools;
use crate::workspaces::Workspaces;
use crate::{gateway, host, jail, reconcile, state_dir, upkeep};

/// Threads for what blocks: reads of the state, files, git. Each keeps some memory, and with many runs there is work for
/// hundreds of them, which none would do sooner.
const BLOCKING_MAX: usize = 32;
/// How long a start waits for the lock of the state directory, and how often it looks.
const LOCK_WAIT: Duration = Duration::from_secs(1);
const LOCK_LOOK: Duration = Duration::from_millis(20);

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it cannot start; nothing was changed then.
pub(crate) fn run(config: Config, logging: Logging) -> Result<(), RpcError> {
    orch_sandbox::share_heaps();
    let failed = |error| RpcError::new(ErrorCode::Internal, format!("failed to start the runtime: {error}"));
    let builder = || {
        let mut builder = Builder::new_multi_thread();
        builder.enable_all().max_blocking_threads(BLOCKING_MAX);
        builder
    };
    let runtime = builder().thread_name("orchd").build().map_err(failed)?;
    let of_gateways = builder().thread_name("orchd-gateway").worker_threads(1).build().map_err(failed)?;
    runtime.block_on(serve(config, logging, Gateways::on(of_gateways.handle().clone())))
}

async fn serve(config: Config, logging: Logging, gateways: Gateways) -> Result<(), RpcError> {
    for doubt in config.doubts() {
        tracing::warn!(doubt, "the configuration says something that means nothing here");
    }
    let dirs = StateDir::create(&config.state_dir)
        .map_err(|error| state_dir::unusable("state directory", &config.state_dir, &error))?;
    let _lock = lock(&dirs).await.map_err(|error| lock_error(&error))?;
    let _shown = dirs
        .show_daemon(config.leases.ends_orphans())
        .map_err(|error| state_dir::unusable("lock of the runs in", dirs.root(), &error))?;
    // Before anything is started: what keeps runs going is worth as much as the daemon.
    protect_from_oom_killer();
    upkeep::refuse_half_restored(dirs.root())?;
    upkeep::clear_left_over(&dirs);
    let app = App::new(parts(config, dirs).await?, gateways);
    answers::sweep(&app);
    let runs = reconcile::recover(&app).await;
    let listener = Listener::bind(&app.config.socket, app.config.socket_group.as_deref())
        .map_err(|error| RpcError::new(ErrorCode::Config, chain(&error)).hint(error.hint()))?;
    let mut reconcilers = reconcile::start(&app, runs);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %app.config.socket.display(),
        state = %app.dirs.root().display(),
        "ready"
    );
    notify(&[sd_notify::NotifyState::Ready]);
    let serving = tokio::spawn(listener.serve(Arc::clone(&app)));
    wait_for_end(&app, &logging).await?;
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping; runs go on");
    app.stopping.send_replace(true);
    // What is not whole by now is begun again by whoever wants it.
    if let Some(work) = app.upkeep.work() {
        work.cancel();
    }
    if let Err(error) = serving.await {
        tracing::error!(%error, "the socket's task failed");
    }
    while let Some(ended) = reconcilers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a reconciler failed");
        }
    }
    gateway::settle(&app).await;
    tracing::info!("stopped");
    Ok(())
}

/// Takes the lock of the state directory. A daemon that was killed can leave a child that was not yet the program it was
/// to become, and has the lock for that moment.
async fn lock(dirs: &StateDir) -> Result<InstanceLock, LockError> {
    let deadline = tokio::time::Instant::now() + LOCK_WAIT;
    loop {
        match InstanceLock::take(&dirs.lock()) {
            Err(LockError::Taken { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(LOCK_LOOK).await;
            }
            taken => return taken,
        }
    }
}

async fn parts(config: Config, dirs: StateDir) -> Result<Parts, RpcError> {
    let internal = |what: &str, error: &dyn std::error::Error| {
        RpcError::new(ErrorCode::Storage, format!("{what}: {}", chain(error)))
    };
    let store = open_store(&dirs)?;
    let is_new_boot = dirs.note_boot().unwrap_or_else(|error| {
        tracing::warn!(%error, "not known whether the host was started anew; runs that are not found are waited for");
        false
    });
    let git =
        Hardened::probe().map_err(|error| RpcError::new(ErrorCode::ToolMissing, chain(&error)).hint(error.hint()))?;
    recover_repositories(&git, &dirs);
    let blobs = BlobStore::open(&dirs.blobs()).map_err(|error| internal("failed to open the blobs", &error))?;
    let recipes = RecipeStore::install(&dirs.recipes(), config.recipes_dir.clone())
        .map_err(|error| internal("failed to install the recipes", &error))?;
    let wrong = |error: RecipeStoreError| {
        RpcError::new(ErrorCode::Config, chain(&error)).hint("mend the file, or take it out of your own recipes")
    };
    let (roles, prices) = (recipes.roles().map_err(wrong)?, recipes.prices().map_err(wrong)?);
    let providers = recipes.providers().map_err(wrong)?;
    let tool_recipes = recipes.tools().map_err(wrong)?;
    check_agents(&config, &tool_recipes)?;
    let (secrets, answers) = open_secrets(&config, &dirs)?;
    let tools = HostTools::new(|name| std::env::var(name).ok());
    let options = SpawnerOptions::with_ceilings(config.ceilings.clone());
    let executor = Local::start(&config.sandbox_program, options).map_err(|error| {
        RpcError::new(ErrorCode::ToolMissing, chain(&error))
            .hint("`orch-sandbox` belongs beside `orchd`; name another place with `[sandbox] program`")
    })?;
    jail::clear(&executor, &dirs.jail("")).await;
    let cache = ToolCache::open(&dirs.tools()).map_err(|error| internal("failed to open the tools", &error))?;
    jail::clear(&executor, &cache.drafts()).await;
    let recipe_tools = RecipeTools::open(tool_recipes, cache, config.mirrors.clone());
    let workspaces = Workspaces::open(&dirs.workspaces(), config.workspaces.cache)
        .map_err(|error| internal("failed to open the directory of workspaces", &error))?;
    let host = host::measure_in(&config, &executor, &dirs.jail("probe")).await;
    let required = host.required(config.required_level);
    if host.level < required {
        tracing::error!(level = host.level, required, fix = host.fix, "no run will start");
    }
    tracing::info!(level = host.level, escapes = host::withstood(&host.cases).detail, "the sandbox was measured");
    Ok(Parts {
        config,
        dirs,
        store,
        git,
        blobs,
        recipes,
        roles,
        providers,
        prices,
        tools,
        recipe_tools,
        executor: Arc::new(executor),
        workspaces,
        secrets,
        answers,
        host,
        is_new_boot,
    })
}

/// Opens what lies encrypted, with the key for it.
fn open_secrets(config: &Config, dirs: &StateDir) -> Result<(SecretStore, Answers), RpcError> {
    let sealer = Sealer::open(&dirs.keys(), config.credentials.as_deref()).map_err(|error| match &error {
        KeyError::File { what: "make", path, source } => state_dir::unusable("key of secrets", path, source),
        _ => RpcError::new(ErrorCode::StateAccess, chain(&error)).hint(
            "put the key back as it was; when it is lost, remove it with all that is in `secrets/` and `secrets/.answers/` of \
             the state directory, start the daemon, and set the secrets again",
        ),
    })?;
    let sealer = Arc::new(sealer);
    let unopened = |error: SecretStoreError| {
        match &error {
        SecretStoreError::Sealed { .. } => RpcError::new(ErrorCode::StateAccess, chain(&error)).hint(
            "put the key back (`keys/secrets.key` of the state directory, or the credential `orch-secrets-key`); when it is lost, \
             remove that file in `secrets/` or `secrets/.answers/` and set the secret again",
        ),
        _ => RpcError::new(ErrorCode::Storage, format!("failed to open the secrets: {}", chain(&error)))
            .hint("look at the state directory and its disk"),
    }
    };
    let secrets = SecretStore::open(&dirs.secrets(), config.credentials.clone(), Arc::clone(&sealer));
    Ok((secrets.map_err(unopened)?, Answers::open(&dirs.secrets(), sealer).map_err(unopened)?))
}

/// Whether there is a recipe for each agent that is to be a tool.
fn check_agents(config: &Config, recipes: &ToolRecipes) -> Result<(), RpcError> {
    let is_there = |tool: &str| recipes.get(tool).is_some_and(ToolRecipe::is_installed);
    for agent in config.agents.agents.values() {
        if let Some(tool) = agent.tool.as_deref().filter(|tool| !is_there(tool)) {
            let installed = recipes.iter().filter(|recipe| recipe.is_installed());
            let known = installed.map(|recipe| recipe.name.as_str()).collect::<Vec<_>>().join(", ");
            let message = format!("`agents.{}.tool` names `{tool}`, which no recipe installs", agent.name);
            return Err(RpcError::new(ErrorCode::Config, message).hint(format!("there are: {known}")));
        }
    }
    Ok(())
}

/// Clears what a crash left half-made in repositories: drafts, locks, objects that were never admitted.
fn recover_repositories(git: &Hardened, dirs: &StateDir) {
    if let Err(error) = BareRepo::clear_drafts(&dirs.repositories()) {
        tracing::warn!(%error, "failed to clear half-made repositories");
    }
    for entry in std::fs::read_dir(dirs.repositories()).into_iter().flatten().flatten() {
        let recovered = BareRepo::open(git, &entry.path()).map_err(|error| chain(&error));
        if let Err(error) = recovered.and_then(|repository| repository.recover().map_err(|error| chain(&error))) {
            tracing::warn!(error, repository = %entry.path().display(), "failed to recover a repository");
        }
    }
}

/// Random bytes, from which ids are drawn.
pub(crate) fn seed() -> Result<[u8; 32], RpcError> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut seed))
        .map_err(|error| RpcError::new(ErrorCode::Internal, format!("failed to read /dev/urandom: {error}")))?;
    Ok(seed)
}

fn open_store(dirs: &StateDir) -> Result<Store, RpcError> {
    let options = OpenOptions { seed: seed()?, clock: Arc::new(crate::clock::now), vfs: None };
    Store::open(&dirs.database(), options).map_err(|error| state_dir::unopened(&error))
}

/// Takes the lock of a state directory, or says who has it.
pub(crate) fn lock_now(path: &std::path::Path) -> Result<InstanceLock, RpcError> {
    InstanceLock::take(path).map_err(|error| lock_error(&error))
}

fn lock_error(error: &LockError) -> RpcError {
    match error {
        LockError::Taken { .. } => RpcError::new(ErrorCode::Locked, chain(error))
            .hint("use that one, stop it with `orchctl down`, or name another directory with `--state-dir`"),
        LockError::Open { path, source } => state_dir::unusable("lock file", path, source),
    }
}

/// Ends with SIGTERM, SIGINT or a client's request; SIGHUP reopens the log.
async fn wait_for_end(app: &Arc<App>, logging: &Logging) -> Result<(), RpcError> {
    let listen = |kind| {
        signal(kind)
            .map_err(|error| RpcError::new(ErrorCode::Internal, format!("failed to listen for signals: {error}")))
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = app.stopped() => return Ok(()),
            _ = hangup.recv() => {
                logging.reopen();
                tracing::info!("log reopened");
            }
        }
    }
}

/// The kernel takes a run first when memory runs out. Only root may ask for that; for others systemd does with
/// `OOMScoreAdjust=`, and `doctor` says whether somebody did. Spawner and shims inherit it; runs raise it again.
fn protect_from_oom_killer() {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "-900") {
        tracing::debug!(%error, "not protected from the kernel's out-of-memory killer");
    }
}

/// Tells systemd, if it asked to be told.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not notified");
    }
}
