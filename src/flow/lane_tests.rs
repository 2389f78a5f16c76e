//! What a lane starts, holds back and counts as done.

use super::*;
use crate::domain::cloudevents;
use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::encoding::{Batch, Encoding};
use crate::domain::policy::Policy;
use crate::domain::record::{Entry, Record};
use crate::domain::samples::{at, subscription};
use crate::domain::subscription::{State, Wish};
use crate::flow::strand::Taken;

const LIMITS: Limits = Limits {
    queue_max: 4,
    queue_bytes_max: 1 << 20,
    retries_max: 3,
    delayed_max: 2,
    in_flight_max: 8,
};

fn lane(policy: Policy) -> Lane {
    let mut held = subscription(1, 1_000);
    held.wish.policy = policy.into();
    Lane::new(Arc::new(held), "http://worker.lan".into(), 0, Mode::Live)
}

fn ordered(ordering: Ordering) -> Lane {
    lane(Policy { ordering, ..Policy::default() })
}

fn entry(offset: Offset, subject: &str) -> Entry {
    let text = format!(
        r#"{{"specversion":"1.0","id":"{offset}","source":"s","type":"t","subject":"{subject}"}}"#
    );
    let event = cloudevents::parse(text.as_bytes()).expect("valid");
    Entry { offset, at: at(0), record: Record::Event(Arc::new(event)) }
}

fn takes(lane: &mut Lane, entry: &Entry) -> bool {
    taken(lane, entry, 0) == Taken::Yes
}

fn taken(lane: &mut Lane, entry: &Entry, now: i64) -> Taken {
    let subscription = lane.subscription.clone();
    lane.strand.take(&subscription, entry, at(now), LIMITS)
}

/// A delivery that failed before, at an offset.
fn failed(lane: &mut Lane, offset: Offset, attempts: Vec<Attempt>, key: Option<SmolStr>) {
    let (subscription, due, delayed, replay, responses) = (1, at(5), false, false, vec![]);
    let retry = Retry { subscription, offset, due, attempts, delayed, replay, responses };
    lane.wait(&retry, key);
}

fn finish(lane: &mut Lane, offset: Offset, replay: bool) -> Finished {
    lane.returned();
    lane.finish(offset, replay).expect("started")
}

/// Offsets that the lane starts now, negative for another attempt.
fn starts(lane: &mut Lane, now: i64) -> Vec<i64> {
    let mut started = Vec::new();
    loop {
        match lane.next(at(now), LIMITS, Start::Yes) {
            Next::Start { begin, .. } => {
                let offset = i64::try_from(begin.offset).expect("small");
                started.push(if begin.entry.is_some() { offset } else { -offset });
            }
            Next::At(_) | Next::Shut(_) | Next::Blocked | Next::Nothing => return started,
        }
    }
}

fn fail(lane: &mut Lane, offset: Offset) {
    let finished = finish(lane, offset, false);
    let outcome = Outcome::Failed("reset".to_owned());
    let (took, step, answer) = (Duration::ZERO, 0, None);
    let mut attempts = finished.past.attempts;
    attempts.push(Attempt { at: at(0), took, outcome, step, answer });
    failed(lane, offset, attempts, finished.key);
}

#[test]
fn the_cursor_never_passes_what_is_not_done() {
    let mut lane = ordered(Ordering::None);
    for offset in [10, 11, 12] {
        assert!(takes(&mut lane, &entry(offset, "x")));
    }
    assert_eq!(lane.strand.cursor(13), 10, "queued");
    assert_eq!(starts(&mut lane, 0), [10, 11, 12]);
    assert_eq!(lane.strand.cursor(13), 10, "started");
    finish(&mut lane, 11, false);
    assert_eq!(lane.strand.cursor(13), 10, "a later one is done");
    fail(&mut lane, 10);
    assert_eq!(lane.strand.cursor(13), 12, "a retry of its own does not hold the cursor");
    finish(&mut lane, 12, false);
    assert_eq!(lane.strand.cursor(13), 13);
    assert!(lane.strand.is_caught_up(13));
    assert!(lane.finish(12, false).is_none(), "a late answer changes nothing");
}

#[test]
fn a_full_lane_falls_behind_and_knows_where() {
    let mut lane = ordered(Ordering::None);
    let taken: Vec<bool> = (0..6)
        .map(|offset| lane.strand.mode == Mode::Live && takes(&mut lane, &entry(offset, "x")))
        .collect();
    assert_eq!(taken, [true, true, true, true, false, false]);
    assert_eq!((lane.strand.position, lane.strand.mode), (4, Mode::Behind { reading: false }));
    assert!(lane.wants_to_read(at(0), LIMITS).is_none(), "no room yet");
    assert_eq!(starts(&mut lane, 0), [0, 1, 2, 3]);
    assert!(lane.wants_to_read(at(0), LIMITS).is_some());
    assert_eq!(lane.strand.cursor(100), 0);
}

