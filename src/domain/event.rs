//! An event: CloudEvents 1.0 attributes, a routing topic, and data bytes that are never
//! re-serialised.

use std::borrow::Cow;

use bytes::Bytes;
use smol_str::SmolStr;

use super::attribute::Value;
use super::topic::Topic;

/// The CloudEvents version that the hub speaks.
pub const SPEC_VERSION: &str = "1.0";

/// Something that happened, as its publisher told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `id`: unique within `source`.
    pub id: SmolStr,
    /// `source`: a URI-reference; (`source`, `id`) is what de-duplication goes by.
    pub source: SmolStr,
    /// `type`.
    pub kind: SmolStr,
    /// `subject`.
    pub subject: Option<SmolStr>,
    /// `time`, as the publisher wrote it (offset and precision kept).
    pub time: Option<SmolStr>,
    /// `datacontenttype`.
    pub datacontenttype: Option<SmolStr>,
    /// `dataschema`.
    pub dataschema: Option<SmolStr>,
    /// Extension attributes in the order in which they came.
    pub extensions: Vec<(SmolStr, Value)>,
    /// The topic that the event is routed by.
    pub topic: Topic,
    /// The data, if there is any.
    pub data: Option<Data>,
    /// How the event came in.
    pub origin: Origin,
    /// What MQTT said beside topic and payload, if the event came by MQTT.
    pub message: Option<Box<Message>>,
}

/// The bytes of an event's data and what they are known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// The bytes as they came in.
    pub bytes: Bytes,
    /// What they are, found out once at ingest.
    pub form: Form,
}

/// What data bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One valid JSON text.
    Json,
    /// UTF-8 text.
    Text,
    /// Anything else.
    Binary,
}

/// How an event came in. MQTT receivers get raw events as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// As a CloudEvent: its attributes are the publisher's own.
    CloudEvent,
    /// As plain bytes on a topic: `id`, `source` and perhaps `type` were made by the hub.
    Raw,
}

/// What MQTT says about a publish beside its topic and payload. Passed on to MQTT receivers, but
/// for the publisher.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The client that published, told apart from all clients of other owners.
    pub publisher: SmolStr,
    /// The publisher's quality of service, 0 to 2.
    pub qos: u8,
    /// Payload format indicator: the payload is UTF-8 text.
    pub utf8: bool,
    /// Response topic of a request.
    pub response_topic: Option<SmolStr>,
    /// Correlation data of a request.
    pub correlation_data: Option<Bytes>,
    /// User properties in order, without those that are attributes of the event.
    pub user_properties: Vec<(SmolStr, SmolStr)>,
}

impl Data {
    /// Finds out what data bytes are, given the media type that they are said to have.
    /// Without a media type, valid JSON counts as JSON and other UTF-8 as text.
    pub fn judge(bytes: Bytes, media_type: Option<&str>) -> Self {
        let json_allowed = media_type.is_none_or(is_json);
        let text_allowed = media_type.is_none_or(is_text);
        let form = if json_allowed && is_json_text(&bytes) {
            Form::Json
        } else if text_allowed && std::str::from_utf8(&bytes).is_ok() {
            Form::Text
        } else {
            Form::Binary
        };
        Self { bytes, form }
    }
}

impl Event {
    /// An attribute's canonical string by its CloudEvents name; `topic` is the routing topic.
    pub fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        let text = match name {
            "id" => Some(self.id.as_str()),
            "source" => Some(self.source.as_str()),
            "type" => Some(self.kind.as_str()),
            "specversion" => Some(SPEC_VERSION),
            "subject" => self.subject.as_deref(),
            "time" => self.time.as_deref(),
            "datacontenttype" => self.datacontenttype.as_deref(),
            "dataschema" => self.dataschema.as_deref(),
            "topic" => Some(self.topic.as_str()),
            extension => return self.extension(extension).map(Value::canonical),
        };
        text.map(Cow::Borrowed)
    }

    /// An extension attribute by name.
    pub fn extension(&self, name: &str) -> Option<&Value> {
        self.extensions.iter().find(|(held, _)| held == name).map(|(_, value)| value)
    }

    /// The attributes of the event in printing order, `specversion` first, without
    /// `datacontenttype`. The topic is printed where it does not follow from a CloudEvent's type.
    pub fn attributes(&self) -> Vec<(&str, Cow<'_, Value>)> {
        let text = |value: &str| Cow::Owned(Value::String(value.into()));
        let mut all = vec![
            ("specversion", text(SPEC_VERSION)),
            ("id", text(&self.id)),
            ("source", text(&self.source)),
            ("type", text(&self.kind)),
        ];
        let optional =
            [("subject", &self.subject), ("time", &self.time), ("dataschema", &self.dataschema)];
        all.extend(
            optional.into_iter().filter_map(|(name, value)| Some((name, text(value.as_deref()?)))),
        );
        all.extend(
            self.extensions.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(value))),
        );
        let implied =
            self.origin == Origin::CloudEvent && self.kind.replace('.', "/") == self.topic.as_str();
        if !implied && self.extension("topic").is_none() {
            all.push(("topic", text(self.topic.as_str())));
        }
        all
    }

    /// Bytes that the event holds in memory, roughly.
    pub fn weight(&self) -> usize {
        let data = self.data.as_ref().map_or(0, |data| data.bytes.len());
        let extensions: usize = self
            .extensions
            .iter()
            .map(|(name, value)| name.len() + value.canonical().len() + 48)
            .sum();
        let message = self.message.as_ref().map_or(0, |message| message.weight());
        data + extensions
            + message
            + self.id.len()
            + self.source.len()
            + self.kind.len()
            + self.topic.as_str().len()
            + 320
    }
}

impl Message {
    fn weight(&self) -> usize {
        let pairs = self.user_properties.iter().map(|(name, value)| name.len() + value.len() + 48);
        self.publisher.len()
            + self.response_topic.as_ref().map_or(0, SmolStr::len)
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + pairs.sum::<usize>()
            + 112
    }
}

/// Whether a media type says JSON: `*/json` or `*/*+json`, whatever its case and parameters.
pub fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// Whether a media type is one whose data CloudEvents' JSON format carries as a string.
fn is_text(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.starts_with("text/") || essence.ends_with("/xml") || essence.ends_with("+xml")
}

fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json_text(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}
