//! What a rotation leads to, over a state of one subscription.

use std::time::Duration;

use super::*;
use crate::domain::command::{Command, Expect, Put, Reply};
use crate::domain::held::Held;
use crate::domain::samples::{at, subscription};
use crate::domain::sign::{Key, Keys, Scheme};
use crate::domain::subscription::Wish;

fn key(number: u8) -> Key {
    Key::new(Scheme::V1, [number; 32])
}

/// Owned by `t1`, signed with the first key, under a lease until 600.
fn held() -> Subscription {
    let signing = Signing::StandardWebhooks(Keys::new(key(1)));
    let wish = Wish { signing, ..subscription(1, 600).wish };
    Subscription { owner: Some("t1".to_owned()), wish, ..subscription(1, 600) }
}

fn actor(owner: &str, admin: bool) -> Actor {
    Actor { owner: Some(owner.to_owned()), admin }
}

fn run(held: Subscription, command: Command, now: i64) -> Result<Subscription, Refusal> {
    let mut state = Held::default();
    state.subscriptions.insert(held.number, held);
    match state.run(command, at(now))?.reply {
        Reply::Subscription { subscription, .. } => Ok(Arc::unwrap_or_clone(subscription)),
        other => panic!("{other:?}"),
    }
}

fn rotate(held: Subscription, actor: Actor, now: i64) -> Result<Subscription, Refusal> {
    let overlap = Duration::from_secs(10);
    let rotation = Rotation { id: "s1".to_owned(), actor, key: key(2), overlap };
    run(held, Command::Rotate(Box::new(rotation)), now)
}

#[test]
fn a_rotation_is_for_its_owner_and_administrators_while_it_is_not_over() {
    let check = |held: Subscription, who: Actor, now: i64, expected: Option<Refusal>| {
        assert_eq!(rotate(held, who, now).err(), expected);
    };
    check(held(), actor("t1", false), 5, None);
    check(held(), actor("t2", true), 5, None);
    let unknown = Refusal::NoSubscription("s1".to_owned());
    check(held(), actor("t2", false), 5, Some(unknown));
    check(held(), actor("t1", false), 600, Some(Refusal::Ended(End::Expired)));
    let ended = Subscription { state: State::Ended(End::Gone, at(1)), ..held() };
    check(ended, actor("t1", false), 5, Some(Refusal::Ended(End::Gone)));
    let mut plain = held();
    plain.wish.signing = Signing::None;
    check(plain, actor("t1", false), 5, Some(Refusal::Unsigned("s1".to_owned())));
}

#[test]
fn the_key_so_far_stays_beside_the_new_one_until_a_write_after_the_overlap() {
    let rotated = rotate(held(), actor("t1", false), 5).expect("its own");
    let keys = |held: &Subscription| match &held.wish.signing {
        Signing::StandardWebhooks(keys) => keys.clone(),
        Signing::None => panic!("signed"),
    };
    assert_eq!((rotated.version, rotated.updated_at), (2, at(5)));
    assert_eq!(keys(&rotated), Keys { newest: key(2), older: vec![(key(1), at(15))] });
    let write = |newest: Key, change: Option<Change>, now: i64| {
        let id = "s1".to_owned();
        let actor = actor("t1", false);
        let command = match change {
            Some(change) => Command::Change { id, actor, change },
            None => {
                let signing = Signing::StandardWebhooks(Keys::new(newest));
                let wish = Wish { signing, ..rotated.wish.clone() };
                Command::Put(Box::new(Put { id, wish, actor, expect: Expect::Anything }))
            }
        };
        keys(&run(rotated.clone(), command, now).expect("its own"))
    };
    assert_eq!(write(key(2), None, 14), keys(&rotated), "put again with the newest key");
    assert_eq!(write(key(2), None, 15), Keys::new(key(2)), "forgotten");
    assert_eq!(write(key(3), None, 6), Keys::new(key(3)), "put with another key");
    assert_eq!(write(key(2), Some(Change::Pause), 14), keys(&rotated));
    assert_eq!(write(key(2), Some(Change::Pause), 15), Keys::new(key(2)));
}
