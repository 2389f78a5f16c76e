//! Version 1 of the event record. Frozen: never changed, only followed by a version 2.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Error, envelope};
use crate::domain::attribute::Value;
use crate::domain::event::{self, Form, Message, Origin};
use crate::domain::topic::Topic;

/// An event's attributes. Its data follows as the bytes that came in.
#[derive(Deserialize)]
struct Event<'a> {
    id: SmolStr,
    source: SmolStr,
    kind: SmolStr,
    subject: Option<SmolStr>,
    time: Option<SmolStr>,
    datacontenttype: Option<SmolStr>,
    dataschema: Option<SmolStr>,
    extensions: Vec<(SmolStr, Extension)>,
    topic: &'a str,
    data: Option<DataForm>,
    raw: bool,
    message: Option<MqttMessage>,
}

#[derive(Serialize, Deserialize)]
enum Extension {
    Boolean(bool),
    Integer(i32),
    String(SmolStr),
}

#[derive(Serialize, Deserialize)]
enum DataForm {
    Json,
    Text,
    Binary,
}

#[derive(Serialize, Deserialize)]
struct MqttMessage {
    publisher: SmolStr,
    qos: u8,
    utf8: bool,
    response_topic: Option<SmolStr>,
    correlation_data: Option<Vec<u8>>,
    user_properties: Vec<(SmolStr, SmolStr)>,
}

/// The same as it is written: the bytes are those of `Event`, borrowed.
#[derive(Serialize)]
struct Borrowed<'a> {
    id: &'a str,
    source: &'a str,
    kind: &'a str,
    subject: Option<&'a str>,
    time: Option<&'a str>,
    datacontenttype: Option<&'a str>,
    dataschema: Option<&'a str>,
    extensions: Vec<(&'a str, Extension)>,
    topic: &'a str,
    data: Option<DataForm>,
    raw: bool,
    message: Option<MqttMessage>,
}

pub(super) fn write_event(event: &event::Event, out: &mut Vec<u8>) {
    let header = Borrowed::from(event);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    envelope::body(envelope::EVENT, &header, out);
    let length = u32::try_from(out.len() - start - 4).expect("attributes are bounded at ingest");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    if let Some(data) = &event.data {
        out.extend_from_slice(&data.bytes);
    }
}

pub(super) fn read_event(body: &[u8]) -> Result<event::Event, Error> {
    let malformed = || Error::Malformed("an event ends too early".to_owned());
    let (length, rest) = body.split_first_chunk::<4>().ok_or_else(malformed)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| malformed())?;
    let (header, data) = rest.split_at_checked(length).ok_or_else(malformed)?;
    let held: Event<'_> = envelope::read(header)?;
    let bytes = |form| event::Data { bytes: Bytes::copy_from_slice(data), form };
    let value = |value| match value {
        Extension::Boolean(flag) => Value::Boolean(flag),
        Extension::Integer(number) => Value::Integer(number),
        Extension::String(text) => Value::String(text),
    };
    Ok(event::Event {
        id: held.id,
        source: held.source,
        kind: held.kind,
        subject: held.subject,
        time: held.time,
        datacontenttype: held.datacontenttype,
        dataschema: held.dataschema,
        extensions: held.extensions.into_iter().map(|(name, held)| (name, value(held))).collect(),
        topic: Topic::parse(held.topic)?,
        data: held.data.map(|form| match form {
            DataForm::Json => bytes(Form::Json),
            DataForm::Text => bytes(Form::Text),
            DataForm::Binary => bytes(Form::Binary),
        }),
        origin: if held.raw { Origin::Raw } else { Origin::CloudEvent },
        message: held.message.map(|message| Box::new(message.into())),
    })
}

impl From<MqttMessage> for Message {
    fn from(held: MqttMessage) -> Self {
        Self {
            publisher: held.publisher,
            qos: held.qos,
            utf8: held.utf8,
            response_topic: held.response_topic,
            correlation_data: held.correlation_data.map(Bytes::from),
            user_properties: held.user_properties,
        }
    }
}

impl From<&Message> for MqttMessage {
    fn from(message: &Message) -> Self {
        Self {
            publisher: message.publisher.clone(),
            qos: message.qos,
            utf8: message.utf8,
            response_topic: message.response_topic.clone(),
            correlation_data: message.correlation_data.as_ref().map(|data| data.to_vec()),
            user_properties: message.user_properties.clone(),
        }
    }
}

impl<'a> From<&'a event::Event> for Borrowed<'a> {
    fn from(event: &'a event::Event) -> Self {
        let value = |value: &Value| match value {
            Value::Boolean(flag) => Extension::Boolean(*flag),
            Value::Integer(number) => Extension::Integer(*number),
            Value::String(text) => Extension::String(text.clone()),
        };
        let extensions = event.extensions.iter();
        Self {
            id: &event.id,
            source: &event.source,
            kind: &event.kind,
            subject: event.subject.as_deref(),
            time: event.time.as_deref(),
            datacontenttype: event.datacontenttype.as_deref(),
            dataschema: event.dataschema.as_deref(),
            extensions: extensions.map(|(name, held)| (name.as_str(), value(held))).collect(),
            topic: event.topic.as_str(),
            data: event.data.as_ref().map(|data| match data.form {
                Form::Json => DataForm::Json,
                Form::Text => DataForm::Text,
                Form::Binary => DataForm::Binary,
            }),
            raw: event.origin == Origin::Raw,
            message: event.message.as_deref().map(MqttMessage::from),
        }
    }
}
