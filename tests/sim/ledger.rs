//! The ledger: every request that was started and what came of it, held against what was
//! acknowledged. It matches by `Filter::matches` and shares nothing with the lanes. What must have
//! happened in the end is asked by `account`. Never here: faults, or a look into the hub.
//!
//! "In force" is a subscription as it stands before the offset up to which the hub follows the log:
//! what is acknowledged after that cannot be known to it yet.

use std::collections::{BTreeMap, BTreeSet};

use tidings::domain::delivery::{Attempt, Outcome};
use tidings::domain::policy::{OnExhausted, Ordering};
use tidings::domain::record::{Entry, Record};
use tidings::domain::subscription::{State, Subscription};
use tidings::domain::{Offset, Timestamp};

use crate::model::Model;
use crate::oracle::Fault;
use crate::rules::{
    Known, Name, Request, Standing, check_own, check_pace, check_time, check_window, is_done,
    key_of, settle, url_of,
};
use crate::servers::Servers;

/// A request under way.
#[derive(Debug)]
struct Sent {
    request: Request,
    url: String,
    keys: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    known: BTreeMap<u32, Known>,
    under_way: BTreeMap<u64, Sent>,
    standings: BTreeMap<(Name, bool), Standing>,
    servers: Servers,
    in_flight_max: usize,
    /// Where the log ended when the requests were over that brought an event: none while one is
    /// under way.
    pub(crate) arrived: BTreeMap<Name, Vec<Option<Offset>>>,
    /// The same where a delivery was given up that its policy lets drop.
    pub(crate) dropped: BTreeMap<Name, Offset>,
    pub(crate) redriven: BTreeSet<Name>,
    /// What the hub knew when it started.
    as_of: Offset,
}

impl Ledger {
    pub(crate) fn new(in_flight_max: usize, target_in_flight_max: usize, park_after: u32) -> Self {
        let servers = Servers::new(target_in_flight_max, park_after);
        Self { in_flight_max, servers, ..Self::default() }
    }

    /// The process is gone, and with it what it had under way.
    pub(crate) fn died(&mut self, end: Offset) {
        for (_, sent) in std::mem::take(&mut self.under_way) {
            self.over(&sent.request, end);
        }
        self.standings.clear();
        self.known.clear();
        self.servers.forget_all();
    }

    /// A new process goes on: what it knows is the log before an offset.
    pub(crate) fn begin(&mut self, model: &Model, as_of: Offset) {
        self.as_of = as_of;
        for entry in model.entries.range(..as_of).map(|(_, entry)| entry) {
            self.see(entry);
        }
        for ((number, offset), retry) in &model.fold.retries {
            let spent = retry.attempts.len();
            let is_gone = |attempt: &&Attempt| {
                matches!(attempt.outcome, Outcome::Answered { status: 410, .. })
            };
            let extra = retry.attempts.iter().filter(is_gone).count();
            let standing = Standing { spent, extra, restored: true, ..Standing::default() };
            self.standings.insert(((*number, *offset), retry.replay), standing);
        }
        for known in self.known.values().filter(|known| !known.gone) {
            let Some((_, held)) = known.versions.last() else { continue };
            if matches!(held.state, State::Parked(_)) {
                self.servers.open(&held.server());
            }
        }
    }

    /// The hub has followed the log past an entry, which it may have known when it started.
    pub(crate) fn see_new(&mut self, entry: &Entry) {
        if entry.offset >= self.as_of {
            self.see(entry);
        }
    }

