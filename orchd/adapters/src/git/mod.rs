//! Git: the daemon's bare repositories, what enters them, and the scripts that run beside a workspace.
//!
//! Two kinds of code live here. What runs on the host ([`Hardened`], [`BareRepo`]) only ever has a repository that the
//! daemon made as its git directory, so no configuration, hook or attribute of anybody else is in force. What has to
//! look at somebody's repository or workspace ([`ImportPlan`], [`CheckoutSpec`], [`CollectSpec`]) is an argument list
//! that the caller runs in the sandbox; its only way back is a bundle, whose every object is checked before it counts.

mod bare;
mod bundle;
mod call;
mod checkpoint;
mod copy;
mod hardened;
mod import;
mod inspect;
mod merge;
mod message;
mod name;
mod path;
mod refs;
mod take;
mod workspace;

pub use bare::{BareRepo, CreateError, OpenError, RecoverError, RootCommit};
pub use bundle::{IngestError, IngestLimits};
pub use call::{CallError, is_hosts_fault, is_storage_full};
pub use checkpoint::{KeepSpec, said};
pub use copy::Depth;
pub use hardened::{GIT_VERSION_MIN, GitVersion, Hardened, ProbeError};
pub use import::{ImportError, ImportNote, ImportPlan, ImportPlanError, Imported};
pub use inspect::{ChangeKind, ChangedPath, DiffText, EntryKind, FileStat, ReadError, TreeEntry};
pub use merge::{CommitError, CommitSpec, Identity, MergeError, MergeOutcome};
pub use message::{Headline, Message, branch_name, conventional_message};
pub use name::{CommitId, NameError, ObjectFormat, RefName, TreeId};
pub use path::{PathError, RepoPath, escape};
pub use refs::{RefError, UpdateRefError};
pub use take::{TakeError, Taken};
pub(crate) use workspace::argv as script_argv;
pub use workspace::{CheckoutSpec, CollectReport, CollectSpec, OBJECTS_INSIDE, ReportError};
