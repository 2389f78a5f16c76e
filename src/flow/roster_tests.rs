//! What lanes do where the log has holes: nothing is passed over in silence, nothing told twice.

use std::time::Duration;

use super::*;
use crate::config::{self, Sources};
use crate::domain::cloudevents;
use crate::domain::delivery::Outcome;
use crate::domain::filter::Filter;
use crate::domain::gap::Missing;
use crate::domain::job::Handed;
use crate::domain::letter::Id;
use crate::domain::record::Progress;
use crate::domain::record::{Entry, Record, Redriven};
use crate::domain::samples::{at, subscription};
use crate::domain::subscription::{Start, State};
use crate::store::Stretch;
use crate::store::{self, Reader};
use crate::telemetry::Metrics;

const LIMITS: Limits = Limits {
    queue_max: 3,
    queue_bytes_max: 1 << 20,
    retries_max: 3,
    delayed_max: 3,
    in_flight_max: 8,
};

/// A roster that matched everything before an offset. Its gate lets everybody in.
fn roster(matched: Offset) -> Roster {
    let dir = tempfile::tempdir().expect("directory");
    let sources = Sources { data_dir: Some(dir.path().to_owned()), ..Sources::default() };
    let config = config::load(&sources).expect("reference").config;
    let (store, _lock) = store::open(&config, Arc::new(Metrics::default())).expect("opens");
    let reader: Reader = store.reader;
    let schedule = vec![Duration::from_secs(10)];
    let rules = Rules { after: 3, schedule, in_flight_max: 8 };
    Roster::new(matched, LIMITS, rules, Gate::new(reader, true, None), Lanes::default())
}

fn held(number: u32, start: Start) -> Subscription {
    let mut held = subscription(number, 1_000);
    held.wish.start = start;
    held.wish.filter = Filter::parse(&serde_json::json!({"topic": "t"})).expect("valid");
    held
}

