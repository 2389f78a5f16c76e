//! What the store should hold: every record, and the fold of them in plain maps, written anew so
//! that it shares no fault with the store's own. Decisions are `domain`'s. Never here: files.

use std::collections::{BTreeMap, BTreeSet};

use tidings::domain::command::{Command, Decision, Refusal, Rules, View};
use tidings::domain::decide::decide;
use tidings::domain::delivery::{DeadLetter, Retry};
use tidings::domain::event::Event;
use tidings::domain::gap::Gap;
use tidings::domain::job::{Counts, Job};
use tidings::domain::letter::Id;
use tidings::domain::record::{Entry, Forgotten, Progress, Record, Redriven, Token, Why};
use tidings::domain::replay::Replay;
use tidings::domain::subscription::{Start, State, Subscription};
use tidings::domain::{Offset, Timestamp};

use crate::setting;

/// The fold of all records so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fold {
    pub(crate) subscriptions: BTreeMap<u32, Subscription>,
    pub(crate) tokens: BTreeMap<String, Token>,
    pub(crate) retries: BTreeMap<(u32, Offset), Retry>,
    /// With the place of each one's record.
    pub(crate) dead_letters: BTreeMap<Id, (DeadLetter, Offset)>,
    /// The jobs that deliveries wait for.
    pub(crate) redriven: BTreeMap<Id, Offset>,
    pub(crate) jobs: BTreeMap<Offset, Job>,
    pub(crate) cursors: BTreeMap<u32, Offset>,
    pub(crate) matched: Offset,
    pub(crate) gaps: BTreeMap<u32, Gap>,
    pub(crate) replays: BTreeMap<u32, Replay>,
    /// Whose lease is known to be expiring.
    expiry_told: BTreeSet<u32>,
    next_number: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// Every record that was ever acknowledged or seen, by offset.
    pub(crate) entries: BTreeMap<Offset, Entry>,
    pub(crate) fold: Fold,
    pub(crate) next: Offset,
    /// The newest event of each source and id: its offset, and how many events were before it.
    places: BTreeMap<(String, String), (Offset, usize)>,
    events: usize,
    /// How many events the store remembers.
    window: usize,
    /// Events before this offset need not be remembered: they were gone when the store opened.
    pub(crate) forgotten: Offset,
}

impl Model {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            fold: Fold::default(),
            next: 0,
            places: BTreeMap::new(),
            events: 0,
            window,
            forgotten: 0,
        }
    }

    /// The store seals what comes in before it decides.
    pub(crate) fn decide(
        &self,
        mut command: Command,
        now: Timestamp,
        rules: &Rules,
    ) -> Result<Decision, Refusal> {
        let vault = setting::vault();
        match &mut command {
            Command::Put(put) => put.wish.seal(&vault, &put.id),
            Command::Rotate(asked) => asked.key.secret_mut().seal(&vault, &asked.id),
            _ => {}
        }
        decide(self, command, now, rules)
    }

    pub(crate) fn add(&mut self, record: Record, at: Timestamp) {
        self.fold.apply(self.next, at, &record);
        if let Record::Event(event) = &record {
            let place = (self.next, self.events);
            self.places.insert((event.source.to_string(), event.id.to_string()), place);
            self.events += 1;
        }
        let entry = Entry { offset: self.next, at, record };
        self.entries.insert(self.next, entry);
        self.next += 1;
    }

    pub(crate) fn event(&self, offset: Offset) -> Option<&Event> {
        self.entries.get(&offset)?.event()
    }

    /// Whether an event was ever stored.
    pub(crate) fn was_there(&self, source: &str, id: &str) -> bool {
        self.places.contains_key(&(source.to_owned(), id.to_owned()))
    }

    /// Where an event is that the store must know of.
    pub(crate) fn remembered(&self, source: &str, id: &str) -> Option<Offset> {
        let (offset, before) = self.places.get(&(source.to_owned(), id.to_owned()))?;
        let known = self.events - before <= self.window && *offset >= self.forgotten;
        known.then_some(*offset)
    }
}

