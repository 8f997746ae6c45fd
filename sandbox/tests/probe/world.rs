//! `sbx-probe world DIRECTORY PROGRAM [ARGUMENT...]`: executes a program in a world of its own, where every address is
//! this machine and somebody answers at a few ports.
//!
//! The world is a network and a mount namespace. Files of DIRECTORY lie over those in `/etc` that decide how names are
//! resolved. What arrives is noted in its file `seen`, one line each: whoever reaches an address that he must not reach
//! is seen there. At ports 80 and 8080 answers an HTTP server that says back what it was sent, at 2222 somebody who
//! speaks first, at 443 and 8443 somebody who says everything back, at 53 a DNS server that knows one name, whose
//! address changes with every answer.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, getegid, geteuid};

use super::raw;

const PORTS: [u16; 5] = [80, 443, 2222, 8080, 8443];

/// Executes the program; returns only when that failed.
pub(super) fn execute(words: &[&str]) -> io::Error {
    let [directory, program, arguments @ ..] = words else { return io::ErrorKind::InvalidInput.into() };
    match settle(Path::new(directory)) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

fn settle(directory: &Path) -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    let mut namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    if !uid.is_root() {
        namespaces |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(namespaces)?;
    if !uid.is_root() {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    for name in ["hosts", "nsswitch.conf", "resolv.conf"] {
        // Through the link that it may be.
        let target = Path::new("/etc").join(name).canonicalize()?;
        mount(Some(&directory.join(name)), &target, nothing, MsFlags::MS_BIND, nothing)?;
    }
    loopback_up()?;
    everything_is_here(libc::AF_INET)?;
    match everything_is_here(libc::AF_INET6) {
        // A kernel without it has fewer addresses to get wrong.
        Ok(()) | Err(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP) => {}
        Err(errno) => return Err(errno.into()),
    }
    serve(directory)
}

fn loopback_up() -> Result<(), Errno> {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(|_| Errno::EADDRNOTAVAIL)?;
    // The name of the interface, then its flags: IFF_UP.
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16..18].copy_from_slice(&1_u16.to_ne_bytes());
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    let fd = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
    let code = usize::try_from(libc::SIOCSIFFLAGS).map_err(|_| Errno::EINVAL)?;
    raw(libc::SYS_ioctl, [fd, code, request.as_ptr() as usize, 0, 0, 0]).map(drop)
}

/// `ip route add local default dev lo`.
fn everything_is_here(family: libc::c_int) -> Result<(), Errno> {
    let family = u8::try_from(family).map_err(|_| Errno::EINVAL)?;
    let message = [
        &36_u32.to_ne_bytes()[..],
        &libc::RTM_NEWROUTE.to_ne_bytes(),
        &[5, 4, 0, 0, 0, 0, 0, 0, 0, 0],
        &[family, 0, 0, 0, libc::RT_TABLE_LOCAL, 4, libc::RT_SCOPE_HOST, libc::RTN_LOCAL, 0, 0, 0, 0],
        &8_u16.to_ne_bytes(),
        &libc::RTA_OIF.to_ne_bytes(),
        &1_u32.to_ne_bytes(),
    ]
    .concat();
    let args = [libc::AF_NETLINK as usize, (libc::SOCK_RAW | libc::SOCK_CLOEXEC) as usize, 0, 0, 0, 0];
    let socket = usize::try_from(raw(libc::SYS_socket, args)?).map_err(|_| Errno::EBADF)?;
    let kernel = [&libc::AF_NETLINK.to_ne_bytes()[..2], &[0; 10]].concat();
    raw(libc::SYS_sendto, [socket, message.as_ptr() as usize, message.len(), 0, kernel.as_ptr() as usize, 12])?;
    let mut answer = [0_u8; 512];
    raw(libc::SYS_recvfrom, [socket, answer.as_mut_ptr() as usize, answer.len(), 0, 0, 0])?;
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        code => Err(Errno::from_raw(-code)),
    }
}

