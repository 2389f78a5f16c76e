//! Signatures against the vectors of the standard and its libraries, and rotation in tables.

use super::*;
use crate::domain::samples::at;

const K1: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const K2: &str = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const PAIR: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJul\
                    DV8d3IZkElUxuA==";
const SEED: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const BODY: &[u8] =
    br#"{"type":"flows.created","timestamp":"2023-11-14T22:13:20Z","data":{"flow_id":"f1"}}"#;

fn vault() -> Vault {
    Vault::new(&[1; 32])
}

fn key(text: &str) -> Key {
    Key::parse(text).expect(text)
}

#[test]
fn signatures_are_those_of_the_standard() {
    let check = |secret: &str, id: &str, time: i64, body: &[u8], expected: &str| {
        let mut keys = Keys::new(key(secret));
        let sign = |keys: &Keys| keys.sign(&vault(), "s1", id, at(time), body).expect("its own");
        assert_eq!(sign(&keys), expected, "{id}");
        keys.secrets_mut().for_each(|secret| secret.seal(&vault(), "s1"));
        assert_eq!(sign(&keys), expected, "{id}, sealed");
        let lost = Vault::new(&[2; 32]);
        assert_eq!(keys.sign(&lost, "s1", id, at(time), body), Err(Locked::OtherKey));
    };
    let (id, time) = ("msg_edgehub0001", 1_700_000_000);
    check(K1, id, time, BODY, "v1,ZUOmTO0nKeR5EQUzO3UP17ewpE7jXB1FujDhP3zidhI=");
    check(K2, id, time, BODY, "v1,kph0tmjooR8vfxBLdPYy9gmILjd9iD5adx4esoQuXac=");
    check(K1, id, time + 5, BODY, "v1,tKC9mjUknHpJFD4hDuSVOgzweU4rS3k2KxJRgHzRp28=");
    check(K1, "msg_empty", time, b"", "v1,yredJpxuSO+Nbs3mRe+H7WF2AiIQovC4+sTzycX9L54=");
    let binary = [0, 0xff, 10, 0x80];
    check(K1, "msg_bin", time, &binary, "v1,bYac67HZ19895SMWiLjiCUZaPWIyoXWcYdJAh6/39nI=");
    let text = "{\"t\":\"Euro € 😀\"}".as_bytes();
    check(K1, "msg_utf8", time, text, "v1,KlYpNvO+tTtgArqNZhONlakR6PBocvmrVVwrSuyqe9Y=");
    let pair = "v1a,dmw1dVnTNS8BwoLrT6bE5vMxw8KfgDirJ+u/PzWfmJ2WSt/3kwngNUlZUhzbcfz8Ax176rFTHcGLSK1ht\
                +FKBg==";
    check(PAIR, id, time, BODY, pair);
    check(SEED, id, time, BODY, pair);
}

#[test]
fn a_public_key_is_shown_and_a_private_one_never() {
    let public = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
    for text in [PAIR, SEED] {
        assert_eq!(key(text).public_key().as_deref(), Some(public));
        assert_eq!(key(text).reveal(), None);
    }
    assert_eq!(key(K1).public_key(), None);
    assert_eq!(key(K1).reveal().as_deref(), Some(K1));
    assert_eq!(Key::new(Scheme::V1a, [3; 32]).scheme(), Scheme::V1a);
    let mut sealed = key(K1);
    sealed.secret_mut().seal(&vault(), "s1");
    assert_eq!(sealed.reveal(), None);
    assert_eq!(format!("{:?}", key(K1)), "V1(Secret(…))");
}

#[test]
fn a_weak_or_malformed_secret_is_refused() {
    let other = PAIR.replace("AAEC", "AAED");
    for bad in ["", "AAECAwQF", "whsec_", "whsec_AAEC", "whsec_*", "whsk_AAEC", "whpk_", &other] {
        assert!(Key::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn keys_overlap_until_the_time_is_over() {
    let (first, second) = (key(K1), key(K2));
    let signed = |keys: &Keys, time: i64| {
        let signatures = keys.sign(&vault(), "s1", "i", at(time), b"").expect("open");
        signatures.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    let alone = |key: &Key, time| signed(&Keys::new(key.clone()), time).remove(0);
    let mut keys = Keys::new(first.clone());
    keys.rotate(second.clone(), Duration::from_secs(10), at(100));
    let check = |time: i64, both: bool| {
        let mut expected = vec![alone(&second, time)];
        expected.extend(both.then(|| alone(&first, time)));
        assert_eq!(signed(&keys, time), expected, "at {time}");
        assert_eq!(keys.overlap_until(at(time)), both.then(|| at(110)), "at {time}");
    };
    check(100, true);
    check(109, true);
    check(110, false);
    check(111, false);
    keys.forget(at(109));
    assert_eq!(keys.older.len(), 1);
    keys.forget(at(110));
    assert_eq!(keys, Keys::new(second));
}

#[test]
fn a_rotation_without_overlap_replaces_at_once_and_many_are_bounded() {
    let mut keys = Keys::new(key(K1));
    keys.rotate(key(K2), Duration::ZERO, at(0));
    assert_eq!(keys, Keys::new(key(K2)));
    for number in 0..9 {
        let next = Key::new(Scheme::V1, [number; 32]);
        keys.rotate(next, OVERLAP_MAX + OVERLAP_MAX, at(0));
    }
    assert_eq!(keys.older.len(), OLDER_MAX);
    assert_eq!(keys.overlap_until(at(0)), Some(after(at(0), OVERLAP_MAX)));
    assert_eq!(keys.older[0].0, Key::new(Scheme::V1, [7; 32]));
}

#[test]
fn the_same_key_again_changes_nothing_but_a_shorter_overlap_holds_for_all() {
    let mut keys = Keys::new(key(K1));
    keys.rotate(key(K2), Duration::from_secs(10), at(0));
    keys.rotate(key(PAIR), Duration::from_secs(100), at(1));
    let before = keys.clone();
    assert_eq!(keys.older, [(key(K2), at(101)), (key(K1), at(10))]);
    keys.rotate(key(PAIR), Duration::from_secs(100), at(2));
    assert_eq!(keys, before);
    let mut again = Keys::new(key(PAIR));
    again.resume(&before);
    assert_eq!(again, before);
    let mut other = Keys::new(key(K1));
    other.resume(&before);
    assert_eq!(other, Keys::new(key(K1)));
    keys.rotate(key(K2), Duration::from_secs(5), at(3));
    assert_eq!(keys.older, [(key(PAIR), at(8)), (key(K1), at(8))]);
    keys.rotate(key(SEED), Duration::ZERO, at(4));
    assert_eq!(keys, Keys::new(key(PAIR)));
}

#[test]
fn an_older_key_that_cannot_be_opened_is_left_out() {
    let mut keys = Keys::new(key(K1));
    keys.secrets_mut().for_each(|secret| secret.seal(&Vault::new(&[9; 32]), "s1"));
    assert!(keys.sign(&vault(), "s1", "i", at(5), b"").is_err());
    keys.rotate(key(K2), Duration::from_secs(10), at(0));
    let alone = Keys::new(key(K2));
    let sign = |keys: &Keys| keys.sign(&vault(), "s1", "i", at(5), b"");
    assert_eq!(sign(&keys), sign(&alone));
}
