//! The cache: a tool is there whole or not at all, and who changed it is noticed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use orch_adapters::tool_cache::{Made, Tool, ToolCache, ToolCacheError, key};
use orch_core::digest::Digest;
use orch_core::recipe::{Recipe, ToolRecipe, parse};
use orch_proto::Timestamp;
use tempfile::TempDir;

struct Shelf {
    cache: ToolCache,
    recipe: ToolRecipe,
    directory: TempDir,
}

impl Shelf {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = ToolCache::open(&directory.path().canonicalize().unwrap().join("tools")).unwrap();
        Self { cache, recipe: recipe("1.7.0"), directory }
    }

    fn key(&self) -> Digest {
        key(&self.recipe, &self.recipe.sources[0])
    }

    /// A draft in which steps left this.
    fn made(&self, leave: impl FnOnce(&Path)) -> (PathBuf, Result<Tool, ToolCacheError>) {
        let draft = self.cache.draft(self.key()).unwrap();
        let tree = draft.join("work");
        fs::create_dir_all(tree.join("bin")).unwrap();
        leave(&tree);
        let at = Timestamp::from_unix_us(1);
        let made = Made { key: self.key(), recipe: &self.recipe, source: &self.recipe.sources[0], at, by: "alice" };
        let kept = self.cache.keep((&draft, &tree), &made);
        (draft, kept)
    }

    fn install(&self) -> Tool {
        let (draft, kept) = self.made(program);
        self.cache.discard(&draft).unwrap();
        kept.unwrap()
    }
}

fn recipe(version: &str) -> ToolRecipe {
    let sum = "0".repeat(64);
    let text = format!(
        "name: tofu\nversion: {version}\nsource: {{ url: \"https://a.org/x\", checksum: \"sha256:{sum}\" }}\nsteps: [make]\n"
    );
    let Recipe::Tool(recipe) = parse(&text, "tofu.yaml").unwrap() else { panic!("a tool") };
    recipe
}

fn program(tree: &Path) {
    fs::write(tree.join("bin/tofu"), "#!/bin/sh\necho hi\n").unwrap();
    fs::set_permissions(tree.join("bin/tofu"), Permissions::from_mode(0o755)).unwrap();
    fs::write(tree.join("data"), "1").unwrap();
}

#[test]
fn a_tool_is_kept_once_and_found_by_all_that_decides_it() {
    let shelf = Shelf::new();
    assert_eq!(shelf.cache.find(shelf.key()).unwrap(), None);
    let tool = shelf.install();
    assert_eq!(shelf.cache.find(shelf.key()).unwrap(), Some(tool.clone()));
    assert!(shelf.cache.has(shelf.key()));
    assert_eq!((tool.record.files, tool.record.by.as_str()), (2, "alice"));
    assert_eq!(tool.used().content, tool.record.content);
    assert_eq!(fs::metadata(tool.root.join("data")).unwrap().permissions().mode() & 0o777, 0o444);
    // What decides it is another tool.
    let other = recipe("1.7.1");
    assert_ne!(key(&other, &other.sources[0]), shelf.key());
    // The same once more takes nothing away from whoever has it.
    let (draft, again) = shelf.made(program);
    assert!(again.is_err());
    shelf.cache.discard(&draft).unwrap();
    assert_eq!(shelf.cache.find(shelf.key()).unwrap(), Some(tool.clone()));
    assert_eq!(shelf.cache.list().unwrap(), [tool.record]);
    assert_eq!(fs::read_dir(shelf.cache.drafts()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn files_that_are_others_are_noticed_and_copied_ones_are_not() {
    let shelf = Shelf::new();
    let tool = shelf.install();
    // Another number and another time, the same content: the tools were moved to another disk.
    let data = tool.root.join("data");
    let replace = |content: &str| {
        fs::set_permissions(&tool.root, Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(&data).unwrap();
        fs::write(&data, content).unwrap();
        fs::set_permissions(&data, Permissions::from_mode(0o444)).unwrap();
        fs::set_permissions(&tool.root, Permissions::from_mode(0o555)).unwrap();
    };
    replace("1");
    let found = shelf.cache.find(shelf.key()).unwrap().unwrap();
    assert_eq!(found.record.content, tool.record.content);
    replace("2");
    let error = shelf.cache.find(shelf.key()).unwrap_err();
    assert!(matches!(error, ToolCacheError::Changed { .. }), "{error}");
}

#[test]
fn what_has_no_program_of_its_own_is_not_kept() {
    let shelf = Shelf::new();
    let outside = shelf.directory.path().join("outside");
    fs::write(&outside, "").unwrap();
    fs::set_permissions(&outside, Permissions::from_mode(0o755)).unwrap();
    let leaves: [&dyn Fn(&Path); 4] = [
        &|_| {},
        &|tree| fs::write(tree.join("bin/tofu"), "no program").unwrap(),
        &|tree| symlink(&outside, tree.join("bin/tofu")).unwrap(),
        &|tree| fs::create_dir(tree.join("bin/tofu")).unwrap(),
    ];
    for leave in leaves {
        let (draft, kept) = shelf.made(leave);
        let error = kept.unwrap_err();
        assert!(matches!(&error, ToolCacheError::NoProgram { program } if program == "tofu"), "{error}");
        shelf.cache.discard(&draft).unwrap();
        assert_eq!(shelf.cache.find(shelf.key()).unwrap(), None);
    }
}

#[test]
fn a_tool_goes_whole_and_only_once() {
    let shelf = Shelf::new();
    shelf.install();
    assert!(shelf.cache.remove(shelf.key()).unwrap());
    assert!(!shelf.cache.remove(shelf.key()).unwrap());
    assert_eq!(shelf.cache.find(shelf.key()).unwrap(), None);
    assert_eq!(shelf.cache.list().unwrap(), []);
    shelf.install();
    assert!(shelf.cache.has(shelf.key()), "it comes again");
}

#[test]
fn a_record_that_is_none_is_told() {
    let shelf = Shelf::new();
    let tool = shelf.install();
    let record = tool.root.parent().unwrap().join("tool.json");
    for text in ["", "{}", "{\"format\":2}"] {
        fs::write(&record, text).unwrap();
        assert!(matches!(shelf.cache.find(shelf.key()), Err(ToolCacheError::Record { .. })), "{text}");
    }
    assert_eq!(shelf.cache.list().unwrap(), []);
}
