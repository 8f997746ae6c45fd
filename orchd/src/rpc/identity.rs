//! Who is at the other end of a connection, by the kernel's word, and what role that gives.

use std::collections::BTreeMap;

use nix::unistd::{Gid, Group, Uid, User};
use orch_core::actor::Actor;
use orch_proto::request::Role;
use orch_proto::{ErrorCode, RpcError};

/// The caller of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) uid: u32,
    pub(crate) name: String,
    /// None: may open the socket, but no role was given.
    pub(crate) role: Option<Role>,
}

impl Caller {
    /// The caller with this uid, under the roles of the configuration. The daemon's own user and root are admins.
    pub(crate) fn new(uid: u32, roles: &BTreeMap<Role, Vec<String>>) -> Self {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = user.as_ref().map_or_else(|| format!("uid-{uid}"), |user| user.name.clone());
        if uid == 0 || uid == nix::unistd::geteuid().as_raw() {
            return Self { uid, name, role: Some(Role::Admin) };
        }
        let fits = |entry: &String| match entry.strip_prefix('@') {
            Some(group) => user.as_ref().is_some_and(|user| is_member(user, group)),
            None => *entry == name,
        };
        let role = roles.iter().rev().find(|(_, entries)| entries.iter().any(fits)).map(|(role, _)| *role);
        Self { uid, name, role }
    }

    /// The actor for events.
    pub(crate) fn actor(&self) -> Actor {
        Actor::User { uid: self.uid, name: self.name.clone() }
    }

    /// Makes sure that the caller has a role.
    ///
    /// # Errors
    /// `E_PERMISSION` that names the role that is needed and how it is given.
    pub(crate) fn require(&self, needed: Role) -> Result<(), RpcError> {
        if self.role.is_some_and(|role| role >= needed) {
            return Ok(());
        }
        let needed = needed.label();
        let has = self.role.map_or_else(|| "no role".to_owned(), |role| format!("the role {}", role.label()));
        Err(RpcError::new(ErrorCode::Permission, format!("this needs the role {needed}; `{}` has {has}", self.name))
            .hint(format!(
                "an administrator can add `{}` under `[roles] {needed}` in the daemon's configuration",
                self.name
            )))
    }
}

fn is_member(user: &User, group: &str) -> bool {
    let Ok(Some(group)) = Group::from_name(group) else { return false };
    user.gid == Gid::from_raw(group.gid.as_raw()) || group.mem.contains(&user.name)
}