    fn see(&mut self, entry: &Entry) {
        match &entry.record {
            Record::Subscription(held) => {
                let known = self.known.entry(held.number).or_default();
                let before = known.versions.last().map(|(_, before)| url_of(before));
                if before.is_some_and(|before| before != url_of(held)) {
                    // It leaves before it comes, be it to the same server.
                    (known.gone, known.hold) = (true, None);
                    self.tidy_servers();
                }
                let known = self.known.entry(held.number).or_default();
                known.gone = held.state.is_ended();
                known.versions.push((entry.offset, (**held).clone()));
                self.tidy_servers();
            }
            Record::SubscriptionRemoved { number, .. } => {
                self.known.entry(*number).or_default().gone = true;
                self.tidy_servers();
            }
            Record::Redriven(redriven) => {
                for handed in &redriven.letters {
                    let name = (handed.letter.subscription, handed.letter.offset);
                    self.redriven.insert(name);
                    let standing = Standing { restored: true, ..Standing::default() };
                    self.standings.insert((name, false), standing);
                    self.standings.remove(&(name, true));
                }
            }
            Record::Replay(replay) => self.forget_replay(replay.subscription),
            Record::ReplayEnded { subscription } => self.forget_replay(*subscription),
            _ => {}
        }
    }

    fn forget_replay(&mut self, number: u32) {
        self.standings.retain(|((held, _), replay), _| *held != number || !*replay);
    }

    /// Nothing is remembered of a server that nobody delivers to.
    fn tidy_servers(&mut self) {
        let live = self.known.values().filter(|known| !known.gone);
        let live = live.filter_map(|known| known.versions.last());
        self.servers.keep(&live.map(|(_, held)| held.server()).collect());
    }

    /// A request is started. `arrives`: the target takes it.
    pub(crate) fn start(
        &mut self,
        ticket: u64,
        request: Request,
        arrives: bool,
        model: &Model,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let number = request.number;
        let known = self.known.get(&number).filter(|known| !known.gone);
        let known = known.ok_or_else(|| format!("{number} is sent to and is gone"))?;
        let (_, held) = known.versions.last().ok_or("a subscription without a version")?;
        let held = held.clone();
        check_window(&held, now)?;
        self.check_room(&held, &request)?;
        check_pace(known, &held, now)?;
        for entry in &request.events {
            check_own(
                known,
                &request,
                entry,
                model,
                self.redriven.contains(&(number, entry.offset)),
            )?;
            check_time(&held, known, &request, entry, now)?;
        }
        for entry in &request.events {
            self.check_attempts(&held, &request, entry)?;
        }
        self.servers.start(ticket, &held.server(), request.probe)?;
        if let Some(known) = self.known.get_mut(&number) {
            known.started = Some((now, held.wish.policy.rate_per_second));
        }
        if arrives {
            self.arrive(&held, &request)?;
        }
        let keys = request.events.iter().filter_map(|entry| key_of(&held, entry)).collect();
        self.under_way.insert(ticket, Sent { url: url_of(&held), keys, request });
        Ok(())
    }

    /// No more at once than the policy, the order and the operator want.
    fn check_room(&self, held: &Subscription, request: &Request) -> Result<(), Fault> {
        let number = held.number;
        let others = || self.under_way.values().filter(|sent| sent.request.number == number);
        let policy = &held.wish.policy;
        let strict = policy.ordering == Ordering::Strict;
        let max = if strict { 1 } else { policy.max_in_flight as usize };
        if others().count() >= max {
            return Err(format!("{number} has {} under way, at most {max}", others().count()));
        }
        if self.under_way.len() >= self.in_flight_max {
            return Err(format!("more than {} are under way", self.in_flight_max));
        }
        let mut keys = BTreeSet::new();
        for key in request.events.iter().filter_map(|entry| key_of(held, entry)) {
            let flying = others().any(|sent| !sent.request.replay && sent.keys.contains(&key));
            let together = policy.ordering == Ordering::Key && !keys.insert(key.clone());
            if (flying || together) && !request.replay {
                return Err(format!("{number} has two of {key:?} under way"));
            }
        }
        Ok(())
    }

