//! The roster: every lane, the index over their filters, and who is to be looked at next.
//!
//! Owned by the dispatcher's task alone, so that nothing here needs a lock and the hand-over
//! between reading the log and following the matcher cannot lose or double an event.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::gate::Gate;
use super::lane::{Lane, Limits, Next};
use super::lanes::Lanes;
use super::matcher::Index;
use super::parcel::Task;
use super::strand::Mode;
use super::targets::{Parking, Targets};
use crate::domain::breaker::Rules;
use crate::domain::command::Overtaken;
use crate::domain::delivery::Retry;
use crate::domain::gap::Gap;
use crate::domain::policy::Policy;
use crate::domain::subscription::Subscription;
use crate::domain::{Offset, Timestamp};

/// Policies that are remembered, to be shared.
const POLICIES_MAX: usize = 64;

/// Something that is to happen at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    /// A delivery of a subscription is to be tried again, of a replay or not.
    Retry(u32, Offset, bool),
    /// A subscription's rate allows another attempt.
    Lane(u32),
}

/// A read of the log.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    /// The subscription.
    pub number: u32,
    /// The first offset.
    pub from: Offset,
    /// For its replay.
    pub replay: bool,
}

/// Every lane.
#[derive(Debug)]
pub(super) struct Roster {
    /// In boxes: a table that has just grown is half empty.
    pub(super) lanes: HashMap<u32, Box<Lane>>,
    /// Every event before it was matched.
    pub(super) matched: Offset,
    /// The oldest record in the log: where a reader of everything begins.
    pub(super) oldest: Offset,
    /// How far matching was when progress was last handed out.
    pub(super) told: Offset,
    /// Lanes that came to records which the log no longer has.
    pub(super) overtaken: Vec<Overtaken>,
    /// Deliveries that wait since their publisher wants that, to be written down.
    pub(super) delayed: Vec<Retry>,
    /// What is to be written down of parking.
    pub(super) parking: Vec<Parking>,
    pub(super) targets: Targets,
    pub(super) index: Index,
    wakes: BTreeSet<(Timestamp, Wake)>,
    ready: VecDeque<u32>,
    hungry: VecDeque<u32>,
    pub(super) dirty: HashSet<u32>,
    /// An event was matched since progress was last noted.
    pub(super) moved: bool,
    /// What the writes of the last progress replaced, until they are known to be on disk.
    pub(super) replaced: Vec<(u32, Option<Offset>)>,
    /// The same for replays, and those that the last progress said to be over.
    pub(super) replaced_replays: Vec<(u32, Offset)>,
    pub(super) replays_over: Vec<u32>,
    pub(super) found: Vec<u32>,
    /// Policies that many may ask for.
    policies: Vec<Arc<Policy>>,
    pub(super) limits: Limits,
    pub(super) gate: Gate,
    pub(super) view: Lanes,
}

impl Roster {
    pub(super) fn new(
        matched: Offset,
        limits: Limits,
        rules: Rules,
        gate: Gate,
        view: Lanes,
    ) -> Self {
        Self {
            lanes: HashMap::new(),
            matched,
            oldest: 0,
            told: matched,
            overtaken: Vec::new(),
            delayed: Vec::new(),
            parking: Vec::new(),
            targets: Targets::new(rules),
            index: Index::default(),
            wakes: BTreeSet::new(),
            ready: VecDeque::new(),
            hungry: VecDeque::new(),
            dirty: HashSet::new(),
            moved: false,
            replaced: Vec::new(),
            replaced_replays: Vec::new(),
            replays_over: Vec::new(),
            found: Vec::new(),
            policies: Vec::new(),
            limits,
            gate,
            view,
        }
    }

    /// Takes a subscription in as it was when the hub last stopped. `cursor` is the tables' row.
    pub(super) fn restore(
        &mut self,
        mut subscription: Subscription,
        cursor: Option<Offset>,
        gap: Option<Gap>,
        now: Timestamp,
    ) {
        if subscription.state.is_ended() {
            return;
        }
        let mode = match cursor {
            Some(cursor) if cursor < self.matched => Mode::Behind { reading: false },
            Some(_) | None => Mode::Live,
        };
        self.share_policy(&mut subscription);
        let number = subscription.number;
        self.index.insert(number, &subscription.wish.filter);
        let position = cursor.unwrap_or(self.matched);
        let server = self.targets.join(&subscription, now);
        let mut lane = Lane::new(Arc::new(subscription), server, position, mode);
        lane.noted = cursor;
        lane.stats.set_gap(gap);
        self.view.insert(number, lane.stats.clone());
        self.lanes.insert(number, Box::new(lane));
        self.touch(number);
    }

