//! SQLite's interface to files (<https://sqlite.org/c3ref/vfs.html>), for all disks of this process: finds the disk of a
//! path, and translates. The only place here with code that the compiler cannot check.
//!
//! What SQLite is told about a disk is what its traits say; no write is called atomic.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::ffi;

use super::Device;
use super::locks::{HandleId, Level, Memory};
use super::state::{Opening, Refused};

const NAME: &CStr = c"orch-simulated-disk";

/// The name under which disks are registered with SQLite.
pub(crate) fn name() -> &'static str {
    static REGISTERED: OnceLock<c_int> = OnceLock::new();
    let code = *REGISTERED.get_or_init(|| {
        let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
            iVersion: 1,
            szOsFile: c_int::try_from(size_of::<File>()).expect("a file is a few words"),
            mxPathname: 512,
            pNext: std::ptr::null_mut(),
            zName: NAME.as_ptr(),
            pAppData: std::ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(pause),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: None,
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the structure is complete for its version and is never freed.
        unsafe { ffi::sqlite3_vfs_register(vfs, 0) }
    });
    assert_eq!(code, ffi::SQLITE_OK, "SQLite takes the disks");
    NAME.to_str().expect("the name is ASCII")
}

/// A file as SQLite keeps it: in memory of SQLite's, of the size that was registered.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    /// Owned; null once it is closed.
    handle: *mut Handle,
}

/// An open file.
struct Handle {
    device: Arc<Device>,
    id: HandleId,
    /// Held as long as SQLite may use pointers into it, which may be longer than the disk knows the handle.
    memory: Mutex<Option<Arc<Memory>>>,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The handle of a file.
///
/// # Safety
/// `file` was filled by `open` and not yet given to `close`, and stays so while the answer is in use.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a Handle {
    // SAFETY: the caller promises that `open` filled it.
    let file = unsafe { &*file.cast::<File>() };
    // SAFETY: `open` put a box there, which is freed by `close` only.
    unsafe { &*file.handle }
}

/// A path from SQLite; none when it is not text, or there is none.
///
/// # Safety
/// `path` is null, or ends with a zero byte and stays while the answer is in use.
unsafe fn text<'a>(path: *const c_char) -> Option<&'a str> {
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller promises that it ends with a zero byte.
    unsafe { CStr::from_ptr(path) }.to_str().ok()
}

/// Puts an answer where SQLite wants it.
///
/// # Safety
/// `to` is null or may be written to.
unsafe fn answer<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: it is not null, and the caller promises that it may be written to.
        unsafe { to.write(value) };
    }
}

