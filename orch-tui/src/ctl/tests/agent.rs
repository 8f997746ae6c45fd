//! `agent`: what a program in a run is told. The other end of its channel is the test.

use std::net::TcpListener;

use orch_proto::ErrorCode;
use orch_proto::channel::{self, Answer, Answered, ApprovalAnswer, ToolAnswer, Verb};

use super::*;

/// A channel on which nobody decides, one call after the other.
fn undecided() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            while let Ok(asked) = channel::read_frame(&mut stream) {
                let asked: channel::Call = serde_json::from_slice(&asked).unwrap();
                let answer: Answer = Ok(match asked.verb {
                    Verb::RequestTool { .. } => Answered::Tool { state: ToolAnswer::Pending },
                    _ => Answered::Approval { name: "A-1".into(), state: ApprovalAnswer::Pending },
                });
                channel::write_frame(&mut stream, &serde_json::to_vec(&answer).unwrap()).unwrap();
            }
        }
    });
    address
}

/// What is to be done next can be done.
#[tokio::test]
async fn who_waits_no_longer_is_told_how_to_ask_again() {
    let fake = Fake::start(State::default());
    let address = undecided();
    for (line, again, has_key) in [
        ("agent await-approval deploy --key k", "with the same `--key`", true),
        ("agent request-tool go --reason builds", "ask again for the same tool", false),
    ] {
        let given = Call { env: &[("ORCH_CHANNEL", address.as_str())], ..Call::default() };
        let told = call(&fake, given, &format!("{line} --timeout 1ms")).await;
        assert_eq!(told.code, ErrorCode::Timeout.exit_code(), "{line}: {told:?}");
        assert!(told.err.contains(again), "{line}: {told:?}");
        assert_eq!(told.err.contains("--key"), has_key, "{line}: {told:?}");
    }
}