    /// Attempts count up from one, and end with the last that the policy grants.
    fn check_attempts(
        &mut self,
        held: &Subscription,
        request: &Request,
        entry: &Entry,
    ) -> Result<(), Fault> {
        let name = (held.number, entry.offset);
        let known = &self.known[&held.number];
        let changed = known.changed_filter();
        let standing = self.standings.entry((name, request.replay)).or_default();
        let number = request.attempts.get(&entry.offset).copied().unwrap_or(0);
        if standing.concluded || standing.aged && number == 1 && standing.spent > 0 {
            if !changed && !request.replay && !standing.restored {
                return Err(format!("{name:?} is over and is sent again"));
            }
            *standing = Standing::default();
        }
        if number != standing.spent + 1 {
            return Err(format!("{name:?}: attempt {number} after {}", standing.spent));
        }
        let retries = known.versions.iter().map(|(_, it)| it.wish.policy.retry.len()).max();
        let max = 1 + retries.unwrap_or(0) + standing.extra;
        match number > max {
            true => Err(format!("{name:?}: attempt {number} of {max}")),
            false => Ok(()),
        }
    }

    /// What arrives for the first time in this life comes in the order of the log, where that is
    /// asked for: not what is delivered once more, and not what was a dead letter before.
    fn arrive(&mut self, held: &Subscription, request: &Request) -> Result<(), Fault> {
        for entry in &request.events {
            let name = (held.number, entry.offset);
            let is_first = !self.arrived.contains_key(&name);
            self.arrived.entry(name).or_default().push(None);
            let known = self.known.entry(held.number).or_default();
            let key = key_of(held, entry);
            // A filter that changes may let in what lies before what was sent.
            let is_first = is_first && !known.changed_filter();
            let Some(key) = key.filter(|_| is_first && !request.replay) else { continue };
            if self.redriven.contains(&name) {
                continue;
            }
            if let Some(newest) = known.newest.insert(key.clone(), entry.offset)
                && newest > entry.offset
            {
                return Err(format!("{name:?} arrives after {newest}, both of {key:?}"));
            }
        }
        Ok(())
    }

    /// A request came back, and what the hub is told of it.
    pub(crate) fn finish(
        &mut self,
        ticket: u64,
        outcome: &Outcome,
        end: Offset,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let sent = self.under_way.remove(&ticket).ok_or("an answer to nothing")?;
        self.over(&sent.request, end);
        let probed = self.servers.finish(ticket, outcome);
        self.tidy_servers();
        let number = sent.request.number;
        let Some(known) = self.known.get_mut(&number).filter(|known| !known.gone) else {
            return Ok(());
        };
        let Some((_, held)) = known.versions.last() else { return Ok(()) };
        let (held, same) = (held.clone(), url_of(held) == sent.url);
        if let (Some(until), true) = (outcome.asked_pause(now), same) {
            known.hold = Some((until, sent.url.clone()));
        }
        for entry in &sent.request.events {
            let name = (number, entry.offset);
            let standing = self.standings.entry((name, sent.request.replay)).or_default();
            let unanswered = matches!(outcome, Outcome::Failed(_));
            if unanswered && probed && same {
                // A probe that nobody answered spends no attempt, but time.
                standing.aged = held.wish.policy.max_age.is_some();
                if standing.aged {
                    self.dropped.insert(name, end);
                }
                continue;
            }
            standing.spent += 1;
            settle(standing, &held, outcome);
            let policy = &held.wish.policy;
            let given_up = standing.concluded || standing.aged;
            if given_up && policy.on_exhausted == OnExhausted::Drop && !is_done(outcome) {
                self.dropped.insert(name, end);
            }
        }
        Ok(())
    }

    /// An event was found too old to be sent.
    pub(crate) fn too_old(&mut self, name: Name, replay: bool, end: Offset) {
        self.standings.entry((name, replay)).or_default().concluded = true;
        self.dropped.insert(name, end);
    }

    fn over(&mut self, request: &Request, end: Offset) {
        for entry in &request.events {
            let arrived = self.arrived.get_mut(&(request.number, entry.offset));
            if let Some(under_way) = arrived.and_then(|all| all.iter_mut().find(|it| it.is_none()))
            {
                *under_way = Some(end);
            }
        }
    }
}