/// The code of an answer; `broken` says what was being done.
fn code<T>(result: Result<T, Refused>, broken: c_int) -> c_int {
    match result {
        Ok(_) => ffi::SQLITE_OK,
        Err(Refused::Full) => ffi::SQLITE_FULL,
        Err(Refused::Busy) => ffi::SQLITE_BUSY,
        Err(Refused::Broken | Refused::Missing) => broken,
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let file = file.cast::<File>();
    let closed = File { base: ffi::sqlite3_file { pMethods: std::ptr::null() }, handle: std::ptr::null_mut() };
    // SAFETY: SQLite gives memory of the registered size. Without methods it does not close what was not opened.
    unsafe { file.write(closed) };
    // SAFETY: SQLite's paths end with a zero byte. Temporary files have none; there are none on these disks.
    let Some((device, name)) = unsafe { text(path) }.and_then(super::find) else { return ffi::SQLITE_CANTOPEN };
    let is = |flag| flags & flag != 0;
    let journal = is(ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL);
    let how = Opening {
        create: is(ffi::SQLITE_OPEN_CREATE),
        reads_only: is(ffi::SQLITE_OPEN_READONLY),
        exclusive: is(ffi::SQLITE_OPEN_EXCLUSIVE),
        syncs_directory: journal && is(ffi::SQLITE_OPEN_CREATE),
        deletes_on_close: is(ffi::SQLITE_OPEN_DELETEONCLOSE),
    };
    let opened = device.state().open(name, how);
    let Ok(id) = opened else { return ffi::SQLITE_CANTOPEN };
    let handle = Box::into_raw(Box::new(Handle { device, id, memory: Mutex::default() }));
    let opened = File { base: ffi::sqlite3_file { pMethods: &raw const METHODS }, handle };
    // SAFETY: as above.
    unsafe { file.write(opened) };
    // SAFETY: SQLite's pointer, or null.
    unsafe { answer(flags_out, flags) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes only what `open` filled.
    let file = unsafe { &mut *file.cast::<File>() };
    let handle = std::mem::replace(&mut file.handle, std::ptr::null_mut());
    if !handle.is_null() {
        // SAFETY: `open` made it from a box, and it was just taken out of the only place that had it.
        let handle = unsafe { Box::from_raw(handle) };
        handle.device.state().close(handle.id);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, len: c_int, at: i64) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    let (Ok(len), Ok(at)) = (usize::try_from(len), usize::try_from(at)) else { return ffi::SQLITE_IOERR_READ };
    // SAFETY: SQLite gives a buffer of this length that nobody else uses meanwhile.
    let into = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), len) };
    match handle.device.state().read(handle.id, at, into) {
        Ok(count) if count == len => ffi::SQLITE_OK,
        Ok(count) => {
            // SQLite relies on it: what is not there reads as zeros.
            into[count..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(refused) => code::<()>(Err(refused), ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, len: c_int, at: i64) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    let (Ok(len), Ok(at)) = (usize::try_from(len), usize::try_from(at)) else { return ffi::SQLITE_IOERR_WRITE };
    // SAFETY: SQLite gives a buffer of this length that nobody changes meanwhile.
    let data = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), len) };
    code(handle.device.state().write(handle.id, at, data), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    let Ok(len) = usize::try_from(len) else { return ffi::SQLITE_IOERR_TRUNCATE };
    code(handle.device.state().resize(handle.id, len), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    code(handle.device.state().sync(handle.id), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, to: *mut i64) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    let len = handle.device.state().len(handle.id);
    // SAFETY: SQLite's pointer.
    unsafe { answer(to, len.map_or(0, |len| i64::try_from(len).unwrap_or(i64::MAX))) };
    code(len, ffi::SQLITE_IOERR_FSTAT)
}

fn level(of: c_int) -> Level {
    match of {
        ffi::SQLITE_LOCK_NONE => Level::None,
        ffi::SQLITE_LOCK_SHARED => Level::Shared,
        ffi::SQLITE_LOCK_RESERVED => Level::Reserved,
        ffi::SQLITE_LOCK_PENDING => Level::Pending,
        _ => Level::Exclusive,
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, wanted: c_int) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    code(handle.device.state().take(handle.id, level(wanted)), ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, to: c_int) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    handle.device.state().lower(handle.id, level(to));
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, to: *mut c_int) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    let reserved = handle.device.state().is_reserved(handle.id);
    // SAFETY: SQLite's pointer.
    unsafe { answer(to, c_int::from(reserved == Ok(true))) };
    code(reserved, ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    c_int::try_from(handle.device.state().traits.sector).unwrap_or(4096)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    if handle.device.state().traits.powersafe { ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE } else { 0 }
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    to: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    let (Ok(region), Ok(bytes)) = (usize::try_from(region), usize::try_from(bytes)) else {
        return ffi::SQLITE_IOERR_SHMMAP;
    };
    let mut kept = handle.memory.lock().unwrap_or_else(PoisonError::into_inner);
    let is_there = kept.as_ref().is_some_and(|memory| memory.region(region, bytes, false).is_some());
    let grows_by = (extend != 0 && !is_there).then_some(bytes);
    let attached = handle.device.state().attach(handle.id, grows_by);
    let start = attached.map(|memory| {
        let start = memory.region(region, bytes, extend != 0);
        *kept = Some(memory);
        start
    });
    let pointer = start.ok().flatten().map_or(std::ptr::null_mut(), <*mut u8>::cast::<c_void>);
    // SAFETY: SQLite's pointer.
    unsafe { answer(to, pointer) };
    if start.is_err_and(|refused| refused == Refused::Full) {
        return ffi::SQLITE_IOERR_SHMSIZE;
    }
    code(start, ffi::SQLITE_IOERR_SHMMAP)
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    let (Ok(first), Ok(count)) = (usize::try_from(first), usize::try_from(count)) else {
        return ffi::SQLITE_IOERR_SHMLOCK;
    };
    let slots = first..first + count;
    let mut state = handle.device.state();
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        state.release_slots(handle.id, slots);
        return ffi::SQLITE_OK;
    }
    code(state.take_slots(handle.id, slots, flags & ffi::SQLITE_SHM_EXCLUSIVE != 0), ffi::SQLITE_IOERR_SHMLOCK)
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    // As the VFS of Unix does, in case a compiler takes no notice of the fence.
    drop(handle.device.state());
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite uses only files that are open.
    let handle = unsafe { handle(file) };
    handle.device.state().detach(handle.id);
    handle.memory.lock().unwrap_or_else(PoisonError::into_inner).take();
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, path: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: SQLite's paths end with a zero byte.
    let Some((device, name)) = unsafe { text(path) }.and_then(super::find) else { return ffi::SQLITE_IOERR_DELETE };
    let deleted = device.state().delete(name, sync_directory & 1 != 0);
    if deleted == Err(Refused::Missing) {
        return ffi::SQLITE_IOERR_DELETE_NOENT;
    }
    code(deleted, ffi::SQLITE_IOERR_DELETE)
}

unsafe extern "C" fn access(_: *mut ffi::sqlite3_vfs, path: *const c_char, _: c_int, to: *mut c_int) -> c_int {
    // SAFETY: SQLite's paths end with a zero byte.
    let found = unsafe { text(path) }.and_then(super::find);
    let exists = found.map_or(Err(Refused::Broken), |(device, name)| device.state().exists(name));
    // SAFETY: SQLite's pointer.
    unsafe { answer(to, c_int::from(exists == Ok(true))) };
    code(exists, ffi::SQLITE_IOERR_ACCESS)
}

unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    room: c_int,
    to: *mut c_char,
) -> c_int {
    // SAFETY: SQLite's paths end with a zero byte.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes_with_nul();
    if usize::try_from(room).is_ok_and(|room| bytes.len() > room) {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: SQLite gives so much room, apart from the path.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast::<c_char>(), to, bytes.len()) };
    ffi::SQLITE_OK
}

/// SQLite draws its chances from the default VFS; who asks this one gets none.
unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, len: c_int, to: *mut c_char) -> c_int {
    let Ok(count) = usize::try_from(len) else { return 0 };
    // SAFETY: SQLite gives so much room.
    unsafe { std::ptr::write_bytes(to, 0, count) };
    len
}

/// Nobody waits here: whoever holds a lock is on the same thread.
unsafe extern "C" fn pause(_: *mut ffi::sqlite3_vfs, us: c_int) -> c_int {
    us
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, to: *mut f64) -> c_int {
    // SAFETY: SQLite's pointer. A day of 2026, as Julian day.
    unsafe { answer(to, 2_461_008.5) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}
