//! The roles that ship with the program, those that the operator adds or puts in their place, and those of single projects.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use orch_core::recipe::{Role, parse_role};

use crate::recipe_store::{RecipeStoreError, read};

/// Most roles in a directory.
const ROLES_MAX: usize = 200;

/// Roles by their names; a project's own go before all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    common: BTreeMap<String, Role>,
    /// By project and name.
    of_project: BTreeMap<String, BTreeMap<String, Role>>,
}

impl Roles {
    /// The role that does in a project what a task asks for: the project's own, then the first by name.
    #[must_use]
    pub fn role_for(&self, project: &str, capability: &str) -> Option<&Role> {
        let can = |role: &&Role| role.capabilities.iter().any(|own| own.as_str() == capability);
        let own = self.of_project.get(project).and_then(|roles| roles.values().find(can));
        let hidden = |name: &String| self.of_project.get(project).is_some_and(|roles| roles.contains_key(name));
        let common = self.common.iter().filter(|(name, _)| !hidden(name)).map(|(_, role)| role).find(can);
        own.or(common)
    }

    /// The role of this name, as a project has it.
    #[must_use]
    pub fn named(&self, project: &str, name: &str) -> Option<&Role> {
        self.of_project.get(project).and_then(|roles| roles.get(name)).or_else(|| self.common.get(name))
    }

    /// All that are for every project, by name.
    pub fn common(&self) -> impl Iterator<Item = &Role> {
        self.common.values()
    }

    /// Those that projects have of their own: names of projects with their roles by name.
    pub fn of_projects(&self) -> impl Iterator<Item = (&String, &BTreeMap<String, Role>)> {
        self.of_project.iter()
    }

    /// Reads `shipped` and then `own`, whose roles take the place of those of the same name. Directories in `own` are those of
    /// projects.
    pub(crate) fn read(own: Option<&Path>, shipped: &Path) -> Result<Self, RecipeStoreError> {
        let mut roles = Self { common: directory(shipped)?, of_project: BTreeMap::new() };
        let Some(own) = own else { return Ok(roles) };
        roles.common.extend(directory(own)?);
        for (name, path) in entries(own)?.into_iter().filter(|(_, path)| path.is_dir()) {
            roles.of_project.insert(name, directory(&path)?);
        }
        Ok(roles)
    }
}

/// The roles of a directory; none where there is none.
fn directory(path: &Path) -> Result<BTreeMap<String, Role>, RecipeStoreError> {
    let files = entries(path)?.into_iter().filter(|(name, path)| name.ends_with(".yaml") && path.is_file());
    let roles = files.take(ROLES_MAX).map(|(name, path)| {
        let role = parse_role(&read(&path)?, &path.display().to_string())?;
        if name.strip_suffix(".yaml") == Some(role.name.as_str()) {
            Ok((role.name.to_string(), role))
        } else {
            Err(RecipeStoreError::Misnamed { path, what: "role", name: role.name.to_string() })
        }
    });
    roles.collect()
}

/// Names and paths of what is in a directory, by name; nothing where there is none.
pub(crate) fn entries(path: &Path) -> Result<BTreeMap<String, std::path::PathBuf>, RecipeStoreError> {
    let wrap = |source| RecipeStoreError::Read { path: path.to_owned(), source };
    let found = match fs::read_dir(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(wrap(error)),
    };
    let entry = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.map_err(wrap)?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
    };
    found.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, name: &str, capability: &str) {
        fs::create_dir_all(path).unwrap();
        let text = format!("name: {name}\ninstructions: of {}\ncapabilities: [{capability}]\n", path.display());
        fs::write(path.join(format!("{name}.yaml")), text).unwrap();
    }

    #[test]
    fn a_projects_own_role_goes_before_the_operators_and_that_before_what_ships() {
        let root = tempfile::tempdir().unwrap();
        let (own, shipped) = (root.path().join("own"), root.path().join("shipped"));
        write(&shipped, "developer", "developer");
        write(&shipped, "qa", "qa");
        write(&own, "qa", "qa");
        write(&own.join("shop"), "developer", "developer");
        let roles = Roles::read(Some(&own), &shipped).unwrap();
        let of = |project: &str, capability: &str| roles.role_for(project, capability).map(|role| &role.instructions);
        let told = |path: &Path| format!("of {}", path.display());
        assert_eq!(of("other", "developer"), Some(&told(&shipped)));
        assert_eq!(of("shop", "developer"), Some(&told(&own.join("shop"))));
        assert_eq!(of("shop", "qa"), Some(&told(&own)));
        assert_eq!(of("shop", "cooking"), None);
        assert_eq!(Roles::read(Some(&root.path().join("none")), &shipped).unwrap().common().count(), 2);

        write(&own, "wrong", "a");
        fs::rename(own.join("wrong.yaml"), own.join("right.yaml")).unwrap();
        let error = Roles::read(Some(&own), &shipped).unwrap_err();
        assert!(error.to_string().contains("`wrong`"), "{error}");
    }
}
