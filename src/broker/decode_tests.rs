//! Malformed packets get a reason, never a panic and never a half-right reading.

use proptest::prelude::*;

use super::*;

const CONNECT_V4: &[u8] = b"\0\x04MQTT\x04\xc6\0\x3c\0\x02id\0\x01w\0\x02hi\0\x04user\0\x06secret";
const CONNECT_V5: &[u8] = b"\0\x04MQTT\x05\xc6\0\x3c\x03\x21\0\x0a\0\x02id\
    \x05\x18\0\0\0\x01\0\x01w\0\x02hi\0\x04user\0\x06secret";
const PUBLISH_V5: &[u8] = b"\0\x01a\0\x07\x10\x01\x01\x03\0\x01t\x26\0\x01k\0\x01v\x09\0\0ohi!";

/// A packet: its first byte, the length, the body.
fn packed(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).expect("the samples are small");
    [&[first, length], body].concat()
}

/// Reads all packets in the bytes as a session does; how many there were, or why it stopped.
fn read(bytes: &[u8], version: Version) -> Result<usize, Reason> {
    let mut input = BytesMut::from(bytes);
    let mut count = 0;
    while let Some(frame) = Frame::take(&mut input, 1 << 20)? {
        match frame.kind {
            Kind::Connect => match level(&frame)? {
                Level::Known(version) => drop(connect(&frame, version)?),
                Level::TooOld | Level::TooNew => return Err(Reason::UNSUPPORTED_VERSION),
            },
            _ => drop(packet(&frame, version)?),
        }
        count += 1;
    }
    Ok(count)
}

fn valid() -> Vec<(Version, Vec<u8>)> {
    use Version::{V4, V5};
    let samples: [(Version, u8, &[u8]); 16] = [
        (V4, 0x10, CONNECT_V4),
        (V5, 0x10, CONNECT_V5),
        (V4, 0x30, b"\0\x01ahi"),
        (V4, 0x3B, b"\0\x01a\0\x07hi"),
        (V5, 0x32, PUBLISH_V5),
        (V4, 0x40, b"\0\x01"),
        (V5, 0x40, b"\0\x01\x10"),
        (V5, 0x40, b"\0\x01\x10\x04\x1f\0\x01x"),
        (V4, 0x82, b"\0\x01\0\x03a/+\x01"),
        (V5, 0x82, b"\0\x01\x07\x26\0\x01k\0\x01v\0\x03a/+\x05"),
        (V4, 0xA2, b"\0\x01\0\x03a/+"),
        (V5, 0xA2, b"\0\x01\0\0\x03a/+"),
        (V4, 0xC0, b""),
        (V5, 0xE0, b""),
        (V5, 0xE0, b"\x04"),
        (V5, 0xE0, b"\x04\0"),
    ];
    samples.map(|(version, first, body)| (version, packed(first, body))).to_vec()
}

#[test]
fn valid_packets_are_read() {
    for (version, bytes) in valid() {
        assert_eq!(read(&bytes, version), Ok(1), "{bytes:02x?}");
    }
}

#[test]
fn a_truncated_packet_is_waited_for_or_refused() {
    for (version, bytes) in valid() {
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length], version), Ok(0), "{:02x?}", &bytes[..length]);
        }
        for keep in 0..bytes.len() - 2 {
            let short = packed(bytes[0], &bytes[2..2 + keep]);
            // Only PUBLISH, PUBACK and DISCONNECT have a tail that may be shorter.
            let tail_is_optional = matches!(bytes[0] >> 4, 3 | 4 | 14);
            let answer = read(&short, version);
            assert!(answer.is_err() || tail_is_optional, "{short:02x?}: {answer:?}");
        }
    }
}

