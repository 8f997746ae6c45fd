//! The recipes of tools that ship with the program, and those that the operator adds or puts in their place.

use std::collections::BTreeMap;
use std::path::Path;

use orch_core::recipe::{Recipe, ToolRecipe, parse};

use crate::recipe_store::{RecipeStoreError, read};
use crate::roles::entries;

/// Most recipes in a directory.
const RECIPES_MAX: usize = 500;

/// Recipes of tools by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolRecipes(BTreeMap<String, ToolRecipe>);

impl ToolRecipes {
    /// The recipe of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ToolRecipe> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &ToolRecipe> {
        self.0.values()
    }

    /// Reads `shipped` and then `own`, whose recipes take the place of those of the same name. Recipes of runs, which may lie
    /// beside them as examples, are left out.
    pub(crate) fn read(own: Option<&Path>, shipped: &Path) -> Result<Self, RecipeStoreError> {
        let mut recipes = directory(shipped)?;
        if let Some(own) = own {
            recipes.extend(directory(own)?);
        }
        Ok(Self(recipes))
    }
}

/// The recipes of a directory; none where there is none.
fn directory(path: &Path) -> Result<BTreeMap<String, ToolRecipe>, RecipeStoreError> {
    let mut recipes = BTreeMap::new();
    let files = entries(path)?.into_iter().filter(|(name, path)| name.ends_with(".yaml") && path.is_file());
    for (name, path) in files.take(RECIPES_MAX) {
        let Recipe::Tool(recipe) = parse(&read(&path)?, &path.display().to_string())? else { continue };
        if name.strip_suffix(".yaml") != Some(recipe.name.as_str()) {
            return Err(RecipeStoreError::Misnamed { path, what: "tool", name: recipe.name });
        }
        recipes.insert(recipe.name.clone(), recipe);
    }
    Ok(recipes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(path: &Path, name: &str, version: &str) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join(format!("{name}.yaml")), format!("name: {name}\nversion: {version}\nsteps: [\"true\"]\n"))
            .unwrap();
    }

    #[test]
    fn the_operators_recipes_go_before_those_that_ship_and_runs_are_none() {
        let root = tempfile::tempdir().unwrap();
        let (own, shipped) = (root.path().join("own"), root.path().join("shipped"));
        write(&shipped, "git", "2.38+");
        write(&shipped, "tofu", "1.7.0");
        write(&own, "tofu", "1.8.0");
        fs::write(own.join("run.yaml"), "steps: [make]\n").unwrap();
        let recipes = ToolRecipes::read(Some(&own), &shipped).unwrap();
        let version = |name: &str| recipes.get(name).map(|recipe| recipe.version.as_str());
        assert_eq!([version("git"), version("tofu"), version("run")], [Some("2.38+"), Some("1.8.0"), None]);
        assert_eq!(recipes.iter().count(), 2);

        fs::rename(own.join("tofu.yaml"), own.join("other.yaml")).unwrap();
        let error = ToolRecipes::read(Some(&own), &shipped).unwrap_err().to_string();
        assert!(error.contains("has the tool `tofu`"), "{error}");
    }
}
