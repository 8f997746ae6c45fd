//! Attacks on the view of the file system.

use std::ffi::CString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
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
        "f5" => poison(arguments, found),
        "f6" => climb_out(arguments, found),
        "f7" => old_root(found),
        "f8" => guess_handles(found),
        "f9" => setuid_files(found),
        "f10" => make_devices(found),
        "f11" => link_out(found),
        "f15" => fill_tmp(arguments, found),
        "f16" => move_between_trees(found),
        "f18" => own_descriptors(found),
        "d1" => list_devices(found),
        "d2" => open_devices(found),
        "d3" => device_ioctl(found),
        "d4" => change_devices(found),
        _ => return false,
    }
    true
}

fn open(path: impl AsRef<Path>) -> Result<File, Errno> {
    File::open(path).map_err(|error| errno_of(&error))
}

/// Opens for writing, made if it is missing. What was made is taken away again: a weak sandbox must not be left a mess.
fn create(path: impl AsRef<Path>) -> Result<File, Errno> {
    let there = path.as_ref().exists();
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    if opened.is_ok() && !there {
        drop(std::fs::remove_file(&path));
    }
    opened.map_err(|error| errno_of(&error))
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

/// A directory that several runs see: nothing in it may change, and nobody may be kept from changing it outside.
fn poison(places: &[&str], found: &mut Findings) {
    let at = |place: &str, name: &str| Path::new(place).join(name);
    for place in places {
        let tool = at(place, "tool");
        found.holds("the tool is there", &format!("{:?}", open(&tool).is_ok()), open(&tool).is_ok());
        let append = OpenOptions::new().append(true).open(&tool).map_err(|error| errno_of(&error));
        found.refused("append", append, &READ_ONLY);
        found.refused("create", create(at(place, "new")), &READ_ONLY);
        let done = [
            ("truncate", std::fs::OpenOptions::new().write(true).truncate(true).open(&tool).map(drop)),
            ("replace", std::fs::write("better", "evil").and_then(|()| std::fs::rename("better", &tool))),
            ("remove", std::fs::remove_file(&tool)),
            ("rename", std::fs::rename(&tool, at(place, "other"))),
            ("link into it", std::fs::hard_link("better", at(place, "linked"))),
            ("link out of it", std::fs::hard_link(&tool, "linked")),
            ("symlink", std::os::unix::fs::symlink("/tmp", at(place, "link"))),
            ("chmod", std::fs::set_permissions(&tool, Permissions::from_mode(0o777))),
            ("make a directory", std::fs::create_dir(at(place, "directory"))),
        ];
        let refused = [READ_ONLY.as_slice(), &[Errno::EXDEV]].concat();
        for (name, answer) in done {
            found.refused(name, answer.map_err(|error| errno_of(&error)), &refused);
        }
        on_open_file(&tool, found);
    }
}

/// What an owner may do to a file that is only open for reading.
fn on_open_file(path: &Path, found: &mut Findings) {
    use std::os::fd::AsRawFd as _;
    let file = open(path);
    let fd = file.as_ref().map_or(usize::MAX, |file| file.as_raw_fd().unsigned_abs() as usize);
    let refused = [READ_ONLY.as_slice(), &[Errno::EBADF, Errno::EOPNOTSUPP, Errno::ENOTTY]].concat();
    let nodump = 0x40_u64;
    let times = [0_u64; 4];
    for (name, answer) in [
        ("fchmod", raw(libc::SYS_fchmod, [fd, 0o777, 0, 0, 0, 0])),
        ("fchown", raw(libc::SYS_fchown, [fd, 1000, 1000, 0, 0, 0])),
        ("times", raw(libc::SYS_utimensat, [fd, 0, times.as_ptr() as usize, 0, 0, 0])),
        ("flags", raw(libc::SYS_ioctl, [fd, 0x4008_6602, (&raw const nodump) as usize, 0, 0, 0])),
        (
            "user attribute",
            raw(libc::SYS_fsetxattr, [fd, c"user.x".as_ptr() as usize, times.as_ptr() as usize, 1, 0, 0]),
        ),
        // Whoever wants to write the file outside would have to wait.
        ("lease", raw(libc::SYS_fcntl, [fd, libc::F_SETLEASE as usize, libc::F_RDLCK as usize, 0, 0, 0])),
    ] {
        found.refused(name, answer, &refused);
    }
    let map = [0, 4096, (libc::PROT_READ | libc::PROT_WRITE) as usize, libc::MAP_SHARED as usize, fd, 0];
    found.refused("shared writable mapping", raw(libc::SYS_mmap, map), &[Errno::EACCES]);
}

/// Handles name files by number, past every path; new ones name processes and namespaces.
fn guess_handles(found: &mut Findings) {
    let places = ["/", "/usr", ".", "/proc", "/tmp"].map(|path| (path.to_owned(), open(path)));
    for (name, place) in places {
        use std::os::fd::AsRawFd as _;
        let Ok(place) = place else { continue };
        for inode in [1_u32, 2, 64, 128] {
            // struct file_handle: 8 bytes, FILEID_INO32_GEN; inode and generation.
            let handle = [8, 1, inode, 0];
            let fd = place.as_raw_fd().unsigned_abs() as usize;
            let answer = raw(libc::SYS_open_by_handle_at, [fd, handle.as_ptr() as usize, 0, 0, 0, 0]);
            found.refused(&format!("inode {inode} of {name}"), answer, &[Errno::EPERM]);
        }
    }
    // FD_PIDFS_ROOT and FD_NSFS_ROOT of Linux 6.17 and 6.18; inode numbers of init and of the first namespaces.
    for (name, root, inode) in
        [("process", -10_002_i64, 1_u64), ("namespace", -10_003, 0xf000_0000), ("namespace", -10_003, 4_026_531_840)]
    {
        let [low, high] = [inode & 0xffff_ffff, inode >> 32].map(|half| u32::try_from(half).unwrap_or_default());
        let handle = [8, 0xf1, low, high];
        let answer = raw(libc::SYS_open_by_handle_at, [root as usize, handle.as_ptr() as usize, 0, 0, 0, 0]);
        found.refused(&format!("{name} {inode:#x}"), answer, &[Errno::EPERM]);
    }
}

/// Out of the one tree that can be changed, and from one such tree to another.
fn move_between_trees(found: &mut Findings) {
    // Nothing can be made in `/proc`, where the name is looked for first.
    let refused = [Errno::EXDEV, Errno::EACCES, Errno::EROFS, Errno::EPERM, Errno::ENOENT];
    let made = std::fs::create_dir_all("from/inner").and_then(|()| std::fs::write("from/file", "x"));
    found.holds("make a tree", &format!("{made:?}"), made.is_ok());
    for to in ["/tmp/to", "/dev/shm/to", "/usr/to", "/to", "/etc/to", "/proc/to", "/dev/to"] {
        for from in ["from", "from/file"] {
            let answer = std::fs::rename(from, to).map_err(|error| errno_of(&error));
            found.refused(&format!("rename {from} to {to}"), answer, &refused);
        }
        let answer = std::fs::hard_link("from/file", to).map_err(|error| errno_of(&error));
        found.refused(&format!("link to {to}"), answer, &refused);
    }
    for from in ["/usr/bin/env", "/etc/passwd", "/bin"] {
        let answer = std::fs::rename(from, "taken").map_err(|error| errno_of(&error));
        found.refused(&format!("rename {from}"), answer, &refused);
        let exchange = nix::fcntl::renameat2(
            nix::fcntl::AT_FDCWD,
            from,
            nix::fcntl::AT_FDCWD,
            "from/file",
            nix::fcntl::RenameFlags::RENAME_EXCHANGE,
        );
        found.refused(&format!("exchange {from}"), exchange, &refused);
    }
    // The directory that is mounted cannot be replaced from inside either.
    let here = std::env::current_dir().unwrap_or_default();
    let answer = std::fs::rename(&here, "/elsewhere").map_err(|error| errno_of(&error));
    found.refused("rename the workspace", answer, &[refused.as_slice(), &[Errno::EBUSY]].concat());
    let answer = std::fs::remove_dir(&here).map_err(|error| errno_of(&error));
    found.refused("remove the workspace", answer, &[refused.as_slice(), &[Errno::EBUSY]].concat());
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
    let file = std::fs::write("setuid-file", "");
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
    // The last is what some sandboxes add: a link to a file that is refused.
    let expected = [
        "core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    ];
    let foreign: Vec<_> = names.iter().filter(|name| !expected.contains(&name.as_str())).collect();
    found.holds("entries of /dev", &names.join(" "), foreign.is_empty() && names.len() >= expected.len() - 1);
    let terminals: Vec<_> = std::fs::read_dir("/dev/pts")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name != "ptmx")
        .collect();
    found.holds("terminals", &format!("{terminals:?}"), terminals.is_empty());
}

fn open_devices(found: &mut Findings) {
    for name in [
        "kvm",
        "fuse",
        "mem",
        "kmem",
        "port",
        "loop0",
        "loop-control",
        "net/tun",
        "vhost-net",
        "vhost-vsock",
        "vsock",
        "uinput",
        "input/event0",
        "hidraw0",
        "snd/controlC0",
        "dri/card0",
        "dri/renderD128",
        "nvidia0",
        "sda",
        "vda",
        "nvme0n1",
        "dm-0",
        "mapper/control",
        "btrfs-control",
        "console",
        "tty0",
        "ttyS0",
        "vcs",
        "kmsg",
        "watchdog",
        "userfaultfd",
        "cpu/0/msr",
        "rtc0",
        "hpet",
        "mqueue",
        "hugepages",
        "autofs",
        "snapshot",
        "cuse",
        "ppp",
        "rfkill",
        "vfio/vfio",
        "ashmem",
        "binder",
        "log",
    ] {
        found.refused(&format!("open /dev/{name}"), open(Path::new("/dev").join(name)), &[Errno::ENOENT]);
    }
    for path in ["/sys", "/run/systemd", "/var", "/boot", "/mnt", "/media", "/opt", "/srv", "/root"] {
        found.refused(&format!("open {path}"), open(path), &[Errno::ENOENT]);
    }
}

fn device_ioctl(found: &mut Findings) {
    use std::os::fd::AsRawFd as _;
    let null = open("/dev/null");
    let fd = null.as_ref().map_or(usize::MAX, |file| file.as_raw_fd().unsigned_abs() as usize);
    let request = libc::TCGETS as usize;
    found.refused("ioctl of /dev/null", raw(libc::SYS_ioctl, [fd, request, 0, 0, 0, 0]), &[Errno::EACCES]);
    for name in ["zero", "full", "random", "urandom"] {
        let device = open(format!("/dev/{name}"));
        let fd = device.as_ref().map_or(usize::MAX, |file| file.as_raw_fd().unsigned_abs() as usize);
        // RNDADDTOENTCNT, RNDCLEARPOOL, RNDRESEEDCRNG, BLKRRPART.
        for request in [0x4004_5201, 0x5206, 0x5207, 0x125f] {
            let answer = raw(libc::SYS_ioctl, [fd, request, 0, 0, 0, 0]);
            found.refused(&format!("ioctl {request:#x} of {name}"), answer, &[Errno::EACCES]);
        }
    }
    // Subvolumes and snapshots, which no ordinary removal of a directory takes away.
    let here = open(".");
    let fd = here.as_ref().map_or(usize::MAX, |file| file.as_raw_fd().unsigned_abs() as usize);
    for request in [0x5000_9401, 0x5000_940e, 0x5000_9417, 0x5000_9418] {
        let answer = raw(libc::SYS_ioctl, [fd, request, 0, 0, 0, 0]);
        found.refused(&format!("ioctl {request:#x} of a directory"), answer, &[Errno::EPERM]);
    }
}

/// The nodes are those of the host, and belong to the user of a run of root. Mode and owner are set to what they are,
/// so that an attack that works harms nobody.
fn change_devices(found: &mut Findings) {
    let refused = [Errno::EROFS, Errno::EPERM];
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let path = format!("/dev/{name}");
        let mode = std::fs::metadata(&path).map(|metadata| metadata.permissions());
        let set = mode.and_then(|mode| std::fs::set_permissions(&path, mode));
        found.refused(&format!("chmod {path}"), set.map_err(|error| errno_of(&error)), &refused);
        let owner = std::fs::metadata(&path).map(|metadata| nix::unistd::Uid::from_raw(metadata.uid())).ok();
        let owner = nix::unistd::chown(path.as_str(), owner, None);
        found.refused(&format!("chown {path}"), owner, &refused);
    }
    for path in ["/dev/null", "/dev/zero", "/dev/full"] {
        let opened = OpenOptions::new().create(true).truncate(true).write(true).open(path);
        found.holds(&format!("write to {path}"), &format!("{:?}", opened.is_ok()), opened.is_ok());
    }
    let said = std::fs::write("/dev/null", b"x");
    found.holds("/dev/null swallows", &format!("{said:?}"), said.is_ok());
}
