//! The CloudEvents JSON format (1.0.2) and the string encoding of attributes in HTTP headers
//! (HTTP binding 1.0.2, section 3.1.3.2). Data bytes pass through untouched.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::value::RawValue;

use super::Invalid;
use super::attribute::{Value, escape_pointer};
use super::draft::Draft;
use super::event::{Data, Event, Form, Origin};
use super::topic::Topic;

/// Media type of one event in structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";

/// Media type of a batch.
pub const BATCH: &str = "application/cloudevents-batch+json; charset=UTF-8";

/// What must be percent-encoded in a header value: space, `"`, `%`, and all outside U+0021-U+007E.
const HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Members of a JSON object in order, values as the bytes they are.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a CloudEvent as a JSON object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(entry) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(entry);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Reads one event in structured mode. The data's bytes are the ones in `text`.
pub fn parse(text: &[u8]) -> Result<Event, Invalid> {
    parse_as(text, None)
}

/// Reads one event in structured mode that came on a topic, which wins over what it says itself.
pub fn parse_on(text: &[u8], topic: Topic) -> Result<Event, Invalid> {
    parse_as(text, Some(topic))
}

fn parse_as(text: &[u8], topic: Option<Topic>) -> Result<Event, Invalid> {
    let members: Members<'_> = serde_json::from_slice(text)
        .map_err(|error| Invalid::new("", format!("not a CloudEvent in JSON: {error}")))?;
    let mut draft = Draft::default();
    let (mut json, mut base64) = (None, None);
    for (name, raw) in members.0 {
        match name.as_str() {
            "data" => json = Some(raw),
            "data_base64" => base64 = Some(raw),
            _ => {
                if let Some(value) = attribute(&name, raw)? {
                    draft.set(&name, value)?;
                }
            }
        }
    }
    let data = match (json, base64) {
        (Some(_), Some(_)) => {
            return Err(Invalid::new("/data_base64", "excludes 'data': give one of the two"));
        }
        (Some(raw), None) => Some(json_data(raw, &mut draft)?),
        (None, Some(raw)) if raw.get() == "null" => None,
        (None, Some(raw)) => Some(base64_data(raw, &draft)?),
        (None, None) => None,
    };
    draft.finish(data, topic, Origin::CloudEvent)
}

/// Splits a batch into its events' texts. At most `events_max` of them.
pub fn split_batch(text: &[u8], events_max: usize) -> Result<Vec<&RawValue>, Invalid> {
    let items: Vec<&RawValue> = serde_json::from_slice(text).map_err(|error| {
        Invalid::new("", format!("not a batch of CloudEvents in JSON: {error}"))
    })?;
    if items.len() > events_max {
        let detail =
            format!("a batch has at most {events_max} events, this one has {}", items.len());
        return Err(Invalid::new("", detail));
    }
    Ok(items)
}

/// Writes one event in structured mode. JSON data appears with the bytes it came with.
pub fn print(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.weight() + 128);
    out.push(b'{');
    for (name, value) in event.attributes() {
        member(&mut out, name);
        match &*value {
            Value::Boolean(_) | Value::Integer(_) => {
                out.extend_from_slice(value.canonical().as_bytes());
            }
            Value::String(text) => string(&mut out, text),
        }
    }
    let text_untyped = event.datacontenttype.is_none()
        && event.data.as_ref().is_some_and(|data| data.form == Form::Text);
    let media_type =
        if text_untyped { Some("text/plain") } else { event.datacontenttype.as_deref() };
    if let Some(media_type) = media_type {
        member(&mut out, "datacontenttype");
        string(&mut out, media_type);
    }
    if let Some(data) = &event.data {
        print_data(&mut out, data);
    }
    out.push(b'}');
    out
}

/// Writes several events in batch mode.
pub fn print_batch(events: &[&Event]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&print(event));
    }
    out.push(b']');
    out
}

