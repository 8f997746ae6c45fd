//! Starting a process that shares this one's memory until it executes a program, and executing without allocating.
//!
//! A fork copies what this process has mapped, and both then copy each page that they write to. Where the child only
//! executes, none of that is needed: it borrows the memory while its parent stands still.

use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use nix::errno::Errno;
use nix::libc::{self, c_char, c_int};
use nix::unistd::Pid;

/// Stack of such a child, in bytes: a few frames of calls that make one system call each.
const STACK_BYTES: usize = 64 << 10;
/// What the stack of a function has to be aligned to.
const STACK_ALIGNMENT: usize = 16;

/// Arguments and environment in the form that the kernel takes, made before the child is.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    words: PhantomData<&'a CStr>,
}

impl<'a> Image<'a> {
    /// Of these words, which stay where they are.
    pub(crate) fn of(argv: &'a [CString], env: &'a [CString]) -> Self {
        let list = |words: &'a [CString]| words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        Self { argv: list(argv), env: list(env), words: PhantomData }
    }

    /// Becomes `program`; returns only why that could not be.
    pub(crate) fn execute(&self, program: &CStr) -> Errno {
        // SAFETY: all three are terminated: the path by its type, the lists by the null pointer at their end, and the words
        // in them, which live as long as this does, by theirs.
        let _failed = unsafe { libc::execve(program.as_ptr(), self.argv.as_ptr(), self.env.as_ptr()) };
        Errno::last()
    }
}

/// Starts a process that runs `child` in this process's memory and returns when it has executed a program or ended, with the
/// number that `child` returned.
///
/// Descriptors, working directory, mask and dispositions of signals, limits and priority are copies. Memory is not: what
/// `child` changes there is changed here, so it changes nothing but its own variables and leaves nothing allocated. A panic
/// of it ends it. This process must have one thread and handle no signal by code of its own, which the child would run on the
/// same data.
pub(crate) fn start_sharing<F: FnMut() -> c_int>(mut child: F) -> Result<Pid, Errno> {
    extern "C" fn run<F: FnMut() -> c_int>(child: *mut c_void) -> c_int {
        // SAFETY: it is the closure of the caller, who stands still and keeps it where it is until this process is another one
        // or gone; nobody else refers to it.
        let child = unsafe { &mut *child.cast::<F>() };
        child()
    }
    let mut stack: Vec<MaybeUninit<u8>> = Vec::with_capacity(STACK_BYTES + STACK_ALIGNMENT);
    let start = stack.as_mut_ptr();
    let above = start.wrapping_add(STACK_BYTES);
    let top = above.wrapping_add(above.align_offset(STACK_ALIGNMENT));
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is as large as is said above and lives through the call, which returns when the child needs it no
    // more. The child has copies of all that is not memory. The process has one thread, which waits.
    let res = unsafe { libc::clone(run::<F>, top.cast(), flags, (&raw mut child).cast()) };
    drop(stack);
    Errno::result(res).map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    #[test]
    fn what_a_child_does_in_shared_memory_is_seen_and_its_program_runs() {
        let (argv, env) = ([c"sh".to_owned(), c"-c".to_owned(), c"exit $N".to_owned()], [c"N=7".to_owned()]);
        let image = Image::of(&argv, &env);
        let mut tried = Vec::with_capacity(2);
        let pid = start_sharing(|| {
            for program in [c"/no/such/program", c"/bin/sh"] {
                tried.push(program);
                image.execute(program);
            }
            1
        });
        assert_eq!(tried, [c"/no/such/program", c"/bin/sh"]);
        assert_eq!(waitpid(pid.unwrap(), None), Ok(WaitStatus::Exited(pid.unwrap(), 7)));
        let pid = start_sharing(|| 3).unwrap();
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 3)));
    }
}
