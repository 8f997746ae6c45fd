//! `cargo xtask plants`: plants faults into a copy of the repository, one at a time, and sees whether the tests that are to find
//! each do. What is found by nothing is a hole in the tests.
//!
//! The copy is kept under `target/plants`, with what was built of it. Nothing of it is in the product.

mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use crate::workspace;
use table::{Finder, PLANTS, Plant};

/// How many seeds a simulation has to find a fault.
const SEEDS: &str = "200";

/// How a plant fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Found,
    Missed,
}

/// Plants those whose names begin with one of `names`, or all.
pub(crate) fn run(names: &[String]) -> anyhow::Result<ExitCode> {
    let root = workspace::root()?;
    let is_meant = |plant: &&Plant| names.is_empty() || names.iter().any(|name| plant.name.starts_with(name.as_str()));
    let plants: Vec<&Plant> = PLANTS.iter().filter(is_meant).collect();
    ensure!(!plants.is_empty(), "no plant has such a name; see orchd/xtask/src/plants/table.rs");
    let copy = root.join("target/plants/tree");
    copy_tree(&root, &copy)?;
    let mut missed = Vec::new();
    for plant in plants {
        for finder in plant.finders {
            let began = Instant::now();
            let fate = plant_one(&copy, plant, *finder).with_context(|| format!("failed to try `{}`", plant.name))?;
            let verdict = if fate == Fate::Found { "found" } else { "MISSED" };
            let seconds = began.elapsed().as_secs();
            println!("{verdict:6} {:20} by {:7} {seconds:4} s  {}", plant.name, finder.label(), plant.what);
            missed.extend((fate == Fate::Missed).then(|| format!("{} by {}", plant.name, finder.label())));
        }
    }
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("nothing found: {}", missed.join(", "))
}

/// Brings the copy up to the files that git knows, as they are now.
fn copy_tree(root: &Path, copy: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(copy).context("failed to make the copy")?;
    let listed =
        Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().context("failed to start git")?;
    ensure!(listed.status.success(), "git lists no files");
    let listed = String::from_utf8(listed.stdout).context("a file has a name that is no text")?;
    for name in listed.split_terminator('\0') {
        let (from, to) = (root.join(name), copy.join(name));
        if !from.is_file() {
            continue;
        }
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let content = std::fs::read(&from).with_context(|| format!("failed to read `{name}`"))?;
        write_if_other(&to, &content).with_context(|| format!("failed to copy `{name}`"))?;
    }
    Ok(())
}

/// Leaves a file alone that is as it should be: what was built from it stays good.
fn write_if_other(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == content) { Ok(()) } else { std::fs::write(path, content) }
}

fn plant_one(copy: &Path, plant: &Plant, finder: Finder) -> anyhow::Result<Fate> {
    let path = copy.join(plant.file);
    let sound = std::fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", plant.file))?;
    std::fs::write(&path, planted(plant, &sound)?)?;
    let tried = build(copy, finder).and_then(|()| find(copy, finder));
    std::fs::write(&path, sound)?;
    tried
}

/// The file with the fault in it.
fn planted(plant: &Plant, sound: &str) -> anyhow::Result<String> {
    let times = sound.matches(plant.from).count();
    ensure!(times == 1, "its place is {times} times in `{}`; mend the table", plant.file);
    Ok(sound.replacen(plant.from, plant.to, 1))
}

fn build(copy: &Path, finder: Finder) -> anyhow::Result<()> {
    let built = test(copy, finder).arg("--no-run").stderr(Stdio::piped()).output().context("failed to start cargo")?;
    let told = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success(), "with the fault it cannot be built:\n{told}");
    Ok(())
}

fn find(copy: &Path, finder: Finder) -> anyhow::Result<Fate> {
    let mut command = test(copy, finder);
    command.args(["--", finder.filter()]).env("ORCH_SIM_SEEDS", SEEDS).env("ORCH_SIM_TRIES", "0");
    let output = command.stderr(Stdio::null()).output().context("failed to start cargo")?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(!told.contains("running 0 tests"), "`{}` names no test", finder.filter());
    Ok(if output.status.success() { Fate::Missed } else { Fate::Found })
}

fn test(copy: &Path, finder: Finder) -> Command {
    let mut command = workspace::cargo();
    let (package, target) = finder.target();
    command.args(["test", "--offline", "--quiet", "--package", package]).args(target).current_dir(copy);
    // Pieces that are kept to build faster take more room than they save time.
    command.env("CARGO_TARGET_DIR", target_dir(copy)).env("CARGO_INCREMENTAL", "0");
    command.stdout(Stdio::piped());
    command
}

/// Its own: cargo takes crates of two copies of one workspace for the same.
fn target_dir(copy: &Path) -> PathBuf {
    copy.join("../target")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_plant_has_its_place_and_its_name() {
        let root = workspace::root().unwrap();
        let mut names = BTreeSet::new();
        for plant in PLANTS {
            let sound = std::fs::read_to_string(root.join(plant.file)).unwrap();
            let faulty = planted(plant, &sound).unwrap_or_else(|error| panic!("{}: {error}", plant.name));
            assert_ne!(faulty, sound, "{} changes nothing", plant.name);
            assert!(names.insert(plant.name), "{} is there twice", plant.name);
        }
    }
}
