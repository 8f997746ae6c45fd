//! The recipes that ship with the program, and those that the operator adds.
//!
//! The shipped ones are part of the program and are written once into the state directory, under the digest of their
//! content, so that a sandbox can mount them; an operator's directory goes before them by name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use orch_core::blueprint::{self, Blueprint};
use orch_core::digest::Digest;
use orch_core::recipe::{Policy, Prices, RecipeError, parse_policy, parse_prices};

use crate::providers::Providers;
use crate::roles::Roles;
use crate::tool_recipes::ToolRecipes;

static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../recipes");

/// Longest text that a planning model is told beside what it is to work on, in bytes.
const PLANNER_BYTES_MAX: usize = 16 << 10;

/// The sections of a configuration that ship under this name.
#[must_use]
pub fn profile(name: &str) -> Option<&'static str> {
    let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_plain.then(|| SHIPPED.get_file(format!("profiles/{name}.toml"))).flatten()?.contents_utf8()
}

/// Names of all of those.
#[must_use]
pub fn profiles() -> Vec<&'static str> {
    let files = SHIPPED.get_dir("profiles").into_iter().flat_map(Dir::files);
    files.filter_map(|file| file.path().file_stem()?.to_str()).collect()
}

/// Recipes on the disk.
#[derive(Clone, Debug)]
pub struct RecipeStore {
    /// The operator's directory, if there is one.
    own: Option<PathBuf>,
    shipped: PathBuf,
}

/// Why recipes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeStoreError {
    /// The shipped ones cannot be written.
    #[error("failed to write the shipped recipes to `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// There is no blueprint of that name.
    #[error("there is no blueprint `{name}`; there are: {known}")]
    NoBlueprint { name: String, known: String },
    /// A file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file is not named as what is in it.
    #[error("`{}` has the {what} `{name}`; name the file `{name}.yaml`", path.display())]
    Misnamed { path: PathBuf, what: &'static str, name: String },
    /// A file has a mistake, at a place that it names.
    #[error(transparent)]
    Parse(#[from] RecipeError),
}

impl RecipeStore {
    /// Writes the shipped recipes below `directory`, unless they are there already.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn install(directory: &Path, own: Option<PathBuf>) -> Result<Self, RecipeStoreError> {
        let mut content = Vec::new();
        list(&SHIPPED, &mut content);
        let digest =
            Digest::of_json(&content.iter().map(|(path, bytes)| (path, Digest::of(bytes))).collect::<Vec<_>>());
        let shipped = directory.join(&digest.to_string()[..16]);
        if !shipped.is_dir() {
            let draft = directory.join(format!(".{}-{}", &digest.to_string()[..16], std::process::id()));
            let wrap = |source| RecipeStoreError::Write { path: draft.clone(), source };
            write_all(&draft, &content).map_err(wrap)?;
            match fs::rename(&draft, &shipped) {
                Ok(()) => {}
                // Another start of the same program was faster; its copy is the same.
                Err(_) if shipped.is_dir() => fs::remove_dir_all(&draft).map_err(wrap)?,
                Err(error) => return Err(wrap(error)),
            }
        }
        Ok(Self { own, shipped })
    }

    /// A blueprint with the directory of its files.
    ///
    /// # Errors
    /// When there is none of that name, or it has a mistake.
    pub fn blueprint(&self, name: &str) -> Result<(Blueprint, PathBuf), RecipeStoreError> {
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let found =
            plain.then(|| self.roots().map(|root| root.join("blueprints").join(name)).find(|path| path.is_dir()));
        let Some(directory) = found.flatten() else {
            return Err(RecipeStoreError::NoBlueprint { name: name.to_owned(), known: self.blueprints().join(", ") });
        };
        let path = directory.join("blueprint.yaml");
        let text = read(&path)?;
        Ok((blueprint::parse(&text, &format!("blueprints/{name}/blueprint.yaml"))?, directory))
    }

    /// Names of all blueprints.
    #[must_use]
    pub fn blueprints(&self) -> Vec<String> {
        let directories = self.roots().filter_map(|root| fs::read_dir(root.join("blueprints")).ok());
        let mut names: Vec<String> = directories
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The policy for projects that have no other.
    ///
    /// # Errors
    /// When it cannot be read or has a mistake.
    pub fn default_policy(&self) -> Result<Policy, RecipeStoreError> {
        Ok(parse_policy(&read(&self.first("policies/default.yaml"))?, "policies/default.yaml")?)
    }

    /// What models cost.
    ///
    /// # Errors
    /// When it cannot be read or has a mistake.
    pub fn prices(&self) -> Result<Prices, RecipeStoreError> {
        Ok(parse_prices(&read(&self.first("models/prices.yaml"))?, "models/prices.yaml")?)
    }

    /// What a model is told that plans in the place of the rules; `wanted` is `requirements` or `plan`.
    ///
    /// # Errors
    /// When it cannot be read, or is too long.
    pub fn planner(&self, wanted: &str) -> Result<String, RecipeStoreError> {
        let path = self.first(&format!("planner/{wanted}.md"));
        let text = read(&path)?;
        if text.len() <= PLANNER_BYTES_MAX {
            return Ok(text);
        }
        let source = io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {PLANNER_BYTES_MAX} bytes"));
        Err(RecipeStoreError::Read { path, source })
    }

    /// The roles of agents.
    ///
    /// # Errors
    /// When they cannot be read or one has a mistake.
    pub fn roles(&self) -> Result<Roles, RecipeStoreError> {
        let own = self.own.as_ref().map(|own| own.join("roles"));
        Roles::read(own.as_deref(), &self.shipped.join("roles"))
    }

    /// What people are asked for.
    ///
    /// # Errors
    /// When they cannot be read or one has a mistake.
    pub fn providers(&self) -> Result<Providers, RecipeStoreError> {
        let own = self.own.as_ref().map(|own| own.join("providers"));
        Providers::read(own.as_deref(), &self.shipped.join("providers"))
    }

    /// How tools are installed.
    ///
    /// # Errors
    /// When they cannot be read or one has a mistake.
    pub fn tools(&self) -> Result<ToolRecipes, RecipeStoreError> {
        let own = self.own.as_ref().map(|own| own.join("tools"));
        ToolRecipes::read(own.as_deref(), &self.shipped.join("tools"))
    }

    /// The operator's file of this name, or the shipped one.
    fn first(&self, name: &str) -> PathBuf {
        let found = self.roots().map(|root| root.join(name)).find(|path| path.is_file());
        found.unwrap_or_else(|| self.shipped.join(name))
    }

    fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.own.iter().chain([&self.shipped])
    }
}

pub(crate) fn read(path: &Path) -> Result<String, RecipeStoreError> {
    fs::read_to_string(path).map_err(|source| RecipeStoreError::Read { path: path.to_owned(), source })
}

fn list(directory: &'static Dir<'static>, into: &mut Vec<(PathBuf, &'static [u8])>) {
    for file in directory.files() {
        into.push((file.path().to_owned(), file.contents()));
    }
    for child in directory.dirs() {
        list(child, into);
    }
    into.sort();
}

fn write_all(root: &Path, content: &[(PathBuf, &[u8])]) -> io::Result<()> {
    fs::create_dir_all(root)?;
    for (path, bytes) in content {
        let path = root.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}
