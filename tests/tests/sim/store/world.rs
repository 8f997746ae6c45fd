//! A store on a disk, its clients, and what happens to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};

use orch_core::actor::Actor;
use orch_core::command::{Command, Envelope};
use orch_core::digest::Digest;
use orch_core::entity::{Project, RepositorySource};
use orch_core::ids::{IdSource, sample_id};
use orch_core::rehearsal::random_command;
use orch_core::state::project::ProjectState;
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::Timestamp;
use orch_store::{HandWriter, OpenOptions, READ_DEADLINE_MS_MAX, ReadView, Store};

use super::known::{Circumstances, Fates, Held, Known, chain};
use super::script::{Op, Script};
use crate::dice::Dice;
use crate::disk::{Disk, Stop, vfs_name};

/// The time at which every simulation starts.
const START_US: i64 = 1_795_165_557_000_000;

/// All of one simulation.
pub(crate) struct World {
    disk: Disk,
    /// Chances of what nobody planned, like a power cut that a fault makes.
    dice: Dice,
    now_us: Arc<AtomicI64>,
    daemon: Option<(Store, HandWriter)>,
    starts: u64,
    power_cuts: u64,
    kills: u64,
    commands: u128,
    known: Known,
}

/// What a simulation came to, so that two can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) commands: u128,
    pub(crate) fates: Fates,
    pub(crate) starts: u64,
    pub(crate) power_cuts: u64,
    pub(crate) kills: u64,
    /// Requests to the disk that failed on purpose.
    pub(crate) failures: u64,
    /// Of all requests to the disk in their order.
    pub(crate) trace: u64,
}

/// Runs it from an empty disk to the end, where everything is looked at.
pub(crate) fn run(script: &Script) -> Result<Tally, String> {
    let mut world = World {
        disk: Disk::new(script.traits, script.seed),
        dice: Dice::new(script.seed),
        now_us: Arc::new(AtomicI64::new(START_US)),
        daemon: None,
        starts: 0,
        power_cuts: 0,
        kills: 0,
        commands: 0,
        known: Known::default(),
    };
    // What is planned first may go wrong while the store is made.
    let plans = script.ops.iter().take_while(|op| matches!(op, Op::Plan(_))).count();
    for (at, op) in script.ops.iter().enumerate() {
        if at == plans {
            world.open().map_err(|wrong| format!("when it is made: {wrong}"))?;
        }
        world.happens(op).map_err(|wrong| format!("at {at}: {wrong}"))?;
    }
    if world.daemon.is_none() {
        world.open().map_err(|wrong| format!("when it is made: {wrong}"))?;
    }
    world.ends().map_err(|wrong| format!("at the end: {wrong}"))?;
    let (failures, trace) = (world.disk.failures(), world.disk.trace());
    let World { commands, starts, power_cuts, kills, known: Known { fates, .. }, .. } = world;
    Ok(Tally { commands, fates, starts, power_cuts, kills, failures, trace })
}

impl World {
    fn happens(&mut self, op: &Op) -> Held {
        match op {
            Op::Submit { chance, count } => self.submit_random(*chance, *count)?,
            Op::Again { chance } => {
                let again: Vec<Envelope> =
                    (0..4).filter_map(|at| self.known.one_sent(chance.wrapping_add(at))).collect();
                self.submit(again)?;
            }
            Op::Rest => self.daemon().1.rest(),
            Op::Hold { ops } => self.hold(ops)?,
            Op::Plan(fault) => self.disk.plan(*fault),
            Op::LeaveRoom { bytes } => self.disk.leave_room(*bytes),
            Op::Heal => self.disk.heal(),
            Op::Stop { how, chance } => {
                self.disk.stop(*how);
                self.start_again(*chance)?;
            }
            Op::Restart => self.restart()?,
            Op::Clock { by_us } => drop(self.now_us.fetch_add(*by_us, Ordering::SeqCst)),
            Op::Check => self.check()?,
        }
        if self.disk.stopped().is_some() {
            let chance = self.dice.number();
            self.start_again(chance)?;
        }
        Ok(())
    }

    /// The last word: all is there, all can be had again, and it goes on; also after a last power cut.
    fn ends(&mut self) -> Held {
        self.check()?;
        self.lives()?;
        self.disk.stop(Stop::PowerCut);
        let chance = self.dice.number();
        self.start_again(chance)?;
        self.check()?;
        self.restart()?;
        self.check()
    }

    fn daemon(&mut self) -> &mut (Store, HandWriter) {
        self.daemon.as_mut().expect("it is open between two things that happen")
    }

    fn submit_random(&mut self, chance: u64, count: u64) -> Held {
        let mut dice = IdSource::seeded(*Digest::of(&chance.to_be_bytes()).as_bytes());
        let before = self.disk.failures();
        let drawn = self.daemon().0.read_within(READ_DEADLINE_MS_MAX, |view| {
            (0..count).map(|_| random_command(view, &mut dice)).collect::<Result<Vec<Command>, ReadError>>()
        });
        match drawn {
            Ok(commands) => {
                let envelopes = commands.into_iter().map(|command| self.envelope(command)).collect();
                self.submit(envelopes)
            }
            Err(_) if self.disk.failures() > before => Ok(()),
            Err(error) => Err(format!("the store cannot be read: {}", chain(&error))),
        }
    }

