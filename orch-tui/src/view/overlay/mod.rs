//! What lies above a screen and has the keys: lists to pick from, texts, questions. A stack; the last one is on top.

mod answer;
mod arming;
mod choose;
mod confirm;
mod deny;
mod picker;
mod say;
mod viewer;

pub(crate) use answer::AnswerForm;
pub(crate) use choose::Choose;
pub(crate) use confirm::{Ask, Confirm};
pub(crate) use deny::Deny;
pub(crate) use picker::{Picker, PickerKind};
pub(crate) use say::{Say, Unsent};
pub(crate) use viewer::{Viewer, ViewerBody};

use arming::Arming;
use orch_proto::id::TaskId;

use super::canvas::Canvas;
use super::key::Key;
use super::model::Model;
use super::msg::{Cmd, Query};
use super::toast::Fault;

/// One overlay.
#[derive(Clone, Debug)]
pub(crate) enum Overlay {
    Picker(Picker),
    Viewer(Viewer),
    Confirm(Confirm),
    Deny(Deny),
    Choose(Choose),
    Answer(AnswerForm),
    Say(Say),
}

impl Overlay {
    /// What has to be fetched for it.
    pub(crate) fn query(&self) -> Option<Query> {
        match self {
            Self::Viewer(viewer) => viewer.query(),
            Self::Confirm(confirm) => confirm.query(),
            Self::Deny(deny) => Some(deny.query()),
            Self::Choose(_) => Some(Query::Approvals),
            Self::Answer(_) => Some(Query::Questions),
            Self::Picker(_) | Self::Say(_) => None,
        }
    }

    /// When it changes by time alone.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.arming().and_then(Arming::due_ms)
    }

    /// Whether it is a question that was on no screen yet.
    pub(crate) fn is_unseen(&self) -> bool {
        self.arming() == Some(Arming::Unseen)
    }

    /// How far it is from taking an answer, if it is a question that has to be seen first.
    const fn arming(&self) -> Option<Arming> {
        match self {
            Self::Confirm(confirm) => Some(confirm.arming),
            Self::Choose(choose) => Some(choose.arming),
            Self::Picker(_) | Self::Viewer(_) | Self::Deny(_) | Self::Answer(_) | Self::Say(_) => None,
        }
    }

    const fn arming_mut(&mut self) -> Option<&mut Arming> {
        match self {
            Self::Confirm(confirm) => Some(&mut confirm.arming),
            Self::Choose(choose) => Some(&mut choose.arming),
            Self::Picker(_) | Self::Viewer(_) | Self::Deny(_) | Self::Answer(_) | Self::Say(_) => None,
        }
    }

    /// The task that is read about in it, if it is one.
    pub(crate) const fn task(&self) -> Option<TaskId> {
        match self {
            Self::Viewer(viewer) => viewer.task(),
            Self::Picker(_) | Self::Confirm(_) | Self::Deny(_) | Self::Choose(_) | Self::Answer(_) | Self::Say(_) => {
                None
            }
        }
    }

    /// The request that it waits for.
    fn ticket(&self) -> Option<u32> {
        match self {
            Self::Confirm(confirm) => confirm.ticket,
            Self::Deny(deny) => deny.ticket,
            Self::Choose(choose) => choose.ticket,
            Self::Answer(form) => form.ticket,
            Self::Say(say) => say.ticket,
            Self::Picker(_) | Self::Viewer(_) => None,
        }
    }
}

/// What is shown now is on the screen.
pub(crate) fn on_shown(model: &mut Model) {
    let now_ms = model.now.mono_ms;
    if let Some(arming) = model.overlays.last_mut().and_then(Overlay::arming_mut) {
        arming.see(now_ms);
    }
}

/// Has the question on top take answers when its time has come. What was typed until now is for none.
pub(crate) fn arm(model: &mut Model) -> Option<Cmd> {
    let now_ms = model.now.mono_ms;
    let arming = model.overlays.last_mut().and_then(Overlay::arming_mut)?;
    let is_armed_now = arming.arm(now_ms);
    model.dirty |= is_armed_now;
    is_armed_now.then_some(Cmd::DropInput)
}

