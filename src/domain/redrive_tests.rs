//! What is decided on dead letters and jobs, over a state that is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::domain::gap::Gap;
use crate::domain::lease::Bounds;
use crate::domain::letter::Choice;
use crate::domain::replay::Replay;
use crate::domain::samples::{self, at};
use crate::domain::subscription::{End, State as Standing, Subscription};

/// A state in plain maps.
#[derive(Default)]
struct Held {
    subscriptions: BTreeMap<u32, Subscription>,
    /// When each was given up, and where its record is.
    letters: BTreeMap<Id, (Timestamp, Offset)>,
    redriven: BTreeSet<Id>,
    jobs: Vec<Job>,
    lost: Vec<String>,
}

impl View for Held {
    fn subscription(&self, id: &str) -> Result<Option<Subscription>, Refusal> {
        Ok(self.subscriptions.values().find(|held| held.id == id).cloned())
    }
    fn numbered(&self, number: u32) -> Result<Option<Subscription>, Refusal> {
        Ok(self.subscriptions.get(&number).cloned())
    }
    fn gap(&self, _: u32) -> Result<Option<Gap>, Refusal> {
        Ok(None)
    }
    fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }
    fn owned_by(&self, _: &str) -> Result<Vec<Subscription>, Refusal> {
        Ok(vec![])
    }
    fn due(&self, _: Timestamp, _: Timestamp) -> Result<Vec<Subscription>, Refusal> {
        Ok(vec![])
    }
    fn replay(&self, _: u32) -> Result<Option<Replay>, Refusal> {
        Ok(None)
    }
    fn expiry_told(&self, _: &Subscription) -> Result<bool, Refusal> {
        Ok(false)
    }
    fn letter(&self, id: Id) -> Result<Option<Offset>, Refusal> {
        Ok(self.letters.get(&id).map(|(_, place)| *place))
    }
    fn letter_count(&self) -> u64 {
        self.letters.len() as u64
    }
    fn oldest_letters(&self, max: usize) -> Result<Vec<(Id, Timestamp)>, Refusal> {
        let mut oldest: Vec<_> = self.letters.iter().map(|(id, (at, _))| (*id, *at)).collect();
        oldest.sort_by_key(|(_, at)| *at);
        oldest.truncate(max);
        Ok(oldest)
    }
    fn is_redriven(&self, id: Id) -> Result<bool, Refusal> {
        Ok(self.redriven.contains(&id))
    }
    fn job(&self, id: Offset) -> Result<Option<Job>, Refusal> {
        Ok(self.jobs.iter().find(|job| job.id == id).cloned())
    }
    fn jobs(&self) -> Result<Vec<Job>, Refusal> {
        Ok(self.jobs.clone())
    }
    fn has_token(&self, id: &str) -> Result<bool, Refusal> {
        Ok(!self.lost.iter().any(|lost| lost == id))
    }
    fn seen(&self, _: &str, _: &str) -> Option<Offset> {
        None
    }
    fn next_number(&self) -> u32 {
        0
    }
    fn next_offset(&self) -> Offset {
        100
    }
    fn newest(&self) -> Timestamp {
        at(0)
    }
}

impl Held {
    /// Subscriptions 0 (`a`'s), 1 (`b`'s) and 2 (ended), each with a letter at 5.
    fn new() -> Self {
        let mut held = Self::default();
        for (number, owner) in [(0, "a"), (1, "b"), (2, "a")] {
            let mut subscription = samples::subscription(number, 60);
            subscription.owner = Some(owner.to_owned());
            if number == 2 {
                subscription.state = Standing::Ended(End::Gone, at(1));
            }
            held.subscriptions.insert(number, subscription);
            held.letters.insert(id(number, 5), (at(10 + i64::from(number)), 20));
        }
        held
    }

    fn with_job(state: State, actor: Actor) -> Self {
        let mut held = Self::new();
        held.jobs.push(job(50, state, actor));
        held
    }

