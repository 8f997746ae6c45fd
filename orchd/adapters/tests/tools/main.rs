//! Tools from a server that sends what it likes, and what becomes of them in the cache.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; only code marked as a test is exempt by itself"
)]

mod cache;
mod lab;

use orch_adapters::tool_cache::{DOWNLOAD_BYTES_MAX, FetchError};

use lab::{HOST, Lab, answer, checksum, found};

#[tokio::test]
async fn what_is_pinned_comes_whole_and_by_the_mirror_of_its_host() {
    let body: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let lab = Lab::new(&[("/mirror/a/tool.tgz?x=1", found(&body))]).await;
    let (written, told) = lab.fetch("/a/tool.tgz?x=1", checksum(&body)).await.unwrap();
    assert!(written == body);
    let all = body.len() as u64;
    assert_eq!((told.first(), told.last()), (Some(&(0, Some(all))), Some(&(all, Some(all)))));
    assert_eq!(lab.asked(), ["/mirror/a/tool.tgz?x=1"]);
}

#[tokio::test]
async fn something_else_is_refused_with_both_checksums() {
    let lab = Lab::new(&[("/mirror/tool", found(b"evil"))]).await;
    let error = lab.fetch("/tool", checksum(b"good")).await.unwrap_err();
    assert!(!error.is_passing());
    let FetchError::Checksum { source, .. } = &error else { panic!("{error:?}") };
    let said = source.to_string();
    assert!(said.contains(checksum(b"good").as_str()) && said.contains(checksum(b"evil").as_str()), "{said}");
}

#[tokio::test]
async fn what_breaks_off_or_is_not_there_is_no_download() {
    let (cut, gone) = (answer("200 OK", "content-length: 100\r\n", b"short"), found(b""));
    let busy = answer("503 Service Unavailable", "content-length: 0\r\n", b"");
    let lab = Lab::new(&[("/mirror/cut", cut), ("/mirror/busy", busy), ("/mirror/empty", gone)]).await;
    for (path, is_passing, said) in [
        ("/cut", true, "broke off after 5 bytes"),
        ("/busy", true, "answers 503"),
        ("/none", false, "answers 404"),
        ("/empty", false, "is not what the recipe pins"),
    ] {
        let error = lab.fetch(path, checksum(b"x")).await.unwrap_err();
        assert!(error.to_string().contains(said), "{path}: {error}");
        assert_eq!(error.is_passing(), is_passing, "{path}: {error}");
    }
}

#[tokio::test]
async fn who_says_that_it_is_elsewhere_is_followed_on_the_same_server_only() {
    let to = |place: &str| answer("302 Found", &format!("location: {place}\r\ncontent-length: 0\r\n"), b"");
    let lab = Lab::new(&[
        ("/mirror/moved", to("/mirror/there")),
        ("/mirror/there", found(b"tool")),
        ("/mirror/away", to("https://other.example.org/tool")),
        ("/mirror/down", to(&format!("http://{HOST}/tool"))),
        ("/mirror/round", to("/mirror/round")),
        ("/mirror/nowhere", answer("302 Found", "content-length: 0\r\n", b"")),
    ])
    .await;
    assert_eq!(lab.fetch("/moved", checksum(b"tool")).await.unwrap().0, b"tool");
    for (path, said) in [
        ("/away", "does not name that host"),
        ("/down", "not the usual port of `https://`"),
        ("/round", "again and again"),
        ("/nowhere", "answers 302"),
    ] {
        let error = lab.fetch(path, checksum(b"tool")).await.unwrap_err();
        assert!(error.to_string().contains(said), "{path}: {error}");
        assert!(!error.is_passing(), "{path}");
    }
    assert_eq!(lab.asked().iter().filter(|path| *path == "/mirror/round").count(), 6);
}

#[tokio::test]
async fn what_is_too_large_is_not_begun() {
    let huge = answer("200 OK", &format!("content-length: {}\r\n", DOWNLOAD_BYTES_MAX + 1), b"x");
    let lab = Lab::new(&[("/mirror/huge", huge)]).await;
    let error = lab.fetch("/huge", checksum(b"x")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { .. }) && !error.is_passing(), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_may_be_there_later() {
    let lab = Lab::new(&[]).await;
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let lab = lab.mirrored_by(&format!("http://127.0.0.1:{port}"));
    let error = lab.fetch("/tool", checksum(b"x")).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }) && error.is_passing(), "{error}");
}
