//! What a lane starts, holds back and counts as done.

use super::*;
use crate::domain::cloudevents;
use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::policy::Policy;
use crate::domain::record::Record;
use crate::domain::samples::{at, subscription};
use crate::domain::subscription::{State, Wish};

const LIMITS: Limits = Limits {
    queue_max: 4,
    queue_bytes_max: 1 << 20,
    retries_max: 3,
    delayed_max: 2,
    in_flight_max: 8,
};

fn lane(policy: Policy) -> Lane {
    let mut held = subscription(1, 1_000);
    held.wish.policy = policy;
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
    lane.take(entry, at(0), LIMITS) == Taken::Yes
}

/// A delivery that failed before, at an offset.
fn failed(lane: &mut Lane, offset: Offset, attempts: Vec<Attempt>, key: Option<SmolStr>) {
    let (subscription, due, delayed, replay, responses) = (1, at(5), false, false, vec![]);
    let retry = Retry { subscription, offset, due, attempts, delayed, replay, responses };
    lane.wait(&retry, key);
}

/// Offsets that the lane starts now, negative for another attempt.
fn starts(lane: &mut Lane, now: i64) -> Vec<i64> {
    let mut started = Vec::new();
    loop {
        match lane.next(at(now), LIMITS, Start::Yes) {
            Next::First(entry) => started.push(i64::try_from(entry.offset).expect("small")),
            Next::Again { offset, .. } => started.push(-i64::try_from(offset).expect("small")),
            Next::At(_) | Next::Shut(_) | Next::Blocked | Next::Nothing => return started,
        }
    }
}

fn fail(lane: &mut Lane, offset: Offset) {
    let finished = lane.finish(offset).expect("started");
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
    assert_eq!(lane.cursor(13), 10, "queued");
    assert_eq!(starts(&mut lane, 0), [10, 11, 12]);
    assert_eq!(lane.cursor(13), 10, "started");
    lane.finish(11).expect("started");
    assert_eq!(lane.cursor(13), 10, "a later one is done");
    fail(&mut lane, 10);
    assert_eq!(lane.cursor(13), 12, "a retry of its own does not hold the cursor");
    lane.finish(12).expect("started");
    assert_eq!(lane.cursor(13), 13);
    assert!(lane.is_caught_up(13));
    assert!(lane.finish(12).is_none(), "a late answer changes nothing");
}

#[test]
fn a_full_lane_falls_behind_and_knows_where() {
    let mut lane = ordered(Ordering::None);
    let taken: Vec<bool> = (0..6)
        .map(|offset| lane.mode == Mode::Live && takes(&mut lane, &entry(offset, "x")))
        .collect();
    assert_eq!(taken, [true, true, true, true, false, false]);
    assert_eq!((lane.position, lane.mode), (4, Mode::Behind { reading: false }));
    assert!(!lane.wants_to_read(at(0), LIMITS), "no room yet");
    assert_eq!(starts(&mut lane, 0), [0, 1, 2, 3]);
    assert!(lane.wants_to_read(at(0), LIMITS));
    assert_eq!(lane.cursor(100), 0);
}

#[test]
fn strict_order_waits_for_the_failed_one() {
    let mut lane = ordered(Ordering::Strict);
    (0..3).for_each(|offset| assert!(takes(&mut lane, &entry(offset, "x"))));
    assert_eq!(starts(&mut lane, 0), [0], "one at a time");
    fail(&mut lane, 0);
    assert_eq!(starts(&mut lane, 0), Vec::<i64>::new(), "1 waits for 0");
    assert!(lane.fall_due(0));
    assert_eq!(starts(&mut lane, 5), [0], "minus zero: the second attempt");
    lane.finish(0).expect("started");
    assert_eq!(starts(&mut lane, 5), [1]);
}

