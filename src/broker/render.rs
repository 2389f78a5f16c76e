//! An event to what a PUBLISH carries: raw events as they came, CloudEvents in binary mode to
//! MQTT 5 clients and as structured JSON to 3.1.1 clients. Nothing here knows a client.

use std::borrow::Cow;

use bytes::{BufMut, Bytes};

use crate::domain::cloudevents;
use crate::domain::event::{Event, Origin};

use super::wire::Version;

/// The parts of a PUBLISH that follow from the event and the protocol version alone.
#[derive(Debug)]
pub(super) struct Rendered<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: Cow<'a, [u8]>,
    /// The property block of MQTT 5 without its length; empty for 3.1.1.
    pub(super) properties: Vec<u8>,
}

/// Renders an event.
pub(super) fn render(event: &Event, version: Version) -> Rendered<'_> {
    let bytes = event.data.as_ref().map_or(&[][..], |data| &data.bytes);
    let topic = event.topic.as_str();
    let mut properties = Vec::new();
    match (event.origin, version) {
        (Origin::CloudEvent, Version::V4) => {
            return Rendered { topic, payload: cloudevents::print(event).into(), properties };
        }
        (Origin::CloudEvent | Origin::Raw, Version::V5) => describe(event, &mut properties),
        (Origin::Raw, Version::V4) => {}
    }
    Rendered { topic, payload: bytes.into(), properties }
}

/// The quality of service that an event was published with, as far as we go: 0 or 1.
pub(super) fn qos(event: &Event) -> u8 {
    event.message.as_ref().map_or(1, |message| message.qos.min(1))
}

/// The properties of MQTT 5. User properties: a CloudEvent's attributes first, then what its
/// publisher added, in order.
fn describe(event: &Event, out: &mut Vec<u8>) {
    let message = event.message.as_deref();
    if message.is_some_and(|message| message.utf8) {
        out.put_slice(&[1, 1]);
    }
    if let Some(media_type) = &event.datacontenttype {
        text(out, 3, media_type);
    }
    if let Some(topic) = message.and_then(|message| message.response_topic.as_ref()) {
        text(out, 8, topic);
    }
    if let Some(data) = message.and_then(|message| message.correlation_data.as_ref()) {
        binary(out, 9, data);
    }
    if event.origin == Origin::CloudEvent {
        attributes(event, out);
    }
    for (name, value) in message.iter().flat_map(|message| &message.user_properties) {
        pair(out, name, value);
    }
}

fn attributes(event: &Event, out: &mut Vec<u8>) {
    for (name, value) in event.attributes() {
        // The topic is the PUBLISH's own.
        if name != "topic" {
            pair(out, name, &value.canonical());
        }
    }
}

fn text(out: &mut Vec<u8>, id: u8, text: &str) {
    if let Ok(length) = u16::try_from(text.len()) {
        out.put_u8(id);
        out.put_u16(length);
        out.put_slice(text.as_bytes());
    }
}

fn binary(out: &mut Vec<u8>, id: u8, bytes: &Bytes) {
    if let Ok(length) = u16::try_from(bytes.len()) {
        out.put_u8(id);
        out.put_u16(length);
        out.put_slice(bytes);
    }
}

