//! A double of the state for tests of decisions: plain maps, kept up to date as the store would.

use std::collections::HashMap;
use std::time::Duration;

use smol_str::SmolStr;

use super::command::{Actor, Change, Command, Decision, Expect, Put, Refusal, Reply, Rules, View};
use super::decide::decide;
use super::gap::Gap;
use super::job::Job;
use super::lease::{Bounds, Lease};
use super::record::Record;
use super::replay::Replay;
use super::samples::{at, wish};
use super::subscription::Subscription;
use super::{Offset, Timestamp, letter};

/// A state in plain maps, which `run` keeps up to date as the store would.
#[derive(Default)]
pub(super) struct Held {
    pub(super) subscriptions: HashMap<u32, Subscription>,
    pub(super) tokens: Vec<String>,
    pub(super) lost: Vec<String>,
    pub(super) gaps: HashMap<u32, Gap>,
    replays: HashMap<u32, Replay>,
    /// Leases of which it was told that they are expiring.
    told: Vec<(u32, Option<Lease>)>,
    pub(super) seen: HashMap<(SmolStr, SmolStr), Offset>,
    pub(super) next: Offset,
    pub(super) newest: Timestamp,
}

impl View for Held {
    fn subscription(&self, id: &str) -> Result<Option<Subscription>, Refusal> {
        Ok(self.subscriptions.values().find(|held| held.id == id).cloned())
    }
    fn numbered(&self, number: u32) -> Result<Option<Subscription>, Refusal> {
        Ok(self.subscriptions.get(&number).cloned())
    }
    fn gap(&self, number: u32) -> Result<Option<Gap>, Refusal> {
        Ok(self.gaps.get(&number).copied())
    }
    fn replay(&self, number: u32) -> Result<Option<Replay>, Refusal> {
        Ok(self.replays.get(&number).copied())
    }

    fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }
    fn owned_by(&self, token: &str) -> Result<Vec<Subscription>, Refusal> {
        let owned =
            |held: &&Subscription| held.owner.as_deref() == Some(token) && !held.state.is_ended();
        Ok(self.subscriptions.values().filter(owned).cloned().collect())
    }
    fn due(&self, _: Timestamp, _: Timestamp) -> Result<Vec<Subscription>, Refusal> {
        // More than is due: deciding must look for itself.
        Ok(self.subscriptions.values().cloned().collect())
    }
    fn expiry_told(&self, held: &Subscription) -> Result<bool, Refusal> {
        Ok(self.told.contains(&(held.number, held.lease)))
    }
    fn letter(&self, _: letter::Id) -> Result<Option<Offset>, Refusal> {
        Ok(None)
    }
    fn letter_count(&self) -> u64 {
        0
    }
    fn oldest_letters(&self, _: usize) -> Result<Vec<(letter::Id, Timestamp)>, Refusal> {
        Ok(vec![])
    }
    fn is_redriven(&self, _: letter::Id) -> Result<bool, Refusal> {
        Ok(false)
    }
    fn job(&self, _: Offset) -> Result<Option<Job>, Refusal> {
        Ok(None)
    }
    fn jobs(&self) -> Result<Vec<Job>, Refusal> {
        Ok(vec![])
    }
    fn has_token(&self, id: &str) -> Result<bool, Refusal> {
        // Most tests are not about tokens: everybody has one who is not said to have lost it.
        Ok(self.tokens.iter().any(|held| held == id) || !self.lost.iter().any(|held| held == id))
    }
    fn seen(&self, source: &str, id: &str) -> Option<Offset> {
        self.seen.get(&(source.into(), id.into())).copied()
    }
    fn next_number(&self) -> u32 {
        self.subscriptions.keys().max().map_or(0, |number| number + 1)
    }
    fn next_offset(&self) -> Offset {
        self.next
    }
    fn newest(&self) -> Timestamp {
        self.newest
    }
}

impl Held {
    pub(super) fn run(&mut self, command: Command, now: Timestamp) -> Result<Decision, Refusal> {
        let decision = decide(self, command, now, &rules())?;
        for record in &decision.records {
            match record {
                Record::Event(event) => {
                    self.seen.insert((event.source.clone(), event.id.clone()), self.next);
                }
                Record::Subscription(held) => {
                    self.subscriptions.insert(held.number, (**held).clone());
                }
                Record::SubscriptionRemoved { number, .. } => {
                    self.subscriptions.remove(number);
                }
                Record::Token(token) => self.tokens.push(token.id.clone()),
                Record::TokenRevoked { id } => {
                    self.tokens.retain(|held| held != id);
                    self.lost.push(id.clone());
                }
                Record::Gap { subscription, missing } => {
                    let known = self.gaps.get(subscription).copied();
                    self.gaps.insert(*subscription, Gap::after(known, *missing, now));
                }
                Record::ExpiryTold { subscription } => {
                    self.told.push((*subscription, self.subscriptions[subscription].lease));
                }
                Record::Replay(replay) => {
                    self.replays.insert(replay.subscription, **replay);
                }
                Record::ReplayEnded { subscription } => {
                    self.replays.remove(subscription);
                }
                _ => {}
            }
            self.next += 1;
            self.newest = now;
        }
        Ok(decision)
    }

    pub(super) fn put(
        &mut self,
        id: &str,
        actor: Actor,
        expect: Expect,
        now: i64,
    ) -> Result<bool, Refusal> {
        let put = Put { id: id.to_owned(), wish: wish(), actor, expect };
        match self.run(Command::Put(Box::new(put)), at(now))?.reply {
            Reply::Subscription { created, .. } => Ok(created),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn change(
        &mut self,
        id: &str,
        actor: Actor,
        change: Change,
        now: i64,
    ) -> Result<Decision, Refusal> {
        self.run(Command::Change { id: id.to_owned(), actor, change }, at(now))
    }
}

pub(super) fn rules() -> Rules {
    let seconds = Duration::from_secs;
    Rules {
        lease: Bounds { min: seconds(60), max: seconds(3_600), default: seconds(300) },
        ended_keep: seconds(1_000),
        subscriptions_max: 3,
        letters_keep: seconds(500),
        letters_max: 4,
        jobs_keep: seconds(100),
        jobs_max: 2,
    }
}

pub(super) fn admin() -> Actor {
    Actor { owner: None, admin: true }
}

pub(super) fn user(name: &str) -> Actor {
    Actor { owner: Some(name.to_owned()), admin: false }
}

/// The types of the events among a decision's records.
pub(super) fn notices(decision: &Decision) -> Vec<&str> {
    let mut kinds = Vec::new();
    for record in &decision.records {
        if let Record::Event(event) = record {
            kinds.push(event.kind.as_str());
        }
    }
    kinds
}
