//! Clients and daemons that do not fit together: other versions, too many, too large, a second daemon, a wrong
//! configuration. Whoever is turned away is told why, and nobody else notices.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::{ErrorCode, RpcError};
use orch_tests::command_line::{orchctl, output};
use orch_tests::{Client, Setup, Story};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::story;

/// Longest wait for a peer that should answer or hang up.
const PEER_PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn peers_of_another_version_are_told_so() -> anyhow::Result<()> {
    story("another version", Setup::NoRuns, async |story| {
        let answer = say(story, b"orch 99 7.0.0\n").await?;
        let json = answer.trim_end().split_once(" error ").with_context(|| answer.clone())?.1;
        let error: RpcError = serde_json::from_str(json)?;
        ensure!(error.code == ErrorCode::Protocol && error.message.contains("7.0.0 (protocol 99)"), "{error}");
        ensure!(error.hint.is_some(), "{error:?}");
        for garbage in
            [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\xff\xfe\0\n", &[b'x'; 10_000], b"orch 1 \x1b[2J\n"]
        {
            let answer = say(story, garbage).await?;
            ensure!(answer.is_empty(), "{answer}");
        }
        // The other way round: a daemon that is newer, and a program that is no daemon at all.
        for (line, says) in [(&b"orch 99 7.0.0 ok\n"[..], "7.0.0 (protocol 99)"), (b"220 mail\n", "not an orchd")] {
            let socket = story.env().path("other.sock");
            let listener = UnixListener::bind(&socket)?;
            let other = async {
                let (mut stream, _) = listener.accept().await?;
                stream.write_all(line).await?;
                // Up to the end of the client, so that it is the client that hangs up.
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await
            };
            let path = socket.display().to_string();
            let arguments = ["--socket", &path, "status"];
            let (said, served) = tokio::join!(orchctl(story.env(), &arguments), other);
            served?;
            let said = said?.failed(i32::from(ErrorCode::Protocol.exit_code()))?;
            ensure!(said.contains("E_PROTOCOL") && said.contains(says) && said.contains("hint"), "{said}");
            std::fs::remove_file(&socket)?;
        }
        Ok(())
    })
}

#[test]
fn a_second_daemon_on_the_same_state_is_turned_away() -> anyhow::Result<()> {
    story("a second daemon", Setup::NoRuns, async |story| {
        let mut second = story.env().command(story.env().programs().orchd);
        second.arg("--config").arg(story.env().path("orchd.toml"));
        second.arg("--state-dir").arg(story.env().state()).arg("--socket").arg(story.env().path("second.sock"));
        let said = output(second).await?.failed(i32::from(ErrorCode::Locked.exit_code()))?;
        let holder = format!("pid {}", story.daemon_pid()?);
        ensure!(said.contains("E_LOCKED") && said.contains(&holder) && said.contains("hint"), "{said}");
        // Neither may one with another state take the socket from the first.
        let mut third = story.env().command(story.env().programs().orchd);
        third.arg("--config").arg(story.env().path("orchd.toml"));
        third.arg("--state-dir").arg(story.env().path("third")).arg("--socket").arg(story.env().socket());
        let said = output(third).await?.failed(i32::from(ErrorCode::Config.exit_code()))?;
        ensure!(said.contains("failed to listen") && said.contains("hint"), "{said}");
        ensure!(orchctl(story.env(), &["status"]).await?.ok().is_ok(), "the first one still answers");
        Ok(())
    })
}

#[test]
fn a_configuration_with_a_mistake_stops_the_start() -> anyhow::Result<()> {
    story("a wrong configuration", Setup::NoRuns, async |story| {
        for (text, place, hint) in [
            ("[limits]\n\nruns_mx = 3\n", "bad.toml:3: ", "did you mean `runs_max`?"),
            ("[limts]\nruns_max = 3\n", "bad.toml:1: ", "did you mean `limits`?"),
            ("[limits]\nruns_max = -1\n", "bad.toml:2: ", "line 2"),
            ("[limits]\nruns_max = 0\n", "bad.toml:2: `limits.runs_max`", "--check-config"),
            ("[limits\n", "bad.toml:1: ", "line 1"),
            (
                "[leases]\nrun_seconds = 60\nlost_seconds = 74\n",
                "bad.toml:3: `leases.lost_seconds` must be 75",
                "--check-config",
            ),
        ] {
            let path = story.env().path("bad.toml");
            std::fs::write(&path, text)?;
            let mut command = story.env().command(story.env().programs().orchd);
            command.arg("--config").arg(&path).arg("--state-dir").arg(story.env().path("never"));
            let said = output(command).await?.failed(i32::from(ErrorCode::Config.exit_code()))?;
            ensure!(said.contains("E_CONFIG") && said.contains(place) && said.contains(hint), "{said}");
            ensure!(!story.env().path("never").exists(), "a start that failed left something");
        }
        Ok(())
    })
}

#[test]
fn too_much_at_once_is_refused_and_nobody_else_notices() -> anyhow::Result<()> {
    story("too much at once", Setup::NoRuns, async |story| {
        // More long polls on one connection than are worked on at once.
        let busy = Client::connect(&story.env().socket()).await?;
        let head = story.status().await?.seq;
        let mut polls = JoinSet::new();
        for _ in 0..200 {
            let busy = busy.clone();
            polls.spawn(async move {
                busy.wire().call(async |orch, context| orch.events_since(context, head, 1, 8_000, false).await).await
            });
        }
        let mut refused = 0;
        while refused == 0 {
            let answer = timeout(PEER_PATIENCE, polls.join_next()).await?.context("none was refused")??;
            if let Err(error) = answer {
                ensure!(error.code == ErrorCode::Busy && error.retry_after_ms.is_some(), "{error:?}");
                refused += 1;
            }
        }
        // Another connection is served meanwhile, and what it does wakes those that wait.
        story.project_create("shop", RepoSource::Empty).await?;
        while let Some(answer) = timeout(PEER_PATIENCE, polls.join_next()).await? {
            ensure!(answer?.is_ok_and(|page| !page.events.is_empty()) || refused > 0, "a poll that was taken failed");
        }
        Ok(())
    })
}

/// A peer that speaks no tarpc: what it sends is answered as far as it can be, and it never harms another.
#[test]
fn hostile_bytes_harm_nobody_else() -> anyhow::Result<()> {
    story("hostile bytes", Setup::NoRuns, async |story| {
        // A frame that is larger than any: the peer is told so, then cut off.
        let mut stream = greeted(story).await?;
        stream.write_all(&(50_u32 << 20).to_be_bytes()).await?;
        let mut rest = Vec::new();
        let ended = timeout(PEER_PATIENCE, stream.read_to_end(&mut rest)).await.context("it was not cut off")?;
        let told = String::from_utf8_lossy(&rest).into_owned();
        ensure!(told.contains("E_TOO_LARGE"), "{ended:?} {told}");
        // What is no message is answered, and the connection lives on.
        let mut stream = greeted(story).await?;
        for frame in ["{garbage".to_owned(), "[".repeat(100_000), status_call(1, u64::MAX), status_call(2, 1_u64 << 30)]
        {
            let told = ask(&mut stream, &frame).await?;
            ensure!(told.contains("E_USAGE") || told.contains("E_INVALID"), "{told}");
        }
        let told = ask(&mut stream, &status_call(3, 60)).await?;
        ensure!(told.contains("\"request_id\":3") && told.contains("\"Ok\""), "{told}");
        // Half a frame; ends in the middle of a long poll; many calls and nothing is read. They stay until the end.
        let mut quiet = Vec::new();
        for _ in 0..20 {
            let mut half = greeted(story).await?;
            half.write_all(b"\0\0\x10\0{").await?;
            quiet.push(half);
            let mut dies = greeted(story).await?;
            let poll = call(1, 60, r#"{"EventsSince":{"after":999999,"limit":1,"wait_ms":8000,"with_data":false}}"#);
            send(&mut dies, &poll).await?;
            drop(dies);
        }
        let mut deaf = greeted(story).await?;
        let before = resident_kib(story)?;
        let flood = async {
            for number in 0..20_000 {
                send(&mut deaf, &status_call(number, 60)).await?;
            }
            anyhow::Ok(())
        };
        let stalled = timeout(Duration::from_secs(2), flood).await.is_err();
        ensure!(stalled, "the daemon takes calls whose answers nobody reads");
        let grown = resident_kib(story)?.saturating_sub(before);
        ensure!(grown < 32 << 10, "a client that does not read costs {grown} KiB");
        story.status().await?;
        story.project_create("shop", RepoSource::Empty).await?;
        drop((quiet, deaf));
        Ok(())
    })
}

#[test]
fn ten_thousand_calls_on_one_connection_are_all_answered() -> anyhow::Result<()> {
    story("ten thousand calls", Setup::NoRuns, async |story| {
        const CALLS: u64 = 10_000;
        let (mut reader, mut writer) = greeted(story).await?.into_split();
        let send = tokio::spawn(async move {
            for number in 0..CALLS {
                let frame = status_call(number, 60);
                writer.write_u32(u32::try_from(frame.len())?).await?;
                writer.write_all(frame.as_bytes()).await?;
            }
            anyhow::Ok(writer)
        });
        let mut answered = std::collections::BTreeSet::new();
        for _ in 0..CALLS {
            let length = timeout(PEER_PATIENCE, reader.read_u32()).await.context("an answer is missing")??;
            let mut frame = vec![0; length as usize];
            reader.read_exact(&mut frame).await?;
            let answer: serde_json::Value = serde_json::from_slice(&frame)?;
            answered.insert(answer["request_id"].as_u64().context("an answer without a number")?);
        }
        ensure!(answered.len() as u64 == CALLS, "{} different answers", answered.len());
        drop(send.await??);
        story.status().await?;
        Ok(())
    })
}

#[test]
fn too_many_clients_are_turned_away() -> anyhow::Result<()> {
    story("too many clients", Setup::NoRuns, async |story| {
        story.stop().await?;
        std::fs::write(story.env().path("orchd.toml"), "[limits]\nconnections_max = 3\n")?;
        // The story's own client is one of the three.
        story.start().await?;
        let (second, third) = (client(story).await?, client(story).await?);
        let refusal = orch_proto::wire::Client::connect(&story.env().socket()).await;
        let error = refusal.err().context("a fourth client was served")?;
        ensure!(error.code == ErrorCode::Busy && error.hint.is_some(), "{error:?}");
        drop((second, third));
        // Their places come back when the daemon has seen them go.
        orch_tests::poll::until("a free place", async || Ok(client(story).await.ok())).await?;
        Ok(())
    })
}

/// A connection on which the greeting is over and nothing was called yet.
async fn greeted(story: &Story) -> anyhow::Result<UnixStream> {
    let mut stream = UnixStream::connect(story.env().socket()).await?;
    stream.write_all(b"orch 1 0.1.0\n").await?;
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"\n") {
        greeting.push(timeout(PEER_PATIENCE, stream.read_u8()).await.context("no greeting")??);
    }
    ensure!(greeting.ends_with(b"ok\n"), "{:?}", String::from_utf8_lossy(&greeting));
    Ok(stream)
}

fn status_call(number: u64, deadline_s: u64) -> String {
    call(number, deadline_s, r#"{"Status":{}}"#)
}

fn call(number: u64, deadline_s: u64, message: &str) -> String {
    let trace = r#"{"trace_id":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"span_id":1,"sampling_decision":"Unsampled"}"#;
    let context = format!(r#"{{"deadline":{{"secs":{deadline_s},"nanos":0}},"trace_context":{trace}}}"#);
    format!(r#"{{"Request":{{"context":{context},"id":{number},"message":{message}}}}}"#)
}

async fn send(stream: &mut UnixStream, frame: &str) -> anyhow::Result<()> {
    stream.write_u32(u32::try_from(frame.len())?).await?;
    Ok(stream.write_all(frame.as_bytes()).await?)
}

async fn ask(stream: &mut UnixStream, frame: &str) -> anyhow::Result<String> {
    send(stream, frame).await?;
    let length = timeout(PEER_PATIENCE, stream.read_u32()).await.context("no answer")??;
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8(answer)?)
}

/// Memory of the daemon.
fn resident_kib(story: &Story) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", story.daemon_pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no line about memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

async fn client(story: &Story) -> anyhow::Result<Client> {
    let client = Client::connect(&story.env().socket()).await?;
    client.status().await?;
    Ok(client)
}

/// Says something to the daemon as the first words, and gives all that it answers until it hangs up.
async fn say(story: &Story, words: &[u8]) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(story.env().socket()).await?;
    // It may hang up before it has read all of it.
    let _written = stream.write_all(words).await.is_ok();
    let mut answer = Vec::new();
    let read = timeout(PEER_PATIENCE, stream.read_to_end(&mut answer)).await.context("the daemon does not hang up")?;
    // A reset says that what was sent was not read to its end.
    ensure!(read.is_ok() || answer.is_empty(), "{answer:?}");
    Ok(String::from_utf8(answer)?)
}
