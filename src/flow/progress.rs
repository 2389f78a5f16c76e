//! What of the lanes' progress is worth a record. Never tells of more than what is done.

use super::roster::Roster;
use crate::domain::record::Progress;

/// Records that are no events may be looked at so many before progress tells of it: when the hub
/// starts again, what retention removed meanwhile must not be taken for events that were missed.
const QUIET_MAX: u64 = 1_024;

impl Roster {
    /// What has changed since progress was last written. `None`: nothing worth a record.
    pub(super) fn progress(&mut self) -> Option<Progress> {
        let mut progress = Progress { matched: self.matched, ..Progress::default() };
        for number in std::mem::take(&mut self.dirty) {
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            let noted = lane.noted;
            if lane.is_caught_up(self.matched) {
                if lane.noted.take().is_some() {
                    progress.caught_up.push(number);
                    self.replaced.push((number, noted));
                }
                continue;
            }
            self.dirty.insert(number);
            let cursor = lane.cursor(self.matched);
            if lane.noted != Some(cursor) {
                lane.noted = Some(cursor);
                progress.lagging.push((number, cursor));
                self.replaced.push((number, noted));
            }
        }
        let moved = self.moved || self.matched > self.told + QUIET_MAX;
        let nothing = !moved && progress.lagging.is_empty() && progress.caught_up.is_empty();
        if nothing {
            return None;
        }
        self.moved = false;
        self.told = self.matched;
        Some(progress)
    }

    /// Has the next progress say how far matching is, though nothing was matched since. The record
    /// of progress itself is no reason for another one.
    pub(super) fn note_all(&mut self) {
        self.moved |= self.matched > self.told + 1;
    }

    /// The progress that was last handed out is on disk, or is not and has to be written again.
    pub(super) fn progress_written(&mut self, written: bool) {
        for (number, noted) in self.replaced.drain(..) {
            if let (false, Some(lane)) = (written, self.lanes.get_mut(&number)) {
                lane.noted = noted;
                self.dirty.insert(number);
            }
        }
        self.moved |= !written;
    }
}
