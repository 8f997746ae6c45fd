//! The providers that ship with the program, and those that the operator adds or puts in their place.

use std::collections::BTreeMap;
use std::path::Path;

use orch_core::recipe::{Key, parse_provider};
use orch_proto::provider::Provider;

use crate::recipe_store::{RecipeStoreError, read};
use crate::roles::entries;

/// Most providers in a directory.
const PROVIDERS_MAX: usize = 200;

/// Providers by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Providers(BTreeMap<String, Provider>);

/// There is no provider of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no provider `{name}`; there are: {known}")]
pub struct NoProvider {
    pub name: String,
    pub known: String,
}

impl Providers {
    /// The providers of these names, in their order.
    ///
    /// # Errors
    /// The first that there is not.
    pub fn named(&self, names: &[Key]) -> Result<Vec<&Provider>, NoProvider> {
        let find = |name: &Key| {
            let known = || self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.0.get(name.as_str()).ok_or_else(|| NoProvider { name: name.to_string(), known: known() })
        };
        names.iter().map(find).collect()
    }

    /// Reads `shipped` and then `own`, whose providers take the place of those of the same name.
    pub(crate) fn read(own: Option<&Path>, shipped: &Path) -> Result<Self, RecipeStoreError> {
        let mut all = directory(shipped)?;
        if let Some(own) = own {
            all.extend(directory(own)?);
        }
        Ok(Self(all))
    }
}

fn directory(path: &Path) -> Result<BTreeMap<String, Provider>, RecipeStoreError> {
    let files = entries(path)?.into_iter().filter(|(name, path)| name.ends_with(".yaml") && path.is_file());
    let providers = files.take(PROVIDERS_MAX).map(|(name, path)| {
        let provider = parse_provider(&read(&path)?, &path.display().to_string())?;
        if name.strip_suffix(".yaml") == Some(provider.name.as_str()) {
            Ok((provider.name.clone(), provider))
        } else {
            Err(RecipeStoreError::Misnamed { path, what: "provider", name: provider.name })
        }
    });
    providers.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_operators_provider_goes_before_the_shipped_one_and_others_are_named() {
        let root = tempfile::tempdir().unwrap();
        let write = |place: &str, name: &str, question: &str| {
            fs::create_dir_all(root.path().join(place)).unwrap();
            let text = format!("name: {name}\nquestion: {question}\nfields:\n  - name: A\n");
            fs::write(root.path().join(place).join(format!("{name}.yaml")), text).unwrap();
        };
        for (place, name) in [("shipped", "one"), ("shipped", "two"), ("own", "two")] {
            write(place, name, place);
        }
        let (own, shipped) = (root.path().join("own"), root.path().join("shipped"));
        let providers = Providers::read(Some(&own), &shipped).unwrap();
        let names = |names: &[&str]| names.iter().map(|name| Key::parse(name).unwrap()).collect::<Vec<_>>();
        let found = providers.named(&names(&["two", "one"])).unwrap();
        assert_eq!(found.iter().map(|it| it.question.as_str()).collect::<Vec<_>>(), ["own", "shipped"]);
        let error = providers.named(&names(&["three"])).unwrap_err().to_string();
        assert_eq!(error, "there is no provider `three`; there are: one, two");
        fs::rename(own.join("two.yaml"), own.join("three.yaml")).unwrap();
        assert!(Providers::read(Some(&own), &shipped).unwrap_err().to_string().contains("provider `two`"));
    }
}
