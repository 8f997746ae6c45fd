//! A server of the Model Context Protocol on standard input and output: a line of JSON-RPC each way.
//!
//! What is spoken is what a server of tools has to: `initialize`, `ping`, `tools/list`, `tools/call`, and that a call is not
//! wanted any more. Calls wait for people, so each has a thread; their number is bounded.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orch_proto::RpcError;
use serde_json::{Value, json};

use super::ask::Secrets;
use super::client::{Channel, Wanted};
use super::tools;

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Calls at once.
const CALLS_MAX: usize = 6;
/// Versions of the protocol that are spoken: what is said here is the same in all of them. The newest is offered to who wants another.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// How long calls are waited for when nobody is there any more who wants their answers: what they ask people is taken back.
const END_MAX: Duration = Duration::from_secs(60);

/// Calls under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    /// By their ids.
    calls: Mutex<BTreeMap<String, Wanted>>,
    /// Rung when one ends.
    ended: Condvar,
}

impl Calls {
    /// One more; none when there are too many, or one has this id.
    fn begin(&self, id: &Value) -> Option<Wanted> {
        let mut calls = self.lock();
        if calls.len() >= CALLS_MAX || calls.contains_key(&id.to_string()) {
            return None;
        }
        Some(calls.entry(id.to_string()).or_default().clone())
    }

    fn end(&self, id: &Value) {
        self.lock().remove(&id.to_string());
        self.0.ended.notify_all();
    }

    /// The answer to one is not wanted.
    fn give_up(&self, id: &Value) {
        // It may wake a thread that ends the call.
        let wanted = self.lock().get(&id.to_string()).cloned();
        wanted.iter().for_each(Wanted::give_up);
    }

    /// No answer is wanted any more. Waits a bounded while until what was asked is taken back.
    pub(crate) fn give_up_all(&self) {
        let all: Vec<Wanted> = self.lock().values().cloned().collect();
        all.iter().for_each(Wanted::give_up);
        let left = self.0.ended.wait_timeout_while(self.lock(), END_MAX, |calls| !calls.is_empty());
        drop(left.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Wanted>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What writes answers, a line at a time.
type Out = Arc<Mutex<Box<dyn Write + Send>>>;

/// Serves until there is no more input. Then nobody waits for an answer any more, and what was asked is taken back.
///
/// # Errors
/// When a stream breaks.
pub(crate) fn serve(
    input: impl BufRead,
    output: Box<dyn Write + Send>,
    (channel, secrets): (&Channel, &Result<Secrets, RpcError>),
    calls: &Calls,
) -> io::Result<()> {
    let served = listen(input, &Arc::new(Mutex::new(output)), (channel, secrets), calls);
    calls.give_up_all();
    served
}

fn listen(
    mut input: impl BufRead,
    out: &Out,
    (channel, secrets): (&Channel, &Result<Secrets, RpcError>),
    calls: &Calls,
) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if !line.ends_with(b"\n") && read as u64 == LINE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
        }
        let Ok(message) = serde_json::from_slice::<Value>(&line) else {
            write(out, &failed(&Value::Null, -32_700, "this is no JSON"))?;
            continue;
        };
        let (id, params) = (message["id"].clone(), message["params"].clone());
        match message["method"].as_str() {
            Some("tools/call") if !id.is_null() => {
                begin(out, calls, (channel.another(), secrets.clone()), id, params)?;
            }
            Some("notifications/cancelled") => calls.give_up(&params["requestId"]),
            // Notifications want no answer, and answers were not asked for.
            _ if id.is_null() => {}
            Some(method) => write(out, &answer(&id, method, &params))?,
            None => write(out, &failed(&id, -32_600, "this is no request"))?,
        }
    }
}

fn answer(id: &Value, method: &str, params: &Value) -> Value {
    match method {
        "initialize" => {
            let wanted = params["protocolVersion"].as_str();
            let version = VERSIONS.into_iter().find(|known| Some(*known) == wanted).unwrap_or(VERSIONS[0]);
            done(
                id,
                &json!({"protocolVersion": version, "capabilities": {"tools": {}},
                    "serverInfo": {"name": "orch", "version": env!("CARGO_PKG_VERSION")}}),
            )
        }
        "ping" => done(id, &json!({})),
        "tools/list" => done(id, &json!({"tools": tools::list()})),
        _ => failed(id, -32_601, "there is no such method"),
    }
}

fn begin(
    out: &Out,
    calls: &Calls,
    (mut channel, secrets): (Channel, Result<Secrets, RpcError>),
    id: Value,
    params: Value,
) -> io::Result<()> {
    let Some(wanted) = calls.begin(&id) else {
        return write(out, &told(&id, &tools::too_many().to_string(), true));
    };
    let (out, calls) = (Arc::clone(out), calls.clone());
    std::thread::Builder::new().spawn(move || {
        let called = tools::call(&mut channel, &secrets, params, wanted);
        // Without a reader there is nobody to tell.
        let _is_told = called.is_some_and(|(text, is_error)| write(&out, &told(&id, &text, is_error)).is_ok());
        calls.end(&id);
    })?;
    Ok(())
}

fn told(id: &Value, text: &str, is_error: bool) -> Value {
    done(id, &json!({"content": [{"type": "text", "text": text}], "isError": is_error}))
}

fn done(id: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn failed(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn write(out: &Out, message: &Value) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
    out.write_all(&line)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answers(input: &str) -> Vec<Value> {
        let kept = Kept::default();
        let channel = Channel::of_run(|_| Some("127.0.0.1:1".into())).unwrap();
        let secrets = Secrets::of_run(|_| Some("/nowhere".into()));
        serve(input.as_bytes(), Box::new(kept.clone()), (&channel, &secrets), &Calls::default()).unwrap();
        let written = kept.0.lock().unwrap().clone();
        written.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    #[test]
    fn it_says_what_it_is_and_survives_what_it_does_not_know() {
        let found = answers(
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2024-11-05\"}}\n\
             {\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\nnonsense\n[1]\n\
             {\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"tools/list\"}\n\
             {\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"resources/list\"}\n\
             {\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"ping\"}\n{\"jsonrpc\":\"2.0\",\"id\":5}",
        );
        assert_eq!(found[0]["result"]["protocolVersion"], "2024-11-05");
        assert_eq!(found[1]["error"]["code"], -32_700);
        assert_eq!((found[2]["id"].as_str(), found[2]["result"]["tools"].as_array().unwrap().len()), (Some("a"), 8));
        assert_eq!(found[3]["error"]["code"], -32_601);
        assert_eq!(found[4]["result"], json!({}));
        assert_eq!(found[5]["error"]["code"], -32_600);
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn a_version_that_is_not_spoken_is_answered_with_one_that_is() {
        for params in [r#"{"protocolVersion":"2099-01-01"}"#, r#"{"protocolVersion":"\u001b[2J"}"#, "{}", "7"] {
            let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{params}}}\n");
            assert_eq!(answers(&line)[0]["result"]["protocolVersion"], "2025-11-25", "{params}");
        }
        // Newer clients ask so first, and greet as before when nobody knows it.
        let found = answers("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"server/discover\"}\n");
        assert_eq!(found[0]["error"]["code"], -32_601);
    }
}
