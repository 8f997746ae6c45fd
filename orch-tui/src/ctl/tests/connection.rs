//! A daemon that can be connected to and does not answer yet.

use std::time::Duration;

use orch_proto::{ErrorCode, RpcError, wire};
use tokio::net::UnixListener;

use super::*;

/// Goal: who waits for a daemon on a busy machine is told what for, and gets its answer. Method: nobody takes the connection
/// until that was said.
#[tokio::test]
async fn who_waits_for_a_silent_daemon_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let (out, err) = (Sink::default(), Sink::default());
    let console =
        Console::new(Box::new(io::empty()), Box::new(out.clone()), Box::new(err.clone()), Terminal::default());
    let answering = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while !err.text().contains("the daemon says nothing yet") {
            looks.tick().await;
        }
        let (stream, _) = listener.accept().await.unwrap();
        let refusal = RpcError::new(ErrorCode::Permission, "there it is");
        assert!(wire::accept(stream, Some(refusal)).await.is_err());
    };
    let arguments = ["orchctl".into(), "--socket".into(), socket.into_os_string(), "status".into()];
    let (code, ()) = tokio::join!(run(arguments, console), answering);
    assert_eq!((code, out.text().as_str()), (ErrorCode::Permission.exit_code(), ""));
    let said = err.text();
    assert!(said.contains("waiting up to 30 s") && said.contains("error[E_PERMISSION]: there it is"), "{said}");
}