#[test]
fn strict_order_waits_for_the_failed_one() {
    let mut lane = ordered(Ordering::Strict);
    (0..3).for_each(|offset| assert!(takes(&mut lane, &entry(offset, "x"))));
    assert_eq!(starts(&mut lane, 0), [0], "one at a time");
    fail(&mut lane, 0);
    assert_eq!(starts(&mut lane, 0), Vec::<i64>::new(), "1 waits for 0");
    assert!(lane.fall_due(0, false));
    assert_eq!(starts(&mut lane, 5), [0], "minus zero: the second attempt");
    finish(&mut lane, 0, false);
    assert_eq!(starts(&mut lane, 5), [1]);
}

#[test]
fn ordered_lanes_deliver_the_earlier_event_first_after_a_crash() {
    for ordering in [Ordering::Strict, Ordering::Key] {
        let mut lane = ordered(ordering);
        // 1 had failed and its retry was on disk; the progress that says 0 is done was not.
        let key = lane.subscription.order_key(entry(1, "x").event().expect("an event"));
        failed(&mut lane, 1, vec![], key);
        lane.strand.position = 0;
        lane.strand.mode = Mode::Behind { reading: true };
        assert!(lane.fall_due(1, false));
        assert_eq!(starts(&mut lane, 5), Vec::<i64>::new(), "what was before it was not looked at");
        assert!(takes(&mut lane, &entry(0, "x")));
        lane.strand.mode = Mode::Live;
        assert_eq!(starts(&mut lane, 5), [0], "{ordering:?}");
        finish(&mut lane, 0, false);
        assert_eq!(starts(&mut lane, 5), [-1], "{ordering:?}");
    }
}

#[test]
fn key_order_holds_back_the_same_subject_alone() {
    let mut lane = ordered(Ordering::Key);
    for (offset, subject) in [(0, "a"), (1, "a"), (2, "b"), (3, "a")] {
        assert!(takes(&mut lane, &entry(offset, subject)));
    }
    assert_eq!(starts(&mut lane, 0), [0, 2]);
    fail(&mut lane, 0);
    assert_eq!(starts(&mut lane, 0), Vec::<i64>::new());
    assert!(lane.fall_due(0, false));
    assert_eq!(starts(&mut lane, 5), [0]);
    finish(&mut lane, 0, false);
    assert_eq!(starts(&mut lane, 5), [1]);
}

#[test]
fn an_ordered_lane_full_of_retries_still_reads_what_is_before_them() {
    for ordering in [Ordering::Strict, Ordering::Key] {
        let mut lane = ordered(ordering);
        // A crash left the retries of 5 to 7 but not the progress: the cursor is at 4.
        for offset in 5..8 {
            let key = lane.subscription.order_key(entry(offset, "x").event().expect("an event"));
            failed(&mut lane, offset, vec![], key);
            assert!(lane.fall_due(offset, false));
        }
        lane.strand.position = 4;
        lane.strand.mode = Mode::Behind { reading: false };
        assert!(lane.wants_to_read(at(0), LIMITS).is_some(), "{ordering:?}");
        assert!(takes(&mut lane, &entry(4, "x")));
        lane.strand.position = 8;
        assert_eq!(starts(&mut lane, 0), [4], "{ordering:?}");
        finish(&mut lane, 4, false);
        assert_eq!(starts(&mut lane, 0), [-5], "{ordering:?}");
        assert!(
            lane.wants_to_read(at(0), LIMITS).is_none()
                || lane.strand.waiting.len() < LIMITS.retries_max
        );
    }
}

#[test]
fn another_target_is_not_bound_by_what_the_old_one_asked() {
    let mut lane = ordered(Ordering::None);
    assert!(takes(&mut lane, &entry(0, "x")));
    lane.hold_until(at(900));
    lane.ending = true;
    assert_eq!(starts(&mut lane, 0), Vec::<i64>::new());
    lane.retarget();
    assert_eq!(starts(&mut lane, 0), [0]);
}

#[test]
fn too_many_retries_stop_first_attempts_but_not_second_ones() {
    let mut lane = ordered(Ordering::None);
    (0..4).for_each(|offset| assert!(takes(&mut lane, &entry(offset, "x"))));
    assert_eq!(starts(&mut lane, 0), [0, 1, 2, 3]);
    (0..3).for_each(|offset| fail(&mut lane, offset));
    assert!(takes(&mut lane, &entry(9, "x")));
    assert_eq!(starts(&mut lane, 0), Vec::<i64>::new());
    assert!(lane.fall_due(1, false));
    assert!(!lane.fall_due(1, false), "once is enough");
    assert_eq!(starts(&mut lane, 5), [-1, 9]);
}

