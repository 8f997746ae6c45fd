//! Calls over the channel. A daemon that is away is waited for: the listener stays, and calls can be sent again.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orch_proto::channel::{self, Answer, Answered, CHANNEL_VERSION, Call, FILE_BYTES_MAX, VARIABLE, Verb};
use orch_proto::{ErrorCode, RpcError};

/// How long an answer may take beyond what it is held for, before it is asked for again.
const ANSWER_MAX: Duration = Duration::from_secs(channel::WAIT_MS_MAX as u64 / 1_000 + 40);
/// Wait before a call is sent again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often a call is sent that is not worth waiting for.
const TRIES_MAX: u32 = 5;
/// Bytes of a file that are sent at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A way to the daemon.
#[derive(Debug)]
pub(crate) struct Channel {
    address: String,
    stream: Option<TcpStream>,
    wanted: Wanted,
}

/// Whether what is asked over a channel is wanted. Who says that it is not any more wakes whoever waits for the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_over: AtomicBool,
    stream: Mutex<Option<TcpStream>>,
}

impl Wanted {
    /// Nobody wants it any more.
    pub(crate) fn give_up(&self) {
        let stream = self.0.stream.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.is_over.store(true, Ordering::Relaxed);
        // One that is broken wakes its reader by itself.
        let _is_broken = stream.as_ref().is_some_and(|stream| stream.shutdown(Shutdown::Both).is_err());
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    /// Has a connection end with it.
    fn watch(&self, new: &TcpStream) -> io::Result<()> {
        let mut stream = self.0.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_over() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "nobody waits for it any more"));
        }
        *stream = Some(new.try_clone()?);
        Ok(())
    }
}

impl Channel {
    /// The channel of this run.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn of_run(env: impl Fn(&str) -> Option<String>) -> Result<Self, RpcError> {
        let address = env(VARIABLE).ok_or_else(|| {
            RpcError::new(ErrorCode::Unreachable, format!("`{VARIABLE}` is not set: this is no run with a channel"))
                .hint("`channel: true` in a recipe gives its runs one; agents have one")
        })?;
        Ok(Self { address, stream: None, wanted: Wanted::default() })
    }

    /// Where it leads to.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Another one to the same place.
    pub(crate) fn another(&self) -> Self {
        self.while_wanted(&Wanted::default())
    }

    /// The same, which breaks when what is asked over it is not wanted any more.
    pub(super) fn while_wanted(&self, wanted: &Wanted) -> Self {
        Self { address: self.address.clone(), stream: None, wanted: wanted.clone() }
    }

    /// Calls, a few times if it has to be.
    ///
    /// # Errors
    /// What the daemon answered, or that it does not.
    pub(crate) fn call(&mut self, verb: &Verb) -> Answer {
        let mut tries = 1;
        loop {
            let answer = self.once(verb);
            match &answer {
                Err(error) if error.code.retryable() == Some(true) && tries < TRIES_MAX => {}
                _ => return answer,
            }
            tries += 1;
            std::thread::park_timeout(AGAIN);
        }
    }

    /// Calls once.
    ///
    /// # Errors
    /// What the daemon answered, or `E_UNREACHABLE`.
    pub(crate) fn once(&mut self, verb: &Verb) -> Answer {
        self.exchange(verb).unwrap_or_else(|error| self.lost(&error))
    }

    /// Hands in what a file holds, as it is opened now.
    ///
    /// # Errors
    /// When it cannot be read, or what the daemon answered.
    pub(crate) fn hand_in(&mut self, file: &Path, path: &str) -> Answer {
        let unreadable = |error: io::Error| {
            RpcError::new(ErrorCode::NotFound, format!("`{}` cannot be read: {error}", file.display()))
        };
        let mut tries = 1;
        loop {
            let content = File::open(file).map_err(unreadable)?;
            let meta = content.metadata().map_err(unreadable)?;
            if !meta.is_file() {
                let message = format!("`{}` is no file", file.display());
                return Err(RpcError::new(ErrorCode::Invalid, message).hint("pack a directory into an archive first"));
            }
            let answer = self.send(content, path, meta.len()).unwrap_or_else(|error| self.lost(&error));
            match &answer {
                Err(error) if error.code.retryable() == Some(true) && tries < TRIES_MAX => {}
                _ => return answer,
            }
            tries += 1;
            std::thread::park_timeout(AGAIN);
        }
    }

    fn send(&mut self, mut content: File, path: &str, size_bytes: u64) -> io::Result<Answer> {
        let announced = self.exchange(&Verb::Artifact { path: path.to_owned(), size_bytes })?;
        if announced != Ok(Answered::Continue) {
            return Ok(announced);
        }
        let stream = self.connected()?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = FILE_BYTES_MAX;
        loop {
            let read = content.read(&mut piece)?;
            // A file that grows without end is not read to it.
            let read = usize::try_from(left).map_or(read, |left| left.min(read));
            left -= read as u64;
            channel::write_frame(stream, &piece[..read])?;
            if read == 0 {
                break;
            }
        }
        Self::answer(stream)
    }

    fn exchange(&mut self, verb: &Verb) -> io::Result<Answer> {
        let call = serde_json::to_vec(&Call { version: CHANNEL_VERSION, verb: verb.clone() })?;
        if call.len() > channel::FRAME_BYTES_MAX {
            return Ok(Err(RpcError::new(ErrorCode::TooLarge, "that is more than is said at once")));
        }
        let stream = self.connected()?;
        channel::write_frame(stream, &call)?;
        Self::answer(stream)
    }

    fn answer(stream: &mut TcpStream) -> io::Result<Answer> {
        Ok(serde_json::from_slice(&channel::read_frame(stream)?)?)
    }

    fn connected(&mut self) -> io::Result<&mut TcpStream> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_MAX))?;
                stream.set_write_timeout(Some(ANSWER_MAX))?;
                self.wanted.watch(&stream)?;
                stream
            }
        };
        Ok(self.stream.insert(stream))
    }

    fn lost(&mut self, error: &io::Error) -> Answer {
        self.stream = None;
        Err(RpcError::new(ErrorCode::Unreachable, format!("the channel at {} broke: {error}", self.address)))
    }
}
