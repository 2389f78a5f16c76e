//! What each command leads to, in tables, over a state that is told.

use super::*;
use crate::domain::cloudevents;
use crate::domain::command::{Command, Expect, Put, Refusal, Reply, Settlement};
use crate::domain::delivery::{DeadLetter, Reason, Retry};
use crate::domain::grant::Grants;
use crate::domain::held::{Held, admin, notices, user};
use crate::domain::record::Token;
use crate::domain::samples::{at, wish};
use crate::domain::sink::{Method, Sink};

#[test]
fn an_event_is_stored_once_by_source_and_id() {
    let mut state = Held::default();
    let mut publish = |source: &str, id: &str| {
        let text = format!(r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"t"}}"#);
        let event = cloudevents::parse(text.as_bytes()).expect("valid");
        let decision = state.run(Command::Publish(Arc::new(event)), at(1)).expect("accepted");
        (decision.reply, decision.records.len())
    };
    let reply = |offset, duplicate| Reply::Published { offset, duplicate };
    assert_eq!(publish("s", "1"), (reply(0, false), 1));
    assert_eq!(publish("s", "1"), (reply(0, true), 0));
    assert_eq!(publish("other", "1"), (reply(1, false), 1));
}

#[test]
fn nobody_publishes_in_the_hubs_name() {
    let text = br#"{"specversion":"1.0","id":"1","source":"tidings","type":"t"}"#;
    let event = cloudevents::parse(text).expect("valid");
    let refused = Held::default().run(Command::Publish(Arc::new(event)), at(1));
    assert!(matches!(refused, Err(Refusal::Invalid(error)) if error.pointer == "/source"));
}

#[test]
fn a_put_creates_replaces_or_is_refused() {
    let mut state = Held::default();
    assert_eq!(
        state.put("one", user("a"), Expect::Version(1), 1),
        Err(Refusal::NoSubscription("one".into()))
    );
    assert_eq!(state.put("one", user("a"), Expect::Nothing, 1), Ok(true));
    assert_eq!(state.put("one", user("a"), Expect::Nothing, 1), Err(Refusal::Taken("one".into())));
    assert_eq!(state.put("one", user("b"), Expect::Anything, 1), Err(Refusal::Taken("one".into())));
    assert_eq!(
        state.put("one", user("a"), Expect::Version(9), 1),
        Err(Refusal::VersionMismatch(1))
    );
    assert_eq!(state.put("one", user("a"), Expect::Version(1), 1), Ok(false));
    assert_eq!(state.put("one", admin(), Expect::Anything, 1), Ok(false));
    assert_eq!(state.subscriptions[&0].owner.as_deref(), Some("a"), "the owner stays");
    assert_eq!(state.subscriptions[&0].version, 3);
    assert_eq!(state.put("two", admin(), Expect::Anything, 1), Ok(true));
    assert_eq!(state.put("three", admin(), Expect::Anything, 1), Ok(true));
    assert_eq!(state.put("four", admin(), Expect::Anything, 1), Err(Refusal::Full(3)));
    assert!(matches!(
        state.put("no spaces", admin(), Expect::Anything, 1),
        Err(Refusal::Invalid(_))
    ));
}

#[test]
fn a_renewal_that_comes_before_the_sweep_but_after_the_end_is_too_late() {
    let mut state = Held::default();
    state.put("one", admin(), Expect::Nothing, 0).expect("created");
    let late = state.change("one", admin(), Change::Renew(None), 600);
    assert_eq!(late.err(), Some(Refusal::Ended(End::Expired)));
}

#[test]
fn nothing_expires_while_the_wall_clock_is_visibly_wrong() {
    let mut state = Held::default();
    state.put("one", admin(), Expect::Nothing, 10).expect("created");
    state.newest = at(5_000);
    assert!(state.run(Command::Sweep, at(4_999)).expect("swept").records.is_empty());
    assert!(!state.run(Command::Sweep, at(5_000)).expect("swept").records.is_empty());
}

#[test]
fn a_replacement_may_keep_the_lease_as_it_is() {
    let mut state = Held::default();
    let keep = |state: &mut Held, now| {
        let wish = Wish { lease: Asked::Keep, ..wish() };
        let put = Put { id: "one".into(), wish, actor: admin(), expect: Expect::Anything };
        state.run(Command::Put(Box::new(put)), at(now)).map(|_| state.subscriptions[&0].clone())
    };
    state.put("one", admin(), Expect::Nothing, 0).expect("created");
    let kept = keep(&mut state, 100).expect("kept");
    assert_eq!((kept.version, kept.wish.lease), (2, Asked::Seconds(600)));
    assert_eq!(kept.lease, Some(Lease { seconds: 600, expires_at: at(600) }));
    assert_eq!(keep(&mut state, 600).err(), Some(Refusal::Ended(End::Expired)), "never past it");
    let new = keep(&mut Held::default(), 0).expect("nothing to keep");
    assert_eq!((new.wish.lease, new.lease.map(|it| it.seconds)), (Asked::Default, Some(300)));
}

#[test]
fn an_ended_subscription_is_put_anew_under_a_new_number() {
    let mut state = Held::default();
    state.put("one", admin(), Expect::Nothing, 0).expect("created");
    let other = Sink::Http {
        url: "http://elsewhere.lan/".parse().expect("valid"),
        method: Method::Post,
        headers: Default::default(),
    };
    let gone = |number, sink| Command::EndGone { number, sink };
    let kept = state.run(gone(0, other), at(1)).expect("decided");
    assert!(kept.records.is_empty(), "it has another target by now");
    state.run(gone(0, wish().sink), at(1)).expect("ended");
    assert_eq!(state.subscriptions[&0].state.as_str(), "ended");
    assert_eq!(state.put("one", admin(), Expect::Nothing, 2), Ok(true));
    assert_ne!(state.subscriptions.values().next().map(|held| held.version), Some(1));
    assert_eq!(state.subscriptions.values().filter(|held| held.id == "one").count(), 1);
    assert!(state.run(gone(77, wish().sink), at(3)).expect("unknown").records.is_empty());
}