#[test]
fn rate_and_the_targets_own_wish_space_attempts() {
    let mut lane = lane(Policy { rate_per_second: Some(2), ..Policy::default() });
    (0..4).for_each(|offset| assert!(takes(&mut lane, &entry(offset, "x"))));
    assert_eq!(starts(&mut lane, 10), [0]);
    assert!(matches!(lane.next(at(10), LIMITS, Start::Yes), Next::At(_)));
    assert_eq!(starts(&mut lane, 11), [1]);
    assert_eq!(starts(&mut lane, 3), Vec::<i64>::new());
    assert_eq!(starts(&mut lane, 4), [2], "the clock was set back: one pace more at most");
    lane.hold_until(at(100));
    assert_eq!(starts(&mut lane, 50), Vec::<i64>::new());
    assert_eq!(starts(&mut lane, 100), [3]);
}

#[test]
fn nothing_starts_after_the_lease_or_while_paused() {
    let mut lane = ordered(Ordering::None);
    assert!(takes(&mut lane, &entry(0, "x")));
    assert_eq!(starts(&mut lane, 1_000), Vec::<i64>::new());
    let mut paused = (*lane.subscription).clone();
    paused.state = State::Paused;
    lane.subscription = Arc::new(paused);
    assert_eq!(starts(&mut lane, 1), Vec::<i64>::new());
}

#[test]
fn a_changed_filter_looks_again_at_all_that_was_not_started() {
    let mut lane = ordered(Ordering::None);
    lane.subscription = Arc::new(Subscription {
        wish: Wish {
            policy: Policy { max_in_flight: 1, ..Policy::default() }.into(),
            ..lane.subscription.wish.clone()
        },
        ..(*lane.subscription).clone()
    });
    (0..3).for_each(|offset| assert!(takes(&mut lane, &entry(offset, "x"))));
    assert_eq!(starts(&mut lane, 0), [0]);
    lane.look_again(3);
    assert_eq!((lane.strand.position, lane.strand.mode), (1, Mode::Behind { reading: false }));
    assert!(takes(&mut lane, &entry(0, "x")), "what is under way is not taken twice");
    assert_eq!(lane.strand.cursor(3), 0);
}

#[test]
fn what_is_to_be_late_waits_without_holding_back_the_others() {
    let delay_until = crate::domain::template::Line::parse("{{event.until}}").expect("valid");
    let mut lane = lane(Policy { delay_until: Some(delay_until), ..Policy::default() });
    let late = |offset: Offset| {
        let text = format!(
            r#"{{"specversion":"1.0","id":"{offset}","source":"s","type":"t",
                "until":"1970-01-01T00:00:09Z"}}"#
        );
        let event = cloudevents::parse(text.as_bytes()).expect("valid");
        Entry { offset, at: at(0), record: Record::Event(Arc::new(event)) }
    };
    assert_eq!(taken(&mut lane, &late(0), 0), Taken::Delayed(at(9)));
    assert!(takes(&mut lane, &entry(1, "x")));
    assert_eq!(starts(&mut lane, 0), [1]);
    finish(&mut lane, 1, false);
    assert_eq!(lane.strand.cursor(2), 2, "it was written down and does not hold the cursor");
    lane.fall_all_due();
    assert!(starts(&mut lane, 8).is_empty(), "a target that works again is no reason");
    assert!(lane.fall_due(0, false));
    assert_eq!(starts(&mut lane, 9), [0]);
    assert_eq!(taken(&mut lane, &late(3), 9), Taken::Yes, "its time is over");
    assert_eq!(taken(&mut lane, &late(4), 0), Taken::Delayed(at(9)));
    assert_eq!(taken(&mut lane, &late(5), 0), Taken::Delayed(at(9)));
    assert_eq!(taken(&mut lane, &late(6), 0), Taken::No, "delayed_max");
    assert_eq!(lane.strand.position, 6);
}

#[test]
fn a_replay_takes_turns_and_neither_holds_the_other_back() {
    let mut lane = lane(Policy { max_in_flight: 2, ..Policy::default() });
    lane.strand.position = 10;
    let asked = Replay { subscription: 1, from: 3, to: 6, cursor: 3 };
    lane.replay = Some(Box::new(Replaying::new(asked)));
    assert_eq!(lane.wants_to_read(at(0), LIMITS), Some(true));
    let subscription = lane.subscription.clone();
    let replaying = lane.replay.as_mut().expect("just put there");
    for offset in [3, 4, 5] {
        let taken = replaying.strand.take(&subscription, &entry(offset, "x"), at(0), LIMITS);
        assert_eq!(taken, Taken::Yes);
    }
    replaying.strand.position = 6;
    (10..13).for_each(|offset| assert!(takes(&mut lane, &entry(offset, "x"))));
    assert_eq!(starts(&mut lane, 0), [10, 3], "one window for both");
    finish(&mut lane, 10, false);
    assert_eq!(starts(&mut lane, 0), [11]);
    finish(&mut lane, 3, true);
    assert_eq!(starts(&mut lane, 0), [4]);
    assert_eq!(lane.replay.as_ref().map(|replay| replay.cursor()), Some(4));
    assert_eq!(lane.strand.cursor(13), 11);
    assert!(lane.finish(4, false).is_none(), "a replay's delivery is not the other's");
    finish(&mut lane, 4, true);
    finish(&mut lane, 11, false);
    assert_eq!(starts(&mut lane, 0), [12, 5]);
    finish(&mut lane, 5, true);
    assert!(lane.replay.as_ref().is_some_and(|replay| replay.is_over()));
}

