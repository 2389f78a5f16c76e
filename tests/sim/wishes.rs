//! What clients ask for in a history of deliveries: events, subscriptions of all kinds and their
//! changes, replays, redrives. Never here: what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use tidings::domain::command::{Actor, Change, Command, Expect, Put, Redrive};
use tidings::domain::encoding::{Batch, Encoding};
use tidings::domain::filter::Filter;
use tidings::domain::job::{Handed, Skipped};
use tidings::domain::lease::Asked;
use tidings::domain::letter::Choice;
use tidings::domain::policy::{OnExhausted, OnGone, Ordering, Policy};
use tidings::domain::sink::{Method, Sink};
use tidings::domain::subscription::{Signing, Start, Subscription, Wish};
use tidings::domain::template::Line;
use tidings::domain::{Timestamp, cloudevents};

use crate::dice::Dice;
use crate::model::Model;
use crate::targets::SERVERS;

const SUBSCRIPTIONS: u64 = 6;
/// Letters that are handed over at once.
const HANDED_MAX: usize = 3;

/// Where commands come from.
#[derive(Debug)]
pub(crate) struct Wishes {
    dice: Dice,
    events: u64,
}

impl Wishes {
    pub(crate) fn new(dice: Dice) -> Self {
        Self { dice, events: 0 }
    }

    /// The next command, on the state so far.
    pub(crate) fn next(&mut self, model: &Model, now: Timestamp) -> Command {
        let (id, actor) = (self.id(), admin());
        match self.dice.below(100) {
            0..60 => self.publish(now),
            60..76 => self.put(model),
            76..84 => {
                let seconds = self.dice.between(60, 600);
                let change = match self.dice.below(20) {
                    0..6 => Change::Pause,
                    6..14 => Change::Resume,
                    14..17 => Change::Renew(Some(seconds)),
                    17..18 => Change::Delete,
                    _ => Change::Renew(None),
                };
                Command::Change { id, actor, change }
            }
            84..88 => Command::Sweep,
            88..92 => {
                let from = self.dice.below(model.next + 1);
                let to = self.dice.chance(500).then(|| self.dice.below(model.next + 1));
                match self.dice.chance(150) {
                    true => Command::EndReplay { id, actor },
                    false => Command::Replay { id, actor, from, to },
                }
            }
            _ => self.redrive(model),
        }
    }

    /// Goes on with a job, or begins one.
    pub(crate) fn redrive(&mut self, model: &Model) -> Command {
        let Some(job) = model.fold.jobs.values().find(|job| job.is_running()) else {
            let (actor, choice) = (admin(), Choice::default());
            let total = u64::try_from(model.fold.dead_letters.len()).expect("lengths fit");
            let asked = Redrive { actor, choice, rate_per_second: None, total };
            return Command::Redrive(Box::new(asked));
        };
        let letters = model.fold.dead_letters.iter().filter_map(|(id, (_, place))| {
            let held = model.fold.subscriptions.get(&id.subscription)?;
            let event = model.event(id.offset)?;
            let is_part = *place < job.id && !held.state.is_ended();
            let key = order_key(held, event.subject.as_deref());
            is_part.then(|| Handed { letter: *id, key: key.map(str::to_owned) })
        });
        let letters: Vec<Handed> = letters.take(HANDED_MAX).collect();
        match letters.is_empty() {
            true => Command::EndJob { job: job.id, skipped: Skipped::default() },
            false => Command::HandOver { job: job.id, letters },
        }
    }

    fn publish(&mut self, now: Timestamp) -> Command {
        self.events += 1;
        let mut text = json!({
            "specversion": "1.0", "id": self.events.to_string(), "source": "pub", "type": "t",
            "topic": self.dice.pick(&["a", "a", "a/x", "b", "c"]),
            "data": {"serial": self.events, "filler": "x".repeat(self.dice.index(300))},
        });
        if self.dice.chance(800) {
            text["subject"] = json!(self.dice.pick(&["k0", "k1", "k2"]));
        }
        if self.dice.chance(250) {
            let wait =
                SignedDuration::from_millis(i64::try_from(self.dice.below(40_000)).unwrap_or(0));
            text["data"]["at"] = json!(now.checked_add(wait).expect("soon").to_string());
        }
        let event = cloudevents::parse(text.to_string().as_bytes()).expect("valid");
        Command::Publish(Arc::new(event))
    }