/// Gives a key to the overlay on top.
pub(crate) fn on_key(model: &mut Model, key: Key) -> Vec<Cmd> {
    match model.overlays.pop() {
        Some(Overlay::Picker(picker)) => picker.on_key(model, key),
        Some(Overlay::Viewer(viewer)) => viewer.on_key(model, key),
        Some(Overlay::Confirm(confirm)) => confirm.on_key(model, key),
        Some(Overlay::Deny(deny)) => deny.on_key(model, key),
        Some(Overlay::Choose(choose)) => choose.on_key(model, key),
        Some(Overlay::Answer(form)) => form.on_key(model, key),
        Some(Overlay::Say(say)) => say.on_key(model, key),
        None => Vec::new(),
    }
}

/// Gives pasted text to the overlay on top.
pub(crate) fn on_paste(model: &mut Model, text: &str) {
    match model.overlays.last_mut() {
        Some(Overlay::Picker(picker)) => picker.paste(text),
        Some(Overlay::Deny(deny)) => deny.edit.paste(text),
        Some(Overlay::Answer(form)) => form.paste(text),
        Some(Overlay::Say(say)) if say.ticket.is_none() => say.edit.paste(text),
        Some(Overlay::Viewer(_) | Overlay::Confirm(_) | Overlay::Choose(_) | Overlay::Say(_)) | None => {}
    }
}

/// A request was answered: the question that sent it closes, or shows why not.
pub(crate) fn on_submitted(model: &mut Model, ticket: u32, fault: Option<Fault>) {
    if let Some(mut unsent) = model.unsent.take_if(|unsent| unsent.ticket == Some(ticket))
        && fault.is_some()
    {
        // It waits for nothing any more, and can be sent again.
        unsent.ticket = None;
        model.unsent = Some(unsent);
    }
    let Some(index) = model.overlays.iter().position(|overlay| overlay.ticket() == Some(ticket)) else { return };
    if fault.is_none() {
        model.overlays.remove(index);
        return;
    }
    match &mut model.overlays[index] {
        Overlay::Confirm(confirm) => (confirm.ticket, confirm.fault) = (None, fault),
        Overlay::Deny(deny) => (deny.ticket, deny.fault) = (None, fault),
        Overlay::Choose(choose) => (choose.ticket, choose.fault) = (None, fault),
        Overlay::Answer(form) => (form.ticket, form.fault) = (None, fault),
        Overlay::Say(say) => (say.ticket, say.fault) = (None, fault),
        Overlay::Picker(_) | Overlay::Viewer(_) => {}
    }
}

/// Fits all overlays to the data and the screen.
pub(crate) fn settle(model: &mut Model) {
    for mut overlay in std::mem::take(&mut model.overlays) {
        let stays = match &mut overlay {
            Overlay::Picker(picker) => {
                picker.settle(model);
                true
            }
            Overlay::Viewer(viewer) => {
                viewer.settle(model);
                true
            }
            Overlay::Confirm(confirm) => confirm.settle(model),
            Overlay::Deny(deny) => deny.settle(model),
            Overlay::Choose(choose) => choose.settle(model),
            Overlay::Answer(form) => form.settle(model),
            // What was typed stays, whatever becomes of whom it is for.
            Overlay::Say(_) => true,
        };
        if stays {
            model.overlays.push(overlay);
        }
    }
}

/// Draws all overlays, the last one on top.
pub(crate) fn draw(model: &Model, canvas: &mut Canvas<'_>) {
    for overlay in &model.overlays {
        canvas.cursor = None;
        match overlay {
            Overlay::Picker(picker) => picker.draw(model, canvas),
            Overlay::Viewer(viewer) => viewer.draw(model, canvas),
            Overlay::Confirm(confirm) => confirm.draw(model, canvas),
            Overlay::Deny(deny) => deny.draw(model, canvas),
            Overlay::Choose(choose) => choose.draw(model, canvas),
            Overlay::Answer(form) => form.draw(model, canvas),
            Overlay::Say(say) => say.draw(model, canvas),
        }
    }
}
