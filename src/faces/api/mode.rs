//! How an event comes in a request: the three modes of the CloudEvents HTTP binding (1.0.2), or
//! plain bytes. Never touches the bytes of the data.

use bytes::Bytes;
use http::HeaderMap;
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use crate::clock;
use crate::domain::Invalid;
use crate::domain::attribute::Value;
use crate::domain::cloudevents;
use crate::domain::draft::Draft;
use crate::domain::event::{Data, Event, Origin, SPEC_VERSION};
use crate::domain::topic::Topic;
use crate::faces::body::{essence, media_type};
use crate::faces::codes;
use crate::faces::problem::Problem;

const PREFIX: &str = "ce-";

/// How the body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A list of events in JSON.
    Batch,
    /// One event in JSON.
    Structured,
    /// Data in the body, attributes in `ce-` headers.
    Binary,
    /// Data in the body, attributes made by the hub.
    Raw,
}

/// Finds out the mode by the content type and the headers, in the binding's order.
pub(crate) fn detect(headers: &HeaderMap) -> Result<Mode, Problem> {
    let media_type = media_type(headers).map(essence).unwrap_or_default().to_ascii_lowercase();
    match media_type.as_str() {
        "application/cloudevents-batch+json" => Ok(Mode::Batch),
        "application/cloudevents+json" => Ok(Mode::Structured),
        other if other.starts_with("application/cloudevents") => {
            let detail = format!(
                "{other} is not known; send application/cloudevents+json, \
                 application/cloudevents-batch+json, or binary mode"
            );
            Err(Problem::new(codes::MEDIA_TYPE_UNKNOWN, detail))
        }
        _ if headers.keys().any(|name| name.as_str().starts_with(PREFIX)) => Ok(Mode::Binary),
        _ => Ok(Mode::Raw),
    }
}

/// Reads one event in binary mode.
pub(crate) fn binary(headers: &HeaderMap, body: Bytes) -> Result<Event, Invalid> {
    let mut draft = Draft::default();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else { continue };
        if name == "datacontenttype" {
            let detail = "goes into the header Content-Type in binary mode";
            return Err(Invalid::new("/datacontenttype", detail));
        }
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Invalid::new(format!("/{name}"), "is not UTF-8"))?;
        draft.set(name, Value::String(cloudevents::decode_header(name, text)?.into()))?;
    }
    let data = typed_data(&mut draft, headers, body)?;
    draft.finish(data, None, Origin::CloudEvent)
}

/// Makes an event of plain bytes.
pub(crate) fn raw(
    headers: &HeaderMap,
    body: Bytes,
    owner: Option<&str>,
    kind: &str,
    topic: Option<&str>,
) -> Result<Event, Invalid> {
    let topic = topic.map(Topic::parse).transpose().map_err(|error| error.under("topic"))?;
    let mut draft = Draft::default();
    let attributes = [
        ("specversion", SmolStr::new_static(SPEC_VERSION)),
        ("id", clock::sortable_id().to_smolstr()),
        ("source", format_smolstr!("http:{}", owner.unwrap_or("anonymous"))),
        ("type", kind.into()),
    ];
    for (name, text) in attributes {
        draft.set(name, Value::String(text))?;
    }
    let data = typed_data(&mut draft, headers, body)?;
    draft.finish(data, topic, Origin::Raw)
}

/// The body as data and its media type as an attribute. No bytes: no data.
fn typed_data(
    draft: &mut Draft,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Option<Data>, Invalid> {
    let media_type = media_type(headers);
    if let Some(media_type) = media_type {
        draft.set("datacontenttype", Value::String(media_type.into()))?;
    }
    Ok((!body.is_empty()).then(|| Data::judge(body, media_type)))
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("value");
            (name.parse::<HeaderName>().expect("name"), value)
        };
        let mut all = HeaderMap::new();
        pairs.iter().map(parse).for_each(|(name, value)| {
            all.append(name, value);
        });
        all
    }

    #[test]
    fn the_mode_follows_the_content_type_and_then_the_headers() {
        let check = |media_type: &str, version: bool, expected: Option<Mode>| {
            let mut all = headers(&[]);
            if !media_type.is_empty() {
                all.insert(CONTENT_TYPE, media_type.parse().expect("value"));
            }
            if version {
                all.insert("ce-specversion", HeaderValue::from_static("1.0"));
            }
            assert_eq!(detect(&all).ok(), expected, "{media_type} {version}");
        };
        check("application/cloudevents+json", false, Some(Mode::Structured));
        check("Application/CloudEvents+JSON; charset=UTF-8", true, Some(Mode::Structured));
        check("application/cloudevents-batch+json; charset=utf-8", false, Some(Mode::Batch));
        check("APPLICATION/CLOUDEVENTS-BATCH+JSON", false, Some(Mode::Batch));
        check("application/cloudevents+avro", true, None);
        check("application/cloudevents", false, None);
        check("application/cloudevents-batch+xml", false, None);
        check("application/json", true, Some(Mode::Binary));
        check("", true, Some(Mode::Binary));
        check("application/json", false, Some(Mode::Raw));
        check("", false, Some(Mode::Raw));
    }

    #[test]
    fn binary_mode_takes_attributes_from_headers_and_leaves_the_body_alone() {
        let base = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "a.b"),
            ("content-type", "application/json"),
            ("ce-note", "caf%C3%A9"),
        ];
        let event = binary(&headers(&base), Bytes::from_static(b"{ \"a\":1.0}")).expect("valid");
        assert_eq!(event.attribute("note").as_deref(), Some("café"));
        assert_eq!(event.datacontenttype.as_deref(), Some("application/json"));
        assert_eq!(event.data.expect("data").bytes, "{ \"a\":1.0}");
        assert!(binary(&headers(&base), Bytes::new()).expect("valid").data.is_none());
        let check = |extra: (&str, &str), pointer: &str| {
            let all = [&base[..], &[extra]].concat();
            let error = binary(&headers(&all), Bytes::new()).expect_err(extra.0);
            assert_eq!(error.pointer, pointer);
        };
        check(("ce-datacontenttype", "text/plain"), "/datacontenttype");
        check(("ce-id", "2"), "/id");
        check(("ce-subject", "%C0%A0"), "/subject");
        check(("ce-bad_name", "x"), "/bad_name");
        assert_eq!(
            binary(&headers(&base[1..]), Bytes::new()).expect_err("x").pointer,
            "/specversion"
        );
    }

    #[test]
    fn plain_bytes_become_an_event_of_the_hubs_making() {
        let make = |topic| raw(&headers(&[]), Bytes::from_static(b"\x00\xff"), None, "a.b", topic);
        let event = make(Some("x/y")).expect("valid");
        assert_eq!((event.topic.as_str(), event.source.as_str()), ("x/y", "http:anonymous"));
        assert_eq!((event.datacontenttype, event.time), (None, None));
        assert_eq!(event.data.expect("data").bytes.as_ref(), [0, 255]);
        assert_eq!(make(None).expect("valid").topic.as_str(), "a/b");
        assert_eq!(make(Some("x/#")).expect_err("wildcard").pointer, "topic");
    }
}
