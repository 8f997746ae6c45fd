//! The channel of runs: serves the listener over which a run says how it goes and asks people.
//!
//! In reading order: `line` is what is known of one run's channel, `connection` takes calls from it, `verbs` does what they
//! ask, `tool` finds programs that it asks for, `intake` takes files in, `messages` gives what people say, `keeper` has runs stand still that wait for long, and ends questions whose time is over. A daemon that
//! comes back serves the same listener; calls are sent to it again. **Invariant:** which run speaks is known by the listener
//! alone, and nothing that is said names another. **Invariant:** what a run says is bounded in size, number and pace.

mod connection;
mod intake;
mod keeper;
mod line;
mod messages;
mod pace;
mod tool;
mod verbs;

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use orch_adapters::accept;
use orch_adapters::channel::LISTENER;
use orch_core::entity::Run;
use orch_sandbox::control::{self, ControlError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::site::Served;
use line::Line;

/// Connections of one run at once; further ones wait in the listener.
const CONNECTIONS_MAX: usize = 8;
/// Wait before something that did not work is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Serves a run until what this answers is dropped; none when it has no channel.
pub(crate) fn serve(app: &Arc<App>, run: &Run) -> Option<Served> {
    let line = run.access.channel.then(|| Arc::new(Line::new(app, run)))?;
    let attended = async move {
        tokio::join!(attend(&line), keeper::keep(&line), line.tell_progress());
    };
    Some(Served::by(tokio::spawn(attended).abort_handle()))
}

async fn attend(line: &Arc<Line>) {
    loop {
        let at = line.app.dirs.run(line.run);
        match blocking(move || control::take_listener(&at, LISTENER)).await {
            Ok(listener) => {
                if let Err(error) = listen(line, listener).await {
                    tracing::debug!(run = %line.run, %error, "a run says nothing any more");
                }
                return;
            }
            Err(ControlError::NotRunning { .. }) => return,
            Err(error) => tracing::warn!(run = %line.run, error = chain(&error), "no channel for a run yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Takes connections until the run is over. Dropped, it drops them all.
async fn listen(line: &Arc<Line>, listener: StdListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            Some(_) = connections.join_next() => continue,
            stream = accept::next(&listener, "channel"), if connections.len() < CONNECTIONS_MAX => stream?,
        };
        connections.spawn(connection::attend(Arc::clone(line), stream));
    }
}
