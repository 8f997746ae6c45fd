//! Attacks on the view of the file system.

use std::ffi::CString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::{Findings, errno_of, raw};

const READ_ONLY: [Errno; 3] = [Errno::EROFS, Errno::EACCES, Errno::EPERM];

pub(super) fn attack(case: &str, arguments: &[&str], found: &mut Findings) -> bool {
    match case {
        "f1" => read_host(arguments, found),
        "f2" => write_system(found),
        "f3" => write_submounts(arguments, found),
        "f4" => clear_read_only(found),
        "f6" => climb_out(arguments, found),
        "f7" => old_root(found),
        "f9" => setuid_files(found),
        "f10" => make_devices(found),
        "f11" => link_out(found),
        "f15" => fill_tmp(arguments, found),
        "f18" => own_descriptors(found),
        "d1" => list_devices(found),
        "d3" => device_ioctl(found),
        "d4" => change_devices(found),
        _ => return false,
    }
    true
}

fn open(path: impl AsRef<Path>) -> Result<File, Errno> {
    File::open(path).map_err(|error| errno_of(&error))
}

fn create(path: impl AsRef<Path>) -> Result<File, Errno> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(|error| errno_of(&error))
}

fn read_host(paths: &[&str], found: &mut Findings) {
    for path in paths {
        found.refused(&format!("open {path}"), open(path), &[Errno::ENOENT]);
    }
}

fn write_system(found: &mut Findings) {
    for path in ["/x", "/usr/x", "/etc/x", "/bin/x", "/lib/x", "/dev/x", "/proc/x", "/etc/passwd", "/usr/bin/env"] {
        found.refused(&format!("write {path}"), create(path), &[READ_ONLY.as_slice(), &[Errno::ENOENT]].concat());
    }
}

fn write_submounts(roots: &[&str], found: &mut Findings) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for root in roots {
        let mut below = 0;
        for line in table.lines() {
            let fields: Vec<_> = line.split(' ').collect();
            let (Some(place), Some(options)) = (fields.get(4), fields.get(5)) else { continue };
            if Path::new(place).starts_with(root) {
                below += 1;
                found.holds(&format!("options of {place}"), options, options.split(',').any(|option| option == "ro"));
                found.refused(&format!("write {place}/x"), create(Path::new(place).join("x")), &READ_ONLY);
            }
        }
        found.holds(&format!("mounts at or below {root}"), &below.to_string(), below > 0);
    }
}

fn clear_read_only(found: &mut Findings) {
    let none = None::<&str>;
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    found.refused("remount /usr", mount(none, "/usr", none, flags, none), &[Errno::EPERM]);
    found.refused("bind /tmp", mount(Some("/usr"), "/tmp", none, MsFlags::MS_BIND, none), &[Errno::EPERM]);
    found.refused("tmpfs", mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), none), &[Errno::EPERM]);
    found.refused("umount /usr", umount2("/usr", MntFlags::MNT_DETACH), &[Errno::EPERM]);
    for (name, number) in [
        ("mount_setattr", libc::SYS_mount_setattr),
        ("open_tree", libc::SYS_open_tree),
        ("fsopen", libc::SYS_fsopen),
        ("move_mount", libc::SYS_move_mount),
        ("pivot_root", libc::SYS_pivot_root),
        ("chroot", libc::SYS_chroot),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ] {
        found.refused(name, raw(number, [0; 6]), &[Errno::EPERM]);
    }
    let after = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.holds("mount table", "compared", before == after && !before.is_empty());
}

fn climb_out(paths: &[&str], found: &mut Findings) {
    for path in paths {
        found.refused(&format!("climb {path}"), open(format!("../../../../../../../..{path}")), &[Errno::ENOENT]);
        let link = Path::new("climb-link");
        let linked = std::os::unix::fs::symlink(path, link).map_err(|error| errno_of(&error));
        found.holds("make a symlink", &format!("{linked:?}"), linked.is_ok());
        found.refused(&format!("through a symlink to {path}"), open(link), &[Errno::ENOENT]);
    }
}

