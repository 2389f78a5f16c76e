//! Random commands, most of them sensible. Never here: what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use smol_str::ToSmolStr;
use tidings::domain::command::{
    Actor, Change, Command, Expect, Overtaken, Put, Rotation, Settlement,
};
use tidings::domain::delivery::{Attempt, DeadLetter, Outcome, Reason, Retry};
use tidings::domain::encoding::Encoding;
use tidings::domain::event::Event;
use tidings::domain::filter::Filter;
use tidings::domain::gap::Missing;
use tidings::domain::grant::Grants;
use tidings::domain::lease::Asked;
use tidings::domain::policy::Policy;
use tidings::domain::record::{Progress, Token};
use tidings::domain::sign::{Key, Keys, Scheme};
use tidings::domain::sink::{Method, Sink};
use tidings::domain::subscription::{Signing, Start, Wish};
use tidings::domain::{Offset, Timestamp, cloudevents};

use crate::dice::Dice;
use crate::model::Model;
use crate::redrives::{self, Redrives};

const SUBSCRIPTIONS: u64 = 6;
const TOKENS: u64 = 3;
/// An event's id is one of the last so many with so many in a thousand.
const REPEATED: u64 = 150;
const REPEATS: u64 = 12;

/// Where commands come from.
#[derive(Debug)]
pub(crate) struct Commands {
    pub(crate) dice: Dice,
    redrives: Redrives,
    events: u64,
}

impl Commands {
    pub(crate) fn new(mut dice: Dice) -> Self {
        let redrives = Redrives::new(dice.child());
        Self { dice, redrives, events: 0 }
    }

    /// The next command, on the state so far.
    pub(crate) fn next(&mut self, model: &Model, now: Timestamp) -> Command {
        match self.dice.below(100) {
            0..55 => self.publish(),
            55..64 => self.put(model),
            64..71 => self.change(),
            71..73 => self.rotate(),
            73..76 => self.redrives.next(model),
            76..79 => Command::Sweep,
            79..82 => Command::CreateToken(self.token(now)),
            82..83 => Command::RevokeToken(self.token_id()),
            83..94 => Command::Settle(self.settlements(model, now)),
            94..96 => Command::Gap(vec![self.overtaken(model)]),
            96..98 => Command::Checkpoint(self.progress(model)),
            98..99 => self.replay(model),
            _ => Command::EndGone { number: self.number(model), sink: self.sink() },
        }
    }

    /// An event that was never published before.
    pub(crate) fn publish_new(&mut self) -> Command {
        self.events += 1;
        let size = match self.dice.below(20) {
            0 => self.dice.index(6_000),
            1..4 => 0,
            _ => self.dice.index(700),
        };
        Command::Publish(Arc::new(event(&self.events.to_string(), self.events, size)))
    }

    fn publish(&mut self) -> Command {
        let command = self.publish_new();
        match (command, self.dice.chance(REPEATED)) {
            (Command::Publish(mut event), true) => {
                let back = self.dice.between(1, REPEATS);
                Arc::make_mut(&mut event).id = self.events.saturating_sub(back).to_smolstr();
                Command::Publish(event)
            }
            (command, _) => command,
        }
    }

    fn put(&mut self, model: &Model) -> Command {
        let id = self.subscription_id();
        let held = model.fold.subscriptions.values().find(|held| held.id == id);
        let expect = match (self.dice.below(4), held) {
            (0, _) => Expect::Nothing,
            (1, Some(held)) => Expect::Version(held.version),
            (2, _) => Expect::Version(self.dice.below(9)),
            _ => Expect::Anything,
        };
        let seconds = self.dice.between(60, 5_000);
        let lease = self.dice.pick(&[
            Asked::Default,
            Asked::Seconds(seconds),
            Asked::Seconds(seconds),
            Asked::Forever,
            Asked::Keep,
        ]);
        let from = self.dice.below(model.next + 1);
        let start = self.dice.pick(&[Start::Now, Start::Earliest, Start::Offset(from)]);
        let sink = self.sink();
        let hold = self.dice.chance(200).then(|| self.dice.below(200_000));
        let policy = Policy { hold, ..Policy::default() };
        let signing = match self.dice.chance(500) {
            true => Signing::StandardWebhooks(Keys::new(self.key())),
            false => Signing::None,
        };
        let policy = policy.into();
        let wish = Wish { lease, start, sink, policy, signing, ..wish() };
        Command::Put(Box::new(Put { id, wish, actor: self.actor(), expect }))
    }

    fn change(&mut self) -> Command {
        let seconds = self.dice.between(60, 5_000);
        let change = self.dice.pick(&[
            Change::Renew(None),
            Change::Renew(Some(seconds)),
            Change::Renew(Some(seconds)),
            Change::Pause,
            Change::Resume,
            Change::Delete,
        ]);
        Command::Change { id: self.subscription_id(), actor: self.actor(), change }
    }