impl Fold {
    /// Written from what the records mean, not from the store's own fold.
    pub(crate) fn apply(&mut self, offset: Offset, at: Timestamp, record: &Record) {
        match record {
            Record::Event(_) => {}
            Record::Subscription(held) => self.hold(offset, held),
            Record::SubscriptionRemoved { number, .. } => {
                self.subscriptions.remove(number);
                self.gaps.remove(number);
                self.forget_delivery(*number);
            }
            Record::Token(token) => {
                self.tokens.insert(token.id.clone(), (**token).clone());
            }
            Record::TokenRevoked { id } => {
                self.tokens.remove(id);
            }
            Record::Retry(retry) => {
                let mut retry = (**retry).clone();
                let id = Id { subscription: retry.subscription, offset: retry.offset };
                retry.replay &= !self.redriven.contains_key(&id);
                self.retries.insert((retry.subscription, retry.offset), retry);
            }
            Record::Settled { subscription, offset } => {
                self.retries.remove(&(*subscription, *offset));
                let id = Id { subscription: *subscription, offset: *offset };
                self.count(id, |counts| counts.delivered += 1);
            }
            Record::DeadLetter(letter) => {
                self.retries.remove(&(letter.subscription, letter.offset));
                self.count(letter.name(), |counts| counts.died += 1);
                self.dead_letters.insert(letter.name(), ((**letter).clone(), offset));
            }
            Record::Job(job) => {
                self.jobs.insert(job.id, (**job).clone());
            }
            Record::Redriven(redriven) => self.hand_over(redriven),
            Record::Forgotten(forgotten) => self.forget(forgotten),
            Record::Progress(progress) => self.advance(progress),
            Record::Replay(replay) => {
                self.replays.insert(replay.subscription, **replay);
            }
            Record::ExpiryTold { subscription } => {
                self.expiry_told.insert(*subscription);
            }
            Record::ReplayEnded { subscription } => {
                self.replays.remove(subscription);
                self.retries.retain(|(number, _), retry| number != subscription || !retry.replay);
            }
            Record::Gap { subscription, missing } => {
                if self.subscriptions.contains_key(subscription) {
                    let before = self.gaps.get(subscription).map_or(0, |gap| gap.total);
                    let total = before + (missing.to - missing.from);
                    self.gaps.insert(*subscription, Gap { newest: *missing, at, total });
                }
            }
        }
    }

    fn hold(&mut self, offset: Offset, held: &Subscription) {
        let before = self.subscriptions.get(&held.number).and_then(|before| before.lease);
        if before != held.lease {
            self.expiry_told.remove(&held.number);
        }
        if self.subscriptions.insert(held.number, held.clone()).is_none() {
            let cursor = match held.wish.start {
                Start::Now => offset + 1,
                Start::Earliest => 0,
                Start::Offset(from) => from,
            };
            self.cursors.insert(held.number, cursor);
            self.next_number = self.next_number.max(held.number + 1);
        }
        if held.state.is_ended() {
            self.forget_delivery(held.number);
        }
    }

    fn forget_delivery(&mut self, number: u32) {
        self.cursors.remove(&number);
        self.replays.remove(&number);
        self.retries.retain(|(subscription, _), _| *subscription != number);
        let waiting: Vec<Id> = self.redriven.keys().copied().collect();
        for id in waiting.into_iter().filter(|id| id.subscription == number) {
            self.count(id, |counts| counts.dropped += 1);
        }
    }

    fn hand_over(&mut self, redriven: &Redriven) {
        for handed in &redriven.letters {
            let id = handed.letter;
            self.dead_letters.remove(&id);
            self.redriven.insert(id, redriven.job);
            let retry = Retry::untried(id.subscription, id.offset, redriven.due);
            self.retries.insert((id.subscription, id.offset), retry);
        }
        if let Some(job) = self.jobs.get_mut(&redriven.job) {
            job.counts.handed += redriven.letters.len() as u64;
        }
    }

    fn forget(&mut self, forgotten: &Forgotten) {
        for id in &forgotten.letters {
            self.dead_letters.remove(id);
            if forgotten.why == Why::Dropped {
                self.retries.remove(&(id.subscription, id.offset));
                self.count(*id, |counts| counts.dropped += 1);
            }
        }
        self.jobs.retain(|id, _| !forgotten.jobs.contains(id));
    }

    /// Counts what became of a delivery with the job that it waited for.
    fn count(&mut self, id: Id, counted: impl FnOnce(&mut Counts)) {
        let job = self.redriven.remove(&id);
        if let Some(job) = job.and_then(|job| self.jobs.get_mut(&job)) {
            counted(&mut job.counts);
        }
    }

