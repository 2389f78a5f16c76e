//! A PUBLISH to an event: structured and binary CloudEvents of MQTT 5, everything else raw. The
//! payload's bytes are never re-serialised.

use bytes::Bytes;

use crate::clock;
use crate::domain::Invalid;
use crate::domain::attribute::{Value, check_name, check_text};
use crate::domain::cloudevents;
use crate::domain::event::{Data, Draft, Event, Message, Origin};
use crate::domain::topic::Topic;

use super::decode::Publish;

const STRUCTURED: &str = "application/cloudevents+json";
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
const RAW_TYPE: &str = "mqtt.publish";

/// The source of what a client publishes as plain bytes.
pub(super) fn source(client_id: &str) -> String {
    format!("mqtt:{client_id}")
}

/// Makes the event that a PUBLISH on a topic stands for.
pub(super) fn event(publish: &Publish<'_>, topic: Topic, source: &str) -> Result<Event, Invalid> {
    if publish.utf8 && std::str::from_utf8(publish.payload).is_err() {
        return Err(Invalid::new("", "the payload is not the UTF-8 that its indicator says"));
    }
    if publish.content_type.is_some_and(is_structured) {
        let event = cloudevents::parse_on(publish.payload, topic.clone())?;
        return Ok(route(event, topic));
    }
    let named = |name: &str| publish.user_properties.iter().any(|(held, _)| *held == name);
    if REQUIRED.into_iter().all(named) {
        binary(publish, topic)
    } else {
        raw(publish, topic, source)
    }
}

fn is_structured(content_type: &str) -> bool {
    let start = content_type.get(..STRUCTURED.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(STRUCTURED))
}

fn binary(publish: &Publish<'_>, topic: Topic) -> Result<Event, Invalid> {
    let mut draft = Draft::default();
    for (name, value) in &publish.user_properties {
        if check_name(name).is_ok() {
            draft.set(name, Value::String((*value).to_owned()))?;
        }
    }
    match (publish.content_type, draft.media_type()) {
        (Some(told), None) => draft.set("datacontenttype", Value::String(told.to_owned()))?,
        (Some(told), Some(named)) if told != named => {
            return Err(Invalid::new("/datacontenttype", "differs from the PUBLISH content type"));
        }
        _ => {}
    }
    let data = data(publish, draft.media_type());
    let event = draft.finish(data, Some(topic.clone()), Origin::CloudEvent)?;
    Ok(route(event, topic))
}

fn raw(publish: &Publish<'_>, topic: Topic, source: &str) -> Result<Event, Invalid> {
    let content_type = publish.content_type.filter(|text| !text.is_empty());
    if let Some(content_type) = content_type {
        check_text("datacontenttype", content_type)?;
    }
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let message = Message {
        qos: publish.qos,
        utf8: publish.utf8,
        response_topic: publish.response_topic.map(str::to_owned),
        correlation_data: publish.correlation_data.map(Bytes::copy_from_slice),
        user_properties: publish.user_properties.iter().map(own).collect(),
    };
    Ok(Event {
        id: clock::sortable_id().to_string(),
        source: source.to_owned(),
        kind: RAW_TYPE.to_owned(),
        subject: None,
        time: None,
        datacontenttype: content_type.map(str::to_owned),
        dataschema: None,
        extensions: Vec::new(),
        topic,
        data: data(publish, content_type),
        origin: Origin::Raw(message),
    })
}

/// The payload gets memory of its own: it outlives the buffer that it was read into by far.
fn data(publish: &Publish<'_>, media_type: Option<&str>) -> Option<Data> {
    let bytes = (!publish.payload.is_empty()).then(|| Bytes::copy_from_slice(publish.payload));
    bytes.map(|bytes| Data::judge(bytes, media_type))
}