    fn rotate(&mut self) -> Command {
        let overlap = Duration::from_secs(self.dice.below(3_000));
        let (id, actor, key) = (self.subscription_id(), self.actor(), self.key());
        Command::Rotate(Box::new(Rotation { id, actor, key, overlap }))
    }

    /// One of a few keys, of either scheme.
    fn key(&mut self) -> Key {
        let scheme = self.dice.pick(&[Scheme::V1, Scheme::V1a]);
        Key::new(scheme, [u8::try_from(self.dice.below(4)).expect("small"); 32])
    }

    fn settlements(&mut self, model: &Model, now: Timestamp) -> Vec<Settlement> {
        (0..self.dice.between(1, 4)).map(|_| self.settlement(model, now)).collect()
    }

    fn settlement(&mut self, model: &Model, now: Timestamp) -> Settlement {
        let subscription = self.number(model);
        let recent = model.next.saturating_sub(self.dice.below(20));
        let waiting: Vec<(u32, Offset)> = model.fold.retries.keys().copied().collect();
        let attempt = Attempt {
            at: now,
            took: Duration::from_millis(self.dice.below(900)),
            outcome: Outcome::Answered { status: 503, retry_after: None },
            step: 0,
            answer: None,
        };
        let attempts = vec![attempt; self.dice.index(3)];
        match (self.dice.below(3), waiting.is_empty()) {
            (0, false) => {
                let (subscription, offset) = self.dice.pick(&waiting);
                match self.dice.chance(200) {
                    true => Settlement::Dropped { subscription, offset },
                    false => Settlement::Done { subscription, offset },
                }
            }
            (1, _) => Settlement::Dead {
                letter: DeadLetter {
                    subscription,
                    subscription_id: format!("s{subscription}"),
                    offset: recent,
                    at: now,
                    reason: self.dice.pick(&Reason::ALL),
                    attempts,
                    request: None,
                    note: None,
                    replay: false,
                },
                announce: self.dice.chance(500),
            },
            _ => {
                let wait = SignedDuration::from_secs(5);
                let due = now.checked_add(wait).expect("far from the end of time");
                let (offset, delayed, responses) = (recent, false, vec![]);
                let replay = self.dice.chance(300);
                Settlement::Retry(Retry {
                    subscription,
                    offset,
                    due,
                    attempts,
                    delayed,
                    replay,
                    responses,
                })
            }
        }
    }

    fn progress(&mut self, model: &Model) -> Progress {
        let matched = model.fold.matched.max(model.next.saturating_sub(self.dice.below(9)));
        let (mut lagging, mut caught_up) = (Vec::new(), Vec::new());
        for number in model.fold.subscriptions.keys() {
            match self.dice.below(3) {
                0 => lagging.push((*number, matched.saturating_sub(self.dice.below(30)))),
                1 => caught_up.push(*number),
                _ => {}
            }
        }
        let (mut replays, mut replays_over) = (Vec::new(), Vec::new());
        for (number, replay) in &model.fold.replays {
            match self.dice.below(3) {
                0 => replays.push((*number, replay.cursor + 1)),
                1 => replays_over.push(*number),
                _ => {}
            }
        }
        Progress { matched, lagging, caught_up, replays, replays_over }
    }

    fn replay(&mut self, model: &Model) -> Command {
        let (id, actor) = (self.subscription_id(), self.actor());
        if self.dice.chance(300) {
            return Command::EndReplay { id, actor };
        }
        let from = self.dice.below(model.next + 1);
        let to = self.dice.chance(500).then(|| self.dice.below(model.next + 1));
        Command::Replay { id, actor, from, to }
    }

    fn overtaken(&mut self, model: &Model) -> Overtaken {
        let from = self.dice.below(model.next + 1);
        let to = from + self.dice.between(1, 9);
        Overtaken { subscription: self.number(model), missing: Missing { from, to } }
    }

    fn token(&mut self, now: Timestamp) -> Token {
        let id = self.token_id();
        let name = format!("token {}", self.dice.below(1_000));
        Token { id, name, grants: Grants::all(), digest: [7; 32], created_at: now }
    }

    fn token_id(&mut self) -> String {
        format!("t{}", self.dice.below(TOKENS))
    }

    fn subscription_id(&mut self) -> String {
        format!("s{}", self.dice.below(SUBSCRIPTIONS))
    }

    fn actor(&mut self) -> Actor {
        let owner = self.dice.chance(300).then(|| self.token_id());
        Actor { admin: owner.is_none(), owner }
    }

