//! Askers on both ways to a model: as agents in runs of a daemon, through its gateway, and as processes beside it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use orch_proto::request::Request;
use orch_proto::view::{LogStream, RunState, RunView};
use orch_tests::asker::{Order, Seen};
use orch_tests::client::{Client, short, task_request, written};
use orch_tests::command_line::with_input;
use orch_tests::model_server::ModelServer;
use tokio::task::{JoinSet, LocalSet};

use crate::site::{Isolation, PROJECT, Site};

/// Runs and processes at once.
pub(crate) const ASKERS: u32 = 4;
/// Name of the agent, by which tasks ask for it.
const AGENT: &str = "asker";
/// The program that takes the place of Codex, whose arguments it does not read.
const PROGRAM: &str = env!("CARGO_BIN_EXE_e2e-asker");
/// Where a run finds its way to a model.
const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4141);
/// How often it is looked whether a run has ended, and for how long.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(300);
/// The step of a run in which its agent works. Step 0 is the checkout.
const STEP: u32 = 1;

/// How much is asked: so many askers, each with so many connections at once and requests on each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) askers: u32,
    pub(crate) at_once: u32,
    pub(crate) requests: u32,
}

impl Load {
    const fn order(self, address: SocketAddr) -> Order {
        Order { address, at_once: self.at_once, requests: self.requests }
    }

    fn checked(self, seen: Vec<Seen>) -> anyhow::Result<Vec<Seen>> {
        let wanted = (self.askers * self.at_once * self.requests) as usize;
        ensure!(seen.len() == wanted, "{} answers instead of {wanted}", seen.len());
        Ok(seen)
    }
}

/// A daemon whose agent asks `server`.
pub(crate) async fn site(server: &ModelServer) -> anyhow::Result<Site> {
    let configuration = format!(
        "[limits]\nruns_max = {ASKERS}\n[run]\ntotal_memory_mb = 128\n[workspaces]\nprepare_from_files = 0\n\
         [models.scripted]\napi = \"openai\"\nurl = \"{}\"\n\
         [agents.{AGENT}]\nkind = \"codex\"\nmodels = \"scripted\"\nprogram = \"{PROGRAM}\"\n",
        server.url()
    );
    Site::start_with(Isolation::Sandbox, &configuration).await
}

/// Asks through the gateway of a daemon, from as many runs as there are askers.
pub(crate) async fn through(site: &Site, load: Load) -> anyhow::Result<Vec<Seen>> {
    let mut runs = JoinSet::new();
    // Waits of a client stay on one thread.
    let here = LocalSet::new();
    for _ in 0..load.askers {
        let client = site.client.clone();
        let asks = async move {
            let accepted = client.submit(task(load.order(GATEWAY))).await?;
            let task = accepted.touched.first().context("a new task has a name")?.name.clone();
            let run = ended(&client, short(&task)).await?;
            let log = client.log(&run.name).await?;
            ensure!(run.state == RunState::Succeeded, "{run:#?}: {log:#?}");
            anyhow::Ok(Seen::read(&written(&log, STEP, LogStream::Stdout)))
        };
        runs.spawn_local_on(asks, &here);
    }
    load.checked(here.run_until(all(runs)).await?)
}

/// The run of a task, at its end. Looked for now and then: who looks whenever something has happened, as
/// [`Client::wait_until`] does, looks with each request, and is measured, too.
async fn ended(client: &Client, task: &str) -> anyhow::Result<RunView> {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(LOOK_AGAIN);
    while Instant::now() < deadline {
        looks.tick().await;
        let mut runs = client.runs(PROJECT).await?.into_iter();
        if let Some(run) = runs.find(|run| run.task_name == task && run.state.is_final()) {
            return Ok(run);
        }
    }
    bail!("{task} has not ended within {} s", PATIENCE.as_secs())
}

/// Asks the server itself, from as many processes as there are askers.
pub(crate) async fn directly(server: &ModelServer, load: Load) -> anyhow::Result<Vec<Seen>> {
    let mut processes = JoinSet::new();
    for _ in 0..load.askers {
        let order = load.order(server.address());
        processes.spawn(async move {
            let output = with_input(tokio::process::Command::new(PROGRAM), order.line().as_bytes()).await?;
            Ok(Seen::read(output.ok()?.as_bytes()))
        });
    }
    load.checked(all(processes).await?)
}

async fn all(mut askers: JoinSet<anyhow::Result<Vec<Seen>>>) -> anyhow::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    while let Some(ended) = askers.join_next().await {
        seen.extend(ended??);
    }
    Ok(seen)
}

/// A task for the agent. Its prompt has what has to hold, and so the order.
fn task(order: Order) -> Request {
    let mut request = task_request(PROJECT, "Ask a model", "");
    if let Request::TaskCreate { recipe, recipe_name, capability, acceptance, .. } = &mut request {
        (*recipe, *recipe_name) = (None, None);
        *capability = Some(AGENT.to_owned());
        *acceptance = vec![order.line()];
    }
    request
}
