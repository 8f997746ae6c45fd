//! Replays what an agent program printed: a program that takes its place where there is none, in tests and in a house that tries
//! things out. What it prints is known beforehand, and so is what it does.
//!
//! One that only prints has its lines printed. One that has a conversation is waited for as the real one waits: an answer comes when it
//! is asked for, with the id that was asked with, and what it asks is answered before it goes on. The answers change nothing of what
//! comes. Lines that are no messages are printed as they are, so anything can be put into a transcript; one that breaks off in a turn
//! ends there.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, Read as _, Write};
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

/// Longest line that is read, in bytes, of a transcript and of whoever speaks.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Most messages that were said and not waited for yet.
const SAID_MAX: usize = 1_024;

/// How the program spoke that wrote a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spoken {
    /// `codex exec --json`: it only prints
    CodexExec,
    /// `codex app-server`
    CodexAppServer,
    /// `claude` with stream-json
    ClaudeStream,
    /// The Agent Client Protocol, version 1
    Acp,
    /// Any text: it only prints
    Plain,
}

impl Spoken {
    /// Whether it has a conversation.
    const fn is_two_way(self) -> bool {
        matches!(self, Self::CodexAppServer | Self::ClaudeStream | Self::Acp)
    }
}

/// Prints a transcript, to whoever speaks and is listened to, with so much time before each line.
///
/// # Errors
/// When a stream breaks.
pub(crate) fn replay(
    spoken: Spoken,
    mut transcript: impl BufRead,
    (client, mut out): (impl BufRead, impl Write),
    pace: Duration,
) -> io::Result<()> {
    let mut replay = Replay {
        client: Client { input: client, said: VecDeque::new() },
        asked: Vec::new(),
        is_told: false,
        is_at_work: false,
    };
    while let Some(line) = line(&mut transcript)? {
        if !pace.is_zero() {
            std::thread::park_timeout(pace);
        }
        let message = serde_json::from_slice::<Value>(&line).ok().filter(|_| spoken.is_two_way());
        let shown = match message {
            None => Some(line),
            Some(message) if spoken == Spoken::ClaudeStream => replay.claude(message, line, &mut out)?,
            Some(message) => replay.rpc(message, line)?,
        };
        if let Some(shown) = shown {
            out.write_all(&shown)?;
            out.write_all(b"\n")?;
            out.flush()?;
        }
        if let Some(asked) = replay.asked.pop() {
            replay.client.wait(|said| asked.is_answered_by(said))?;
        }
    }
    match spoken.is_two_way() && !replay.is_at_work {
        true => replay.stay(spoken, &mut out),
        false => Ok(()),
    }
}

/// Copies the files of a directory into another one, with all that is below it. What is neither file nor directory is passed over.
///
/// # Errors
/// When that cannot be.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut open = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = open.pop() {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
            if kind.is_dir() {
                open.push((entry.path(), to));
            } else if kind.is_file() {
                fs::copy(entry.path(), to)?;
            }
        }
    }
    Ok(())
}

/// A conversation that is replayed.
struct Replay<R> {
    client: Client<R>,
    /// What the line that is printed next wants to have answered.
    asked: Vec<Asked>,
    /// It was told what to do.
    is_told: bool,
    /// Its turn has begun, and not ended.
    is_at_work: bool,
}

/// Something that the program asked.
struct Asked {
    /// Where an answer says what it answers.
    place: &'static str,
    id: Value,
}

impl Asked {
    fn is_answered_by(&self, said: &Value) -> bool {
        said.get("method").is_none() && said.pointer(self.place) == Some(&self.id)
    }
}

/// Who speaks to the program.
struct Client<R> {
    input: R,
    /// What was said and not waited for yet.
    said: VecDeque<Value>,
}

