//! The event loop: input, messages of the daemon, signals and due times go to `update`; what it asks for is done; a frame
//! is drawn when something changed, at once after input and at most every few milliseconds otherwise.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::daemon::Daemon;
use super::ticker::Ticker;
use crate::term::{self, Frames, Inputs, TerminalGuard, Tty, Watchdog};
use crate::view::{self, Cmd, Input, Model, Msg, Options};

/// Messages of the daemon that may wait. A flood waits in the socket, not in memory.
const MESSAGES_MAX: usize = 64;

/// Messages that are handled before the next frame.
const BATCH_MAX: usize = 64;

/// Why the next frame is wanted, which says how soon it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// Data has changed.
    Data,
    /// The terminal has another size, perhaps one of many while a window is drawn larger.
    Size,
    /// A person has done something.
    Input,
}

impl Urgency {
    /// Shortest time since the last frame, in milliseconds. Data alone makes fifteen frames a second at most.
    const fn gap_ms(self) -> u64 {
        match self {
            Self::Data => 66,
            Self::Size => 30,
            Self::Input => 0,
        }
    }
}

/// What ends or interrupts the program from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outside {
    /// Ends with this exit code.
    Stop(u8),
    Suspend,
    /// Continued after a stop: the terminal may be anything.
    Continued,
    Resized,
}

/// Everything that the loop holds.
#[derive(Debug)]
struct Loop {
    model: Model,
    ticker: Ticker,
    daemon: Daemon,
    inputs: Inputs,
    guard: TerminalGuard,
    /// The program was continued after it had suspended itself, and the signal that tells so is to come.
    was_suspended: bool,
    _watchdog: Watchdog,
    tty: Tty,
    frames: Frames,
    /// When the last frame was drawn, in milliseconds of the ticker.
    drawn_ms: u64,
    urgency: Urgency,
}

/// Runs the UI until it is left; gives the exit code.
///
/// # Errors
/// When the terminal can not be used. It is given back in any case.
pub(super) async fn run(options: Options, socket: PathBuf) -> io::Result<u8> {
    let mut outside = listen()?;
    let (gone, mut is_gone) = mpsc::channel(1);
    let watchdog = term::spawn_watchdog(move || {
        // A full queue means that it is known already.
        let _known = gone.try_send(());
    })?;
    let guard = TerminalGuard::enter()?;
    let ticker = Ticker::new();
    let (messages, mut received) = mpsc::channel(MESSAGES_MAX);
    let mut state = Loop {
        model: Model::new(options, term::size(), ticker.now()),
        ticker,
        daemon: Daemon::start(&socket, messages),
        inputs: term::spawn_reader()?,
        guard,
        was_suspended: false,
        _watchdog: watchdog,
        tty: Tty::open()?,
        frames: Frames::new(),
        drawn_ms: 0,
        urgency: Urgency::Input,
    };
    loop {
        // What cannot be written to is gone; whoever asked for the program to end may not have been heard yet.
        let Ok(due) = state.draw_if_due() else { return Ok(term::EXIT_HANGUP) };
        let event = tokio::select! {
            biased;
            Some(event) = outside.recv() => state.on_outside(event),
            Some(()) = is_gone.recv() => Ok(Some(term::EXIT_HANGUP)),
            Some(input) = state.inputs.recv() => state.on_inputs(input),
            Some(message) = received.recv() => state.on_messages(message, &mut received),
            () = wait_until(ticker, due) => state.step(Msg::Timer),
            () = state.daemon.reap() => Ok(None),
        };
        // A terminal that is gone has the program continue as well as end, in either order.
        let Ok(code) = event else { return Ok(term::EXIT_HANGUP) };
        if let Some(code) = code {
            return Ok(code);
        }
    }
}

impl Loop {
    /// Draws when it is time to. Gives the time at which the loop has to come back.
    fn draw_if_due(&mut self) -> io::Result<Option<u64>> {
        let now_ms = self.ticker.now().mono_ms;
        let gate_ms = self.drawn_ms + self.urgency.gap_ms();
        if self.model.dirty && now_ms >= gate_ms {
            let cursor = view::draw(&self.model, self.frames.begin(self.model.area));
            let bytes = self.frames.finish(cursor)?;
            self.tty.write(&bytes)?;
            (self.model.dirty, self.urgency, self.drawn_ms) = (false, Urgency::Data, now_ms);
            if self.model.has_unseen_question() {
                self.step(Msg::Shown)?;
            }
        }
        let frame = self.model.dirty.then_some(gate_ms);
        Ok([frame, self.model.next_due_ms()].into_iter().flatten().min())
    }

