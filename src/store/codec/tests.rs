//! Round trips, golden bytes and damage, for each record and version.

use std::sync::Arc;

use proptest::prelude::*;

use super::round_trip::older;
use super::samples::{event, every_kind, every_variant, subscription};
use super::*;
use crate::domain::event::{Event, Origin};
use crate::domain::record::Record;

#[test]
fn origin_and_message_are_independent() {
    for origin in [Origin::CloudEvent, Origin::Raw] {
        for message in [None, event().message] {
            let event = Record::Event(Arc::new(Event { origin, message, ..event() }));
            assert_eq!(from_bytes(&to_bytes(&event)).expect("own bytes"), event);
        }
    }
}

#[test]
fn every_record_reads_back_as_it_was_written() {
    let mut bytes = Vec::new();
    let records = every_variant();
    records.iter().for_each(|record| encode(record, &mut bytes));
    let mut rest = bytes.as_slice();
    for record in &records {
        assert_eq!(&decode(&mut rest).expect("own bytes"), record);
    }
    assert!(rest.is_empty());
}

/// If this fails, the format of a frozen version was changed: append a new version instead. Version
/// 1 of what is written in version 2 by now is kept by the corpus.
#[test]
fn the_bytes_of_each_version_never_change() {
    let digests: Vec<u32> =
        every_kind().iter().map(|record| crc32fast::hash(&to_bytes(record))).collect();
    assert_eq!(digests, GOLDEN, "digests of the records' bytes");
    assert_eq!(
        to_bytes(&Record::Settled { subscription: 7, offset: 8 }),
        [7, 1, 12, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]
    );
    let before = older(2, 1, &subscription_v1::Subscription::from(&subscription()));
    assert_eq!(crc32fast::hash(&before), 2236806409, "version 1 of the subscription");
    let before = older(2, 4, &subscription_v4::Subscription::from(&subscription()));
    assert_eq!(crc32fast::hash(&before), 1442486754, "version 4 of the subscription");
    let before = older(2, 3, &subscription_v3::Subscription::from(&subscription()));
    assert_eq!(crc32fast::hash(&before), 4215143216, "version 3 of the subscription");
    let Record::Retry(retry) = &every_kind()[5] else { panic!("a retry") };
    let before = older(6, 1, &delivery_v1::Retry::from(&**retry));
    assert_eq!(crc32fast::hash(&before), 152468493, "version 1 of the retry");
    let Record::DeadLetter(letter) = &every_kind()[7] else { panic!("a dead letter") };
    let before = older(8, 2, &delivery_v2::DeadLetter::from(&**letter));
    assert_eq!(crc32fast::hash(&before), 1861799791, "version 2 of the dead letter");
    let Record::Progress(progress) = &every_kind()[8] else { panic!("progress") };
    let before = older(9, 1, &delivery_v1::Progress::from(&**progress));
    assert_eq!(crc32fast::hash(&before), 3203946432, "version 1 of progress");
    let before = older(2, 2, &subscription_v2::Subscription::from(&subscription()));
    assert_eq!(crc32fast::hash(&before), 3804922923, "version 2 of the subscription");
    let Record::Subscription(held) = from_bytes(&before).expect("read for ever") else { panic!() };
    assert_eq!(*held, subscription());
    let versions: Vec<u8> = every_kind().iter().map(|record| to_bytes(record)[1]).collect();
    assert_eq!(versions, [1, 5, 1, 1, 1, 2, 1, 3, 2, 1, 1, 1, 1]);
}

const GOLDEN: [u32; 13] = [
    3993736264, 844451710, 1070838733, 2962477996, 3814128581, 623815784, 30158744, 3621440166,
    291781136, 3818356153, 366134586, 2713317418, 3398322658,
];

#[test]
fn an_unknown_version_is_refused_with_the_release_it_needs() {
    let mut bytes = to_bytes(&every_kind()[0]);
    bytes[1] = 2;
    let error = from_bytes(&bytes).expect_err("newer");
    assert_eq!(error, Error::Newer { kind: 1, version: 2 });
    assert!(error.to_string().contains("newer release"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = from_bytes(&bytes);
    }

    #[test]
    fn a_damaged_record_never_panics(which in 0usize..13, at in 0usize..400, bit in 0u8..8) {
        let mut bytes = to_bytes(&every_kind()[which]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = from_bytes(&bytes);
    }
}
