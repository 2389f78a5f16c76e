//! Targets: what subscriptions that deliver to the same server share: its breaker, and how much may
//! be under way to it. A dead server costs one probe, however many subscriptions deliver there.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::roster::Roster;
use crate::domain::Timestamp;
use crate::domain::breaker::{Breaker, Change, Rules, Start};
use crate::domain::delivery::Outcome;
use crate::domain::subscription::{State, Subscription};

/// A server's name: scheme, host and port of its URLs. Shared by all who deliver there.
pub(super) type Server = Arc<str>;

/// Every server that somebody delivers to.
#[derive(Debug)]
pub(super) struct Targets {
    rules: Rules,
    held: HashMap<Server, Target>,
}

#[derive(Debug, Default)]
struct Target {
    breaker: Breaker,
    /// Lanes that deliver there.
    lanes: BTreeSet<u32>,
    /// Lanes that have something to start and wait for one under way to come back, the longest
    /// waiting first. Some may be gone, or deliver elsewhere by now.
    blocked: VecDeque<u32>,
}

/// Subscriptions whose state is to be written down.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parking {
    /// Their target does not work: what it said last.
    Park(Vec<u32>, String),
    /// It works again.
    Unpark(Vec<u32>),
}

impl Targets {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, held: HashMap::new() }
    }

    /// Notes that a lane delivers to the server of its sink.
    pub(super) fn join(&mut self, subscription: &Subscription, now: Timestamp) -> Server {
        let name = subscription.server();
        let known = self.held.get_key_value(name.as_str()).map(|(known, _)| known.clone());
        let server = known.unwrap_or_else(|| name.into());
        let target = self.held.entry(server.clone()).or_default();
        target.lanes.insert(subscription.number);
        let is_parked = matches!(subscription.state, State::Parked(_));
        if is_parked && target.breaker.is_idle() {
            target.breaker = Breaker::open(now);
        }
        server
    }

    /// Notes that a lane does not deliver there any more.
    pub(super) fn leave(&mut self, server: &Server, number: u32) {
        if let Some(target) = self.held.get_mut(server) {
            target.lanes.remove(&number);
        }
        self.forget(server);
    }

    /// Whether a delivery may be started.
    pub(super) fn may_start(&self, server: &Server, now: Timestamp) -> Start {
        let target = self.held.get(server);
        target.map_or(Start::Yes, |target| target.breaker.may_start(now, &self.rules))
    }

    /// Takes note of a delivery that is started. True: it is a probe.
    pub(super) fn start(&mut self, server: &Server) -> bool {
        self.held.entry(server.clone()).or_default().breaker.start()
    }

    /// When the next probe may go out, if the server does not work.
    pub(super) fn open_until(&self, server: &Server) -> Option<Timestamp> {
        self.held.get(server).and_then(|target| target.breaker.open_until())
    }

    /// Forgets a server that nobody delivers to and that nothing is known about.
    fn forget(&mut self, server: &Server) {
        let is_unused =
            |target: &Target| target.lanes.is_empty() && target.breaker.in_flight() == 0;
        if self.held.get(server).is_some_and(is_unused) {
            self.held.remove(server);
        }
    }
}

