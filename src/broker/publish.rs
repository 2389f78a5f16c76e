//! A PUBLISH to an event: structured and binary CloudEvents of MQTT 5, everything else raw. The
//! payload's bytes are never re-serialised.

use bytes::Bytes;
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use crate::clock;
use crate::domain::Invalid;
use crate::domain::attribute::{Value, check_name, check_text};
use crate::domain::cloudevents;
use crate::domain::draft::Draft;
use crate::domain::event::{Data, Event, Message, Origin};
use crate::domain::topic::Topic;

use super::decode::Publish;

const STRUCTURED: &str = "application/cloudevents+json";
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
const OPTIONAL: [&str; 4] = ["subject", "time", "datacontenttype", "dataschema"];
const RAW_TYPE: &str = "mqtt.publish";

/// Who publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publisher {
    /// The source of what it publishes as plain bytes.
    pub(super) source: SmolStr,
    /// What tells it apart: a client id belongs to its owner.
    pub(super) identity: SmolStr,
}

impl Publisher {
    pub(super) fn new(owner: Option<&str>, client_id: &str) -> Self {
        let source = format_smolstr!("mqtt:{client_id}");
        // No owner's id has a slash in it, so two pairs never make the same text.
        let identity = format_smolstr!("{}/{client_id}", owner.unwrap_or_default());
        Self { source, identity }
    }
}

/// Makes the event that a PUBLISH on a topic stands for.
pub(super) fn event(
    publish: &Publish<'_>,
    topic: Topic,
    publisher: &Publisher,
) -> Result<Event, Invalid> {
    if publish.utf8 && std::str::from_utf8(publish.payload).is_err() {
        return Err(Invalid::new("", "the payload is not the UTF-8 that its indicator says"));
    }
    if publish.content_type.is_some_and(is_structured) {
        let event = cloudevents::parse_on(publish.payload, topic.clone())?;
        let event = route(event, topic);
        let message = message(publish, publisher, &event, |name| is_attribute(&event, name));
        return Ok(Event { message, ..event });
    }
    let named = |name: &str| publish.user_properties.iter().any(|(held, _)| *held == name);
    if REQUIRED.into_iter().all(named) {
        let event = binary(publish, topic)?;
        let message = message(publish, publisher, &event, |name| check_name(name).is_ok());
        Ok(Event { message, ..event })
    } else {
        let event = raw(publish, topic, &publisher.source)?;
        let message = message(publish, publisher, &event, |_| false);
        Ok(Event { message, ..event })
    }
}

/// What is passed on beside the event; user properties that name an attribute are not.
fn message(
    publish: &Publish<'_>,
    publisher: &Publisher,
    event: &Event,
    is_attribute: impl Fn(&str) -> bool,
) -> Option<Box<Message>> {
    let rest = publish.user_properties.iter().filter(|(name, _)| !is_attribute(name));
    let own = |(name, value): &(&str, &str)| (SmolStr::from(*name), SmolStr::from(*value));
    // A structured event is text whatever its data is, which may go out alone.
    let is_text = |data: &Data| std::str::from_utf8(&data.bytes).is_ok();
    Some(Box::new(Message {
        publisher: publisher.identity.clone(),
        qos: publish.qos,
        utf8: publish.utf8 && event.data.as_ref().is_none_or(is_text),
        response_topic: publish.response_topic.map(SmolStr::from),
        correlation_data: publish.correlation_data.map(Bytes::copy_from_slice),
        user_properties: rest.map(own).collect(),
    }))
}

/// Whether a name is an attribute of CloudEvents or an extension of this event. In structured mode
/// such user properties only repeat (MQTT binding 1.0.2, section 3.2) what the event says.
fn is_attribute(event: &Event, name: &str) -> bool {
    OPTIONAL.contains(&name) || event.attribute(name).is_some()
}

fn is_structured(content_type: &str) -> bool {
    let start = content_type.get(..STRUCTURED.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(STRUCTURED))
}

fn binary(publish: &Publish<'_>, topic: Topic) -> Result<Event, Invalid> {
    let mut draft = Draft::default();
    for (name, value) in &publish.user_properties {
        if check_name(name).is_ok() {
            draft.set(name, Value::String((*value).into()))?;
        }
    }
    match (publish.content_type, draft.media_type()) {
        (Some(told), None) => draft.set("datacontenttype", Value::String(told.into()))?,
        (Some(told), Some(named)) if told != named => {
            return Err(Invalid::new("/datacontenttype", "differs from the PUBLISH content type"));
        }
        _ => {}
    }
    let data = data(publish, draft.media_type());
    let event = draft.finish(data, Some(topic.clone()), Origin::CloudEvent)?;
    Ok(route(event, topic))
}

fn raw(publish: &Publish<'_>, topic: Topic, source: &SmolStr) -> Result<Event, Invalid> {
    let content_type = publish.content_type.filter(|text| !text.is_empty());
    if let Some(content_type) = content_type {
        check_text("datacontenttype", content_type)?;
    }
    Ok(Event {
        id: clock::sortable_id().to_smolstr(),
        source: source.clone(),
        kind: SmolStr::new_static(RAW_TYPE),
        subject: None,
        time: None,
        datacontenttype: content_type.map(SmolStr::from),
        dataschema: None,
        extensions: Vec::new(),
        topic,
        data: data(publish, content_type),
        origin: Origin::Raw,
        message: None,
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
        *named = Value::String(topic.as_str().into());
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
        event(publish, topic("plant/1"), &Publisher::new(Some("t1"), "c1"))
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
        assert_eq!(event.origin, Origin::Raw);
        let message = event.message.expect("it came by MQTT");
        assert_eq!((message.qos, message.user_properties.len()), (1, 2));
        assert_eq!(message.publisher, "t1/c1");
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
        assert_eq!(event.extension("topic"), Some(&Value::String("plant/1".into())));
        assert_eq!(event.data.expect("data").form, Form::Json);
        let rest = event.message.expect("it came by MQTT").user_properties;
        assert_eq!(rest, [("Not-An-Attribute".into(), "x".into())]);
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
    fn user_properties_beside_a_structured_event_stay_if_the_event_does_not_say_them() {
        let publish = Publish {
            utf8: true,
            payload: br#"{"specversion":"1.0","id":"1","source":"s","type":"t","ext":1,
                "data_base64":"/w=="}"#,
            content_type: Some(STRUCTURED),
            user_properties: vec![("id", "2"), ("time", "x"), ("ext", "2"), ("trace", "7")],
            ..Publish::default()
        };
        let message = made(&publish).expect("structured").message.expect("it came by MQTT");
        assert_eq!(message.user_properties, [("trace".into(), "7".into())]);
        assert!(!message.utf8, "the data is not UTF-8 though the payload is");
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
