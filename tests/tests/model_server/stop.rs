//! Its bounds and its end.

use orch_tests::model_server::{Answer, Misbehave as _, ModelServer, Script, Turn};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{self, PATIENCE};

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_and_not_kept() {
    let server = ModelServer::start(Script::new([Turn::say("x")])).await.unwrap();
    let bytes = (64 << 20) + 1;
    let mut request = format!("POST /v1/messages HTTP/1.1\r\nhost: m\r\ncontent-length: {bytes}\r\n\r\n").into_bytes();
    request.resize(request.len() + bytes, b' ');
    let answer = client::send(&server, &request).await;
    // It may be that the connection is gone before the answer was read, as the server does not read the rest.
    assert!([0, 413].contains(&answer.status), "{}", answer.status);
    let requests = server.stop().await;
    assert_eq!(requests[0].answer, Answer::Refused { status: 413 });
    assert_eq!((requests[0].body.len(), requests[0].body_bytes), (0, bytes as u64));
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let server = ModelServer::start(Script::new([])).await.unwrap();
    assert!(server.address().ip().is_loopback());
    assert_eq!(server.url(), format!("http://{}", server.address()));
}

#[tokio::test]
async fn dropping_it_closes_the_socket_and_ends_what_runs() {
    let server = ModelServer::start(Script::new([Turn::say("x").hold()])).await.unwrap();
    let address = server.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut held = TcpStream::connect(address).await.unwrap();
    let body = json!({ "model": "m", "input": "x" }).to_string();
    let head = format!("POST /v1/responses HTTP/1.1\r\nhost: m\r\ncontent-length: {}\r\n\r\n", body.len());
    held.write_all((head + &body).as_bytes()).await.unwrap();
    timeout(PATIENCE, server.until(|requests| !requests.is_empty())).await.unwrap();

    drop(server);
    for stream in [&mut idle, &mut held] {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _is_closed = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().is_ok();
        assert!(rest.is_empty());
    }
    let is_alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let is_ended = async {
        while is_alive() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, is_ended).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_record_has_everything_that_was_sent() {
    let server = ModelServer::start(Script::new([Turn::say("x")])).await.unwrap();
    let body = json!({ "model": "m", "input": "x" });
    client::post_as(&server, "/v1/responses?a=b", "authorization: Bearer k\r\nX-Own: 1\r\n", &body).await;
    let requests = server.stop().await;
    let request = &requests[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/responses"));
    assert_eq!((request.query.as_deref(), request.key.as_deref()), (Some("a=b"), Some("k")));
    assert_eq!((request.header("x-own"), request.json()), (Some("1"), body));
}