#[test]
fn a_batch_waits_until_it_is_full_or_its_time_is_over() {
    let batch = Batch { max: 3, wait: Duration::from_secs(5) };
    let batched = |policy| {
        let mut lane = lane(policy);
        Arc::make_mut(&mut lane.subscription).wish.encoding = Encoding::Batch(batch);
        lane
    };
    let together = |lane: &mut Lane, now| match lane.next(at(now), LIMITS, Start::Yes) {
        Next::Start { begin, rest, .. } => {
            let rest = rest.iter().map(|begin| begin.offset);
            Ok(std::iter::once(begin.offset).chain(rest).collect::<Vec<_>>())
        }
        Next::At(time) => Err(time.as_second()),
        _ => Err(-1),
    };
    let mut lane = batched(Policy::default());
    assert!(takes(&mut lane, &entry(1, "x")));
    assert_eq!(together(&mut lane, 0), Err(5));
    assert!(takes(&mut lane, &entry(2, "x")));
    assert_eq!(together(&mut lane, 5), Ok(vec![1, 2]), "its time is over");
    (3..7).for_each(|offset| assert!(takes(&mut lane, &entry(offset, "x"))));
    assert_eq!(together(&mut lane, 0), Ok(vec![3, 4, 5]), "it is full");
    assert_eq!(together(&mut lane, 4), Err(5), "one is left over");
    fail(&mut lane, 1);
    assert_eq!(together(&mut lane, 4), Err(5), "not due");
    lane.fall_all_due();
    assert_eq!(together(&mut lane, 4), Ok(vec![1, 6]), "one that is due waits for nobody");
    let mut strict = batched(Policy { ordering: Ordering::Strict, ..Policy::default() });
    (1..5).for_each(|offset| assert!(takes(&mut strict, &entry(offset, "x"))));
    assert_eq!(together(&mut strict, 0), Ok(vec![1, 2, 3]), "in order, in one request");
    assert_eq!(together(&mut strict, 9), Err(-1), "one request at a time");
}

#[test]
fn a_redriven_letter_is_due_and_takes_the_place_of_what_the_lane_holds() {
    let mut lane = ordered(Ordering::None);
    lane.redrive(9, None);
    assert_eq!(starts(&mut lane, 0), [-9]);
    assert!(lane.finish(9, false).expect("started").retried, "that it is done has to be written");
    // A crash let the lane forget that these were given up.
    [3, 4].iter().for_each(|offset| assert!(takes(&mut lane, &entry(*offset, "x"))));
    lane.redrive(4, None);
    assert_eq!(starts(&mut lane, 0), [-4, 3], "once");
    lane.redrive(3, None);
    let finished = lane.finish(3, false).expect("started");
    assert!(finished.retried && finished.past.attempts.is_empty());
    lane.finish(4, false).expect("started");
    assert!(lane.strand.is_caught_up(0) && lane.strand.is_empty());
}

#[test]
fn a_redriven_letter_keeps_its_place_in_the_order_of_its_key() {
    let mut lane = ordered(Ordering::Key);
    assert!(takes(&mut lane, &entry(5, "x")) && takes(&mut lane, &entry(6, "y")));
    lane.redrive(2, Some("x".into()));
    assert_eq!(starts(&mut lane, 0), [-2, 6], "5 waits for 2");
    lane.finish(2, false).expect("started");
    assert_eq!(starts(&mut lane, 0), [5]);
}

#[test]
fn a_redriven_letter_is_no_part_of_a_replay() {
    let mut lane = ordered(Ordering::None);
    let asked = Replay { subscription: 1, from: 0, to: 9, cursor: 0 };
    lane.replay = Some(Box::new(Replaying::new(asked)));
    let retry = Retry { replay: true, ..Retry::untried(1, 4, at(5)) };
    lane.wait(&retry, None);
    lane.redrive(4, None);
    assert_eq!(starts(&mut lane, 9), [-4]);
    assert!(lane.finish(4, true).is_none() && lane.finish(4, false).is_some());
}