/// Writes one event in structured mode on one line, as event streams need it. Line breaks in JSON
/// data can only stand between tokens, so a space in their place changes nothing.
pub fn print_line(event: &Event) -> Vec<u8> {
    let mut line = print(event);
    for byte in &mut line {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line
}

/// Encodes an attribute's text for an HTTP header.
pub fn encode_header(text: &str) -> String {
    utf8_percent_encode(text, HEADER).to_string()
}

/// Decodes an attribute's text from an HTTP header: unquotes once, percent-decodes once.
pub fn decode_header(name: &str, text: &str) -> Result<String, Invalid> {
    let text = text.trim();
    let unquoted = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => unescape(inner),
        None => text.to_owned(),
    };
    let decoded = percent_decode_str(&unquoted).decode_utf8();
    decoded.map(Into::into).map_err(|_| {
        Invalid::new(format!("/{name}"), "is not UTF-8 after percent-decoding the header")
    })
}

fn unescape(quoted: &str) -> String {
    let mut out = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(next) = chars.next() {
        out.push(if next == '\\' { chars.next().unwrap_or('\\') } else { next });
    }
    out
}

fn attribute(name: &str, raw: &RawValue) -> Result<Option<Value>, Invalid> {
    let at = || format!("/{}", escape_pointer(name));
    let value: serde_json::Value = serde_json::from_str(raw.get())
        .map_err(|_| Invalid::new(at(), "must be a string, a boolean or a whole number"))?;
    match value {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::Bool(flag) => Ok(Some(Value::Boolean(flag))),
        serde_json::Value::String(text) => Ok(Some(Value::String(text.into()))),
        serde_json::Value::Number(number) => {
            let whole = number.as_i64().and_then(|number| i32::try_from(number).ok());
            let whole = whole.ok_or_else(|| {
                Invalid::new(at(), "must be a whole number of 32 bits, or a string")
            })?;
            Ok(Some(Value::Integer(whole)))
        }
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            Err(Invalid::new(at(), "must be a string, a boolean or a whole number"))
        }
    }
}

/// JSON data stays the bytes it is; data of another media type is the string's content.
fn json_data(raw: &RawValue, draft: &mut Draft) -> Result<Data, Invalid> {
    let media_type = draft.media_type();
    if media_type.is_none() {
        draft.set("datacontenttype", Value::String("application/json".into()))?;
    } else if !media_type.is_some_and(super::event::is_json) {
        let text: String = serde_json::from_str(raw.get()).map_err(|_| {
            Invalid::new("/data", "must be a string unless datacontenttype says JSON")
        })?;
        return Ok(Data { bytes: Bytes::from(text), form: Form::Text });
    }
    Ok(Data { bytes: Bytes::copy_from_slice(raw.get().as_bytes()), form: Form::Json })
}

fn base64_data(raw: &RawValue, draft: &Draft) -> Result<Data, Invalid> {
    let bad = || Invalid::new("/data_base64", "must be a string in base64 (RFC 4648 section 4)");
    let text: String = serde_json::from_str(raw.get()).map_err(|_| bad())?;
    let bytes = Bytes::from(BASE64.decode(text).map_err(|_| bad())?);
    match draft.media_type() {
        None => Ok(Data { bytes, form: Form::Binary }),
        media_type => Ok(Data::judge(bytes, media_type)),
    }
}

fn print_data(out: &mut Vec<u8>, data: &Data) {
    match (data.form, std::str::from_utf8(&data.bytes)) {
        (Form::Json, _) => {
            member(out, "data");
            out.extend_from_slice(&data.bytes);
        }
        (Form::Text, Ok(text)) => {
            member(out, "data");
            string(out, text);
        }
        (Form::Text | Form::Binary, _) => {
            member(out, "data_base64");
            string(out, &BASE64.encode(&data.bytes));
        }
    }
}

fn member(out: &mut Vec<u8>, name: &str) {
    if out.len() > 1 {
        out.push(b',');
    }
    string(out, name);
    out.push(b':');
}

fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string into memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_bytes_survive_structured_mode_untouched() {
        let check = |data: &str| {
            let text = format!(
                r#"{{"specversion":"1.0","id":"1","source":"s","type":"a.b","n":5,"ok":true,"data":{data}}}"#
            );
            let event = parse(text.as_bytes()).expect(&text);
            let printed = String::from_utf8(print(&event)).expect("UTF-8");
            assert!(printed.ends_with(&format!("\"data\":{data}}}")), "{printed}");
            assert!(printed.contains(r#""n":5,"ok":true"#), "{printed}");
            assert_eq!(event.topic.as_str(), "a/b");
        };
        let samples = ["{\"z\": 1,  \"a\":1.0}", "\"text\"", "null", "[1,\n 2]", "1.10"];
        samples.into_iter().for_each(check);
    }

    #[test]
    fn header_values_are_encoded_as_the_binding_says() {
        let check = |plain: &str, encoded: &str| {
            assert_eq!(encode_header(plain), encoded);
            assert_eq!(decode_header("x", encoded).expect(encoded), plain);
        };
        check("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80");
        check("100% \"ok\"", "100%25%20%22ok%22");
        check("café", "caf%C3%A9");
        check("a+b/c?d=e&f", "a+b/c?d=e&f");
        check("a,b;c", "a,b;c");
        check("tab\\x", "tab\\x");
        assert_eq!(decode_header("x", "\"a \\\"b\\\"\"").expect("quoted"), "a \"b\"");
        assert_eq!(decode_header("x", "%41%2e").expect("needless"), "A.");
        assert!(decode_header("x", "%C0%A0").is_err());
    }

    #[test]
    fn a_malformed_event_is_refused_with_its_field_named() {
        let check = |text: &str, pointer: &str| {
            let error = parse(text.as_bytes()).expect_err(text);
            assert_eq!(error.pointer, pointer, "{text}: {error}");
        };
        check("nonsense", "");
        check("[]", "");
        check(r#"{"id":"1","source":"s","type":"t"}"#, "/specversion");
        check(r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "/specversion");
        check(r#"{"specversion":"1.0","source":"s","type":"t"}"#, "/id");
        check(r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, "/id");
        check(r#"{"specversion":"1.0","id":1,"source":"s","type":"t"}"#, "/id");
        check(r#"{"specversion":"1.0","id":"1","source":"s","type":"t","Bad":"x"}"#, "/Bad");
        check(r#"{"specversion":"1.0","id":"1","source":"s","type":"t","x":{}}"#, "/x");
        check(r#"{"specversion":"1.0","id":"1","source":"s","type":"t","x":2147483648}"#, "/x");
        check(r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"now"}"#, "/time");
        check(r#"{"specversion":"1.0","id":"1","source":"s","type":"t","topic":"a/#"}"#, "/topic");
        check(
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":""}"#,
            "/data_base64",
        );
        check(
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"*"}"#,
            "/data_base64",
        );
        check(
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/xml","data":1}"#,
            "/data",
        );
    }

    #[test]
    fn binary_data_is_base64_and_text_is_a_string() {
        let base = r#""specversion":"1.0","id":"1","source":"s","type":"t""#;
        let event =
            parse(format!(r#"{{{base},"data_base64":"AP8="}}"#).as_bytes()).expect("base64");
        assert_eq!(event.data.as_ref().expect("data").bytes.as_ref(), [0, 255]);
        assert!(String::from_utf8_lossy(&print(&event)).ends_with(r#""data_base64":"AP8="}"#));
        let text = format!(r#"{{{base},"datacontenttype":"text/plain","data":"a\nb"}}"#);
        let event = parse(text.as_bytes()).expect("text");
        assert_eq!(event.data.as_ref().expect("data").bytes.as_ref(), b"a\nb");
        assert!(String::from_utf8_lossy(&print(&event)).ends_with(r#""data":"a\nb"}"#));
    }
}