fn old_root(found: &mut Findings) {
    found.refused("/proc/1/root", std::fs::read_link("/proc/1/root").map_err(|error| errno_of(&error)), &READ_ONLY);
    found.refused("/proc/1/root/etc", open("/proc/1/root/etc"), &READ_ONLY);
    let mut names: Vec<_> =
        std::fs::read_dir("/").into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let known = ["bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "out", "proc", "sbin", "tmp", "usr"];
    let mine = ["run", "work", "probe", ".landlock-canary", "hostdev"];
    let foreign: Vec<_> =
        names.iter().filter(|name| !known.iter().chain(&mine).any(|expected| *name == expected)).collect();
    found.holds("entries of /", &format!("{foreign:?}"), foreign.is_empty());
}

fn setuid_files(found: &mut Findings) {
    let path = CString::new("setuid-file").expect("no NUL");
    let pointer = path.as_ptr() as usize;
    let file = create("setuid-file");
    found.holds("make a file", "done", file.is_ok());
    for mode in [0o4755, 0o2755, 0o6755] {
        let set = std::fs::set_permissions("setuid-file", Permissions::from_mode(mode));
        found.refused(&format!("chmod {mode:o}"), set.map_err(|error| errno_of(&error)), &[Errno::EPERM]);
        let opened = OpenOptions::new().create_new(true).write(true).mode(mode).open(format!("new-{mode:o}"));
        found.refused(&format!("open with {mode:o}"), opened.map_err(|error| errno_of(&error)), &[Errno::EPERM]);
    }
    let at = libc::AT_FDCWD as usize;
    found.refused("fchmodat2", raw(452, [at, pointer, 0o4755, 0, 0, 0]), &[Errno::EPERM, Errno::ENOSYS]);
    found.refused("openat2", raw(libc::SYS_openat2, [at, pointer, 0, 24, 0, 0]), &[Errno::ENOSYS]);
    found.refused("mkdirat", raw(libc::SYS_mkdirat, [at, pointer, 0o2755, 0, 0, 0]), &[Errno::EPERM]);
    let fifo = mknod("setuid-fifo", SFlag::S_IFIFO, Mode::from_bits_truncate(0o4755), 0);
    found.refused("mknod", fifo, &[Errno::EPERM]);
}

fn make_devices(found: &mut Findings) {
    for (name, kind) in [("char", SFlag::S_IFCHR), ("block", SFlag::S_IFBLK)] {
        let made = mknod(name, kind, Mode::S_IRWXU, makedev(1, 3));
        found.refused(&format!("mknod {name}"), made, &[Errno::EPERM, Errno::EACCES]);
    }
}

fn link_out(found: &mut Findings) {
    let link = std::fs::hard_link("/usr/bin/env", "hard-link").map_err(|error| errno_of(&error));
    found.refused("hard link of a system file", link, &[Errno::EXDEV, Errno::EPERM, Errno::EACCES]);
}

fn fill_tmp(arguments: &[&str], found: &mut Findings) {
    let size: usize = arguments.first().and_then(|size| size.parse().ok()).unwrap_or_default();
    for place in ["/tmp", "/dev/shm", "/home/run"] {
        let entries = std::fs::read_dir(place).map(Iterator::count).unwrap_or(usize::MAX);
        found.holds(&format!("entries of {place}"), &entries.to_string(), entries == 0);
        let filled = create(format!("{place}/fill")).and_then(|mut file| {
            let block = vec![1_u8; 64 << 10];
            for _ in 0..=(size / block.len()) {
                file.write_all(&block).map_err(|error| errno_of(&error))?;
            }
            Ok(())
        });
        found.refused(&format!("fill {place}"), filled, &[Errno::ENOSPC]);
    }
}

fn own_descriptors(found: &mut Findings) {
    let mut numbers: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    numbers.sort();
    // 3 is the descriptor of this very listing.
    found.holds("descriptors", &numbers.join(" "), numbers == ["0", "1", "2", "3"]);
    let stdin = std::fs::read_link("/proc/self/fd/0").unwrap_or_default();
    found.holds("standard input", &stdin.display().to_string(), stdin == Path::new("/dev/null"));
    found.refused("controlling terminal", open("/dev/tty"), &[Errno::ENXIO]);
}

fn list_devices(found: &mut Findings) {
    let mut names: Vec<String> = std::fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let expected =
        ["fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"];
    found.holds("entries of /dev", &names.join(" "), names == expected);
    for path in ["/dev/kvm", "/dev/fuse", "/dev/mem", "/dev/loop0", "/dev/net/tun", "/sys", "/run/systemd", "/var"] {
        found.refused(&format!("open {path}"), open(path), &[Errno::ENOENT]);
    }
}

fn device_ioctl(found: &mut Findings) {
    use std::os::fd::AsRawFd as _;
    let null = open("/dev/null");
    let fd = null.as_ref().map(|file| file.as_raw_fd() as usize).unwrap_or(usize::MAX);
    let request = libc::TCGETS as usize;
    found.refused("ioctl of /dev/null", raw(libc::SYS_ioctl, [fd, request, 0, 0, 0, 0]), &[Errno::EACCES]);
    let sti = libc::TIOCSTI as usize | 0x1_0000_0000;
    found.refused("TIOCSTI with a high half", raw(libc::SYS_ioctl, [0, sti, 0, 0, 0, 0]), &[Errno::EPERM]);
}

/// The nodes are those of the host, and belong to the user of a run of root. Their mode is set to what it is, so that an
/// attack that works harms nobody.
fn change_devices(found: &mut Findings) {
    let refused = [Errno::EROFS, Errno::EPERM];
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let path = format!("/dev/{name}");
        let mode = std::fs::metadata(&path).map(|metadata| metadata.permissions());
        let set = mode.and_then(|mode| std::fs::set_permissions(&path, mode));
        found.refused(&format!("chmod {path}"), set.map_err(|error| errno_of(&error)), &refused);
        let owner = nix::unistd::chown(path.as_str(), Some(nix::unistd::Uid::from_raw(1000)), None);
        found.refused(&format!("chown {path}"), owner, &refused);
    }
    for path in ["/dev/null", "/dev/zero", "/dev/full"] {
        let opened = OpenOptions::new().create(true).truncate(true).write(true).open(path);
        found.holds(&format!("write to {path}"), &format!("{:?}", opened.is_ok()), opened.is_ok());
    }
    let said = std::fs::write("/dev/null", b"x");
    found.holds("/dev/null swallows", &format!("{said:?}"), said.is_ok());
}
