//! Random commands of the channels of runs: what they say, what they ask, and what people answer.

use std::collections::BTreeMap;

use super::command::{pick, pick_open};
use crate::command::{Command, Word};
use crate::digest::Digest;
use crate::entity::{Artifact, FieldKind, FieldValue, InfoField, InfoRequest, Run, Task};
use crate::ids::IdSource;
use crate::state::run::RunState;

/// Something about the channel of a run that has one; none when there is no such run.
pub(super) fn random((runs, tasks): (&[Run], &[Task]), infos: &[InfoRequest], dice: &mut IdSource) -> Option<Command> {
    // Of what the planner asks seldom: nothing waits for it.
    let infos: Vec<InfoRequest> =
        infos.iter().filter(|asked| asked.run.is_some() || dice.jitter(6) == 0).cloned().collect();
    let infos = infos.as_slice();
    let waits = infos.iter().any(InfoRequest::is_pending);
    if waits && dice.jitter(3) == 0 {
        return answer(infos, dice);
    }
    let speaks = |run: &&Run| run.access.channel && (run.state == RunState::Running || run.state.is_waiting());
    let speaking: Vec<Run> = runs.iter().filter(speaks).cloned().collect();
    // What was answered is taken by who asked, mostly.
    let mut answered = infos.iter().filter(|asked| asked.answered_by.is_some() && !asked.is_taken);
    let asker = answered.find_map(|asked| Some((speaking.iter().find(|run| Some(run.id) == asked.run)?, asked)));
    if let Some((run, asked)) = asker.filter(|_| dice.jitter(2) == 0) {
        let word = Box::new(Word::Taken { key: asked.key.clone() });
        return Some(Command::Say { run: run.id, fence: run.fence, word });
    }
    let run = if dice.jitter(20) == 0 { pick(runs, dice) } else { pick(&speaking, dice) }?;
    let is_driven = run.agent.as_ref().is_some_and(|agent| agent.is_driven);
    let task = tasks.iter().find(|task| task.id == run.task);
    let untold = task.and_then(|task| task.told_while(run.id, 0).find(|message| message.told_at.is_none()));
    let unanswered = task.and_then(|task| {
        task.told_while(run.id, 0).find(|message| message.told_at.is_some() && message.reply.is_none())
    });
    // Seldom is there anything to answer.
    if let Some(message) = unanswered.filter(|_| dice.jitter(3) == 0) {
        let word = Box::new(Word::Replied { number: message.number, text: "as you say".into() });
        return Some(Command::Say { run: run.id, fence: run.fence, word });
    }
    match dice.jitter(11) {
        0..=2 if run.state.is_waiting() => Some(Command::ParkRun { run: run.id }),
        3..=5 => Some(Command::ExpireAsked { run: run.id }),
        6 if dice.jitter(2) == 0 => Some(Command::ResumeRun { run: run.id }),
        6 => {
            let returning: Vec<Run> = speaking.iter().filter(|run| run.is_parked()).cloned().collect();
            Some(Command::RecallRun { run: pick(&returning, dice).unwrap_or(run).id })
        }
        7..=9 if untold.is_some() => {
            let word = Box::new(Word::Told { number: untold.map_or(0, |message| message.number) });
            Some(Command::Say { run: run.id, fence: run.fence, word })
        }
        10 if is_driven => Some(Command::SayToRun { run: run.id, text: "the other way".into() }),
        _ => {
            let fence = if dice.jitter(20) == 0 { run.fence + 1 } else { run.fence };
            Some(Command::Say { run: run.id, fence, word: Box::new(word(&run, infos, dice)) })
        }
    }
}

fn word(run: &Run, infos: &[InfoRequest], dice: &mut IdSource) -> Word {
    let key = format!("k{}", dice.jitter(4));
    // Some is over before anybody can answer.
    let expires = run.queued_at.plus_ms(1_000 + dice.jitter(120_000));
    match dice.jitter(10) {
        0 => Word::Progress { percent: u8::try_from(dice.jitter(110)).ok(), text: "on it".into() },
        1 => Word::Note { text: "noted".into() },
        2 => Word::HandIn {
            artifact: Artifact { path: format!("out/{key}"), size_bytes: 1, digest: Digest::of(key.as_bytes()) },
        },
        3 => Word::Await { key, action: "drop the table".into(), details: vec!["all of it".into()], expires },
        4 => {
            let own: Vec<InfoRequest> = infos.iter().filter(|asked| asked.run == Some(run.id)).cloned().collect();
            Word::Taken { key: pick(&own, dice).map_or(key, |asked| asked.key) }
        }
        5 => {
            let waits: Vec<InfoRequest> =
                infos.iter().filter(|asked| asked.run == Some(run.id) && asked.is_pending()).cloned().collect();
            let action = (dice.jitter(2) == 0).then(|| ("drop the table".to_owned(), vec!["all of it".to_owned()]));
            let key = pick(&waits, dice).filter(|_| action.is_none()).map_or(key, |asked| asked.key);
            Word::Withdraw { key, action }
        }
        6 if dice.jitter(2) == 0 => {
            Word::AskTool { name: key, reason: "to build".into(), source: "/opt/tool".into(), expires }
        }
        6 => Word::Propose { title: format!("add {key}"), body: "because".into() },
        _ => Word::Ask { key, text: "Where to?".into(), fields: fields(), expires },
    }
}

fn fields() -> Vec<InfoField> {
    let field =
        |name: &str, kind, is_required| InfoField { name: name.into(), label: String::new(), kind, is_required };
    let choices = vec!["eu".to_owned(), "us".to_owned()];
    vec![field("region", FieldKind::Choice { choices }, true), field("key", FieldKind::Secret, false)]
}

/// Mostly to a question that waits, and mostly one that fits.
fn answer(infos: &[InfoRequest], dice: &mut IdSource) -> Option<Command> {
    let asked = pick_open(infos, dice)?;
    let info = asked.id;
    if dice.jitter(4) == 0 {
        return Some(Command::CancelInfo { info, reason: "chance".into() });
    }
    if asked.run.is_none() {
        let said = |field: &InfoField| (field.name.clone(), FieldValue::Plain { text: "a word".into() });
        return Some(Command::AnswerInfo { info, answers: asked.fields.iter().take(1).map(said).collect() });
    }
    let region = if dice.jitter(5) == 0 { "mars" } else { "eu" };
    let mut answers = BTreeMap::from([("region".to_owned(), FieldValue::Plain { text: region.into() })]);
    if dice.jitter(2) == 0 {
        answers.insert("key".into(), FieldValue::Secret);
    }
    Some(Command::AnswerInfo { info, answers })
}
