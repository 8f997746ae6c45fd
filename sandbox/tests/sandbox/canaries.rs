//! Things of the host that a run must not find. They are gone when the test is over.

use std::ffi::{CStr, CString};

use nix::errno::Errno;
use nix::libc;

/// A piece of shared memory, a queue and a semaphore under one key, and a queue with a name.
pub(crate) struct HostObjects {
    pub(crate) key: i32,
    pub(crate) queue: CString,
    shm: i32,
    msg: i32,
    sem: i32,
}

impl HostObjects {
    pub(crate) fn make() -> Self {
        let key = i32::try_from(std::process::id()).unwrap() | 0x5b00_0000;
        let queue = CString::new(format!("sbx-test-{}", std::process::id())).unwrap();
        let flags = libc::IPC_CREAT | 0o666;
        // SAFETY: plain numbers.
        let shm = Errno::result(unsafe { libc::shmget(key, 4096, flags) }).unwrap();
        // SAFETY: plain numbers.
        let msg = Errno::result(unsafe { libc::msgget(key, flags) }).unwrap();
        // SAFETY: plain numbers.
        let sem = Errno::result(unsafe { libc::semget(key, 1, flags) }).unwrap();
        let path = named(&queue);
        // SAFETY: the name lives through the call; a queue with default attributes is asked for.
        let opened = unsafe { libc::mq_open(path.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o666, no_attributes()) };
        let opened = Errno::result(opened).unwrap();
        // SAFETY: the descriptor is this function's own.
        unsafe { libc::mq_close(opened) };
        Self { key, queue, shm, msg, sem }
    }
}

/// A key in the key ring of this user.
pub(crate) struct HostKey {
    serial: libc::c_long,
}

/// `KEY_SPEC_USER_KEYRING`.
const USER_RING: libc::c_long = -4;

impl HostKey {
    pub(crate) fn make() -> Self {
        let (kind, name, value) = (c"user", c"sbx-canary", c"secret");
        // SAFETY: all three live through the call, which copies them.
        let res = unsafe {
            libc::syscall(libc::SYS_add_key, kind.as_ptr(), name.as_ptr(), value.as_ptr(), 6_usize, USER_RING)
        };
        let key = Self { serial: Errno::result(res).unwrap() };
        let shown = std::fs::read_to_string("/proc/keys").unwrap();
        assert!(shown.contains("sbx-canary"), "the host shows the key: {shown}");
        key
    }
}

impl Drop for HostKey {
    fn drop(&mut self) {
        const KEYCTL_UNLINK: libc::c_long = 9;
        // SAFETY: three plain numbers.
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_UNLINK, self.serial, USER_RING) };
    }
}

fn no_attributes() -> *const libc::mq_attr {
    std::ptr::null()
}

/// The library wants a slash, the call itself none.
fn named(queue: &CStr) -> CString {
    CString::new([b"/", queue.to_bytes()].concat()).unwrap()
}

impl Drop for HostObjects {
    fn drop(&mut self) {
        // SAFETY: removes what `make` made; the buffer may be null for this command.
        unsafe { libc::shmctl(self.shm, libc::IPC_RMID, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { libc::msgctl(self.msg, libc::IPC_RMID, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { libc::semctl(self.sem, 0, libc::IPC_RMID) };
        // SAFETY: the name lives through the call.
        unsafe { libc::mq_unlink(named(&self.queue).as_ptr()) };
    }
}
