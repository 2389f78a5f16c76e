//! The roster follows the log: events are matched, subscriptions change, lanes that read by
//! themselves are given what they read.

use std::sync::Arc;

use smol_str::SmolStr;

use super::lane::Lane;
use super::roster::{Read, Roster};
use super::strand::{Mode, Taken};
use crate::domain::command::Overtaken;
use crate::domain::delivery::Retry;
use crate::domain::filter::Facts;
use crate::domain::gap::{Gap, Missing, missing};
use crate::domain::job::Handed;
use crate::domain::record::{Entry, Record, Redriven};
use crate::domain::subscription::{Start, State, Subscription};
use crate::domain::{Offset, Timestamp};
use crate::store::Stretch;

impl Roster {
    /// Looks at the next entry of the log: matches an event, follows a subscription's changes.
    pub(super) fn see(&mut self, entry: &Entry, as_of: Offset, now: Timestamp) {
        self.pass_over(entry.offset);
        match &entry.record {
            Record::Event(_) => self.match_event(entry, now),
            Record::Subscription(held) if entry.offset >= as_of => {
                self.update(held, entry.offset, entry.at);
            }
            Record::SubscriptionRemoved { number, .. } if entry.offset >= as_of => {
                self.remove(*number);
            }
            Record::Gap { subscription, missing } if entry.offset >= as_of => {
                if let Some(lane) = self.lanes.get(subscription) {
                    let known = lane.stats.gap();
                    lane.stats.set_gap(Some(Gap::after(known, *missing, entry.at)));
                }
            }
            Record::Redriven(redriven) if entry.offset >= as_of => self.take_redriven(redriven),
            Record::Replay(asked) if entry.offset >= as_of => self.begin_replay(**asked),
            Record::ReplayEnded { subscription } if entry.offset >= as_of => {
                self.end_replay(*subscription);
            }
            Record::Subscription(_)
            | Record::SubscriptionRemoved { .. }
            | Record::Token(_)
            | Record::TokenRevoked { .. }
            | Record::Retry(_)
            | Record::Settled { .. }
            | Record::DeadLetter(_)
            | Record::Progress(_)
            | Record::Gap { .. }
            | Record::Job(_)
            | Record::Redriven(_)
            | Record::Forgotten(_)
            | Record::Replay(_)
            | Record::ReplayEnded { .. }
            | Record::ExpiryTold { .. } => {}
        }
        self.matched = entry.offset + 1;
        self.view.set_matched(self.matched);
    }

    /// The log has nothing up to an offset: lanes that follow the matcher miss what was there.
    /// Those that read by themselves will come to it.
    pub(super) fn pass_over(&mut self, to: Offset) {
        let from = self.matched;
        if from >= to {
            return;
        }
        self.matched = to;
        self.moved = true;
        self.view.set_matched(self.matched);
        for (number, lane) in &self.lanes {
            let missing = Missing { from: from.max(lane.strand.position), to };
            if lane.strand.mode == Mode::Live && missing.from < to {
                self.overtaken.push(Overtaken { subscription: *number, missing });
            }
        }
    }

    /// Gives a lane that reads the log by itself what it read from an offset on. If it stands
    /// somewhere else by now (its filter changed), it reads again from there.
    pub(super) fn take_read(&mut self, read: &Read, stretch: &Stretch, now: Timestamp) {
        let Read { number, from, replay } = *read;
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let subscription = lane.subscription.clone();
        let owner = subscription.owner.as_deref();
        // Never past the matcher: what changes the subscription there was not seen yet.
        let end = match (&lane.replay, replay) {
            (Some(held), true) => held.asked.to.min(self.matched),
            (_, _) => self.matched,
        };
        let is_known = |lane: &Lane, offset| replay && lane.will_deliver(offset);
        let is_reading = lane.strand(replay).is_some_and(|strand| {
            strand.mode == (Mode::Behind { reading: true }) && strand.position == from
        });
        if !is_reading {
            return;
        }
        let (mut to, mut delayed) = (stretch.to.min(end), Vec::new());
        if let Some(strand) = lane.strand(replay) {
            strand.mode = Mode::Behind { reading: false };
        }
        for entry in stretch.entries.iter().take_while(|entry| entry.offset < to) {
            let wanted = entry.event().is_some_and(|event| {
                subscription.wish.filter.matches(event)
                    && subscription.samples(event)
                    && self.gate.owner_may_receive(owner, event.topic.as_str())
            });
            if !wanted || is_known(lane, entry.offset) {
                continue;
            }
            let Some(strand) = lane.strand(replay) else { return };
            match strand.take(&subscription, entry, now, self.limits) {
                Taken::No => {
                    to = entry.offset;
                    break;
                }
                Taken::Delayed(due) => delayed.push((entry.offset, due)),
                Taken::Yes => {}
            }
        }
        for missing in missing(from, &stretch.entries, to) {
            self.overtaken.push(Overtaken { subscription: number, missing });
        }
        if let Some(strand) = lane.strand(replay) {
            strand.position = to.max(from);
            if !replay && strand.position >= self.matched {
                strand.mode = Mode::Live;
            }
        }
        for (offset, due) in delayed {
            self.delay(Retry { replay, ..Retry::untried(number, offset, due) });
        }
        self.touch(number);
    }

