//! What goes wrong with a disk, and when: planned ahead, by counting what the disk is asked for.

/// What a disk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    Open,
    Read,
    Write,
    Resize,
    Sync,
    Delete,
}

impl Request {
    pub(crate) const ALL: [Self; 6] = [Self::Open, Self::Read, Self::Write, Self::Resize, Self::Sync, Self::Delete];
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// By an error. Some of a write may have been done, and of a sync.
    Broken,
    /// For want of space. Some of a write may have been done.
    Full,
    /// The power is cut before it is done.
    PowerCut,
    /// The process is killed before it is done. What the kernel was given is not lost.
    Killed,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Which requests are counted; none: all.
    pub(crate) request: Option<Request>,
    /// So many of them go well first.
    pub(crate) after: u64,
    /// So many fail then.
    pub(crate) times: u64,
    pub(crate) failure: Failure,
}

/// All that is going to go wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
    }

    /// Counts a request and says how it fails, if it does.
    pub(super) fn strike(&mut self, request: Request) -> Option<Failure> {
        let mut struck = None;
        for fault in self.planned.iter_mut().filter(|fault| fault.request.is_none_or(|counted| counted == request)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if struck.is_none() {
                fault.times -= 1;
                struck = Some(fault.failure);
            }
        }
        self.planned.retain(|fault| fault.times > 0);
        struck
    }
}