    fn envelope(&mut self, command: Command) -> Envelope {
        self.commands += 1;
        let request = Digest::of(format!("{command:?}").as_bytes());
        let actor = Actor::User { uid: 1_000, name: "ada".into() };
        Envelope { id: sample_id(self.commands), actor, request, command }
    }

    /// Sends commands at the same time and waits for all answers.
    fn submit(&mut self, envelopes: Vec<Envelope>) -> Held {
        let before = self.disk.failures();
        let (store, writer) = self.daemon.as_mut().expect("it is open between two things that happen");
        let mut answers = Vec::new();
        for envelope in envelopes {
            self.known.sends(&envelope);
            answers.push((envelope.id, Box::pin(store.execute(envelope))));
        }
        while writer.serve() {}
        let circumstances = Circumstances { failing: self.disk.failures() > before };
        for (id, mut answer) in answers {
            let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                return Err(format!("{id} was not answered"));
            };
            self.known.answered(id, answer, circumstances)?;
        }
        Ok(())
    }

    /// Reads, and reads the same when other things have happened.
    fn hold(&mut self, ops: &[Op]) -> Held {
        let (store, before, stops) = (self.daemon().0.clone(), self.disk.failures(), self.stops());
        let look = |view: &ReadView<'_>| -> Result<(u64, Vec<Project>), ReadError> {
            Ok((view.seq(), view.list::<Project>(&Filter::default())?))
        };
        let read = store.read_within(READ_DEADLINE_MS_MAX, |view| -> Result<Held, ReadError> {
            let first = look(view)?;
            for op in ops {
                if let Err(wrong) = self.happens(op) {
                    return Ok(Err(format!("while somebody read: {wrong}")));
                }
            }
            if self.stops() == stops && look(view)? != first {
                return Ok(Err("a read saw two states".into()));
            }
            Ok(Ok(()))
        });
        match read {
            Ok(held) => held,
            Err(_) if self.disk.failures() > before => Ok(()),
            Err(error) => Err(format!("the store cannot be read: {}", chain(&error))),
        }
    }

    fn restart(&mut self) -> Held {
        if let Some((store, writer)) = self.daemon.take() {
            // As the thread of the writer ends: before the readers go.
            writer.finish();
            drop(store);
        }
        self.open()
    }

    const fn stops(&self) -> u64 {
        self.power_cuts + self.kills
    }

    fn start_disk(&mut self, chance: u64) {
        match self.disk.stopped() {
            Some(Stop::PowerCut) => self.power_cuts += 1,
            Some(Stop::Killed) => self.kills += 1,
            None => {}
        }
        self.disk.start(chance);
    }

    /// After the end of everything that was open: starts it again and looks at it.
    fn start_again(&mut self, chance: u64) -> Held {
        self.daemon = None;
        self.start_disk(chance);
        self.open()?;
        self.check()?;
        // To do nothing more is a life too: it may end before anything is written.
        if chance.is_multiple_of(3) { self.lives() } else { Ok(()) }
    }

    /// Opens the store, whatever goes wrong meanwhile.
    fn open(&mut self) -> Held {
        self.daemon = None;
        loop {
            let before = self.disk.failures();
            let now_us = Arc::clone(&self.now_us);
            self.starts += 1;
            let options = OpenOptions {
                seed: *Digest::of(&self.starts.to_be_bytes()).as_bytes(),
                clock: Arc::new(move || Timestamp::from_unix_us(now_us.load(Ordering::SeqCst))),
                vfs: Some(vfs_name().into()),
            };
            match Store::open_by_hand(&self.disk.path("orch.db"), options) {
                // A fault ended it that the store did not need to notice.
                Ok(_) | Err(_) if self.disk.stopped().is_some() => {
                    let chance = self.dice.number();
                    self.start_disk(chance);
                }
                Ok(daemon) => {
                    self.daemon = Some(daemon);
                    return Ok(());
                }
                Err(_) if self.disk.failures() > before => {
                    // Half of the disks get better by themselves, or worse.
                    if self.dice.once_in(2) {
                        self.disk.heal();
                    }
                }
                Err(error) => return Err(format!("the store cannot be opened: {}", chain(&error))),
            }
        }
    }

    /// Looks at everything, as somebody who has mended the disk before.
    fn check(&mut self) -> Held {
        self.disk.heal();
        // A batch that works: after it, what failed before is there or will never be.
        let acknowledged = self.known.acknowledged();
        let settles = !acknowledged.is_empty();
        self.submit(acknowledged)?;
        let store = self.daemon().0.clone();
        self.known.check(&store, settles)
    }

    /// The store takes something new.
    fn lives(&mut self) -> Held {
        let projects = self.daemon().0.read_within(READ_DEADLINE_MS_MAX, |view| view.list(&Filter::default()));
        let projects: Vec<Project> = projects.map_err(|error: ReadError| chain(&error))?;
        let slug = format!("alive-{}", self.commands);
        let command = match projects.iter().find(|project| project.state != ProjectState::Archived) {
            Some(project) => Command::SetShare {
                project: project.id,
                weight: Some(project.share.weight % 9 + 1),
                runs_max: None,
                runs_per_day: None,
            },
            None => Command::CreateProject { slug, source: RepositorySource::Empty, protected_paths: Vec::new() },
        };
        let envelope = self.envelope(command);
        let id = envelope.id;
        self.submit(vec![envelope])?;
        if self.known.is_acknowledged(id) { Ok(()) } else { Err(format!("{id} was not taken by a store that is well")) }
    }
}
