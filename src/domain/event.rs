//! An event: CloudEvents 1.0 attributes, a routing topic, and data bytes that are never
//! re-serialised.

use std::borrow::Cow;

use bytes::Bytes;

use super::attribute::{self, Value, check_text};
use super::topic::Topic;
use super::{Invalid, Timestamp};

/// The CloudEvents version that the hub speaks.
pub const SPEC_VERSION: &str = "1.0";

/// Something that happened, as its publisher told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `id`: unique within `source`.
    pub id: String,
    /// `source`: a URI-reference; (`source`, `id`) is what de-duplication goes by.
    pub source: String,
    /// `type`.
    pub kind: String,
    /// `subject`.
    pub subject: Option<String>,
    /// `time`, as the publisher wrote it (offset and precision kept).
    pub time: Option<String>,
    /// `datacontenttype`.
    pub datacontenttype: Option<String>,
    /// `dataschema`.
    pub dataschema: Option<String>,
    /// Extension attributes in the order in which they came.
    pub extensions: Vec<(String, Value)>,
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
    pub publisher: String,
    /// The publisher's quality of service, 0 to 2.
    pub qos: u8,
    /// Payload format indicator: the payload is UTF-8 text.
    pub utf8: bool,
    /// Response topic of a request.
    pub response_topic: Option<String>,
    /// Correlation data of a request.
    pub correlation_data: Option<Bytes>,
    /// User properties in order, without those that are attributes of the event.
    pub user_properties: Vec<(String, String)>,
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
        let text = |value: &str| Cow::Owned(Value::String(value.to_owned()));
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
            + self.response_topic.as_ref().map_or(0, String::len)
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + pairs.sum::<usize>()
            + 112
    }
}

/// Collects attributes by name, checks them, and makes an event of them.
#[derive(Debug, Default)]
pub struct Draft {
    core: [Option<String>; 8],
    extensions: Vec<(String, Value)>,
}

const CORE: [&str; 8] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];

impl Draft {
    /// Sets one attribute. A name may be set once.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), Invalid> {
        attribute::check_name(name)?;
        let at = format!("/{name}");
        let text = value.canonical();
        check_text(name, &text)?;
        if let Some(slot) = CORE.iter().position(|core| *core == name) {
            let Value::String(text) = value else {
                return Err(Invalid::new(at, "must be a string"));
            };
            return match self.core[slot].replace(text) {
                None => Ok(()),
                Some(_) => Err(Invalid::new(at, "is given twice")),
            };
        }
        if self.extensions.iter().any(|(held, _)| held == name) {
            return Err(Invalid::new(at, "is given twice"));
        }
        if self.extensions.len() == attribute::EXTENSIONS_MAX {
            return Err(Invalid::new(at, "an event has at most 64 extension attributes"));
        }
        self.extensions.push((name.to_owned(), value));
        Ok(())
    }

    /// Whether an attribute was set.
    pub fn has(&self, name: &str) -> bool {
        match CORE.iter().position(|core| *core == name) {
            Some(slot) => self.core[slot].is_some(),
            None => self.extensions.iter().any(|(held, _)| held == name),
        }
    }

    /// The media type set so far.
    pub fn media_type(&self) -> Option<&str> {
        self.core[6].as_deref()
    }

    /// Makes the event, with no `message`. The topic is the one given here, else the attribute
    /// `topic`, else it follows from the type.
    pub fn finish(
        self,
        data: Option<Data>,
        topic: Option<Topic>,
        origin: Origin,
    ) -> Result<Event, Invalid> {
        let Self { core, extensions } = self;
        let [version, id, source, kind, subject, time, datacontenttype, dataschema] = core;
        let required = |name: &str, value: Option<String>| {
            value.ok_or_else(|| Invalid::new(format!("/{name}"), "is required"))
        };
        if required("specversion", version)? != SPEC_VERSION {
            return Err(Invalid::new("/specversion", "must be \"1.0\""));
        }
        let id = required("id", id)?;
        let source = required("source", source)?;
        let kind = required("type", kind)?;
        check_reference(&source).map_err(|error| error.under("/source"))?;
        if let Some(text) = &dataschema {
            check_uri(text).map_err(|error| error.under("/dataschema"))?;
        }
        if let Some(text) = &time {
            check_time(text).map_err(|error| error.under("/time"))?;
        }
        let topic = match (topic, extensions.iter().find(|(name, _)| name == "topic")) {
            (Some(topic), _) => topic,
            (None, Some((_, value))) => {
                Topic::parse(&value.canonical()).map_err(|error| error.under("/topic"))?
            }
            (None, None) => Topic::of_type(&kind).map_err(|error| error.under("/type"))?,
        };
        Ok(Event {
            id,
            source,
            kind,
            subject,
            time,
            datacontenttype,
            dataschema,
            extensions,
            topic,
            data,
            origin,
            message: None,
        })
    }
}

