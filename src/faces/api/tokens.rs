//! Tokens: created, listed, revoked by administrators. A token's text is shown once, never again.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::fields::Fields;
use crate::clock;
use crate::domain::Invalid;
use crate::domain::command::Command;
use crate::domain::grant::{GRANTS_MAX, Grant, Grants};
use crate::domain::record::Token;
use crate::faces::auth::need_admin;
use crate::faces::body::{self, Payload};
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::{Caller, Gate};
use crate::store::Reader;

/// Longest name of a token, in characters.
const NAME_CHARS_MAX: usize = 128;

/// Most tokens.
const TOKENS_MAX: u64 = 1_000;

/// `POST /v1/tokens`
pub(crate) async fn create(
    State(hub): State<Hub>,
    caller: Caller,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    need_admin(&caller)?;
    let value = body::json(&headers, &body, &["application/json"])?;
    let (name, grants) =
        parse(&value).map_err(|error| Problem::invalid(codes::TOKEN_INVALID, error))?;
    let (token, text) = keep_new(&hub, &name, grants).await?;
    let mut shown = print(&token);
    shown["token"] = json!(text);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// `GET /v1/tokens`
pub(crate) async fn list(State(hub): State<Hub>, caller: Caller) -> Result<Json<Value>, Problem> {
    need_admin(&caller)?;
    let tokens = hub.reader.tokens();
    Ok(Json(json!({ "tokens": tokens.iter().map(|token| print(token)).collect::<Value>() })))
}

/// `DELETE /v1/tokens/{id}`: revokes it and ends what it owns.
pub(crate) async fn revoke(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    need_admin(&caller)?;
    let done = hub.ingest.execute(Command::RevokeToken(id)).await;
    done.map_err(|error| Problem::of(error, codes::TOKEN_INVALID))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a token and keeps it; its text is told to the caller alone.
pub(crate) async fn keep_new(
    hub: &Hub,
    name: &str,
    grants: Grants,
) -> Result<(Token, String), Problem> {
    check_room(&hub.reader).map_err(|detail| Problem::new(codes::TOKENS_FULL, detail))?;
    let (token, text) = Gate::new_token(name, grants, clock::now());
    let done = hub.ingest.execute(Command::CreateToken(token.clone())).await;
    done.map_err(|error| Problem::of(error, codes::TOKEN_INVALID))?;
    Ok((token, text))
}

/// Whether there may be one more token; else says why not.
pub(crate) fn check_room(reader: &Reader) -> Result<(), String> {
    match reader.counts().tokens < TOKENS_MAX {
        true => Ok(()),
        false => Err(format!("there are {TOKENS_MAX} tokens; revoke one")),
    }
}

/// Checks a token's name.
pub(crate) fn check_name(name: &str) -> Result<(), Invalid> {
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    if fits && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let detail = format!("must have 1 to {NAME_CHARS_MAX} characters, no control characters");
    Err(Invalid::new("/name", detail))
}

/// Reads the name and the grants that a token is asked for with.
pub(crate) fn parse(value: &Value) -> Result<(String, Grants), Invalid> {
    let mut fields = Fields::of(value, "")?;
    let name = fields.need("name")?.text()?;
    check_name(name)?;
    let allow = fields.need("allow")?;
    let items = allow.items()?;
    if items.is_empty() || items.len() > GRANTS_MAX {
        return Err(allow.bad(format!("must have 1 to {GRANTS_MAX} grants")));
    }
    let grants = items.iter().map(|item| item.parse(Grant::parse)).collect::<Result<_, _>>()?;
    fields.done(&["id", "token", "created_at"])?;
    Ok((name.to_owned(), Grants(grants)))
}

fn print(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "allow": token.grants.0.iter().map(Grant::to_string).collect::<Value>(),
        "created_at": token.created_at.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_name_and_grants() {
        let good = json!({"name": "camera", "allow": ["publish:cam/#", "manage"]});
        assert_eq!(parse(&good).expect("valid").1.0.len(), 2);
        let check = |value: Value, pointer: &str| {
            assert_eq!(parse(&value).expect_err(pointer).pointer, pointer, "{value}");
        };
        check(json!({"allow": ["admin"]}), "/name");
        check(json!({"name": "", "allow": ["admin"]}), "/name");
        check(json!({"name": "x".repeat(129), "allow": ["admin"]}), "/name");
        check(json!({"name": "x", "allow": []}), "/allow");
        check(json!({"name": "x", "allow": ["admin", "root"]}), "/allow/1");
        check(json!({"name": "x", "allow": ["publish:a/#/b"]}), "/allow/0");
        check(json!({"name": "x", "allow": ["admin"], "id": "y"}), "/id");
    }
}
