//! Who does the work of tasks that ask for an agent: which agent and role that is, and how many runs each may have at once.
//!
//! It comes from the configuration and the roles, and does not change while a daemon lives. A role that a project has of its own
//! is another one than the role of the same name that all have, and is counted by itself.

use std::collections::BTreeMap;

/// Most runs at once that an agent or a role can be given: more than any host has places.
pub const STAFF_RUNS_MAX: u32 = 10_000;

/// Who does a piece of work. Nobody does steps that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doer {
    /// As the configuration names it.
    pub agent: Option<String>,
    pub role: Option<String>,
}

/// All agents and roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staff {
    /// Who does what a task asks for, by that.
    pub common: BTreeMap<String, Doer>,
    /// The same in projects that have roles of their own, by their names.
    pub of_projects: BTreeMap<String, BTreeMap<String, Doer>>,
    /// Runs that an agent may have at once. One that is not named is without bound.
    pub agents_max: BTreeMap<String, u32>,
    /// Runs that a role may have at once; none is without bound. Those of a project are [`own_role`]s.
    pub roles_max: BTreeMap<String, Option<u32>>,
}

/// What a role is called here that a project has of its own.
#[must_use]
pub fn own_role(project: &str, role: &str) -> String {
    format!("{project}/{role}")
}

impl Staff {
    /// Who does in a project what a task asks for; nobody when none can.
    pub(super) fn doer(&self, project: &str, capability: &str) -> Doer {
        let own = self.of_projects.get(project).and_then(|doers| doers.get(capability));
        own.or_else(|| self.common.get(capability)).cloned().unwrap_or_default()
    }

    /// The name that a role is counted by in a project.
    pub(super) fn role(&self, project: &str, role: &str) -> String {
        let own = own_role(project, role);
        if self.roles_max.contains_key(&own) { own } else { role.to_owned() }
    }

    pub(super) fn agent_max(&self, agent: &str) -> Option<u64> {
        self.agents_max.get(agent).copied().map(u64::from)
    }

    pub(super) fn role_max(&self, role: &str) -> Option<u64> {
        self.roles_max.get(role).copied().flatten().map(u64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projects_own_role_is_another_one() {
        let doer = |agent: &str| Doer { agent: Some(agent.to_owned()), role: Some("developer".to_owned()) };
        let staff = Staff {
            common: [("developer".to_owned(), doer("codex"))].into(),
            of_projects: [("shop".to_owned(), [("developer".to_owned(), doer("claude"))].into())].into(),
            agents_max: [("codex".to_owned(), 2)].into(),
            roles_max: [("developer".to_owned(), Some(3)), (own_role("shop", "developer"), None)].into(),
        };
        assert_eq!(staff.doer("shop", "developer"), doer("claude"));
        assert_eq!(staff.doer("other", "developer"), doer("codex"));
        assert_eq!(staff.doer("other", "cooking"), Doer::default());
        let max = |project: &str| staff.role_max(&staff.role(project, "developer"));
        assert_eq!([max("shop"), max("other")], [None, Some(3)]);
        assert_eq!([staff.agent_max("codex"), staff.agent_max("claude")], [Some(2), None]);
    }
}
