//! Everything that reaches `update` and everything that it asks for, in one place.

use std::collections::BTreeMap;

use orch_proto::id::{InfoRequestId, RunId, TaskId};
use orch_proto::request::{Accepted, Bytes, Request};
use orch_proto::view::{
    ApprovalView, AuditReport, DiffView, DoctorReport, EventPage, InfoRequestView, LogPage, PlanView, ProjectView,
    RequirementsView, RunView, StatusView, TaskView,
};
use orch_proto::{Ref, RpcError};

use super::key::Input;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Msg {
    Input(Input),
    Link(LinkEvent),
    /// The event log has grown (or a long poll came back empty, which shows that the daemon lives).
    Events(EventPage),
    Loaded(Loaded),
    Log {
        run: RunId,
        /// Where the page begins.
        offset: u64,
        result: Result<LogPage, RpcError>,
    },
    Submitted {
        ticket: u32,
        result: Result<Accepted, RpcError>,
    },
    /// A moment has come that [`super::Model::next_due_ms`] asked for.
    Timer,
    /// What was drawn last is on the screen. Comes when [`super::Model::has_unseen_question`] asks for it.
    Shown,
}

/// What happened to the connection.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Up {
        status: Box<StatusView>,
        /// The daemon is another installation than before, or went back in time: what is shown is not its.
        fresh: bool,
    },
    /// Connected, but the daemon has said nothing so far.
    Waiting,
    Down {
        /// Failed tries since it was last up.
        tries: u32,
        pause_ms: u64,
        error: RpcError,
    },
}

/// Something to ask the daemon for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Query {
    Status,
    Projects,
    Tasks,
    /// A task with what was said to it.
    Task(TaskId),
    Runs,
    Run(RunId),
    Approvals,
    /// Questions of runs.
    Questions,
    Plans,
    Requirements,
    Doctor,
    Verify,
    Diff(String),
}

/// The answer to a [`Query`].
#[derive(Debug)]
pub(crate) enum Answer {
    Status(Box<StatusView>),
    Projects(Vec<ProjectView>),
    Tasks(Vec<TaskView>),
    Task(Box<TaskView>),
    Runs(Vec<RunView>),
    Run(Box<RunView>),
    Approvals(Vec<ApprovalView>),
    Questions(Vec<InfoRequestView>),
    Plans(Vec<PlanView>),
    Requirements(Option<Box<RequirementsView>>),
    Doctor(DoctorReport),
    Verify(AuditReport),
    Diff(DiffView),
}

/// A query that came back.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) query: Query,
    /// That of the [`Cmd::Fetch`]; answers to an older one are of another project.
    pub(crate) epoch: u32,
    pub(crate) result: Result<Answer, RpcError>,
}

/// Something that the program has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cmd {
    Fetch {
        query: Query,
        /// The project to restrict to.
        project: Option<Ref>,
        epoch: u32,
    },
    /// Follow the log of this run from this offset, and no other.
    Follow {
        run: RunId,
        offset: u64,
    },
    StopFollowing,
    Submit {
        ticket: u32,
        request: Box<Request>,
    },
    /// Answer a question of a run. It is no request: no record of those has values of secrets.
    Answer {
        ticket: u32,
        info: InfoRequestId,
        values: BTreeMap<String, Bytes>,
    },
    /// Do not wait out the pause before the next try to connect.
    ConnectNow,
    /// Throw away input that was typed before a question was on screen.
    DropInput,
    Repaint,
    Suspend,
    Quit,
}