fn event(offset: Offset) -> Entry {
    let text = format!(r#"{{"specversion":"1.0","id":"{offset}","source":"s","type":"t"}}"#);
    let event = cloudevents::parse(text.as_bytes()).expect("valid");
    Entry { offset, at: at(0), record: Record::Event(Arc::new(event)) }
}

fn stretch(offsets: &[Offset], to: Offset) -> Stretch {
    Stretch { entries: offsets.iter().copied().map(event).collect(), to }
}

/// Ranges that were told of since this was last asked, with their subscriptions' numbers.
fn told(roster: &mut Roster) -> Vec<(u32, Offset, Offset)> {
    let mut all: Vec<_> = roster
        .take_overtaken()
        .iter()
        .map(|told| (told.subscription, told.missing.from, told.missing.to))
        .collect();
    all.sort_unstable();
    all
}

/// Offsets of what is started now.
fn started(roster: &mut Roster) -> Vec<Offset> {
    std::iter::from_fn(|| roster.next_task(at(0))).map(|task| task.begin.offset).collect()
}

fn read(roster: &mut Roster, stretch: &Stretch) {
    let read = roster.next_read(at(0)).expect("a lane is behind");
    roster.take_read(&read, stretch, at(0));
}

#[tokio::test]
async fn a_lane_that_reads_the_log_tells_of_gaps_before_and_between_what_it_reads() {
    let mut roster = roster(20);
    roster.restore(held(1, Start::Now), Some(5), None, at(0));
    read(&mut roster, &stretch(&[8, 9, 12], 13));
    assert_eq!(told(&mut roster), [(1, 5, 8), (1, 10, 12)]);
    assert_eq!(started(&mut roster), [8, 9, 12]);
    read(&mut roster, &stretch(&[], 25));
    assert_eq!(told(&mut roster), [(1, 13, 20)], "no further than the matcher");
    assert_eq!(roster.lanes[&1].strand.mode, Mode::Live);
}

#[tokio::test]
async fn a_lane_without_room_tells_of_what_is_before_its_place_alone() {
    let mut roster = roster(20);
    roster.restore(held(1, Start::Now), Some(0), None, at(0));
    read(&mut roster, &stretch(&[1, 2, 3, 7, 9], 10));
    assert_eq!(told(&mut roster), [(1, 0, 1), (1, 4, 7)]);
    assert_eq!(roster.lanes[&1].strand.position, 7);
    assert_eq!(started(&mut roster), [1, 2, 3]);
    read(&mut roster, &stretch(&[7, 9], 10));
    assert_eq!(told(&mut roster), [(1, 8, 9)]);
}

#[tokio::test]
async fn what_the_matcher_misses_concerns_lanes_that_follow_it() {
    let mut roster = roster(10);
    roster.restore(held(1, Start::Now), None, None, at(0));
    roster.restore(held(2, Start::Now), Some(4), None, at(0));
    roster.restore(held(3, Start::Now), Some(13), None, at(0));
    roster.restore(held(4, Start::Now), Some(90), None, at(0));
    roster.see(&event(15), 0, at(0));
    assert_eq!(told(&mut roster), [(1, 10, 15), (3, 13, 15)], "2 reads by itself");
    assert_eq!(started(&mut roster), [15, 15]);
    roster.pass_over(16);
    assert_eq!(told(&mut roster), [], "nothing is missing");
    let progress = roster.progress().expect("the matcher moved");
    assert_eq!(progress.matched, 16);
}

#[tokio::test]
async fn a_live_lane_has_no_gap_when_old_records_go() {
    let mut roster = roster(10);
    roster.restore(held(1, Start::Now), None, None, at(0));
    roster.oldest = 10;
    roster.see(&event(10), 0, at(0));
    assert_eq!(told(&mut roster), []);
}

#[tokio::test]
async fn the_earliest_is_the_oldest_that_there_is() {
    let mut roster = roster(50);
    roster.oldest = 40;
    let record = Record::Subscription(Arc::new(held(1, Start::Earliest)));
    roster.see(&Entry { offset: 50, at: at(0), record }, 0, at(0));
    read(&mut roster, &stretch(&[40, 41], 51));
    assert_eq!(told(&mut roster), [(1, 42, 51)]);
    let progress = roster.progress().expect("its cursor is not that of the fold");
    assert_eq!(progress.lagging, [(1, 40)]);
}

#[tokio::test]
async fn a_gap_is_shown_once_it_is_written() {
    let mut roster = roster(10);
    let known = Gap { newest: Missing { from: 0, to: 2 }, at: at(0), total: 2 };
    roster.restore(held(1, Start::Now), None, Some(known), at(0));
    let missing = Missing { from: 4, to: 9 };
    let gap = |offset| {
        let record = Record::Gap { subscription: 1, missing };
        Entry { offset, at: at(3), record }
    };
    roster.see(&gap(10), 11, at(0));
    assert_eq!(roster.view.status(1).expect("a lane").gap, Some(known), "known at the start");
    roster.see(&gap(11), 11, at(0));
    let expected = Gap { newest: missing, at: at(3), total: 7 };
    assert_eq!(roster.view.status(1).expect("a lane").gap, Some(expected));
}

#[tokio::test]
async fn progress_tells_of_records_that_are_no_events_before_retention_can_take_them() {
    let mut roster = roster(0);
    let quiet = |offset| {
        let record = Record::Progress(Arc::new(Progress::default()));
        Entry { offset, at: at(0), record }
    };
    (0..=1_024).for_each(|offset| roster.see(&quiet(offset), 0, at(0)));
    let progress = roster.progress().expect("much was looked at");
    assert_eq!(progress.matched, 1_025);
    roster.see(&quiet(1_025), 0, at(0));
    roster.note_all();
    assert_eq!(roster.progress(), None, "that was the record of progress itself");
    roster.see(&quiet(1_026), 0, at(0));
    assert_eq!(roster.progress(), None);
    roster.note_all();
    assert_eq!(roster.progress().map(|progress| progress.matched), Some(1_027), "before a stop");
}

/// Tasks that are started now, and then all of them that come back well.
fn round(roster: &mut Roster) -> Vec<u32> {
    let tasks: Vec<Task> = std::iter::from_fn(|| roster.next_task(at(0))).collect();
    for task in &tasks {
        let lane = roster.lanes.get_mut(&task.subscription.number).expect("it is there");
        lane.returned();
        lane.finish(task.begin.offset, false).expect("it was started");
        let outcome = Outcome::Answered { status: 204, retry_after: None };
        roster.returned(&task.server, task.probe, Some((&outcome, true)), at(0));
    }
    tasks.iter().map(|task| task.subscription.number).collect()
}

#[tokio::test]
async fn lanes_of_a_full_target_take_turns_and_those_with_nothing_to_do_leave_theirs() {
    let mut roster = roster(0);
    (0..20).for_each(|number| roster.restore(held(number, Start::Now), None, None, at(0)));
    roster.see(&event(0), 0, at(0));
    let first: Vec<Task> = std::iter::from_fn(|| roster.next_task(at(0))).collect();
    assert_eq!(first.len(), 8, "as many as the target takes");
    // Of those that wait some are paused, and one is gone.
    for number in [8, 9, 11] {
        let mut paused = held(number, Start::Now);
        paused.state = State::Paused;
        roster.update(&Arc::new(paused), 1, at(0));
    }
    roster.remove(10);
    let back = |roster: &mut Roster, task: &Task| {
        let lane = roster.lanes.get_mut(&task.subscription.number).expect("there");
        lane.returned();
        lane.finish(0, false);
        roster.returned(&task.server, task.probe, None, at(0));
    };
    let (one, others) = first.split_first().expect("eight");
    back(&mut roster, one);
    let next = roster.next_task(at(0)).expect("those with nothing to do pass it on");
    assert_eq!(next.subscription.number, 12);
    others.iter().for_each(|task| back(&mut roster, task));
    back(&mut roster, &next);
    assert_eq!(round(&mut roster), [13, 14, 15, 16, 17, 18, 19]);
    assert_eq!(round(&mut roster), [0; 0]);
    // More events than the target takes at once: everybody has a turn before anybody a second one.
    (1..3).for_each(|offset| roster.see(&event(offset), 0, at(0)));
    let mut all: Vec<u32> = (0..4).flat_map(|_| round(&mut roster)).collect();
    assert_eq!(all.len(), 32);
    all.truncate(16);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19]);
}

#[tokio::test]
async fn letters_that_are_handed_over_are_started_once() {
    let mut roster = roster(20);
    roster.restore(held(1, Start::Now), None, None, at(0));
    let handed = |subscription, offset| Handed { letter: Id { subscription, offset }, key: None };
    let redriven = |offset, letters| {
        let redriven = Redriven { job: 3, due: at(0), letters };
        Entry { offset, at: at(0), record: Record::Redriven(Arc::new(redriven)) }
    };
    // Before the state that the roster was restored from: the row of that one is restored too.
    roster.see(&redriven(20, vec![handed(1, 4)]), 21, at(0));
    assert_eq!(started(&mut roster), Vec::<Offset>::new());
    roster.see(&redriven(21, vec![handed(1, 5), handed(2, 5), handed(1, 9)]), 21, at(0));
    assert_eq!(started(&mut roster), [5, 9], "there is no subscription 2");
}
