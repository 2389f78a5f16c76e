//! Replays: a subscription is given a range of the log once more. One at a time.

use std::sync::Arc;

use super::command::{Actor, Decision, Records, Refusal, View};
use super::decide::{may_touch, quiet};
use super::record::Record;
use super::{Invalid, Offset, Timestamp};

/// A replay and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// The subscription's number.
    pub subscription: u32,
    /// The first offset.
    pub from: Offset,
    /// One past the last.
    pub to: Offset,
    /// All before it are done, or wait for a retry of their own.
    pub cursor: Offset,
}

/// Decides whether a replay begins. `None` for its end is where the log ends now.
pub(super) fn begin(
    view: &dyn View,
    id: &str,
    actor: &Actor,
    from: Offset,
    to: Option<Offset>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let number = subscription(view, id, actor, now)?;
    if view.replay(number)?.is_some() {
        return Err(Refusal::Replaying(id.to_owned()));
    }
    let next = view.next_offset();
    let to = to.unwrap_or(next).min(next);
    if from >= to {
        let detail = format!("nothing is there to replay before {to}");
        return Err(Refusal::Invalid(Invalid::new("/from", detail)));
    }
    let replay = Replay { subscription: number, from, to, cursor: from };
    Ok(quiet(Records::from_iter([Record::Replay(Arc::new(replay))])))
}

/// Decides whether a replay is given up.
pub(super) fn cancel(
    view: &dyn View,
    id: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let subscription = subscription(view, id, actor, now)?;
    match view.replay(subscription)? {
        Some(_) => Ok(quiet(Records::from_iter([Record::ReplayEnded { subscription }]))),
        None => Ok(quiet(Records::new())),
    }
}

fn subscription(view: &dyn View, id: &str, actor: &Actor, now: Timestamp) -> Result<u32, Refusal> {
    let held = view.subscription(id)?.filter(|held| may_touch(actor, held));
    let held = held.ok_or_else(|| Refusal::NoSubscription(id.to_owned()))?;
    held.check_live(now).map_err(Refusal::Ended)?;
    Ok(held.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::{Command, Expect, Settlement};
    use crate::domain::delivery::Retry;
    use crate::domain::held::{Held, admin, user};
    use crate::domain::samples::at;

    fn asked(from: Offset, to: Option<Offset>, actor: Actor) -> Command {
        Command::Replay { id: "one".to_owned(), actor, from, to }
    }

    #[test]
    fn a_replay_lies_within_the_log_and_there_is_one_at_a_time() {
        let mut state = Held::default();
        state.put("one", user("a"), Expect::Nothing, 0).expect("created");
        state.next = 10;
        let check = |state: &mut Held, command, expected: Result<(Offset, Offset), &str>| {
            let ranges = state.run(command, at(1)).map(|decision| match &decision.records[..] {
                [Record::Replay(replay)] => (replay.from, replay.to),
                other => panic!("{other:?}"),
            });
            assert_eq!(
                ranges.map_err(|refusal| refusal
                    .to_string()
                    .starts_with(expected.err().unwrap_or_default())),
                expected.map_err(|_| true)
            );
        };
        check(&mut state, asked(3, None, user("b")), Err("there is no subscription"));
        check(&mut state, asked(10, None, user("a")), Err("/from"));
        check(&mut state, asked(3, Some(3), user("a")), Err("/from"));
        check(&mut state, asked(3, Some(99), user("a")), Ok((3, 10)));
        check(&mut state, asked(3, Some(5), admin()), Err("the subscription \"one\" is being"));
        let end = || Command::EndReplay { id: "one".to_owned(), actor: user("a") };
        assert_eq!(state.run(end(), at(1)).expect("ended").records.len(), 1);
        assert_eq!(state.run(end(), at(1)).expect("again").records.len(), 0);
        check(&mut state, asked(3, Some(5), user("a")), Ok((3, 5)));
        let late = state.run(asked(3, Some(5), user("a")), at(600));
        assert!(matches!(late, Err(Refusal::Ended(_))), "{late:?}");
    }

    #[test]
    fn what_waits_for_a_replay_that_was_given_up_is_not_kept() {
        let mut state = Held::default();
        state.put("one", user("a"), Expect::Nothing, 0).expect("created");
        state.next = 10;
        let number = state.subscriptions.values().next().expect("one").number;
        let retry = Retry { replay: true, ..Retry::untried(number, 4, at(2)) };
        let waits = |state: &mut Held| {
            let command = Command::Settle(vec![Settlement::Retry(retry.clone())]);
            state.run(command, at(1)).expect("settled").records.len()
        };
        state.run(asked(3, None, user("a")), at(1)).expect("begun");
        assert_eq!(waits(&mut state), 1);
        let end = Command::EndReplay { id: "one".to_owned(), actor: user("a") };
        state.run(end, at(1)).expect("ended");
        assert_eq!(waits(&mut state), 0);
    }
}
