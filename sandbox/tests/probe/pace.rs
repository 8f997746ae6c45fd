//! `sbx-probe pace direct ADDRESS COUNT` and `pace proxied NAME:PORT COUNT`: how long it takes from the start of a
//! connection until the first byte has come back, and how fast bytes go there and back; somebody who says everything
//! back must be there. Proxied goes through the proxy of the run. Prints microseconds and MiB per second.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::Findings;

const PROXY: &str = "127.0.0.1:3128";
const BULK_BYTES: usize = 512 << 20;

pub(super) fn attack(case: &str, arguments: &[&str], found: &mut Findings) -> bool {
    let ("pace", [way, place, count]) = (case, arguments) else { return false };
    let measured = measure(way, place, count.parse().unwrap_or(1));
    found.holds(&format!("pace {way}"), &format!("{measured:?}"), measured.is_ok());
    true
}

fn measure(way: &str, place: &str, count: usize) -> io::Result<String> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let mut stream = connect(way, place)?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(0, Duration::as_micros);
    let bulk = bulk(connect(way, place)?)?;
    Ok(format!("p50 {} us, p90 {} us, p99 {} us, {bulk} MiB/s", at(50), at(90), at(99)))
}

fn connect(way: &str, place: &str) -> io::Result<TcpStream> {
    if way == "direct" {
        let stream = TcpStream::connect(place)?;
        stream.set_nodelay(true)?;
        return Ok(stream);
    }
    let mut stream = TcpStream::connect(PROXY)?;
    stream.set_nodelay(true)?;
    stream.write_all(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => answer.extend_from_slice(&buffer[..got]),
        }
    }
    if answer.starts_with(b"HTTP/1.1 200") { Ok(stream) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

fn bulk(mut stream: TcpStream) -> io::Result<u64> {
    let start = Instant::now();
    let mut sink = stream.try_clone()?;
    let writer = thread::spawn(move || {
        let piece = vec![b'x'; 256 << 10];
        (0..BULK_BYTES / piece.len()).try_for_each(|_| sink.write_all(&piece))
    });
    let mut buffer = vec![0; 256 << 10];
    let mut left = BULK_BYTES;
    while left > 0 {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => left = left.saturating_sub(got),
        }
    }
    let written = writer.join().map_err(|_| io::ErrorKind::Other)?;
    written?;
    let micros = start.elapsed().as_micros().max(1);
    Ok(u64::try_from(BULK_BYTES as u128 * 1_000_000 / micros / (1 << 20)).unwrap_or(u64::MAX))
}