    /// Dead letters wait for a first attempt again, which is due.
    fn take_redriven(&mut self, redriven: &Redriven) {
        for Handed { letter, key } in &redriven.letters {
            let Some(lane) = self.lanes.get_mut(&letter.subscription) else { continue };
            lane.redrive(letter.offset, key.as_deref().map(SmolStr::from));
            self.touch(letter.subscription);
        }
    }

    /// Has a delivery begin when it is due.
    fn delay(&mut self, retry: Retry) {
        self.wake_at(&retry);
        self.delayed.push(Retry { delayed: true, ..retry });
    }

    fn match_event(&mut self, entry: &Entry, now: Timestamp) {
        let Some(event) = entry.event() else { return };
        self.moved = true;
        let mut found = std::mem::take(&mut self.found);
        let facts = Facts::new(event);
        self.index.candidates(&facts, &mut found);
        for number in &found {
            let Some(lane) = self.lanes.get_mut(number) else { continue };
            let subscription = &lane.subscription;
            let takes = lane.strand.mode == Mode::Live
                && entry.offset >= lane.strand.position
                && subscription.wish.filter.holds(&facts)
                && subscription.samples(event)
                && self.gate.owner_may_receive(subscription.owner.as_deref(), event.topic.as_str());
            if takes {
                let subscription = subscription.clone();
                let taken = lane.strand.take(&subscription, entry, now, self.limits);
                if let Taken::Delayed(due) = taken {
                    self.delay(Retry::untried(*number, entry.offset, due));
                }
                self.touch(*number);
            }
        }
        self.found = found;
    }

    pub(super) fn update(&mut self, held: &Arc<Subscription>, offset: Offset, at: Timestamp) {
        if held.state.is_ended() {
            self.remove(held.number);
            return;
        }
        let number = held.number;
        match self.lanes.get_mut(&number) {
            Some(lane) => {
                let before = std::mem::replace(&mut lane.subscription, held.clone());
                if before.wish.sink != held.wish.sink {
                    lane.retarget();
                    self.targets.leave(&lane.server, number);
                    lane.server = self.targets.join(held, at);
                }
                lane.told_parked &= held.state == before.state;
                let goes_on = (before.state.is_parked(), held.state) == (true, State::Active);
                let server = lane.server.clone();
                if before.wish.filter != held.wish.filter {
                    self.index.remove(number, &before.wish.filter);
                    self.index.insert(number, &held.wish.filter);
                    lane.look_again(offset);
                }
                if goes_on {
                    self.hurry(&server, at);
                }
            }
            None => {
                self.index.insert(number, &held.wish.filter);
                let (position, mode) = match held.wish.start {
                    Start::Now => (offset + 1, Mode::Live),
                    Start::Earliest => (self.oldest, Mode::Behind { reading: false }),
                    Start::Offset(from) if from > offset => (from, Mode::Live),
                    Start::Offset(from) => (from, Mode::Behind { reading: false }),
                };
                let server = self.targets.join(held, at);
                let mut lane = Lane::new(held.clone(), server, position, mode);
                // As the fold has it, which does not know what is the oldest.
                lane.noted = Some(if held.wish.start == Start::Earliest { 0 } else { position });
                self.view.insert(number, lane.stats.clone());
                self.lanes.insert(number, Box::new(lane));
            }
        }
        self.touch(number);
    }

    pub(super) fn remove(&mut self, number: u32) {
        if let Some(lane) = self.lanes.remove(&number) {
            self.index.remove(number, &lane.subscription.wish.filter);
            self.targets.leave(&lane.server, number);
            self.view.remove(number);
            self.dirty.remove(&number);
        }
    }
}