impl<R: BufRead> Client<R> {
    /// The first message like this, of those that were said and that are said yet; none when there is no more.
    fn wait(&mut self, is_wanted: impl Fn(&Value) -> bool) -> io::Result<Option<Value>> {
        if let Some(found) = self.find(&is_wanted) {
            return Ok(Some(found));
        }
        while let Some(line) = line(&mut self.input)? {
            let Ok(message) = serde_json::from_slice::<Value>(&line) else { continue };
            if is_wanted(&message) {
                return Ok(Some(message));
            }
            if self.said.len() >= SAID_MAX {
                self.said.pop_front();
            }
            self.said.push_back(message);
        }
        Ok(None)
    }

    /// The same of those that were said already.
    fn find(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let at = self.said.iter().position(is_wanted)?;
        self.said.remove(at)
    }
}

/// What a request of a client begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Greeting,
    Session,
    Turn,
    /// Nothing: whether it is made depends on who speaks.
    Aside,
}

impl Sort {
    fn of(method: &str) -> Self {
        match method {
            "initialize" => Self::Greeting,
            "thread/start" | "thread/resume" | "session/new" | "session/load" | "session/resume" => Self::Session,
            "turn/start" | "session/prompt" => Self::Turn,
            _ => Self::Aside,
        }
    }

    /// By an answer, as it was written; none by an error, which can be that of any.
    fn of_answer(answer: &Value) -> Option<Self> {
        let result = answer.get("result")?;
        let has = |keys: &[&str]| keys.iter().any(|key| result.get(*key).is_some());
        let known: [(Self, &[&str]); 3] = [
            (Self::Greeting, &["protocolVersion", "userAgent"]),
            (Self::Session, &["thread", "sessionId"]),
            (Self::Turn, &["turn", "stopReason"]),
        ];
        Some(known.into_iter().find(|(_, keys)| has(keys)).map_or(Self::Aside, |(sort, _)| sort))
    }
}

impl<R: BufRead> Replay<R> {
    /// One message of JSON-RPC, as it is printed now; none when nobody asked for it.
    fn rpc(&mut self, mut message: Value, line: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        if message.get("method").and_then(Value::as_str) == Some("turn/completed") {
            self.is_at_work = false;
        }
        let Some(id) = message.get("id").filter(|id| !id.is_null()).cloned() else { return Ok(Some(line)) };
        if message.get("method").is_some() {
            self.asked.push(Asked { place: "/id", id });
            return Ok(Some(line));
        }
        let sort = Sort::of_answer(&message);
        let is_request = |said: &Value| said.get("id").is_some() && said.get("method").is_some();
        let fits = |said: &Value| {
            let method = said.get("method").and_then(Value::as_str).unwrap_or_default();
            is_request(said) && (said.get("id") == Some(&id) || sort.is_none_or(|sort| sort == Sort::of(method)))
        };
        // By the ids that the driver gives, also an error is known to be none that was waited for.
        let is_aside = id.as_str().is_some_and(|id| id.starts_with("steer") || id.starts_with("interrupt"));
        let asked = match sort {
            Some(Sort::Aside) => self.client.find(fits),
            None if is_aside => self.client.find(fits),
            _ => self.client.wait(fits)?,
        };
        let Some(asked) = asked else { return Ok(None) };
        // Of the two that begin a turn one is answered at once, and the other when it is over.
        self.is_at_work |= asked["method"] == "turn/start" && message.get("result").is_some();
        if asked["id"] == id {
            return Ok(Some(line));
        }
        message["id"] = asked["id"].clone();
        Ok(Some(message.to_string().into_bytes()))
    }

