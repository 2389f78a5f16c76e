//! One dead letter: the event, the request as it was sent, and what each attempt was answered.
//! Credentials stay masked as they were kept.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::dead_letters::{Sight, entry, print_attempt};
use crate::domain::cloudevents;
use crate::domain::command::{Command, Reply};
use crate::domain::delivery::{Attempt, DeadLetter, Excerpt, Sent};
use crate::domain::letter::Id;
use crate::domain::record::Entry;
use crate::domain::sink::{MASK, is_credential};
use crate::faces::auth::need_manage;
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::Caller;

/// All there is to say of a letter.
#[derive(Serialize)]
struct Whole {
    id: String,
    subscription: String,
    offset: u64,
    /// In structured form, its data byte for byte.
    event: Option<Box<RawValue>>,
    code: &'static str,
    note: Option<String>,
    at: String,
    replay: bool,
    request: Option<Value>,
    attempts: Value,
}

/// `GET /v1/dead-letters/{id}`
pub(crate) async fn one(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Response, Problem> {
    let letter = visible(&hub, &caller, &id).await?;
    let entry = entry(&hub, &caller, letter.offset).await?;
    let event = entry.as_ref().and_then(Entry::event).map(cloudevents::print);
    let event = event.and_then(|text| String::from_utf8(text).ok());
    let whole = Whole {
        id: letter.name().to_string(),
        offset: letter.offset,
        event: event.and_then(|text| RawValue::from_string(text).ok()),
        code: letter.reason.code(),
        at: letter.at.to_string(),
        replay: letter.replay,
        request: letter.request.as_ref().map(print_request),
        attempts: letter.attempts.iter().map(print_whole_attempt).collect(),
        subscription: letter.subscription_id,
        note: letter.note,
    };
    Ok(axum::Json(whole).into_response())
}

/// `DELETE /v1/dead-letters/{id}`
pub(crate) async fn purge(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    let letter = visible(&hub, &caller, &id).await?;
    let command = Command::Purge { letters: vec![letter.name()], actor: caller.actor() };
    match hub.ingest.execute(command).await {
        Ok(Reply::Letters(0)) => Err(unknown(&id)),
        Ok(_) => {
            hub.metrics.flow_dead_letters_purged.inc();
            Ok(StatusCode::NO_CONTENT)
        }
        Err(error) => Err(Problem::of(error, codes::REDRIVE_INVALID)),
    }
}

async fn visible(hub: &Hub, caller: &Caller, id: &str) -> Result<DeadLetter, Problem> {
    need_manage(caller)?;
    let name = Id::parse(id).ok_or_else(|| unknown(id))?;
    let letter = hub.reader.dead_letter(name).await?.ok_or_else(|| unknown(id))?;
    match Sight::new(hub, caller).reaches(&letter).await? {
        true => Ok(letter),
        false => Err(unknown(id)),
    }
}

fn unknown(id: &str) -> Problem {
    Problem::new(codes::DEAD_LETTER_UNKNOWN, format!("there is no dead letter {id:?}"))
}

fn print_request(sent: &Sent) -> Value {
    let mut value = json!({
        "method": sent.method,
        "url": sent.url,
        "headers": print_headers(&sent.headers),
    });
    add_body(&mut value, &sent.body);
    value
}

fn print_whole_attempt(attempt: &Attempt) -> Value {
    let mut value = print_attempt(attempt);
    value["step"] = json!(attempt.step);
    value["answer"] = attempt.answer.as_ref().map_or(Value::Null, |answer| {
        let mut value = json!({ "headers": print_headers(&answer.headers) });
        add_body(&mut value, &answer.body);
        value
    });
    value
}

/// Headers by name; the values of one that comes several times in one line (RFC 9110, 5.3).
fn print_headers(headers: &[(String, String)]) -> Value {
    let mut shown: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = if is_credential(name) { MASK } else { value };
        let line = shown.entry(name).or_default();
        if !line.is_empty() {
            line.push_str(", ");
        }
        line.push_str(value);
    }
    json!(shown)
}

/// Adds a body as text, or what is no text as base64, and whether there was more of it.
fn add_body(value: &mut Value, body: &Excerpt) {
    let text = match std::str::from_utf8(&body.bytes) {
        Ok(text) => Some(text),
        // The cut went through a character.
        Err(error) if body.is_cut && error.error_len().is_none() => {
            std::str::from_utf8(&body.bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text {
        Some(text) => value["body"] = json!(text),
        None => value["body_base64"] = json!(BASE64.encode(&body.bytes)),
    }
    value["body_cut"] = json!(body.is_cut);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_where_it_can_be() {
        let check = |whole: &[u8], most: usize, member: &str, expected: &str, is_cut: bool| {
            let mut value = json!({});
            add_body(&mut value, &Excerpt::of(whole, most));
            let expected = json!({ member: expected, "body_cut": is_cut });
            assert_eq!(value, expected, "{whole:?}");
        };
        check(b"no", 9, "body", "no", false);
        check(b"", 9, "body", "", false);
        check("grün".as_bytes(), 3, "body", "gr", true);
        check(&[b'a', 0xff, b'b'], 9, "body_base64", "Yf9i", false);
        check(&[0xff; 4], 3, "body_base64", "////", true);
        check(
            "gr\u{fc}".as_bytes().split_last().expect("bytes").1,
            9,
            "body_base64",
            "Z3LD",
            false,
        );
    }

    #[test]
    fn credentials_in_headers_are_masked_and_repeated_ones_come_together() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = [pair("via", "a"), pair("via", "b"), pair("set-cookie", "s=1")];
        assert_eq!(print_headers(&headers), json!({"via": "a, b", "set-cookie": "***"}));
    }
}
