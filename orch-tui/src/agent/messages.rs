//! What people say to the agent, as it comes over the channel of its run: each once, by its number, also over a daemon that is
//! killed.

use std::time::Duration;

use orch_proto::RpcError;
use orch_proto::channel::{Answered, Said, Verb, WAIT_MS_MAX};
use tokio::sync::{mpsc, oneshot};

use super::replies::{Replies, Reply};
use crate::channel::Channel;
use crate::clock::within;

/// Messages that came and were not taken.
const UNREAD_MAX: usize = 16;
/// Wait before the channel is asked again that could not be.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it is tried, at the end, to say what the agent was told.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How often it is tried before: for an hour, without the time in which the run stands still.
const RECORD_TRIES_MAX: u32 = 60 * 60;

/// What people say.
#[derive(Debug)]
pub(crate) struct Inbox {
    coming: Option<mpsc::Receiver<Said>>,
    /// Asked once more at the end.
    channel: Option<Channel>,
    /// The newest that was taken out.
    last: u32,
    told: Option<std::sync::mpsc::Sender<Verb>>,
    /// What it was told and has not answered.
    replies: Replies,
    /// All that was told is on record.
    recorded: Option<oneshot::Receiver<()>>,
}

impl Inbox {
    /// That of a run.
    pub(crate) fn of_run(channel: &Channel) -> Self {
        let (messages, coming) = mpsc::channel(UNREAD_MAX);
        let (told, words) = std::sync::mpsc::channel();
        let (done, recorded) = oneshot::channel();
        let (listens, records) = (channel.another(), channel.another());
        // Threads of their own, which end with the program: a call may be held for long.
        let threads = std::thread::Builder::new().spawn(move || listen(listens, &messages)).and_then(|_| {
            std::thread::Builder::new().spawn(move || {
                record(records, &words);
                // Without a reader nobody waits for it.
                let _is_heard = done.send(()).is_ok();
            })
        });
        if threads.is_err() {
            return Self::none();
        }
        let (told, recorded) = (Some(told), Some(recorded));
        let (coming, channel) = (Some(coming), Some(channel.another()));
        Self { coming, channel, last: 0, told, replies: Replies::default(), recorded }
    }

    /// That of a run to which nobody can say anything.
    pub(crate) fn none() -> Self {
        Self { coming: None, channel: None, last: 0, told: None, replies: Replies::default(), recorded: None }
    }

    #[cfg(test)]
    pub(crate) fn of(coming: mpsc::Receiver<Said>) -> Self {
        Self { coming: Some(coming), ..Self::none() }
    }

    /// The next one, as soon as there is one. Giving up while waiting loses none.
    pub(super) async fn next(&mut self) -> Said {
        loop {
            let Some(coming) = &mut self.coming else { return std::future::pending().await };
            match coming.recv().await {
                Some(said) if said.number > self.last => {
                    self.last = said.number;
                    return said;
                }
                Some(_) => {}
                None => self.coming = None,
            }
        }
    }

    /// All that was said until now.
    pub(super) async fn rest(&mut self) -> Vec<Said> {
        let mut rest = Vec::new();
        let ready = self.coming.iter_mut().flat_map(|coming| std::iter::from_fn(|| coming.try_recv().ok()));
        rest.extend(ready);
        if let Some(channel) = &self.channel {
            let (mut channel, after) = (channel.another(), self.last);
            let (answer, answered) = oneshot::channel();
            let asks = std::thread::Builder::new().spawn(move || answer.send(take(&mut channel, after, 0)).is_ok());
            if asks.is_ok()
                && let Ok(Ok(found)) = answered.await
            {
                rest.extend(found);
            }
        }
        rest.sort_by_key(|said| said.number);
        rest.retain(|said| {
            let is_new = said.number > self.last;
            self.last = self.last.max(said.number);
            is_new
        });
        rest
    }

    /// The agent was told the one of this number.
    pub(super) fn told(&mut self, number: u32) {
        self.replies.told(number);
        self.put_on_record(Verb::MessageTold { number });
    }

    /// The agent said this line, which may be the end of its answer to what it was told.
    pub(super) fn heard(&mut self, line: &str) {
        let reply = self.replies.hear(line);
        self.put_replies_on_record(reply);
    }

    fn put_replies_on_record(&self, reply: Option<Reply>) {
        let Some(Reply { numbers, text }) = reply else { return };
        for number in numbers {
            self.put_on_record(Verb::Replied { number, text: text.clone() });
        }
    }

    fn put_on_record(&self, word: Verb) {
        // Nobody listens where there is no channel.
        let _is_heard = self.told.as_ref().is_some_and(|told| told.send(word).is_ok());
    }

    /// Waits until what was told is on record, for a while.
    pub(super) async fn close(mut self) {
        let reply = self.replies.end();
        self.put_replies_on_record(reply);
        drop(self.told);
        if let Some(recorded) = self.recorded {
            // What is not on record then was told all the same.
            let _is_recorded = within(LAST_WORDS, recorded).await.is_some();
        }
    }
}

/// A message as an agent is told it.
pub(super) fn in_words(said: &Said) -> String {
    format!("{}, who looks after this task, says:\n\n{}", said.from, said.text)
}

/// Asks for what is new, again and again.
fn listen(mut channel: Channel, messages: &mpsc::Sender<Said>) {
    let mut after = 0;
    loop {
        match take(&mut channel, after, WAIT_MS_MAX) {
            Ok(found) => {
                for said in found {
                    after = after.max(said.number);
                    if messages.blocking_send(said).is_err() {
                        return;
                    }
                }
            }
            Err(error) if error.code.retryable() == Some(true) => std::thread::park_timeout(AGAIN),
            // No daemon that knows of messages.
            Err(_) => return,
        }
    }
}

fn take(channel: &mut Channel, after: u32, wait_ms: u32) -> Result<Vec<Said>, RpcError> {
    match channel.once(&Verb::TakeMessages { after, wait_ms })? {
        Answered::Messages { messages } => Ok(messages),
        _ => Ok(Vec::new()),
    }
}

/// Puts on record what the agent was told, and what it answered.
fn record(mut channel: Channel, words: &std::sync::mpsc::Receiver<Verb>) {
    while let Ok(word) = words.recv() {
        for _ in 0..RECORD_TRIES_MAX {
            match channel.once(&word) {
                Err(error) if error.code.retryable() == Some(true) => std::thread::park_timeout(AGAIN),
                Ok(_) | Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(number: u32) -> Said {
        Said { number, from: "ada".to_owned(), text: format!("{number}") }
    }

    #[tokio::test]
    async fn each_is_given_once_whatever_comes_again() {
        let (messages, coming) = mpsc::channel(9);
        let mut inbox = Inbox::of(coming);
        for number in [1, 1, 2, 2, 4, 3] {
            messages.send(said(number)).await.unwrap();
        }
        assert_eq!(inbox.next().await, said(1));
        assert_eq!(inbox.rest().await, [said(2), said(3), said(4)]);
        assert_eq!(inbox.rest().await, []);
        assert_eq!(in_words(&said(1)), "ada, who looks after this task, says:\n\n1");
    }
}
