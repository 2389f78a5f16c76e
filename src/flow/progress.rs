//! What of the lanes' progress is worth a record. Never tells of more than what is done.

use super::lanes::Behind;
use super::roster::Roster;
use crate::domain::record::Progress;
use crate::domain::{Offset, Timestamp};

/// Records that are no events may be looked at so many before progress tells of it: when the hub
/// starts again, what retention removed meanwhile must not be taken for events that were missed.
const QUIET_MAX: u64 = 1_024;

impl Roster {
    /// What has changed since progress was last written. `None`: nothing worth a record.
    pub(super) fn progress(&mut self) -> Option<Progress> {
        let mut progress = Progress { matched: self.matched, ..Progress::default() };
        for number in std::mem::take(&mut self.dirty) {
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            let is_replaying = lane.replay.is_some();
            if let Some(replay) = &mut lane.replay {
                let (cursor, noted) = (replay.cursor(), replay.asked.cursor);
                if replay.is_over() {
                    progress.replays_over.push(number);
                    self.replays_over.push(number);
                } else if cursor != noted {
                    replay.asked.cursor = cursor;
                    progress.replays.push((number, cursor));
                    self.replaced_replays.push((number, noted));
                }
            }
            let (noted, is_caught_up) = (lane.noted, lane.strand.is_caught_up(self.matched));
            if is_caught_up && lane.noted.take().is_some() {
                progress.caught_up.push(number);
                self.replaced.push((number, noted));
            }
            if !is_caught_up || is_replaying {
                self.dirty.insert(number);
            }
            let cursor = lane.strand.cursor(self.matched);
            if !is_caught_up && lane.noted != Some(cursor) {
                lane.noted = Some(cursor);
                progress.lagging.push((number, cursor));
                self.replaced.push((number, noted));
            }
        }
        let moved = self.moved || self.matched > self.told + QUIET_MAX;
        if !moved && progress.is_empty() {
            return None;
        }
        self.moved = false;
        self.told = self.matched;
        Some(progress)
    }

    /// Lanes that are behind the end of the log.
    pub(super) fn behind(&self, end: Offset, now: Timestamp) -> Vec<Behind> {
        let lanes = self.dirty.iter().filter_map(|number| self.lanes.get(number));
        let behind = lanes.filter_map(|lane| {
            let status = lane.stats.status(self.matched);
            status.lagging.then(|| Behind {
                id: lane.subscription.id.clone(),
                records: end.saturating_sub(status.cursor),
                seconds: status.age(now),
                pending: status.pending(),
            })
        });
        behind.collect()
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
        for (number, noted) in self.replaced_replays.drain(..) {
            let lane = self.lanes.get_mut(&number).and_then(|lane| lane.replay.as_mut());
            if let (false, Some(replay)) = (written, lane) {
                replay.asked.cursor = noted;
                self.dirty.insert(number);
            }
        }
        for number in std::mem::take(&mut self.replays_over) {
            match written {
                true => self.end_replay(number),
                false => {
                    self.dirty.insert(number);
                }
            }
        }
        self.moved |= !written;
    }
}
