//! Messages with descriptors over a local socket.
//!
//! **Invariant:** a descriptor that arrives is owned at once, so none leaks whatever the caller does next.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};

/// Most descriptors of one message.
pub(crate) const DESCRIPTORS_MAX: usize = 32;
/// Most descriptors that the kernel passes with one message (`SCM_MAX_FD`). There is room for all of them whatever is expected:
/// when some are left out, those that came cannot be told from others, and would stay open.
const RECEIVED_MAX: usize = 253;

/// Two connected ends, closed on exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// Sends one message and copies of `descriptors`.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    assert!(descriptors.len() <= DESCRIPTORS_MAX, "{} descriptors in one message", descriptors.len());
    let raw: Vec<_> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None).map(drop)
}

/// Receives one message into `buffer` and returns its length with the descriptors; length 0 is the end. From a stream, what is
/// there, of which nothing comes after descriptors.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut was_reset = false;
    loop {
        match receive_once(socket, buffer) {
            // Any signal does that where the wait is bounded, also one that nobody handles, in a caller with threads.
            Err(Errno::EINTR) => {}
            // Said first, and once, when the other end has closed with something unread; what it had sent is still there.
            Err(Errno::ECONNRESET) if !was_reset => was_reset = true,
            received => return received,
        }
    }
}

fn receive_once(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; RECEIVED_MAX]);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let mut owned = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the kernel has just made these descriptors for this process and nobody else knows them.
            owned.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(Errno::EMSGSIZE);
    }
    Ok((message.bytes, owned))
}