#[test]
fn others_cannot_see_change_or_delete_a_subscription() {
    let mut state = Held::default();
    state.put("one", user("a"), Expect::Nothing, 0).expect("created");
    for change in [Change::Renew(None), Change::Pause, Change::Resume, Change::Delete] {
        let refused = state.change("one", user("b"), change, 1);
        assert_eq!(refused.err(), Some(Refusal::NoSubscription("one".into())), "{change:?}");
    }
    state.change("one", user("a"), Change::Pause, 1).expect("paused");
    assert_eq!(state.subscriptions[&0].state, State::Paused);
    state.change("one", admin(), Change::Resume, 1).expect("resumed");
    let deleted = state.change("one", admin(), Change::Delete, 1).expect("deleted");
    assert_eq!(notices(&deleted), ["tidings.subscription.ended"]);
    assert!(state.subscriptions.is_empty());
}

#[test]
fn revoking_a_token_ends_what_it_owns() {
    let mut state = Held::default();
    let token = Token {
        id: "a".to_owned(),
        name: "ci".to_owned(),
        grants: Grants::all(),
        digest: [0; 32],
        created_at: at(0),
    };
    state.run(Command::CreateToken(token), at(0)).expect("created");
    state.put("mine", user("a"), Expect::Nothing, 0).expect("created");
    state.put("theirs", user("b"), Expect::Nothing, 0).expect("created");
    let revoked = state.run(Command::RevokeToken("a".into()), at(1)).expect("revoked");
    assert_eq!(notices(&revoked), ["tidings.subscription.ended"]);
    assert_eq!(revoked.reply, Reply::Again, "there may be more than one group of them");
    let late = state.put("late", user("a"), Expect::Nothing, 1);
    assert_eq!(late, Err(Refusal::NoToken("a".into())));
    assert!(!state.subscriptions.values().any(|held| held.id == "theirs" && held.state.is_ended()));
    let again = state.run(Command::RevokeToken("a".into()), at(1));
    assert_eq!(again.err(), Some(Refusal::NoToken("a".into())));
}

#[test]
fn outcomes_of_what_has_ended_are_dropped_and_a_death_is_told_once() {
    let mut state = Held::default();
    state.put("one", admin(), Expect::Nothing, 0).expect("created");
    let retry = |subscription| Settlement::Retry(Retry::untried(subscription, 5, at(9)));
    let dead = |announce| Settlement::Dead {
        letter: DeadLetter {
            subscription: 0,
            subscription_id: "one".to_owned(),
            offset: 5,
            at: at(1),
            reason: Reason::Exhausted,
            attempts: vec![],
            request: None,
            note: None,
            replay: false,
        },
        announce,
    };
    let mut settle = |outcome| state.run(Command::Settle(vec![outcome]), at(1)).expect("settled");
    assert_eq!(settle(retry(0)).records.len(), 1);
    assert_eq!(settle(retry(7)).records.len(), 0);
    assert_eq!(notices(&settle(dead(true))), ["tidings.delivery.dead"]);
    assert_eq!(settle(dead(false)).records.len(), 1, "a dead notice of a death is not told");
}

#[test]
fn a_gap_is_noted_and_told_once() {
    let mut state = Held::default();
    state.put("one", user("a"), Expect::Nothing, 1).expect("created");
    let mut meet = |subscription, from, to| {
        let missing = Missing { from, to };
        let command = Command::Gap(vec![Overtaken { subscription, missing }]);
        let decision = state.run(command, at(2)).expect("noted");
        let gaps = decision.records.iter().filter_map(|record| match record {
            Record::Gap { missing, .. } => Some((missing.from, missing.to)),
            _ => None,
        });
        (gaps.collect::<Vec<_>>(), notices(&decision).len())
    };
    assert_eq!(meet(0, 3, 9), (vec![(3, 9)], 1));
    assert_eq!(meet(0, 3, 9), (vec![], 0), "met again after a crash");
    assert_eq!(meet(0, 7, 12), (vec![(9, 12)], 1));
    assert_eq!(meet(5, 3, 9), (vec![], 0), "there is no such subscription");
    assert_eq!(state.gaps[&0].total, 9);
}

#[test]
fn what_is_active_is_parked_and_what_is_parked_goes_on() {
    let mut state = Held::default();
    for id in ["one", "paused", "ended"] {
        state.put(id, admin(), Expect::Nothing, 0).expect("created");
    }
    state.change("paused", admin(), Change::Pause, 1).expect("paused");
    let gone = Command::EndGone { number: 2, sink: wish().sink };
    state.run(gone, at(1)).expect("ended");
    let numbers = vec![0, 1, 2, 9];
    let park = Command::Park { numbers: numbers.clone(), error: "reset".to_owned() };
    let parked = state.run(park, at(2)).expect("decided");
    assert_eq!(notices(&parked), ["tidings.subscription.parked"]);
    assert_eq!(state.subscriptions[&0].state, State::Parked(at(2)));
    assert_eq!(state.subscriptions[&1].state, State::Paused);
    state.put("one", admin(), Expect::Anything, 3).expect("replaced");
    assert!(state.subscriptions[&0].state.is_parked(), "the target is the same");
    let unpark = Command::Unpark { numbers };
    let resumed = state.run(unpark, at(4)).expect("decided");
    assert_eq!(notices(&resumed), ["tidings.subscription.resumed"]);
    assert_eq!(state.subscriptions[&0].state, State::Active);
}
