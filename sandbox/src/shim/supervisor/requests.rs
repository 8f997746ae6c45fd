//! What others ask of a run over its control socket, and what a supervisor does about it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Instant;

use super::Supervisor;
use crate::clock::unix_us;
use crate::control::{Activity, Answer, Request, RunStatus};
use crate::log::ControlEvent;
use crate::secrets::SealedSecrets;
use crate::shim::hidden::{Added, Hidden};
use crate::shim::machine::{Input, Stage};
use crate::shim::server::Served;
use crate::shim::streams::StepStream;

impl Supervisor<'_> {
    /// Answers whoever has connected to the control socket.
    pub(super) fn serve_clients(&mut self) {
        let mut requests = Vec::new();
        let status = self.status();
        let refuse_pause = match self.machine.stage() {
            // The first step starts by itself, a moment before this side hears of it.
            Stage::Building | Stage::Running(_) => None,
            Stage::Killing(..) | Stage::Clearing(_) | Stage::Over => Some("no step is running"),
        };
        let building = self.machine.stage() == Stage::Building;
        let (spec, listeners) = (self.spec, &self.listeners);
        let (hidden, streams) = (&mut self.hidden, &mut self.streams);
        let Some(server) = &mut self.server else { return };
        server.serve(|request, descriptor| match (request, refuse_pause) {
            (Request::Status, _) => Served::Now(Answer::Status(status.clone())),
            (Request::Pause, Some(reason)) => Served::Now(Answer::Refused { reason: reason.to_owned() }),
            (Request::TakeListener { name }, _) => match spec.listeners.iter().position(|one| one.name == *name) {
                None => Served::Now(Answer::Refused { reason: format!("the run has no listener `{name}`") }),
                Some(index) => match listeners.get(index) {
                    Some(listener) => Served::With(Answer::Listener, listener.as_fd()),
                    None if building => Served::Later,
                    None => Served::Now(Answer::Refused { reason: "the listeners were not made".to_owned() }),
                },
            },
            // Before it is answered: what comes after the answer is free of the values.
            (Request::Conceal, _) => Served::Now(conceal(descriptor, hidden, streams)),
            (Request::Pause | Request::Resume | Request::Cancel, _) => {
                requests.push(request.clone());
                Served::Now(Answer::Done)
            }
        });
        for request in requests {
            match request {
                Request::Cancel => self.cancel(),
                Request::Pause => self.pause(),
                Request::Resume => self.resume(),
                Request::Status | Request::TakeListener { .. } | Request::Conceal => {}
            }
        }
    }

    fn status(&self) -> RunStatus {
        let stage = self.machine.stage();
        RunStatus {
            fence: self.spec.fence,
            activity: match stage {
                Stage::Building => Activity::Starting,
                _ if self.machine.finishing() => Activity::Finishing,
                _ => Activity::Running,
            },
            paused: self.timers.paused(),
            at_rest: self.rest.is_still(),
            step: match stage {
                Stage::Running(index) | Stage::Killing(index, _) => Some(index),
                Stage::Building | Stage::Clearing(_) | Stage::Over => None,
            },
            log_bytes: self.log.len(),
            dropped_bytes: self.log.dropped_bytes(),
            silent_ms: Some(u64::try_from(self.timers.silent_for(Instant::now()).as_millis()).unwrap_or(u64::MAX)),
        }
    }

    pub(super) fn cancel(&mut self) {
        self.log.control(unix_us(), &ControlEvent::CancelRequested);
        match self.hear_of_beginning() {
            Ok(()) => self.feed(Input::Cancel),
            Err(errno) => self.lost(&format!("failed to hear of the sandbox: {}", errno.desc())),
        }
    }
}

/// Takes the values that came with a request out of everything that the run says from now on.
fn conceal(descriptor: Option<OwnedFd>, hidden: &mut Hidden, streams: &mut [StepStream]) -> Answer {
    let Some(descriptor) = descriptor else {
        return Answer::Refused { reason: "no values came with the request".to_owned() };
    };
    let added = SealedSecrets::from(descriptor).open().map_err(|error| crate::chain(&error));
    match added.and_then(|values| hidden.add(&values).map_err(|error| crate::chain(&error))) {
        Ok(Added::Nothing) => Answer::Done,
        Ok(Added::Some) => {
            if let Some(patterns) = hidden.patterns() {
                streams.iter_mut().for_each(|stream| stream.conceal(patterns));
            }
            Answer::Done
        }
        Err(reason) => Answer::Refused { reason },
    }
}