    fn handed(&self, ids: &[Id]) -> Vec<Id> {
        let letters = ids.iter().map(|letter| Handed { letter: *letter, key: None });
        let decision = hand_over(self, 50, letters.collect(), at(99)).expect("decided");
        let mut found = Vec::new();
        for record in &decision.records {
            let Record::Redriven(redriven) = record else { panic!("{record:?}") };
            assert_eq!((redriven.job, redriven.due), (50, at(99)));
            found.extend(redriven.letters.iter().map(|handed| handed.letter));
        }
        assert_eq!(decision.reply, Reply::Letters(found.len() as u64));
        found
    }
}

fn id(subscription: u32, offset: Offset) -> Id {
    Id { subscription, offset }
}

fn admin() -> Actor {
    Actor { owner: None, admin: true }
}

fn user(name: &str) -> Actor {
    Actor { owner: Some(name.to_owned()), admin: false }
}

fn job(id: Offset, state: State, actor: Actor) -> Job {
    let (counts, skipped) = (Counts::default(), Skipped::default());
    let (choice, rate_per_second, total) = (Choice::default(), None, 3);
    Job { id, actor, choice, rate_per_second, created_at: at(9), total, state, counts, skipped }
}

fn rules() -> Rules {
    let seconds = Duration::from_secs;
    Rules {
        lease: Bounds { min: seconds(60), max: seconds(3_600), default: seconds(300) },
        ended_keep: seconds(1_000),
        subscriptions_max: 3,
        letters_keep: seconds(500),
        letters_max: 2,
        jobs_keep: seconds(100),
        jobs_max: 2,
    }
}

#[test]
fn a_job_begins_and_the_oldest_ended_one_makes_room() {
    let mut held = Held::new();
    let begin = |held: &Held, actor| {
        let asked = Redrive { actor, choice: Choice::default(), rate_per_second: None, total: 3 };
        begin(held, asked, at(30), &rules()).map(|decision| decision.records)
    };
    let first = begin(&held, admin()).expect("begun");
    let [Record::Job(begun)] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((begun.id, begun.state, begun.total), (100, State::Running, 3));
    held.jobs = vec![job(50, State::Running, admin()), job(51, State::Done(at(1)), admin())];
    let second = begin(&held, admin()).expect("begun");
    let [Record::Forgotten(gone), Record::Job(begun)] = second.as_slice() else {
        panic!("{second:?}")
    };
    assert_eq!((gone.jobs.as_slice(), begun.id), (&[51][..], 101), "it has its record's place");
    held.jobs[1].state = State::Running;
    assert_eq!(begin(&held, admin()).err(), Some(Refusal::JobsFull(2)));
    held.lost.push("a".to_owned());
    assert_eq!(begin(&held, user("a")).err(), Some(Refusal::NoToken("a".to_owned())));
}

#[test]
fn letters_are_handed_over_once_if_they_are_part_of_the_job() {
    let all = [id(0, 5), id(0, 5), id(0, 6), id(1, 5), id(2, 5), id(7, 5)];
    let mut held = Held::with_job(State::Running, admin());
    assert_eq!(held.handed(&all), [id(0, 5), id(1, 5)], "there, and their subscription lives");
    held.letters.insert(id(1, 5), (at(60), 50));
    assert_eq!(held.handed(&all), [id(0, 5)], "it died again after the job began");
    let held = Held::with_job(State::Running, user("b"));
    assert_eq!(held.handed(&all), [id(1, 5)], "of one's own subscription");
    for state in [State::Done(at(1)), State::Cancelled(at(1))] {
        assert!(Held::with_job(state, admin()).handed(&all).is_empty());
    }
    assert!(Held::new().handed(&all).is_empty(), "there is no such job");
}