/// Checks a timestamp: what jiff reads and RFC 3339 (section 5.6) writes. Jiff takes more.
fn check_time(text: &str) -> Result<(), Invalid> {
    match is_date_time(text.as_bytes()) && text.parse::<Timestamp>().is_ok() {
        true => Ok(()),
        false => Err(Invalid::new("", "must be a timestamp as in RFC 3339")),
    }
}

/// The shape of RFC 3339's `date-time`. Whether there is such a day is not looked at.
fn is_date_time(text: &[u8]) -> bool {
    let is = |text: &[u8], shape: &[u8]| {
        let fits = |(byte, shape): (&u8, &u8)| match shape {
            b'0' => byte.is_ascii_digit(),
            _ => byte.eq_ignore_ascii_case(shape),
        };
        text.len() == shape.len() && text.iter().zip(shape).all(fits)
    };
    let Some((seconds, mut rest)) = text.split_at_checked(b"0000-00-00T00:00:00".len()) else {
        return false;
    };
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        rest = &fraction[digits..];
    }
    let offset = is(rest, b"Z") || is(rest, b"+00:00") || is(rest, b"-00:00");
    is(seconds, b"0000-00-00T00:00:00") && offset
}

/// Checks a URI-reference by its characters: none that RFC 3986 (appendix C) sets URIs off with.
fn check_reference(text: &str) -> Result<(), Invalid> {
    let foreign = |c: char| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c);
    match text.contains(foreign) {
        true => Err(Invalid::new("", "must be a URI-reference (RFC 3986 section 4.1)")),
        false => Ok(()),
    }
}

/// Checks an absolute URI.
fn check_uri(text: &str) -> Result<(), Invalid> {
    match check_reference(text).is_ok() && url::Url::parse(text).is_ok() {
        true => Ok(()),
        false => Err(Invalid::new("", "must be an absolute URI (RFC 3986 section 4.3)")),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, text: &str) -> Result<Event, Invalid> {
        let mut draft = Draft::default();
        let base = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "a.b")];
        let others = base.into_iter().filter(|(held, _)| *held != name);
        for (name, text) in others.chain([(name, text)]) {
            draft.set(name, Value::String(text.to_owned()))?;
        }
        draft.finish(None, None, Origin::CloudEvent)
    }

    fn check(name: &str, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(made(name, text).is_ok(), "{name}: {text}");
        }
        for text in bad {
            let error = made(name, text).expect_err(text);
            assert_eq!(error.pointer, format!("/{name}"), "{text}");
        }
    }

    #[test]
    fn a_time_is_written_as_rfc_3339_has_it() {
        let good = [
            "2026-03-01T12:00:00Z",
            "2026-03-01t12:00:00z",
            "2026-03-01T12:00:00.120+02:00",
            "2026-03-01T12:00:00.123456789-00:30",
        ];
        let bad = [
            "yesterday",
            "2026-03-01",
            "2026-03-01T12:00Z",
            "2026-03-01T12:00:00",
            "2026-03-01 12:00:00Z",
            "2026-03-01T12:00:00,5Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00+02",
            "2026-03-01T12:00:00+0200",
            "2026-03-01T12:00:00+02:00[Europe/Berlin]",
            "20260301T120000Z",
            "+002026-03-01T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-02-30T12:00:00Z",
        ];
        check("time", &good, &bad);
    }

    #[test]
    fn a_source_is_a_reference_and_a_schema_a_whole_uri() {
        let good = ["/s", "s", "tag:a,2026:b", "http:anonymous", "https://a/b?c=%20#d", "//h/p"];
        let bad = ["a b", "<a>", "a\"b", "{a}", "a|b", "a\\b", "a^b", "a`b", "a\u{a0}b"];
        check("source", &good, &bad);
        let good = ["https://a.lan/s.json", "urn:schema:1", "tag:a,2026:b"];
        check("dataschema", &good, &["s.json", "/s", "//a/b", "https://a b/", " urn:a", "http://"]);
    }
}