    /// One message of Claude Code, likewise.
    fn claude(&mut self, mut message: Value, line: Vec<u8>, out: &mut impl Write) -> io::Result<Option<Vec<u8>>> {
        let kind = message["type"].as_str().unwrap_or_default();
        let is_request = |said: &Value| said["type"] == "control_request";
        if kind == "control_response" {
            // What it prints of answers that it was given is no answer of its own.
            let is_own = !self.is_told;
            let Some(asked) = (if is_own { self.client.wait(is_request)? } else { None }) else {
                return Ok(Some(line));
            };
            if asked["request_id"] == message["response"]["request_id"] {
                return Ok(Some(line));
            }
            if let Some(place) = message.pointer_mut("/response/request_id") {
                *place = asked["request_id"].clone();
            }
            return Ok(Some(message.to_string().into_bytes()));
        }
        let mut told = None;
        if !self.is_told {
            // A transcript of one that nobody spoke to has no greeting.
            if let Some(asked) = self.client.wait(|said| is_request(said) || said["type"] == "user")? {
                if is_request(&asked) {
                    greet(&asked, out)?;
                    told = self.client.wait(|said| said["type"] == "user")?;
                } else {
                    told = Some(asked);
                }
            }
            self.is_told = true;
        }
        self.is_at_work = kind != "result";
        if kind == "control_request" {
            self.asked.push(Asked { place: "/response/request_id", id: message["request_id"].clone() });
        }
        if message["isReplay"] != true {
            // The message that it was told waits for the line which says that it was.
            self.client.said.extend(told);
            return Ok(Some(line));
        }
        // It says of each message that it took it up; what nobody said it did not.
        let Some(told) = told.or_else(|| self.client.find(|said| said["type"] == "user")) else { return Ok(None) };
        if told["uuid"] == message["uuid"] {
            return Ok(Some(line));
        }
        (message["uuid"], message["message"]) = (told["uuid"].clone(), told["message"].clone());
        Ok(Some(message.to_string().into_bytes()))
    }