    /// Handles an input and those that wait behind it.
    fn on_inputs(&mut self, first: Input) -> io::Result<Option<u8>> {
        self.urgency = Urgency::Input;
        let mut next = Some(first);
        for _ in 0..BATCH_MAX {
            let Some(input) = next else { break };
            if let Some(code) = self.step(Msg::Input(input))? {
                return Ok(Some(code));
            }
            next = self.inputs.try_recv();
        }
        Ok(None)
    }

    /// Handles a message and those that wait behind it.
    fn on_messages(&mut self, first: Msg, received: &mut mpsc::Receiver<Msg>) -> io::Result<Option<u8>> {
        let mut next = Some(first);
        for _ in 0..BATCH_MAX {
            let Some(message) = next else { break };
            if let Some(code) = self.step(message)? {
                return Ok(Some(code));
            }
            next = received.try_recv().ok();
        }
        Ok(None)
    }

    fn on_outside(&mut self, event: Outside) -> io::Result<Option<u8>> {
        match event {
            Outside::Stop(code) => return Ok(Some(code)),
            // Nobody would have it continue.
            Outside::Suspend if !self.model.options.can_suspend => return Ok(None),
            Outside::Suspend => self.suspend()?,
            // The terminal was taken again by what had suspended it.
            Outside::Continued if std::mem::take(&mut self.was_suspended) => return Ok(None),
            Outside::Continued => self.guard.renew()?,
            Outside::Resized => {
                self.urgency = self.urgency.max(Urgency::Size);
                let commands = self.resize();
                return self.perform(commands);
            }
        }
        let commands = self.repaint();
        self.perform(commands)
    }

    /// Gives one message to the view and does what it asks for. Gives the exit code when that is to quit.
    fn step(&mut self, message: Msg) -> io::Result<Option<u8>> {
        let commands = view::update(&mut self.model, message, self.ticker.now());
        self.perform(commands)
    }

    fn perform(&mut self, commands: Vec<Cmd>) -> io::Result<Option<u8>> {
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            match command {
                Cmd::Fetch { query, project, epoch } => self.daemon.fetch(query, project, epoch),
                Cmd::Follow { run, offset } => self.daemon.follow(run, offset),
                Cmd::StopFollowing => self.daemon.stop_following(),
                Cmd::Submit { ticket, request } => self.daemon.submit(ticket, *request),
                Cmd::Answer { ticket, info, values } => self.daemon.answer(ticket, info, values),
                Cmd::ConnectNow => self.daemon.connect_now(),
                Cmd::DropInput => self.inputs.drop_pending(),
                Cmd::Repaint => commands.extend(self.repaint()),
                Cmd::Suspend => {
                    self.suspend()?;
                    commands.extend(self.repaint());
                }
                Cmd::Quit => return Ok(Some(0)),
            }
        }
        Ok(None)
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.was_suspended = true;
        self.guard.suspend()
    }

    /// Has the next frame paint everything, at the size that the terminal has now.
    fn repaint(&mut self) -> Vec<Cmd> {
        self.frames.forget();
        (self.urgency, self.model.dirty) = (Urgency::Input, true);
        self.resize()
    }

    fn resize(&mut self) -> Vec<Cmd> {
        let (columns, rows) = term::size();
        view::update(&mut self.model, Msg::Input(Input::Resize { columns, rows }), self.ticker.now())
    }
}

async fn wait_until(ticker: Ticker, due_ms: Option<u64>) {
    match due_ms {
        Some(due_ms) => tokio::time::sleep_until(ticker.instant(due_ms)).await,
        None => std::future::pending().await,
    }
}

/// Turns signals into messages.
fn listen() -> io::Result<mpsc::Receiver<Outside>> {
    let (sender, receiver) = mpsc::channel(8);
    let stop = |signal: Signal| Outside::Stop(128 + u8::try_from(signal as i32).unwrap_or(0));
    for (number, event) in [
        (Signal::SIGTERM, stop(Signal::SIGTERM)),
        (Signal::SIGHUP, stop(Signal::SIGHUP)),
        (Signal::SIGINT, stop(Signal::SIGINT)),
        (Signal::SIGTSTP, Outside::Suspend),
        (Signal::SIGCONT, Outside::Continued),
        // Not left to crossterm, which listens only once its reader has started and would miss an early one.
        (Signal::SIGWINCH, Outside::Resized),
    ] {
        let mut signals = signal(SignalKind::from_raw(number as i32))?;
        let sender = sender.clone();
        tokio::task::spawn_local(async move {
            while signals.recv().await.is_some() {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}
