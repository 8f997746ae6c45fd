//! The daemon is killed before and after each of its effects while a scenario plays, and everything comes to its end once.
//!
//! The scenario is played once to learn the effects by name, then again and again, with one death each; sometimes the
//! daemon that takes over is killed, too, and sometimes every other process with it.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use orch_tests::trace::{Moment, Side};
use orch_tests::{Requirement, Setup, Story, tell};

use crate::dice::Dice;
use crate::site::{Dies, Site};
use crate::{asked, scenario, story, verdict};

/// Moments that are tried when nobody asks for more.
const SAMPLE: u64 = 4;

#[test]
fn all_is_done_once_whichever_effect_was_the_last() -> anyhow::Result<()> {
    story("a death at each effect", Setup::Runs, async |story| {
        story.stop().await?;
        if let Some(effects) = effects(story).await? {
            if std::env::var_os("ORCH_CRASH_EFFECTS").is_some() {
                tell(&by_name(&effects));
            }
            let mut tally = Tally::default();
            for (number, moment) in chosen(&effects, &mut crate::dice(1)) {
                let dies = play(story, number, &moment, &mut tally).await;
                dies.with_context(|| {
                    format!("the death {moment}: number {number} of seed {}", asked("ORCH_CRASH_SEED", 1))
                })?;
            }
            tally.tell(effects.len());
        }
        story.start().await
    })
}

/// The effects of the scenario without a death, in order. None where nothing can be watched.
async fn effects(story: &mut Story) -> anyhow::Result<Option<Vec<String>>> {
    let mut site = Site::new(story, Dies::Alone, Vec::new());
    if let Err(error) = site.start_watched().await {
        let said = format!("{error:#}");
        ensure!(said.contains("cannot be watched"), "{said}");
        Requirement::Missing("no process can be watched here (ptrace)".into()).holds()?;
        return Ok(None);
    }
    scenario::play(&mut site).await?;
    verdict::of(&site).await?;
    let report = site.stop().await?.context("it was watched")?;
    end(&site).await?;
    Ok(Some(report.effects))
}

/// The effects by name and how many there are of each.
fn by_name(effects: &[String]) -> String {
    let mut counts = BTreeMap::<&str, u32>::new();
    for effect in effects {
        *counts.entry(effect.rsplit_once('#').map_or(effect.as_str(), |(name, _)| name)).or_default() += 1;
    }
    let lines: Vec<String> = counts.into_iter().map(|(name, count)| format!("{count:6} {name}")).collect();
    lines.join("\n")
}

/// Which deaths to die: all, or as many of them as were asked for, with a number that says which it is of all.
fn chosen(effects: &[String], dice: &mut Dice) -> Vec<(usize, Moment)> {
    let both = |effect: &String| [Side::Before, Side::After].map(|side| Moment { effect: effect.clone(), side });
    let all: Vec<(usize, Moment)> = effects.iter().flat_map(both).enumerate().collect();
    if std::env::var("ORCH_CRASH_EFFECTS").is_ok_and(|text| text == "all") {
        let part = std::env::var("ORCH_CRASH_PART").unwrap_or_else(|_| "1/1".into());
        let (which, of) = part.split_once('/').unwrap_or(("1", "1"));
        let (which, of) = (which.parse().unwrap_or(1_usize), of.parse().unwrap_or(1_usize).max(1));
        return all.into_iter().filter(|(number, _)| number % of == which % of).collect();
    }
    let mut left = all;
    let mut chosen = Vec::new();
    for _ in 0..asked("ORCH_CRASH_EFFECTS", SAMPLE).min(left.len() as u64) {
        let at = usize::try_from(dice.below(left.len() as u64)).unwrap_or(0);
        chosen.push(left.swap_remove(at));
    }
    chosen
}

/// Plays the scenario with one death, or with two.
async fn play(story: &mut Story, number: usize, moment: &Moment, tally: &mut Tally) -> anyhow::Result<()> {
    let mut dice = crate::dice(1_000 + number as u64);
    let dies = if dice.once_in(3) { Dies::WithAll } else { Dies::Alone };
    let mut moments = vec![moment.clone()];
    if dice.once_in(3) {
        // The next one takes up what is under way, and is killed while it does or not long after.
        let effect = format!("#{}", 1 + dice.below(150));
        moments.push(Moment { effect, side: dice.one_of(&[Side::Before, Side::After]) });
    }
    let mut site = Site::new(story, dies, moments);
    site.start().await?;
    scenario::play(&mut site).await.with_context(|| format!("killed at {:?}", site.deaths))?;
    verdict::of(&site).await.with_context(|| format!("killed at {:?}", site.deaths))?;
    // What did not come this time ends with the daemon.
    let _never_came = site.stop().await?;
    tally.add(&site, moment);
    end(&site).await
}

/// Looks at the state without a daemon, and removes it.
async fn end(site: &Site<'_>) -> anyhow::Result<()> {
    verdict::of_state(site.story(), site.state()).await?;
    orch_sandbox::remove_tree(site.state()).context("failed to remove the state")
}

/// How many deaths there were, by what the daemon was at.
#[derive(Debug, Default)]
struct Tally {
    played: u32,
    missed: u32,
    with_all: u32,
    deaths: BTreeMap<String, u32>,
}

impl Tally {
    fn add(&mut self, site: &Site<'_>, moment: &Moment) {
        self.played += 1;
        self.missed += u32::from(!site.deaths.contains(moment));
        self.with_all += u32::from(site.dies() == Dies::WithAll);
        for death in &site.deaths {
            let kind = death.effect.split(['#', ' ']).next().unwrap_or_default();
            *self.deaths.entry(kind.to_owned()).or_default() += 1;
        }
    }

    fn tell(&self, effects: usize) {
        let Self { played, missed, with_all, deaths } = self;
        let count: u32 = deaths.values().sum();
        tell(&format!(
            "{effects} effects; {played} times played, {missed} times without the effect of that name; {count} deaths, \
             {with_all} with every process; by kind: {deaths:?}"
        ));
    }
}