    /// It is done, and stays until nobody speaks any more. What it is asked for then it cannot do.
    fn stay(&mut self, spoken: Spoken, out: &mut impl Write) -> io::Result<()> {
        let is_request = |said: &Value| match spoken {
            Spoken::ClaudeStream => said["type"] == "control_request",
            _ => said.get("id").is_some() && said.get("method").is_some(),
        };
        while let Some(asked) = self.client.wait(is_request)? {
            let why = "the transcript has no more";
            let answer = match spoken {
                Spoken::ClaudeStream => json!({ "type": "control_response",
                    "response": { "subtype": "error", "request_id": asked["request_id"], "error": why } }),
                _ => json!({ "jsonrpc": "2.0", "id": asked["id"], "error": { "code": -32600, "message": why } }),
            };
            // Who asks may be gone before that is told.
            if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Says that it is ready.
fn greet(asked: &Value, out: &mut impl Write) -> io::Result<()> {
    let answer = json!({ "type": "control_response",
        "response": { "subtype": "success", "request_id": asked["request_id"], "response": {} } });
    writeln!(out, "{answer}")?;
    out.flush()
}

/// The next line, without its line feed; none when there is no more.
fn line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.ends_with(b"\n") {
        line.pop();
    }
    Ok((read > 0).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replayed(spoken: Spoken, transcript: &[&str], client: &[&str]) -> Vec<String> {
        let (transcript, client) = (transcript.join("\n"), client.join("\n"));
        let mut out = Vec::new();
        replay(spoken, transcript.as_bytes(), (client.as_bytes(), &mut out), Duration::ZERO).unwrap();
        String::from_utf8_lossy(&out).lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn what_only_prints_is_printed_as_it_is() {
        let lines = [r#"{"id":1,"method":"x"}"#, "", "no JSON", "\u{1b}[31m"];
        for spoken in [Spoken::CodexExec, Spoken::Plain] {
            assert_eq!(replayed(spoken, &lines, &["{}"]), lines);
        }
    }

    #[test]
    fn answers_come_when_they_are_asked_for_and_by_the_id_of_who_asks() {
        let transcript = [
            r#"{"id":"initialize","result":{"userAgent":"x"}}"#,
            r#"{"id":"new","result":{"thread":{"id":"T"}}}"#,
            r#"{"id":"prompt-0","result":{"turn":{"id":"U"}}}"#,
            r#"{"id":0,"method":"item/commandExecution/requestApproval"}"#,
            r#"{"id":"steer-1","result":{"turnId":"U"}}"#,
            "no message",
            r#"{"method":"turn/completed","params":{"turn":{"id":"U"}}}"#,
        ];
        let client = [
            r#"{"id":7,"method":"initialize"}"#,
            r#"{"method":"initialized"}"#,
            r#"{"id":"new","method":"thread/start"}"#,
            r#"{"id":9,"method":"turn/start"}"#,
            r#"{"id":0,"result":{"decision":"accept"}}"#,
            r#"{"id":10,"method":"turn/start"}"#,
        ];
        let out = replayed(Spoken::CodexAppServer, &transcript, &client);
        let expected = [
            r#"{"id":7,"result":{"userAgent":"x"}}"#,
            transcript[1],
            r#"{"id":9,"result":{"turn":{"id":"U"}}}"#,
            transcript[3],
            transcript[5],
            transcript[6],
            r#"{"error":{"code":-32600,"message":"the transcript has no more"},"id":10,"jsonrpc":"2.0"}"#,
        ];
        assert_eq!(out, expected);
        // Nobody is there: what nobody asked for is not answered.
        assert_eq!(replayed(Spoken::Acp, &transcript[..2], &[]), Vec::<String>::new());
        let refused = [r#"{"id":"prompt-0","error":{"code":1}}"#];
        assert_eq!(
            replayed(Spoken::Acp, &refused, &[r#"{"id":5,"method":"session/prompt"}"#]),
            [r#"{"error":{"code":1},"id":5}"#]
        );
    }

    #[test]
    fn claude_is_greeted_told_and_answered() {
        let text = r#"{"type":"assistant","message":{}}"#;
        let asks = r#"{"type":"control_request","request_id":"q","request":{"subtype":"can_use_tool"}}"#;
        let echo = r#"{"type":"control_response","response":{"request_id":"q"}}"#;
        let client = [
            r#"{"type":"control_request","request_id":"initialize"}"#,
            r#"{"type":"user","uuid":"U","message":{"content":"say"}}"#,
            echo,
        ];
        let greeting = r#"{"type":"control_response","response":{"subtype":"success","request_id":"other"}}"#;
        let taken = r#"{"type":"user","isReplay":true,"uuid":"V","message":{"content":"recorded"}}"#;
        let out = replayed(Spoken::ClaudeStream, &[greeting, taken, text, asks, echo, taken, text], &client);
        let expected = [
            r#"{"response":{"request_id":"initialize","subtype":"success"},"type":"control_response"}"#,
            r#"{"isReplay":true,"message":{"content":"say"},"type":"user","uuid":"U"}"#,
            text,
            asks,
            echo,
            text,
        ];
        assert_eq!(out, expected, "the second message was said by nobody");
        // One that was recorded with its prompt as its input.
        let out = replayed(Spoken::ClaudeStream, &[text], &client);
        assert_eq!(out.len(), 2);
        assert!(out[0].contains(r#""request_id":"initialize""#) && out[1] == text, "{out:?}");
    }

    #[test]
    fn a_turn_that_breaks_off_is_the_end() {
        let greeting = r#"{"id":1,"result":{"turn":{"id":"U"}}}"#;
        let client = [r#"{"id":1,"method":"turn/start"}"#, r#"{"id":2,"method":"turn/interrupt"}"#];
        assert_eq!(
            replayed(Spoken::CodexAppServer, &[greeting, r#"{"method":"it"#], &client),
            [greeting, r#"{"method":"it"#]
        );
        let said = r#"{"type":"assistant"}"#;
        let user = r#"{"type":"user"}"#;
        assert_eq!(replayed(Spoken::ClaudeStream, &[said], &[user, r#"{"type":"control_request"}"#]), [said]);
        let prompt = r#"{"id":3,"method":"session/prompt"}"#;
        let out = replayed(Spoken::Acp, &[r#"{"method":"session/update"}"#], &[prompt]);
        assert!(out.len() == 2 && out[1].contains("the transcript has no more"), "{out:?}");
    }

    #[test]
    fn files_are_copied_with_all_that_is_below() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(from.path().join("a/b")).unwrap();
        fs::write(from.path().join("a/b/c"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("link")).unwrap();
        copy(from.path(), to.path()).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("a/b/c")).unwrap(), "x");
        assert!(!to.path().join("link").exists());
    }
}
