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
use crate::{asked, deadline, scenario, story, verdict};

/// Moments that are tried when nobody asks for more.
const SAMPLE: u64 = 4;

#[test]
fn all_is_done_once_whichever_effect_was_the_last() -> anyhow::Result<()> {
    story("a death at each effect", Setup::Runs, async |story| {
        story.stop().await?;
        if let Ok(text) = std::env::var("ORCH_CRASH_DEATH") {
            let death: Death = text.parse()?;
            play(story, &death, &mut Tally::default()).await?;
        } else if let Some(effects) = effects(story).await? {
            if std::env::var_os("ORCH_CRASH_EFFECTS").is_some() {
                tell(&by_name(&effects));
            }
            let (mut tally, deadline) = (Tally::default(), deadline());
            for death in chosen(&effects, &mut crate::dice(1)) {
                if std::time::Instant::now() >= deadline {
                    break;
                }
                let played = play(story, &death, &mut tally).await;
                played.with_context(|| format!("again with ORCH_CRASH_DEATH='{death}'"))?;
            }
            tally.tell(effects.len());
            ensure!(tally.missed < tally.played, "no death came where it was to come");
        }
        story.start().await
    })
}

/// How a scenario is cut off: at which moments daemons are killed, one after the other, and what dies with each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Death {
    dies: Dies,
    moments: Vec<Moment>,
}

impl Death {
    /// That at `moment`. Chance says what else happens.
    fn at(moment: &Moment, dice: &mut Dice) -> Self {
        let dies = if dice.once_in(3) { Dies::WithAll } else { Dies::Alone };
        let mut moments = vec![moment.clone()];
        if dies == Dies::Alone && moment.effect.starts_with("start a program") && moment.side == Side::After {
            moments[0].side = dice.one_of(&[Side::After, Side::Late]);
        }
        if dice.once_in(3) {
            // The next one takes up what is under way, and is killed while it does or not long after.
            let effect = format!("#{}", 1 + dice.below(600));
            moments.push(Moment { effect, side: dice.one_of(&[Side::Before, Side::After]) });
        }
        Self { dies, moments }
    }
}

impl std::fmt::Display for Death {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(if self.dies == Dies::WithAll { "all" } else { "alone" })?;
        self.moments.iter().try_for_each(|moment| write!(out, "; {moment}"))
    }
}

impl std::str::FromStr for Death {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut parts = text.split("; ");
        let dies = match parts.next() {
            Some("all") => Dies::WithAll,
            Some("alone") => Dies::Alone,
            other => anyhow::bail!("a death is `alone; MOMENT ...` or `all; MOMENT ...`, not `{other:?}`"),
        };
        Ok(Self { dies, moments: parts.map(str::parse).collect::<Result<_, _>>()? })
    }
}

/// The effects of the scenario without a death, in order. None where nothing can be watched.
async fn effects(story: &mut Story) -> anyhow::Result<Option<Vec<String>>> {
    let mut site = Site::new(story, Dies::Alone, Vec::new())?;
    if let Err(error) = site.start_watched().await {
        let said = format!("{error:#}");
        ensure!(said.contains("cannot be watched"), "{said}");
        Requirement::Missing("no process can be watched here (ptrace)".into()).holds()?;
        return Ok(None);
    }
    scenario::play(&mut site).await?;
    site.judge().await?;
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

/// Which deaths to die: at all effects, or at as many as were asked for.
fn chosen(effects: &[String], dice: &mut Dice) -> Vec<Death> {
    let both = |effect: &String| [Side::Before, Side::After].map(|side| Moment { effect: effect.clone(), side });
    let mut left: Vec<Moment> = effects.iter().flat_map(both).collect();
    if std::env::var("ORCH_CRASH_EFFECTS").is_ok_and(|text| text == "all") {
        let (which, of) = (asked("ORCH_CRASH_PART", 1), asked("ORCH_CRASH_PARTS", 1).max(1));
        let is_ours = |at: &usize| *at as u64 % of == which % of;
        return left.iter().enumerate().filter(|(at, _)| is_ours(at)).map(|(_, at)| Death::at(at, dice)).collect();
    }
    // What every start installs and measures is much alike: a tenth of it is enough.
    let is_alike = |at: &Moment| at.effect.contains("/recipes/.") || at.effect.contains("/jail/probe/");
    left.retain(|at| !is_alike(at) || dice.once_in(10));
    let mut chosen = Vec::new();
    for _ in 0..asked("ORCH_CRASH_EFFECTS", SAMPLE).min(left.len() as u64) {
        let at = usize::try_from(dice.below(left.len() as u64)).unwrap_or(0);
        chosen.push(Death::at(&left.swap_remove(at), dice));
    }
    chosen
}

/// Plays the scenario with one death, or with two.
async fn play(story: &mut Story, death: &Death, tally: &mut Tally) -> anyhow::Result<()> {
    let mut site = Site::new(story, death.dies, death.moments.clone())?;
    site.start().await?;
    let played = scenario::play(&mut site).await;
    played.with_context(|| format!("killed at {:?}", site.deaths))?;
    let judged = site.judge().await;
    judged.with_context(|| format!("killed at {:?}", site.deaths))?;
    if site.deaths.iter().any(|moment| moment.side == Side::Late) {
        let judged = late(&mut site).await;
        judged.with_context(|| format!("killed at {:?}, and what it had started came late", site.deaths))?;
    }
    // What did not come this time ends with the daemon.
    let _never_came = site.stop().await?;
    tally.add(&site, death);
    end(&site).await
}

/// Everything is over, and now a program of the first daemon does what it was started for. It changes nothing; what it may
/// leave half-made is cleared by the next start.
async fn late(site: &mut Site<'_>) -> anyhow::Result<()> {
    site.let_go_on().await?;
    let _never_came = site.stop().await?;
    site.start().await?;
    site.judge().await
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
    fn add(&mut self, site: &Site<'_>, death: &Death) {
        self.played += 1;
        self.missed += u32::from(death.moments.first().is_none_or(|first| !site.deaths.contains(first)));
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