/// A pair too long for MQTT is left out; attributes and what came by MQTT never are.
fn pair(out: &mut Vec<u8>, name: &str, value: &str) {
    if let (Ok(name_length), Ok(length)) = (u16::try_from(name.len()), u16::try_from(value.len())) {
        out.put_u8(38);
        out.put_u16(name_length);
        out.put_slice(name.as_bytes());
        out.put_u16(length);
        out.put_slice(value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::{self, Packet, Publish};
    use super::super::wire::Frame;
    use super::super::{encode, publish};
    use super::*;
    use crate::domain::topic::Topic;
    use bytes::BytesMut;

    /// Sends an event to a client and hands what it receives to `look`.
    fn received(event: &Event, version: Version, look: impl Fn(&Publish<'_>)) {
        let mut out = BytesMut::new();
        let rendered = render(event, version);
        assert!(encode::publish(&mut out, &rendered, version, 1, 7, usize::MAX));
        let frame = Frame::take(&mut out, 1 << 20).expect("well framed").expect("whole");
        let Ok(Packet::Publish(publish)) = decode::packet(&frame, version) else {
            panic!("a PUBLISH that can be read")
        };
        assert_eq!((publish.qos, publish.id), (1, 7));
        look(&publish);
    }

    fn cloudevent() -> Event {
        let text =
            br#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","n":5,"topic":"x/y",
            "datacontenttype":"application/json","data":{"k": 1}}"#;
        cloudevents::parse(text).expect("valid")
    }

    #[test]
    fn a_raw_event_goes_out_as_it_came() {
        let sent = Publish {
            qos: 1,
            payload: b"\x00raw",
            content_type: Some("image/x"),
            response_topic: Some("answers/1"),
            correlation_data: Some(b"c1"),
            user_properties: vec![("b", "2"), ("a", "1"), ("b", "3")],
            ..Publish::default()
        };
        let topic = Topic::parse("plant/1").expect("valid");
        let publisher = publish::Publisher::new(None, "c");
        let event = publish::event(&sent, topic, &publisher).expect("raw");
        received(&event, Version::V5, |got| {
            assert_eq!((got.topic, got.payload), ("plant/1", sent.payload));
            assert_eq!(got.content_type, sent.content_type);
            assert_eq!(got.response_topic, sent.response_topic);
            assert_eq!(got.correlation_data, sent.correlation_data);
            assert_eq!(got.user_properties, sent.user_properties);
        });
        received(&event, Version::V4, |got| {
            assert_eq!((got.topic, got.payload), ("plant/1", sent.payload));
        });
    }

    #[test]
    fn what_mqtt_says_beside_a_cloudevent_is_passed_on() {
        let structured = br#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":1}"#;
        let attributes = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "a.b")];
        let added = [("B", "2"), ("A", "1"), ("B", "3")];
        let mut binary = attributes.to_vec();
        binary.splice(1..1, added);
        for (content_type, payload, user_properties) in [
            (None, &b"1"[..], binary),
            (Some("application/cloudevents+json"), structured, added.to_vec()),
        ] {
            let sent = Publish {
                qos: 0,
                payload,
                utf8: true,
                content_type,
                response_topic: Some("answers/1"),
                correlation_data: Some(b"c1"),
                user_properties,
                ..Publish::default()
            };
            let topic = Topic::parse("a/b").expect("valid");
            let publisher = publish::Publisher::new(None, "c");
            let event = publish::event(&sent, topic, &publisher).expect("a CloudEvent");
            assert_eq!(qos(&event), 0, "as it was published");
            received(&event, Version::V5, |got| {
                assert_eq!((got.payload, got.utf8), (&b"1"[..], true));
                assert_eq!(got.response_topic, sent.response_topic);
                assert_eq!(got.correlation_data, sent.correlation_data);
                assert_eq!(got.user_properties, [&attributes[..], &added].concat());
            });
        }
    }

    #[test]
    fn a_cloudevent_is_binary_for_mqtt_5_and_structured_for_3_1_1() {
        let event = cloudevent();
        received(&event, Version::V5, |got| {
            assert_eq!((got.topic, got.payload), ("x/y", b"{\"k\": 1}".as_slice()));
            assert_eq!(got.content_type, Some("application/json"));
            let expected = [
                ("specversion", "1.0"),
                ("id", "1"),
                ("source", "/s"),
                ("type", "a.b"),
                ("n", "5"),
            ];
            assert_eq!(got.user_properties, expected);
        });
        received(&event, Version::V4, |got| {
            let read = cloudevents::parse(got.payload).expect("structured");
            assert_eq!((read.id, read.topic), (event.id.clone(), event.topic.clone()));
        });
    }

    #[test]
    fn a_packet_over_the_clients_limit_is_not_written() {
        let event = cloudevent();
        let rendered = render(&event, Version::V5);
        let mut out = BytesMut::new();
        assert!(encode::publish(&mut out, &rendered, Version::V5, 0, 0, usize::MAX));
        let size = out.len();
        assert!(encode::publish(&mut out, &rendered, Version::V5, 0, 0, size));
        assert!(!encode::publish(&mut out, &rendered, Version::V5, 0, 0, size - 1));
        assert_eq!(out.len(), 2 * size, "a refused packet leaves nothing behind");
    }
}