#[test]
fn ordered_lanes_deliver_the_earlier_event_first_after_a_crash() {
    for ordering in [Ordering::Strict, Ordering::Key] {
        let mut lane = ordered(ordering);
        // 1 had failed and its retry was on disk; the progress that says 0 is done was not.
        let key = lane.subscription.order_key(entry(1, "x").event().expect("an event"));
        failed(&mut lane, 1, vec![], key);
        lane.position = 0;
        lane.mode = Mode::Behind { reading: true };
        assert!(lane.fall_due(1));
        assert_eq!(starts(&mut lane, 5), Vec::<i64>::new(), "what was before it was not looked at");
        assert!(takes(&mut lane, &entry(0, "x")));
        lane.mode = Mode::Live;
        assert_eq!(starts(&mut lane, 5), [0], "{ordering:?}");
        lane.finish(0).expect("started");
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
    assert!(lane.fall_due(0));
    assert_eq!(starts(&mut lane, 5), [0]);
    lane.finish(0).expect("started");
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
            assert!(lane.fall_due(offset));
        }
        lane.position = 4;
        lane.mode = Mode::Behind { reading: false };
        assert!(lane.wants_to_read(at(0), LIMITS), "{ordering:?}");
        assert!(takes(&mut lane, &entry(4, "x")));
        lane.position = 8;
        assert_eq!(starts(&mut lane, 0), [4], "{ordering:?}");
        lane.finish(4).expect("started");
        assert_eq!(starts(&mut lane, 0), [-5], "{ordering:?}");
        assert!(!lane.wants_to_read(at(0), LIMITS) || lane.waiting.len() < LIMITS.retries_max);
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
    assert!(lane.fall_due(1));
    assert!(!lane.fall_due(1), "once is enough");
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
            policy: Policy { max_in_flight: 1, ..Policy::default() },
            ..lane.subscription.wish.clone()
        },
        ..(*lane.subscription).clone()
    });
    (0..3).for_each(|offset| assert!(takes(&mut lane, &entry(offset, "x"))));
    assert_eq!(starts(&mut lane, 0), [0]);
    lane.look_again(3);
    assert_eq!((lane.position, lane.mode), (1, Mode::Behind { reading: false }));
    assert!(takes(&mut lane, &entry(0, "x")), "what is under way is not taken twice");
    assert_eq!(lane.cursor(3), 0);
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
    assert_eq!(lane.take(&late(0), at(0), LIMITS), Taken::Delayed(at(9)));
    assert!(takes(&mut lane, &entry(1, "x")));
    assert_eq!(starts(&mut lane, 0), [1]);
    lane.finish(1).expect("started");
    assert_eq!(lane.cursor(2), 2, "it was written down and does not hold the cursor");
    lane.fall_all_due();
    assert!(starts(&mut lane, 8).is_empty(), "a target that works again is no reason");
    assert!(lane.fall_due(0));
    assert_eq!(starts(&mut lane, 9), [0]);
    assert_eq!(lane.take(&late(3), at(9), LIMITS), Taken::Yes, "its time is over");
    assert_eq!(lane.take(&late(4), at(0), LIMITS), Taken::Delayed(at(9)));
    assert_eq!(lane.take(&late(5), at(0), LIMITS), Taken::Delayed(at(9)));
    assert_eq!(lane.take(&late(6), at(0), LIMITS), Taken::No, "delayed_max");
    assert_eq!(lane.position, 6);
}

#[test]
fn a_redriven_letter_is_due_and_takes_the_place_of_what_the_lane_holds() {
    let mut lane = ordered(Ordering::None);
    lane.redrive(9, None);
    assert_eq!(starts(&mut lane, 0), [-9]);
    assert!(lane.finish(9).expect("started").retried, "that it is done has to be written");
    // A crash let the lane forget that these were given up.
    [3, 4].iter().for_each(|offset| assert!(takes(&mut lane, &entry(*offset, "x"))));
    lane.redrive(4, None);
    assert_eq!(starts(&mut lane, 0), [-4, 3], "once");
    lane.redrive(3, None);
    let finished = lane.finish(3).expect("started");
    assert!(finished.retried && finished.past.attempts.is_empty());
    lane.finish(4).expect("started");
    assert!(lane.is_caught_up(0), "the queue's bytes are given back: {}", lane.queue_bytes);
    assert_eq!(lane.queue_bytes, 0);
}

#[test]
fn a_redriven_letter_keeps_its_place_in_the_order_of_its_key() {
    let mut lane = ordered(Ordering::Key);
    assert!(takes(&mut lane, &entry(5, "x")) && takes(&mut lane, &entry(6, "y")));
    lane.redrive(2, Some("x".into()));
    assert_eq!(starts(&mut lane, 0), [-2, 6], "5 waits for 2");
    lane.finish(2).expect("started");
    assert_eq!(starts(&mut lane, 0), [5]);
}