/// Starts the process that answers; it dies with this one.
fn serve(directory: &Path) -> io::Result<()> {
    let seen = Arc::new(OpenOptions::new().create(true).append(true).open(directory.join("seen"))?);
    let any = |port| TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
    let listeners = PORTS.map(|port| any(port).map(|listener| (port, listener)));
    let names = UdpSocket::bind("127.0.0.1:53")?;
    // SAFETY: this process has one thread, so the child finds every lock free.
    if let ForkResult::Parent { .. } = unsafe { nix::unistd::fork() }? {
        return Ok(());
    }
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    for listener in listeners {
        let (port, listener) = listener?;
        let seen = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let address = stream.local_addr().map(|address| address.ip().to_canonical().to_string());
                note(&seen, &format!("tcp {} {port}", address.unwrap_or_default()));
                thread::spawn(move || drop(talk(port, stream)));
            }
        });
    }
    answer_names(&seen, &names);
    Ok(())
}

fn note(seen: &File, line: &str) {
    drop((&*seen).write_all(format!("{line}\n").as_bytes()));
}

fn talk(port: u16, mut stream: TcpStream) -> io::Result<()> {
    match port {
        80 | 8080 => serve_http(stream),
        2222 => {
            stream.write_all(b"welcome\n")?;
            io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
        }
        _ => io::copy(&mut stream.try_clone()?, &mut stream).map(drop),
    }
}

/// Says every request back, `/close` without a length, `/chunked` in chunks; `/junk` is answered with nonsense, and
/// `/early` before its body has come.
fn serve_http(mut stream: TcpStream) -> io::Result<()> {
    let mut held = Vec::new();
    loop {
        let head = read_until(&mut stream, &mut held, b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let lower = text.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        let mut body = Vec::new();
        if lower.contains("transfer-encoding: chunked") {
            body = read_until(&mut stream, &mut held, b"0\r\n\r\n")?;
        } else if !text.contains("/early") {
            while held.len() < length.unwrap_or(0) {
                fill(&mut stream, &mut held)?;
            }
            body.extend(held.drain(..length.unwrap_or(0)));
        }
        let echo = [head, body].concat();
        let size = echo.len();
        if text.contains("/close") {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            return stream.write_all(&echo);
        } else if text.contains("/chunked") {
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n").as_bytes())?;
            stream.write_all(&[&echo[..], b"\r\n0\r\n\r\n"].concat())?;
        } else if text.contains("/junk") {
            stream.write_all(b"welcome to something else\r\n\r\n")?;
        } else {
            let status = if text.contains("/moved") { "302 Found\r\nLocation: http://evil.test/" } else { "200 OK" };
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: {size}\r\n\r\n").as_bytes())?;
            stream.write_all(&echo)?;
        }
    }
}

fn read_until(stream: &mut TcpStream, held: &mut Vec<u8>, end: &[u8]) -> io::Result<Vec<u8>> {
    loop {
        if let Some(at) = held.windows(end.len()).position(|window| window == end) {
            return Ok(held.drain(..at + end.len()).collect());
        }
        fill(stream, held)?;
    }
}

fn fill(stream: &mut TcpStream, held: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            held.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}

/// Answers every question for `turns.test`: the first time with a public address, from then on with that of loopback.
fn answer_names(seen: &File, names: &UdpSocket) {
    let mut packet = [0; 1500];
    let mut asked = 0;
    while let Ok((length, from)) = names.recv_from(&mut packet) {
        let question = &packet[12..length.max(12)];
        let end = question.iter().position(|byte| *byte == 0).unwrap_or(0);
        let kind = question.get(end + 2).copied().unwrap_or_default();
        note(seen, &format!("dns {} {kind}", question[..end].escape_ascii()));
        let known = question.starts_with(b"\x05turns\x04test") && kind == 1;
        let mut answer =
            [&packet[..2], &[0x81, 0x80, 0, 1, 0, u8::from(known), 0, 0, 0, 0], &question[..end + 5]].concat();
        if known {
            let address = if asked == 0 { [9, 9, 9, 9] } else { [127, 0, 0, 1] };
            asked += 1;
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend_from_slice(&address);
        }
        drop(names.send_to(&answer, from));
    }
}
