//! A run that is to stand still, and one that goes on.
//!
//! Its clocks stand still from the request on. That its processes do is another thing, which is said when it was seen of all of
//! them: what hangs in the kernel stops when it comes back.

use std::time::Instant;

use super::Supervisor;
use crate::clock::unix_us;
use crate::init;
use crate::log::ControlEvent;
use crate::shim::rest::Way;

impl Supervisor<'_> {
    pub(super) fn pause(&mut self) {
        if self.timers.paused() {
            return;
        }
        let way = if self.keeper.freeze() { Way::Group } else { Way::Asked };
        if way == Way::Group || self.send(&init::Request::Stop) {
            let now = Instant::now();
            self.timers.pause(now);
            self.rest.begin(way, now);
            self.look_at_rest(now);
        }
    }

    /// Looks whether a run that is to stand still does, when it is time to.
    pub(super) fn look_at_rest(&mut self, now: Instant) {
        match self.rest.due(now) {
            Some(Way::Group) => {
                let all = self.keeper.is_frozen();
                if self.rest.seen(Way::Group, all, now) {
                    self.log.control(unix_us(), &ControlEvent::Paused);
                }
            }
            Some(Way::Asked) => {
                self.send(&init::Request::Stop);
            }
            None => {}
        }
    }

    /// Takes in whether all processes of the run stand still.
    pub(super) fn stopped(&mut self, all: bool) {
        if self.rest.answered(all, Instant::now()) {
            self.log.control(unix_us(), &ControlEvent::Paused);
        }
    }

    pub(super) fn resume(&mut self) {
        if self.timers.paused() && self.go_on() {
            self.timers.resume(Instant::now());
            if self.rest.end() {
                self.log.control(unix_us(), &ControlEvent::Resumed);
            }
        }
    }

    fn go_on(&mut self) -> bool {
        // Both: where there is a group, who runs the steps may have been asked all the same because it could not be frozen.
        self.keeper.thaw().is_ok() && self.send(&init::Request::Continue)
    }
}
