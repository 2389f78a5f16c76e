//! Replays: a lane delivers a range of the log once more, beside what is new. Each takes its turn;
//! the window and the rate are the subscription's, for both together.

use super::lane::Lane;
use super::roster::Roster;
use super::strand::{Mode, Strand};
use crate::domain::Offset;
use crate::domain::replay::Replay;

/// A replay under way.
#[derive(Debug)]
pub(super) struct Replaying {
    pub(super) strand: Strand,
    /// What was asked for; its cursor is what the tables hold.
    pub(super) asked: Replay,
}

impl Replaying {
    pub(super) fn new(asked: Replay) -> Self {
        let strand = Strand::new(asked.cursor, Mode::Behind { reading: false });
        Self { strand, asked }
    }

    /// All events before it are done or wait for a retry of their own.
    pub(super) fn cursor(&self) -> Offset {
        self.strand.cursor(self.asked.to).min(self.asked.to)
    }

    /// Whether everything is done.
    pub(super) fn is_over(&self) -> bool {
        self.strand.position >= self.asked.to && self.strand.is_empty()
    }
}

impl Lane {
    /// The strand that follows the log, or the one that replays.
    pub(super) fn strand(&mut self, replay: bool) -> Option<&mut Strand> {
        match replay {
            false => Some(&mut self.strand),
            true => self.replay.as_mut().map(|replay| &mut replay.strand),
        }
    }

    /// Whether the strand that follows the log still has an event before it, or holds it: that is
    /// no matter of a replay.
    pub(super) fn will_deliver(&self, offset: Offset) -> bool {
        let is_ahead = self.strand.mode != Mode::Live && self.strand.position <= offset;
        is_ahead || self.strand.is_queued(offset) || self.strand.is_trying(offset)
    }
}

impl Roster {
    /// Begins a replay, or goes on with it.
    pub(super) fn begin_replay(&mut self, asked: Replay) {
        let number = asked.subscription;
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        if lane.replay.is_none() {
            lane.replay = Some(Box::new(Replaying::new(asked)));
            self.touch(number);
        }
    }

    /// A replay was given up.
    pub(super) fn end_replay(&mut self, number: u32) {
        if let Some(lane) = self.lanes.get_mut(&number) {
            lane.replay = None;
            lane.stats.set_replay(None);
            self.touch(number);
        }
    }
}
