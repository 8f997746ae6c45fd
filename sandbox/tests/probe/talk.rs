//! `sbx-probe talk ADDRESS MOVE... [-- ADDRESS MOVE...]...`: holds conversations over TCP and says how they went.
//!
//! Moves: `>TEXT` sends, `<TEXT` reads until the text comes, `=end` and `=reset` wait for an end of that kind, `=shut`
//! ends what is sent, `=closed` takes either end, `~TEXT` sends a packet to a UDP address and `^TEXT` wants its answer to
//! have the text. In a text, `\r`, `\n` and `\xHH` stand for bytes. `!` instead of moves wants the connection refused.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use nix::errno::Errno;

use super::{Findings, errno_of};

const WAIT: Duration = Duration::from_secs(30);

pub(super) fn attack(case: &str, arguments: &[&str], found: &mut Findings) -> bool {
    match case {
        "talk" => {}
        "flood" => {
            flood(arguments, found);
            return true;
        }
        _ => return false,
    }
    for conversation in arguments.split(|word| *word == "--") {
        let [address, moves @ ..] = conversation else { continue };
        let what = moves.first().copied().unwrap_or_default().chars().take(60).collect::<String>();
        let said = match (address.parse(), moves) {
            (Ok(address), ["!"]) => {
                match TcpStream::connect_timeout(&address, WAIT).map_err(|error| errno_of(&error)) {
                    Err(Errno::ECONNREFUSED | Errno::ENETUNREACH) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            }
            (Ok(address), [query, answer]) if query.starts_with('~') => ask(address, query, answer),
            (Ok(address), moves) => converse(address, moves),
            (Err(_), _) => Err("not an address".to_owned()),
        };
        found.holds(&format!("{address} {what}"), &format!("{said:?}"), said.is_ok());
    }
    true
}

/// `flood ADDRESS COUNT`: makes connections, sends the start of a request on each, says so, and keeps them.
fn flood(arguments: &[&str], found: &mut Findings) {
    let [address, count] = arguments else { return };
    let connect = |_| {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET http://")?;
        Ok(stream)
    };
    let made: io::Result<Vec<_>> = (0..count.parse().unwrap_or(0)).map(connect).collect();
    println!("{:?} connections", made.as_ref().map(Vec::len));
    found.holds("flood", &format!("{:?}", made.as_ref().map(Vec::len)), made.is_ok());
    // Until somebody ends this process.
    nix::unistd::pause();
}

/// A reset can come while the connection is still being made, or while something is sent.
fn converse(address: SocketAddr, moves: &[&str]) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let may_be_reset = moves.last().is_some_and(|last| ["=reset", "=closed"].contains(last));
    let is_reset = |error: &io::Error| may_be_reset && error.kind() == io::ErrorKind::ConnectionReset;
    let mut stream = match TcpStream::connect_timeout(&address, WAIT) {
        Err(error) if is_reset(&error) => return Ok(()),
        connected => connected.map_err(failed)?,
    };
    stream.set_read_timeout(Some(WAIT)).map_err(failed)?;
    let mut held = Vec::new();
    for step in moves {
        let shown = |held: &[u8]| held.escape_ascii().to_string();
        match step.split_at(1) {
            (">", text) => match stream.write_all(&bytes(text)) {
                Err(error) if is_reset(&error) => return Ok(()),
                written => written.map_err(failed)?,
            },
            ("<", text) => {
                let wanted = bytes(text);
                loop {
                    if let Some(at) = held.windows(wanted.len()).position(|window| window == wanted) {
                        held.drain(..at + wanted.len());
                        break;
                    }
                    let got = read(&mut stream, &mut held);
                    if got.as_ref().map_or(true, |count| *count == 0) {
                        return Err(format!("wanted {text}, got {got:?} after {}", shown(&held)));
                    }
                }
            }
            ("=", "shut") => stream.shutdown(Shutdown::Write).map_err(failed)?,
            ("=", end) => {
                let got = loop {
                    match read(&mut stream, &mut held) {
                        Ok(0) => break "end",
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break "reset",
                        Err(error) => return Err(error.to_string()),
                    }
                };
                if (end != "closed" && got != end) || (end == "reset" && !held.is_empty()) {
                    return Err(format!("wanted {end}, got {got} after {}", shown(&held)));
                }
            }
            _ => return Err(format!("no such move: {step}")),
        }
    }
    Ok(())
}

fn read(stream: &mut TcpStream, held: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer)?;
    held.extend_from_slice(&buffer[..count]);
    Ok(count)
}

fn ask(address: SocketAddr, query: &str, answer: &str) -> Result<(), String> {
    let exchange = || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(WAIT))?;
        socket.send_to(&bytes(&query[1..]), address)?;
        let mut buffer = [0; 1500];
        let length = socket.recv(&mut buffer)?;
        Ok(buffer[..length].to_vec())
    };
    let got = exchange().map_err(|error: io::Error| error.to_string())?;
    let wanted = bytes(&answer[1..]);
    let there = got.windows(wanted.len()).any(|window| window == wanted);
    if there { Ok(()) } else { Err(got.escape_ascii().to_string()) }
}

/// The bytes that a text stands for.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            bytes.extend(character.to_string().as_bytes());
            continue;
        }
        match rest.next() {
            Some('r') => bytes.push(b'\r'),
            Some('n') => bytes.push(b'\n'),
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap_or_default());
            }
            other => bytes.extend(other.map(|other| other as u8)),
        }
    }
    bytes
}