#[test]
fn a_job_ends_when_it_is_done_or_cancelled_or_its_token_is_gone() {
    let state = |decision: Result<Decision, Refusal>| match decision.expect("decided").reply {
        Reply::Job(job) => (job.state, job.skipped.event_gone),
        other => panic!("{other:?}"),
    };
    let skipped = Skipped { event_gone: 4, subscription_ended: 0 };
    let running = Held::with_job(State::Running, user("a"));
    assert_eq!(state(end(&running, 50, skipped, at(9))), (State::Done(at(9)), 4));
    assert_eq!(state(cancel(&running, 50, &user("a"), at(9))), (State::Cancelled(at(9)), 0));
    assert_eq!(state(cancel(&running, 50, &admin(), at(9))), (State::Cancelled(at(9)), 0));
    let foreign = cancel(&running, 50, &user("b"), at(9));
    assert_eq!(foreign.err(), Some(Refusal::NoJob(50)));
    let done = Held::with_job(State::Done(at(1)), user("a"));
    let again = cancel(&done, 50, &admin(), at(9));
    assert_eq!(again.as_ref().map(|decision| decision.records.len()), Ok(0));
    assert_eq!(state(again), (State::Done(at(1)), 0), "it stays as it is");
    let lost = Held { lost: vec!["a".to_owned()], ..running };
    let handed = Handed { letter: id(0, 5), key: None };
    let decision = hand_over(&lost, 50, vec![handed], at(9)).expect("decided");
    let [Record::Job(job)] = decision.records.as_slice() else { panic!("{decision:?}") };
    assert_eq!(job.state, State::Cancelled(at(9)));
}

#[test]
fn letters_are_purged_by_whom_they_belong_to() {
    let held = Held::new();
    let all = [id(0, 5), id(0, 5), id(0, 6), id(1, 5), id(2, 5), id(7, 5)];
    let check = |actor: Actor, expected: &[Id]| {
        let decision = purge(&held, all.to_vec(), &actor).expect("decided");
        assert_eq!(decision.reply, Reply::Letters(expected.len() as u64));
        let purged = decision.records.iter().map(|record| match record {
            Record::Forgotten(forgotten) if forgotten.why == Why::Purged => {
                forgotten.letters.clone()
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(purged.flatten().collect::<Vec<_>>(), expected);
    };
    check(admin(), &[id(0, 5), id(1, 5), id(2, 5)]);
    check(user("a"), &[id(0, 5), id(2, 5)]);
    check(user("c"), &[]);
}

#[test]
fn the_oldest_letters_go_by_number_and_by_age() {
    let mut held = Held::with_job(State::Done(at(1)), admin());
    let forget = |held: &Held, now: Option<i64>| {
        let (records, count) = forget_old(held, now.map(at), &rules()).expect("decided");
        let mut found = (vec![], vec![]);
        for record in &records {
            let Record::Forgotten(forgotten) = record else { panic!("{record:?}") };
            assert_eq!(forgotten.why, Why::Expired);
            found = (forgotten.letters.clone(), forgotten.jobs.clone());
        }
        assert_eq!(count, found.0.len() as u64);
        found
    };
    assert_eq!(forget(&held, Some(50)), (vec![id(0, 5)], vec![]), "one is too many");
    assert_eq!(forget(&held, None), (vec![id(0, 5)], vec![]), "whatever the clock says");
    held.letters.remove(&id(0, 5));
    assert_eq!(forget(&held, Some(50)), (vec![], vec![]));
    assert_eq!(forget(&held, Some(101)), (vec![], vec![50]), "the job was kept long enough");
    assert_eq!(forget(&held, Some(511)).0, [id(1, 5)]);
    assert_eq!(forget(&held, Some(512)).0, [id(1, 5), id(2, 5)]);
    assert_eq!(forget(&held, None), (vec![], vec![]), "the clock cannot be trusted");
}

#[test]
fn what_was_redriven_and_is_dropped_is_told_from_what_is_delivered() {
    let mut held = Held::new();
    let settled = Record::Settled { subscription: 0, offset: 5 };
    assert_eq!(dropped(&held, 0, 5), Ok(settled));
    held.redriven.insert(id(0, 5));
    let Ok(Record::Forgotten(forgotten)) = dropped(&held, 0, 5) else { panic!("it was redriven") };
    assert_eq!((forgotten.letters.as_slice(), forgotten.why), (&[id(0, 5)][..], Why::Dropped));
}