    fn put(&mut self, model: &Model) -> Command {
        let id = self.id();
        let held = model.fold.subscriptions.values().find(|held| held.id == id);
        let wish = match held.filter(|held| !held.state.is_ended()) {
            Some(held) => self.changed(held.wish.clone()),
            None => self.wish(model),
        };
        Command::Put(Box::new(Put { id, wish, actor: admin(), expect: Expect::Anything }))
    }

    /// What orders events stays as it is.
    fn changed(&mut self, mut wish: Wish) -> Wish {
        let policy = self.policy();
        wish.policy = Arc::new(Policy {
            ordering: wish.policy.ordering,
            delay_until: wish.policy.delay_until.clone(),
            ..policy
        });
        wish.lease = Asked::Keep;
        if self.dice.chance(400) {
            wish.sink = self.sink();
        }
        if self.dice.chance(200) {
            wish.filter = self.filter();
        }
        wish
    }

    fn wish(&mut self, model: &Model) -> Wish {
        let from = self.dice.below(model.next + 2);
        let seconds = self.dice.between(60, 900);
        let max = u32::try_from(self.dice.between(1, 5)).expect("small");
        let wait = Duration::from_millis(self.dice.pick(&[0, 50, 3_000]));
        let batch = Encoding::Batch(Batch { max, wait });
        Wish {
            name: None,
            labels: BTreeMap::new(),
            filter: self.filter(),
            sink: self.sink(),
            encoding: if self.dice.chance(300) { batch } else { Encoding::Structured },
            signing: Signing::None,
            lease: self.dice.pick(&[Asked::Forever, Asked::Forever, Asked::Seconds(seconds)]),
            start: self.dice.pick(&[Start::Now, Start::Now, Start::Earliest, Start::Offset(from)]),
            policy: Arc::new(self.policy()),
        }
    }

    fn policy(&mut self) -> Policy {
        let waits = (0..self.dice.pick(&[0, 1, 2, 4])).map(|_| self.dice.between(1, 20));
        let retry = waits.map(Duration::from_secs).collect();
        let dice = &mut self.dice;
        let line = Line::parse("{{data.at}}").expect("valid");
        let rate = u32::try_from(dice.between(1, 4)).expect("small");
        let age = Duration::from_secs(dice.between(5, 60));
        Policy {
            timeout: Duration::from_secs(dice.between(1, 10)),
            max_in_flight: dice.pick(&[1, 2, 16]),
            rate_per_second: dice.chance(200).then_some(rate),
            ordering: dice.pick(&[Ordering::None, Ordering::Key, Ordering::Strict]),
            retry,
            on_gone: dice.pick(&[OnGone::End, OnGone::Fail]),
            on_exhausted: dice.pick(&[
                OnExhausted::DeadLetter,
                OnExhausted::DeadLetter,
                OnExhausted::Drop,
            ]),
            max_age: dice.chance(150).then_some(age),
            delay_until: dice.chance(300).then_some(line),
            ..Policy::default()
        }
    }

    fn filter(&mut self) -> Filter {
        let filter = match self.dice.below(12) {
            0..3 => json!({"topic": "a"}),
            3..5 => json!({"topic": "a/#"}),
            5..6 => json!({"topic": "+"}),
            6..8 => json!({"exact": {"subject": "k1"}}),
            8..9 => json!({"all": [{"topic": "a"}, {"not": {"exact": {"subject": "k0"}}}]}),
            9..11 => json!({"any": [{"topic": "b"}, {"prefix": {"subject": "k"}}]}),
            _ => json!({"topic": "#"}),
        };
        Filter::parse(&filter).expect("valid")
    }

    fn sink(&mut self) -> Sink {
        let url = format!("{}/{}", self.dice.pick(&SERVERS), self.dice.below(3));
        let url = url.parse().expect("valid");
        let (method, headers, access) = (Method::Post, BTreeMap::new(), Box::default());
        Sink::Http { url, method, headers, access }
    }

    fn id(&mut self) -> String {
        format!("s{}", self.dice.below(SUBSCRIPTIONS))
    }
}

/// What orders an event with this subject.
pub(crate) fn order_key<'a>(held: &Subscription, subject: Option<&'a str>) -> Option<&'a str> {
    subject.filter(|_| held.wish.policy.ordering == Ordering::Key)
}

pub(crate) fn admin() -> Actor {
    Actor { owner: None, admin: true }
}