impl Roster {
    /// Takes note of a delivery that came back, and of what that says of its target: the outcome,
    /// and whether it is as good as a delivery. `None`: nothing was sent.
    pub(super) fn returned(
        &mut self,
        server: &Server,
        was_probe: bool,
        outcome: Option<(&Outcome, bool)>,
        now: Timestamp,
    ) {
        let targets = &mut self.targets;
        let Some(target) = targets.held.get_mut(server) else { return };
        target.breaker.finish(was_probe);
        let change = match outcome {
            Some((_, true)) => target.breaker.succeed(),
            Some((outcome, false)) if outcome.blames_target() => {
                target.breaker.fail(was_probe, now, &targets.rules)
            }
            // It answers, though not as was hoped for: it works.
            Some((Outcome::Answered { .. }, false)) => target.breaker.succeed(),
            Some(_) | None => Change::None,
        };
        let until = target.breaker.open_until();
        let lanes = match change {
            Change::None if was_probe => target.lanes.clone(),
            Change::None => BTreeSet::new(),
            Change::Opened | Change::Closed => target.lanes.clone(),
        };
        self.targets.forget(server);
        match (change, outcome) {
            (Change::Opened, Some((outcome, _))) => self.park(&lanes, outcome.to_string()),
            (Change::Closed, _) => self.unpark(&lanes),
            (Change::Opened | Change::None, _) => {}
        }
        for number in &lanes {
            let Some(lane) = self.lanes.get_mut(number) else { continue };
            lane.stats.set_parked_until(until);
            if change == Change::Closed {
                lane.fall_all_due();
            }
        }
        // Whom a change concerns; else as many of those that wait as there is room for.
        match change {
            Change::Opened | Change::Closed => lanes.iter().for_each(|number| self.touch(*number)),
            Change::None => self.unblock(server),
        }
    }

    /// Has a lane looked at again when something comes back.
    pub(super) fn block(&mut self, server: &Server, number: u32) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        if let (false, Some(target)) = (lane.blocked, self.targets.held.get_mut(server)) {
            lane.blocked = true;
            target.blocked.push_back(number);
        }
    }

    /// Has as many of the lanes that wait looked at again as there is room for. One that has
    /// nothing to start any more leaves its place to the next: see `next_task`.
    pub(super) fn unblock(&mut self, server: &Server) {
        let targets = &mut self.targets;
        let Some(target) = targets.held.get_mut(server) else { return };
        // Behind a breaker that is open, all have to learn until when.
        let is_open = target.breaker.open_until().is_some();
        let mut room = if is_open { usize::MAX } else { target.breaker.room(&targets.rules) };
        let mut again = Vec::new();
        while room > 0
            && let Some(number) = target.blocked.pop_front()
        {
            if let Some(lane) = self.lanes.get_mut(&number).filter(|lane| lane.blocked) {
                lane.blocked = false;
                again.push(number);
                room -= 1;
            }
        }
        again.into_iter().for_each(|number| self.touch(number));
    }

    /// A lane has something to start, and its target does not work.
    pub(super) fn note_shut(&mut self, number: u32, until: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        lane.stats.set_parked_until(Some(until));
        let error =
            lane.stats.last_error().unwrap_or_else(|| "its target does not work".to_owned());
        self.park(&BTreeSet::from([number]), error);
    }

    /// Somebody had a parked subscription go on: its target is tried at once.
    pub(super) fn hurry(&mut self, server: &Server, now: Timestamp) {
        let Some(target) = self.targets.held.get_mut(server) else { return };
        if target.breaker.open_until().is_none() {
            return;
        }
        target.breaker.hurry(now);
        let lanes = target.lanes.clone();
        lanes.into_iter().for_each(|number| self.touch(number));
    }

    /// What is to be written down of parking, since this was last asked.
    pub(super) fn take_parking(&mut self) -> Vec<Parking> {
        std::mem::take(&mut self.parking)
    }

    fn park(&mut self, lanes: &BTreeSet<u32>, error: String) {
        let mut numbers = Vec::new();
        for number in lanes {
            let Some(lane) = self.lanes.get_mut(number) else { continue };
            if lane.subscription.state == State::Active && !lane.told_parked {
                lane.told_parked = true;
                numbers.push(*number);
            }
        }
        if !numbers.is_empty() {
            self.parking.push(Parking::Park(numbers, error));
        }
    }

    fn unpark(&mut self, lanes: &BTreeSet<u32>) {
        let mut numbers = Vec::new();
        for number in lanes {
            let Some(lane) = self.lanes.get_mut(number) else { continue };
            let is_parked = matches!(lane.subscription.state, State::Parked(_));
            if std::mem::take(&mut lane.told_parked) || is_parked {
                numbers.push(*number);
            }
        }
        if !numbers.is_empty() {
            self.parking.push(Parking::Unpark(numbers));
        }
    }
}