/// The topic published to wins over the one that the event names.
fn route(mut event: Event, topic: Topic) -> Event {
    if let Some((_, named)) = event.extensions.iter_mut().find(|(name, _)| name == "topic") {
        *named = Value::String(topic.as_str().to_owned());
    }
    event.topic = topic;
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Form;

    const BINARY: [(&str, &str); 4] =
        [("specversion", "1.0"), ("id", "e1"), ("source", "/s"), ("type", "com.example.x")];

    fn topic(text: &str) -> Topic {
        Topic::parse(text).expect(text)
    }

    fn made(publish: &Publish<'_>) -> Result<Event, Invalid> {
        event(publish, topic("plant/1"), "mqtt:c1")
    }

    #[test]
    fn plain_bytes_become_a_raw_event() {
        let publish = Publish {
            qos: 1,
            payload: b"\xff\x00",
            content_type: Some("image/x"),
            correlation_data: Some(b"c"),
            user_properties: vec![("id", "only one of four"), ("Key", "v")],
            ..Publish::default()
        };
        let event = made(&publish).expect("raw");
        assert_eq!((event.source.as_str(), event.kind.as_str()), ("mqtt:c1", "mqtt.publish"));
        assert_eq!(event.datacontenttype.as_deref(), Some("image/x"));
        assert_eq!(event.topic.as_str(), "plant/1");
        let data = event.data.expect("data");
        assert_eq!((&data.bytes[..], data.form), (b"\xff\x00".as_slice(), Form::Binary));
        let Origin::Raw(message) = event.origin else { panic!("raw") };
        assert_eq!((message.qos, message.user_properties.len()), (1, 2));
        assert!(made(&Publish::default()).expect("empty").data.is_none());
    }

    #[test]
    fn user_properties_with_cloudevents_names_are_binary_mode() {
        let mut properties = BINARY.to_vec();
        properties.extend([("Not-An-Attribute", "x"), ("ext", "7"), ("topic", "other/topic")]);
        properties.push(("datacontenttype", "application/json"));
        let mut publish = Publish {
            payload: b"{\"a\": 1}",
            content_type: Some("application/json"),
            user_properties: properties,
            ..Publish::default()
        };
        let event = made(&publish).expect("binary");
        assert_eq!((event.id.as_str(), event.source.as_str()), ("e1", "/s"));
        assert_eq!(event.origin, Origin::CloudEvent);
        assert_eq!(event.topic.as_str(), "plant/1");
        assert_eq!(event.attribute("ext").as_deref(), Some("7"));
        assert_eq!(event.extension("topic"), Some(&Value::String("plant/1".to_owned())));
        assert_eq!(event.data.expect("data").form, Form::Json);
        publish.content_type = Some("text/plain");
        assert!(made(&publish).is_err(), "two content types");
    }

    #[test]
    fn a_structured_event_is_routed_by_the_topic_published_to() {
        let text =
            br#"{"specversion":"1.0","id":"1","source":"s","type":"t","topic":"x","data":[ 1]}"#;
        for content_type in [STRUCTURED, "Application/CloudEvents+JSON; charset=utf-8"] {
            let publish =
                Publish { payload: text, content_type: Some(content_type), ..Publish::default() };
            let event = made(&publish).expect("structured");
            assert_eq!(event.topic.as_str(), "plant/1");
            assert_eq!(event.attribute("topic").as_deref(), Some("plant/1"));
            assert_eq!(&event.data.expect("data").bytes[..], b"[ 1]");
        }
    }

    #[test]
    fn a_malformed_event_is_refused() {
        let structured =
            Publish { payload: b"{}", content_type: Some(STRUCTURED), ..Publish::default() };
        assert!(made(&structured).is_err());
        let mut properties = BINARY.to_vec();
        properties[0].1 = "0.3";
        let version = Publish { user_properties: properties, ..Publish::default() };
        assert!(made(&version).is_err());
        let mut twice = BINARY.to_vec();
        twice.push(("id", "e2"));
        assert!(made(&Publish { user_properties: twice, ..Publish::default() }).is_err());
        let not_text = Publish { utf8: true, payload: b"\xff", ..Publish::default() };
        assert!(made(&not_text).is_err());
        let bad_type = Publish { content_type: Some("a\u{1}"), ..Publish::default() };
        assert!(made(&bad_type).is_err());
    }
}