#[test]
fn malformed_packets_are_refused_with_the_right_reason() {
    use Version::{V4, V5};
    let check = |version, bytes: &[u8], expected| {
        assert_eq!(read(bytes, version), Err(expected), "{bytes:02x?}");
    };
    check(V4, b"\x32\x05\0\x01a\0\0", Reason::PROTOCOL);
    check(V4, b"\x30\x04\0\x02\xff\xfe", Reason::MALFORMED);
    check(V4, b"\x30\x03\0\x01\0", Reason::MALFORMED);
    check(V5, b"\x30\x06\0\x01a\x09hi", Reason::MALFORMED);
    check(V5, b"\x30\x07\0\x01a\x03\x23\0\x01", Reason::TOPIC_ALIAS);
    check(V5, b"\x30\x06\0\x01a\x02\x0b\x01", Reason::MALFORMED);
    check(V5, b"\x30\x06\0\x01a\x02\x01\x02", Reason::PROTOCOL);
    check(V5, b"\x30\x08\0\x01a\x04\x08\0\x01#", Reason::PROTOCOL);
    check(V4, b"\x40\x02\0\0", Reason::PROTOCOL);
    check(V4, b"\x40\x03\0\x01\0", Reason::MALFORMED);
    check(V4, b"\x82\x02\0\x01", Reason::PROTOCOL);
    check(V4, b"\x82\x06\0\x01\0\x01a\x03", Reason::MALFORMED);
    check(V4, b"\x82\x06\0\x01\0\x01a\x04", Reason::MALFORMED);
    check(V5, b"\x82\x09\0\x01\x02\x0b\x05\0\x01a\x01", Reason::SUBSCRIPTION_IDS);
    check(V5, b"\x82\x07\0\x01\0\0\x01a\x31", Reason::MALFORMED);
    check(V4, b"\x82\x06\0\0\0\x01a\x01", Reason::PROTOCOL);
    check(V4, b"\xa2\x02\0\x01", Reason::PROTOCOL);
    check(V4, b"\xa2\x01\0", Reason::MALFORMED);
    check(V4, b"\xc0\x01\0", Reason::MALFORMED);
    check(V4, b"\xe0\x01\0", Reason::MALFORMED);
    check(V4, b"\x10\x0c\0\x04MQTX\x04\x02\0\x3c\0\0", Reason::PROTOCOL);
    check(V4, b"\x10\x0c\0\x04MQTT\x03\x02\0\x3c\0\0", Reason::UNSUPPORTED_VERSION);
    check(V4, b"\x10\x0c\0\x04MQTT\x06\x02\0\x3c\0\0", Reason::UNSUPPORTED_VERSION);
    check(V4, b"\x10\x0c\0\x04MQTT\x04\x03\0\x3c\0\0", Reason::MALFORMED);
    check(V4, b"\x10\x0c\0\x04MQTT\x04\x22\0\x3c\0\0", Reason::MALFORMED);
    check(V4, b"\x10\x0c\0\x04MQTT\x04\x42\0\x3c\0\0", Reason::MALFORMED);
    check(V4, b"\x10\x10\0\x04MQTT\x04\xc2\0\x3c\0\0\0\0\0\x01", Reason::MALFORMED);
    check(V4, b"\x10\x11\0\x04MQTT\x04\xc2\0\x3c\0\0\0\0\0\x01\xff", Reason::CREDENTIALS);
    check(V5, b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\x03\x21\0\0\0\0", Reason::PROTOCOL);
    check(
        V5,
        b"\x10\x11\0\x04MQTT\x05\x02\0\x3c\x04\x15\0\x01x\0\0",
        Reason::AUTHENTICATION_METHOD,
    );
}

#[test]
fn a_publish_is_read_as_it_was_sent() {
    let mut input = BytesMut::from(&packed(0x3B, PUBLISH_V5)[..]);
    let frame = Frame::take(&mut input, 100).expect("well framed").expect("whole");
    let Ok(Packet::Publish(publish)) = packet(&frame, Version::V5) else { panic!("a PUBLISH") };
    assert_eq!((publish.qos, publish.id, publish.retain), (1, 7, true));
    assert_eq!((publish.topic, publish.payload), ("a", b"ohi!".as_slice()));
    assert_eq!((publish.utf8, publish.content_type), (true, Some("t")));
    assert_eq!(publish.correlation_data, Some(b"".as_slice()));
    assert_eq!(publish.user_properties, [("k", "v")]);
}

#[test]
fn a_connect_is_read_with_its_will_and_login() {
    for (version, body) in [(Version::V4, CONNECT_V4), (Version::V5, CONNECT_V5)] {
        let bytes = packed(0x10, body);
        let frame =
            Frame::take(&mut BytesMut::from(&bytes[..]), 100).expect("framed").expect("whole");
        let hello = connect(&frame, version).expect("valid");
        assert_eq!((hello.connect.client_id.as_str(), hello.connect.keep_alive), ("id", 60));
        let will = hello.will.expect("a will");
        assert_eq!((&will.topic[..], &will.message[..]), (b"w".as_slice(), b"hi".as_slice()));
        assert_eq!(hello.login.expect("a login").password, "secret");
    }
}

fn version() -> impl Strategy<Value = Version> {
    any::<bool>().prop_map(|five| if five { Version::V5 } else { Version::V4 })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        version in version(),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = read(&bytes, version);
    }

    #[test]
    fn a_packet_with_a_random_body_never_panics(
        version in version(),
        first in prop::sample::select(vec![0x10u8, 0x30, 0x32, 0x34, 0x40, 0x82, 0xA2, 0xC0, 0xE0]),
        body in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let _ = read(&packed(first, &body), version);
    }

    #[test]
    fn a_packet_with_flipped_bytes_never_panics(
        version in version(),
        which in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let samples = valid();
        let mut bytes = which.get(&samples).1.clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(&bytes, version);
    }
}