    /// The number of a subscription, more often than not of one that there is.
    fn number(&mut self, model: &Model) -> u32 {
        let held: Vec<u32> = model.fold.subscriptions.keys().copied().collect();
        match held.is_empty() || self.dice.chance(100) {
            true => u32::try_from(self.dice.below(40)).expect("small"),
            false => self.dice.pick(&held),
        }
    }

    fn sink(&mut self) -> Sink {
        let url = self.dice.pick(&["http://one.lan/", "http://two.lan/"]);
        let url = url.parse().expect("valid");
        let (method, headers, access) = (Method::Post, BTreeMap::new(), Box::default());
        Sink::Http { url, method, headers, access }
    }
}

fn wish() -> Wish {
    Wish {
        name: None,
        labels: BTreeMap::new(),
        filter: Filter::parse(&json!({"topic": "#"})).expect("valid"),
        sink: Commands::new(Dice::new(0)).sink(),
        encoding: Encoding::Structured,
        signing: Signing::None,
        lease: Asked::Default,
        start: Start::Now,
        policy: Policy::default().into(),
    }
}

/// An event whose data tells it from every other.
fn event(id: &str, serial: u64, size: usize) -> Event {
    let filler = "x".repeat(size);
    let text = json!({
        "specversion": "1.0", "id": id, "source": "sim", "type": "sim.happened",
        "data": {"serial": serial, "filler": filler},
    });
    cloudevents::parse(text.to_string().as_bytes()).expect("valid")
}

/// The same command again.
pub(crate) fn copy(command: &Command) -> Command {
    match command {
        Command::Publish(event) => Command::Publish(event.clone()),
        Command::Put(put) => Command::Put(Box::new(Put {
            id: put.id.clone(),
            wish: put.wish.clone(),
            actor: put.actor.clone(),
            expect: put.expect,
        })),
        Command::Change { id, actor, change } => {
            Command::Change { id: id.clone(), actor: actor.clone(), change: *change }
        }
        Command::Rotate(rotation) => Command::Rotate(rotation.clone()),
        Command::Sweep => Command::Sweep,
        Command::CreateToken(token) => Command::CreateToken(token.clone()),
        Command::RevokeToken(id) => Command::RevokeToken(id.clone()),
        Command::Settle(settlements) => Command::Settle(settlements.clone()),
        Command::Checkpoint(progress) => Command::Checkpoint(progress.clone()),
        Command::Gap(overtaken) => Command::Gap(overtaken.clone()),
        Command::Replay { id, actor, from, to } => {
            Command::Replay { id: id.clone(), actor: actor.clone(), from: *from, to: *to }
        }
        Command::EndReplay { id, actor } => {
            Command::EndReplay { id: id.clone(), actor: actor.clone() }
        }
        Command::Park { numbers, error } => {
            Command::Park { numbers: numbers.clone(), error: error.clone() }
        }
        Command::Unpark { numbers } => Command::Unpark { numbers: numbers.clone() },
        Command::EndGone { number, sink } => {
            Command::EndGone { number: *number, sink: sink.clone() }
        }
        Command::Redrive(_)
        | Command::HandOver { .. }
        | Command::EndJob { .. }
        | Command::CancelJob { .. }
        | Command::Purge { .. } => redrives::copy(command),
    }
}

/// The command in a few words.
pub(crate) fn words(command: &Command) -> String {
    match command {
        Command::Publish(event) => {
            let bytes = event.data.as_ref().map_or(0, |data| data.bytes.len());
            format!("publish {} ({bytes} bytes)", event.id)
        }
        Command::Put(put) => format!("put {} {:?}", put.id, put.expect),
        Command::Change { id, change, .. } => format!("change {id} {change:?}"),
        Command::Rotate(rotation) => format!("rotate {} {:?}", rotation.id, rotation.overlap),
        Command::Sweep => "sweep".to_owned(),
        Command::CreateToken(token) => format!("create token {}", token.id),
        Command::RevokeToken(id) => format!("revoke token {id}"),
        Command::Settle(settlements) => format!("settle {}", settlements.len()),
        Command::Checkpoint(progress) => format!("checkpoint {}", progress.matched),
        Command::Replay { id, from, to, .. } => format!("replay {id} {from} {to:?}"),
        Command::EndReplay { id, .. } => format!("end the replay of {id}"),
        Command::Gap(overtaken) => format!("gap of {}", overtaken[0].subscription),
        Command::Park { numbers, .. } => format!("park {numbers:?}"),
        Command::Unpark { numbers } => format!("unpark {numbers:?}"),
        Command::EndGone { number, .. } => format!("end {number}, which is gone"),
        Command::Redrive(_)
        | Command::HandOver { .. }
        | Command::EndJob { .. }
        | Command::CancelJob { .. }
        | Command::Purge { .. } => redrives::words(command),
    }
}
