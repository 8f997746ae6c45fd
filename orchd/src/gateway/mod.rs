//! The models of runs and of agents that plan: serves each that lives with a gateway, and keeps its books in the state.
//!
//! A daemon that comes back serves the same listener again; what its predecessor had under way is put on record as unknown,
//! since nobody knows what became of it, whether the run lives or not. **Invariant:** a request that costs something is on
//! record before it leaves, whatever the state of the disk: while nothing can be written, agents wait. **Invariant:** every
//! exchange that is on record comes to an end there.

mod books;
mod planner;
mod texts;
mod way;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orch_adapters::agent::MODEL_LISTENER;
use orch_adapters::gateway::{Api, Gateway, Ledger};
use orch_adapters::secret_store::SecretStoreError;
use orch_core::entity::{OpenExchange, Run};
use orch_core::view::View as _;
use orch_proto::id::RunId;
use orch_sandbox::control::{self, ControlError};
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::books::{Book, Books};
pub(crate) use self::planner::{PlannerBook, PlannerBooks};
pub(crate) use self::texts::keep;
use self::way::Redactions;
use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::site::Served;

/// Wait before something that did not work is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether an agent that is about to plan has begun. Until then what it asks waits.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long a daemon that stops waits for exchanges to be put on record.
const STOP_MAX: Duration = Duration::from_secs(2);

/// What is known of the models of all runs.
#[derive(Debug)]
pub(crate) struct Gateways {
    /// Of each run that asked something: one, whoever serves it how often.
    books: Mutex<BTreeMap<RunId, Arc<Book>>>,
    redactions: Redactions,
    /// Exchanges that are under way here.
    under_way: watch::Sender<usize>,
    /// Serves all runs.
    runtime: Handle,
}

impl Gateways {
    /// On this runtime, which is best one of one thread: answers come in small pieces, each through three tasks, and a request
    /// that comes alone would wake a thread for each step of its way.
    pub(crate) fn on(runtime: Handle) -> Self {
        let (books, redactions) = (Mutex::default(), Redactions::default());
        Self { books, redactions, under_way: watch::Sender::new(0), runtime }
    }

    fn book(&self, run: RunId) -> Arc<Book> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(books.entry(run).or_default())
    }

    /// Forgets the book of a run that is over once nothing of it is under way.
    fn forget(&self, run: RunId) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if books.get(&run).is_some_and(|book| book.is_done()) {
            books.remove(&run);
        }
    }
}

/// Serves a run until what this answers is dropped; none when it is no agent's. Whether its server is configured is asked
/// with each request.
pub(crate) fn serve(app: &Arc<App>, run: &Run) -> Option<Served> {
    let api = way::api(app, run.agent.as_ref()?)?;
    let (app, run) = (Arc::clone(app), run.clone());
    let runtime = app.gateways.runtime.clone();
    Some(Served::by(runtime.spawn(attend(app, run, api)).abort_handle()))
}

async fn attend(app: Arc<App>, run: Run, api: Api) {
    let books = Books::of(&app, &run);
    give_up(&books, &run.models.open).await;
    loop {
        serve_once(&app, app.dirs.run(run.id), (api, books.clone())).await;
        let id = run.id;
        if matches!(app.read(move |view| view.get::<Run>(id)).await, Ok(found) if is_over(found.as_ref())) {
            return;
        }
        tokio::select! {
            () = app.stopped() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Serves whoever lives in this directory of a run until that has ended.
async fn serve_once<L: Ledger>(app: &Arc<App>, directory: PathBuf, (api, ledger): (Api, L)) {
    let place = directory.clone();
    let place = place.display();
    match (app.models(), blocking(move || control::take_listener(&directory, MODEL_LISTENER)).await) {
        (Ok(client), Ok(listener)) => match (Gateway { api, client, ledger }).serve(listener).await {
            Ok(never) => match never {},
            Err(error) => tracing::debug!(%place, %error, "an agent has no way to its model at the moment"),
        },
        // It is about to begin, or it has ended.
        (_, Err(ControlError::NotRunning { .. })) => {}
        (Err(error), _) => tracing::warn!(error = chain(&error), "no model can be asked yet"),
        (_, Err(error)) => tracing::warn!(%place, error = chain(&error), "no way to its model for an agent yet"),
    }
}

/// Serves an agent that plans in this directory until what this answers is dropped.
pub(crate) fn serve_planner(app: &Arc<App>, directory: PathBuf, books: PlannerBooks) -> Option<Served> {
    let api = books.api()?;
    let app = Arc::clone(app);
    let runtime = app.gateways.runtime.clone();
    let serving = runtime.spawn(async move {
        loop {
            serve_once(&app, directory.clone(), (api, books.clone())).await;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    Some(Served::by(serving.abort_handle()))
}

fn is_over(run: Option<&Run>) -> bool {
    run.is_none_or(|run| run.state.is_final())
}

/// What a run says, without the values of stored secrets and of those that people answered. Blocks.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn without_secrets(app: &App, said: Vec<u8>) -> Result<Vec<u8>, SecretStoreError> {
    way::without_secrets(app, said)
}

/// Nobody looks after a run any more: if it is over, what is left open of it on record comes to its end.
pub(crate) fn ended(app: &Arc<App>, run: RunId) {
    let app = Arc::clone(app);
    tokio::spawn(async move { close_left(&app, run).await });
}

/// The same for all runs that were over before this daemon began.
pub(crate) fn recover(app: &Arc<App>) {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let site = Arc::clone(&app);
        let left = blocking(move || {
            let runs = site.dirs.runs_on_disk();
            site.store.read(|view| {
                let mut left = Vec::new();
                for run in runs {
                    left.extend(view.get::<Run>(run)?.filter(has_left).map(|run| run.id));
                }
                Ok::<_, orch_core::view::ReadError>(left)
            })
        });
        match left.await {
            Ok(left) => {
                for run in left {
                    close_left(&app, run).await;
                }
            }
            Err(error) => tracing::warn!(error = chain(&error), "exchanges of runs that are over stay open on record"),
        }
    });
}

fn has_left(run: &Run) -> bool {
    run.state.is_final() && !run.models.open.is_empty()
}

async fn close_left(app: &Arc<App>, id: RunId) {
    let run = loop {
        match app.read(move |view| view.get::<Run>(id)).await {
            Ok(run) => break run.filter(|run| run.state.is_final()),
            Err(error) => tracing::warn!(run = %id, error = chain(&error), "exchanges of a run are open on record yet"),
        }
        tokio::select! {
            () = app.stopped() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    };
    if let Some(run) = run {
        let books = Books::of(app, &run);
        give_up(&books, &run.models.open).await;
        books.run_is_over();
    }
}

/// Puts on record that nobody knows what became of these, but of those that this daemon passes on itself.
async fn give_up(books: &Books, open: &[OpenExchange]) {
    for open in open {
        books.give_up(*open).await;
    }
}

/// Waits for a moment until what was under way is on record. Nobody is served any more.
pub(crate) async fn settle(app: &App) {
    let mut under_way = app.gateways.under_way.subscribe();
    let settled = tokio::time::timeout(STOP_MAX, under_way.wait_for(|count| *count == 0));
    if settled.await.is_err() {
        tracing::warn!("not every request to a model came to its end; the next daemon says so of them");
    }
}
