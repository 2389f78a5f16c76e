//! What would be sent, and who says no, as JSON shows it. Never shows a credential: what comes here
//! is masked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::domain::cloudevents;
use crate::domain::delivery::{Excerpt, Sent};
use crate::domain::event::Event;
use crate::domain::filter::Refusal;
use crate::domain::objection::Objection;
use crate::domain::sink::{MASK, is_credential};
use crate::flow::Planned;

/// A step: a request, an event to be stored, a fault, or what it depends on.
pub(crate) fn planned(planned: &Planned) -> Value {
    match planned {
        Planned::Request(sent) => request(sent),
        Planned::Emit(event) => json!({ "emit": structured(event) }),
        Planned::Fault { reason, pointer, detail } => {
            json!({"fault": {"code": reason.code(), "pointer": pointer, "detail": detail}})
        }
        Planned::Unknown(needs) => json!({ "needs": needs }),
    }
}

/// An event in structured form, as a part of a larger answer.
pub(crate) fn structured(event: &Event) -> Value {
    serde_json::from_slice(&cloudevents::print(event)).unwrap_or(Value::Null)
}

/// Who says no and why.
pub(crate) fn objection(objection: &Objection) -> Value {
    let mut value = refusal(&objection.refusal);
    value["by"] = json!(objection.by.as_str());
    value
}

/// Headers by their names; values of credentials are masked.
pub(crate) fn headers(headers: &[(String, String)]) -> Value {
    let mut shown = Map::new();
    for (name, value) in headers {
        let value = if is_credential(name) { MASK } else { value.as_str() };
        match shown.get_mut(name) {
            Some(Value::String(held)) => {
                held.push_str(", ");
                held.push_str(value);
            }
            Some(_) | None => {
                shown.insert(name.clone(), value.into());
            }
        }
    }
    shown.into()
}

/// Puts a body into an object: as text where it is text.
pub(crate) fn put_body(into: &mut Value, body: &Excerpt) {
    match text(body) {
        Some(text) => into["body"] = json!(text),
        None => into["body_base64"] = json!(BASE64.encode(&body.bytes)),
    }
    if body.is_cut {
        into["body_cut"] = json!(true);
    }
}

fn request(sent: &Sent) -> Value {
    let mut value = json!({
        "method": sent.method,
        "url": sent.url,
        "headers": headers(&sent.headers),
    });
    put_body(&mut value, &sent.body);
    value
}

fn refusal(said: &Refusal) -> Value {
    let mut value = json!({ "pointer": said.pointer, "detail": said.detail });
    if !said.branches.is_empty() {
        value["branches"] = said.branches.iter().map(refusal).collect();
    }
    value
}

/// The text that bytes are. Where they were cut, the last character may be missing.
fn text(body: &Excerpt) -> Option<&str> {
    match std::str::from_utf8(&body.bytes) {
        Ok(text) => Some(text),
        Err(error) if body.is_cut && error.error_len().is_none() => {
            std::str::from_utf8(&body.bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_where_it_is_text() {
        let check = |whole: &[u8], bytes_max: usize, expected: Value| {
            let mut value = json!({});
            put_body(&mut value, &Excerpt::of(whole, bytes_max));
            assert_eq!(value, expected, "{whole:?}");
        };
        check(b"", 9, json!({"body": ""}));
        check("aä".as_bytes(), 9, json!({"body": "aä"}));
        check("aä".as_bytes(), 2, json!({"body": "a", "body_cut": true}));
        check(&[0xff], 9, json!({"body_base64": "/w=="}));
        check(&[0xc3], 9, json!({"body_base64": "ww=="}));
    }

    #[test]
    fn headers_of_an_answer_show_no_credential() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let shown = headers(&[pair("set-cookie", "a=1"), pair("via", "x"), pair("via", "y")]);
        assert_eq!(shown, json!({"set-cookie": "***", "via": "x, y"}));
    }
}