    /// Gives a subscription the policy of another one that asks for the same.
    fn share_policy(&mut self, subscription: &mut Subscription) {
        let own = &mut subscription.wish.policy;
        match self.policies.iter().find(|held| *held == own) {
            Some(held) => own.clone_from(held),
            None if self.policies.len() < POLICIES_MAX => self.policies.push(own.clone()),
            None => {}
        }
    }

    /// Lanes that came to records which the log no longer has, since this was last asked.
    pub(super) fn take_overtaken(&mut self) -> Vec<Overtaken> {
        std::mem::take(&mut self.overtaken)
    }

    /// Deliveries that wait since their publisher wants that, since this was last asked.
    pub(super) fn take_delayed(&mut self) -> Vec<Retry> {
        std::mem::take(&mut self.delayed)
    }

    /// The next attempt to start, the lanes taking turns.
    pub(super) fn next_task(&mut self, now: Timestamp) -> Option<Task> {
        while let Some(number) = self.ready.pop_front() {
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            lane.ready = false;
            let subscription = lane.subscription.clone();
            if !self.gate.knows(subscription.owner.as_deref()) {
                continue;
            }
            let server = lane.server.clone();
            let (begin, rest, replay) =
                match lane.next(now, self.limits, self.targets.may_start(&server, now)) {
                    Next::Start { begin, rest, replay } => (begin, rest, replay),
                    Next::Shut(time) => {
                        self.wakes.insert((time, Wake::Lane(number)));
                        self.note_shut(number, time);
                        continue;
                    }
                    Next::Blocked => {
                        self.block(&server, number);
                        continue;
                    }
                    Next::At(time) => {
                        self.wakes.insert((time, Wake::Lane(number)));
                        self.unblock(&server);
                        continue;
                    }
                    Next::Nothing => {
                        self.unblock(&server);
                        continue;
                    }
                };
            let probe = self.targets.start(&server);
            self.touch(number);
            let task = Task { subscription, begin, rest, server, probe, replay };
            return Some(task);
        }
        None
    }

    /// A lane that should read the log, marked as reading, and from where.
    pub(super) fn next_read(&mut self, now: Timestamp) -> Option<Read> {
        while let Some(number) = self.hungry.pop_front() {
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            lane.hungry = false;
            if let Some(replay) = lane.wants_to_read(now, self.limits)
                && let Some(strand) = lane.strand(replay)
            {
                strand.mode = Mode::Behind { reading: true };
                let from = strand.position;
                // The other strand may want to read as well.
                if lane.replay.is_some() {
                    self.touch(number);
                }
                return Some(Read { number, from, replay });
            }
        }
        None
    }

    /// A lane's read of the log failed: it is repeated at a time.
    pub(super) fn read_failed(&mut self, read: &Read, again: Timestamp) {
        let strand = self.lanes.get_mut(&read.number).and_then(|lane| lane.strand(read.replay));
        if let Some(strand) = strand
            && strand.mode == (Mode::Behind { reading: true })
            && strand.position == read.from
        {
            strand.mode = Mode::Behind { reading: false };
            self.wakes.insert((again, Wake::Lane(read.number)));
        }
    }

    /// Notes that something about a lane changed: it may start or read, its progress is to be
    /// written.
    pub(super) fn touch(&mut self, number: u32) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        lane.show(self.matched);
        self.dirty.insert(number);
        if !lane.ready {
            lane.ready = true;
            self.ready.push_back(number);
        }
        if lane.may_be_hungry() && !lane.hungry {
            lane.hungry = true;
            self.hungry.push_back(number);
        }
    }

    /// Has a delivery tried again when it is due.
    pub(super) fn wake_at(&mut self, retry: &Retry) {
        let wake = Wake::Retry(retry.subscription, retry.offset, retry.replay);
        self.wakes.insert((retry.due, wake));
    }

    /// When something is to happen next.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(time, _)| *time)
    }

    /// Lets happen what is due.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some((time, wake)) = self.wakes.pop_first() {
            if time > now {
                self.wakes.insert((time, wake));
                return;
            }
            match wake {
                Wake::Retry(number, offset, replay) => {
                    let lane = self.lanes.get_mut(&number);
                    let falls_due = lane.map(|lane| lane.fall_due(offset, replay));
                    if falls_due == Some(true) {
                        self.touch(number);
                    }
                }
                Wake::Lane(number) => self.touch(number),
            }
        }
    }
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