    /// Letters in the order in which they were given up.
    pub(crate) fn letters_by_time(&self) -> Vec<&DeadLetter> {
        let mut letters: Vec<&DeadLetter> =
            self.dead_letters.values().map(|(letter, _)| letter).collect();
        letters.sort_by_key(|letter| (letter.at.as_millisecond(), letter.name()));
        letters
    }

    fn advance(&mut self, progress: &Progress) {
        for (number, cursor) in &progress.lagging {
            if self.subscriptions.contains_key(number) {
                self.cursors.insert(*number, *cursor);
            }
        }
        for number in &progress.caught_up {
            self.cursors.remove(number);
        }
        for (number, cursor) in &progress.replays {
            if let Some(replay) = self.replays.get_mut(number) {
                replay.cursor = *cursor;
            }
        }
        for number in &progress.replays_over {
            self.replays.remove(number);
        }
        self.matched = progress.matched;
    }
}

impl View for Model {
    fn subscription(&self, id: &str) -> Result<Option<Subscription>, Refusal> {
        Ok(self.fold.subscriptions.values().find(|held| held.id == id).cloned())
    }

    fn numbered(&self, number: u32) -> Result<Option<Subscription>, Refusal> {
        Ok(self.fold.subscriptions.get(&number).cloned())
    }

    fn subscription_count(&self) -> usize {
        self.fold.subscriptions.len()
    }

    fn owned_by(&self, token: &str) -> Result<Vec<Subscription>, Refusal> {
        let owned =
            |held: &&Subscription| held.owner.as_deref() == Some(token) && !held.state.is_ended();
        Ok(self.fold.subscriptions.values().filter(owned).cloned().collect())
    }

    /// Leases before ends, each in the order of their times.
    fn due(&self, now: Timestamp, ended_before: Timestamp) -> Result<Vec<Subscription>, Refusal> {
        let mut due = Vec::new();
        for held in self.fold.subscriptions.values() {
            let key = match (held.state, held.lease) {
                (State::Ended(_, at), _) => (at <= ended_before).then_some((1, at)),
                (_, Some(lease)) => {
                    let told = self.fold.expiry_told.contains(&held.number);
                    let at = if told { lease.expires_at } else { lease.expiring_at() };
                    (at <= now).then_some((0, at))
                }
                (_, None) => None,
            };
            due.extend(key.map(|key| (key, held.clone())));
        }
        due.sort_by_key(|(key, held)| (*key, held.number));
        Ok(due.into_iter().map(|(_, held)| held).collect())
    }

    fn gap(&self, number: u32) -> Result<Option<Gap>, Refusal> {
        Ok(self.fold.gaps.get(&number).copied())
    }

    fn letter(&self, id: Id) -> Result<Option<Offset>, Refusal> {
        Ok(self.fold.dead_letters.get(&id).map(|(_, place)| *place))
    }

    fn letter_count(&self) -> u64 {
        self.fold.dead_letters.len() as u64
    }

    fn oldest_letters(&self, max: usize) -> Result<Vec<(Id, Timestamp)>, Refusal> {
        let letters = self.fold.letters_by_time();
        Ok(letters.iter().take(max).map(|letter| (letter.name(), letter.at)).collect())
    }

    fn is_redriven(&self, id: Id) -> Result<bool, Refusal> {
        Ok(self.fold.redriven.contains_key(&id))
    }

    fn job(&self, id: Offset) -> Result<Option<Job>, Refusal> {
        Ok(self.fold.jobs.get(&id).cloned())
    }

    fn jobs(&self) -> Result<Vec<Job>, Refusal> {
        Ok(self.fold.jobs.values().cloned().collect())
    }

    fn replay(&self, number: u32) -> Result<Option<Replay>, Refusal> {
        Ok(self.fold.replays.get(&number).copied())
    }

    fn expiry_told(&self, held: &Subscription) -> Result<bool, Refusal> {
        Ok(self.fold.expiry_told.contains(&held.number))
    }

    fn has_token(&self, id: &str) -> Result<bool, Refusal> {
        Ok(self.fold.tokens.contains_key(id))
    }

    fn seen(&self, source: &str, id: &str) -> Option<Offset> {
        self.remembered(source, id)
    }

    fn next_number(&self) -> u32 {
        self.fold.next_number
    }

    fn next_offset(&self) -> Offset {
        self.next
    }

    fn newest(&self) -> Timestamp {
        self.entries.last_key_value().map_or(Timestamp::UNIX_EPOCH, |(_, entry)| entry.at)
    }
}
