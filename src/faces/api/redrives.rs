//! What is done to many dead letters: they are redriven by a job, or forgotten. Decided by the
//! single writer, in parts, never here.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::dead_letters::choice;
use super::fields::{Field, Fields};
use super::jobs;
use crate::domain::Invalid;
use crate::domain::command::{Command, Redrive, Reply};
use crate::domain::letter::{Choice, IDS_MAX, Id};
use crate::faces::auth::need_manage;
use crate::faces::body::{self, Payload};
use crate::faces::codes;
use crate::faces::problem::Problem;
use crate::faces::query::{Query, invalid};
use crate::faces::router::Hub;
use crate::flow::{Caller, Walk};

const KEYS: [&str; 5] = ["subscription", "code", "since", "until", "all"];

/// Longest text in a filter.
const TEXT_BYTES_MAX: usize = 256;

/// Most letters that one command forgets.
const PURGE_MAX: usize = 256;

/// `POST /v1/dead-letters/redrive`
pub(crate) async fn create(
    State(hub): State<Hub>,
    caller: Caller,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    need_manage(&caller)?;
    let value = body::json(&headers, &body, &["application/json"])?;
    let (choice, rate_per_second) =
        parse(&value).map_err(|error| Problem::invalid(codes::REDRIVE_INVALID, error))?;
    let total = count(&hub, &caller, choice.clone()).await?;
    let redrive = Redrive { actor: caller.actor(), choice, rate_per_second, total };
    match hub.ingest.execute(Command::Redrive(Box::new(redrive))).await {
        Ok(Reply::Job(job)) => {
            let location = [(LOCATION, format!("/v1/jobs/{}", job.id))];
            Ok((StatusCode::ACCEPTED, location, Json(jobs::print(&job))).into_response())
        }
        Ok(_) => Err(Problem::new(codes::INTERNAL, "an unfitting answer")),
        Err(error) => Err(Problem::of(error, codes::REDRIVE_INVALID)),
    }
}

/// `DELETE /v1/dead-letters`: forgets those that fit, or all if that is said.
pub(crate) async fn purge(
    State(hub): State<Hub>,
    caller: Caller,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, Problem> {
    need_manage(&caller)?;
    let query = Query::parse(raw.as_deref(), &KEYS)?;
    let choice = wanted(&query)?;
    let mut walk = walk(&hub, &caller, choice);
    let (mut part, mut purged, mut more) = (Vec::new(), 0, true);
    while more {
        more = walk.look(&hub.reader).await?;
        part.extend(std::iter::from_fn(|| walk.take()).map(|found| found.id));
        if part.len() >= PURGE_MAX || !more && !part.is_empty() {
            let letters = std::mem::take(&mut part);
            let command = Command::Purge { letters, actor: caller.actor() };
            let done = hub.ingest.execute(command).await;
            if let Reply::Letters(count) =
                done.map_err(|error| Problem::of(error, codes::REDRIVE_INVALID))?
            {
                hub.metrics.flow_dead_letters_purged.inc_by(count);
                purged += count;
            }
        }
    }
    Ok(Json(json!({ "purged": purged })))
}

/// The letters that a purge is for. A filter that was forgotten must not cost everything.
fn wanted(query: &Query) -> Result<Choice, Problem> {
    let choice = choice(query)?;
    match (query.get("all"), choice == Choice::default()) {
        (None, true) => Err(invalid("all", "say all=true, or which ones")),
        (Some("true"), true) | (None, false) => Ok(choice),
        (Some("true"), false) => Err(invalid("all", "says all, and other keys say which ones")),
        (Some(_), _) => Err(invalid("all", "must be true")),
    }
}

/// How many letters that is now.
async fn count(hub: &Hub, caller: &Caller, choice: Choice) -> Result<u64, Problem> {
    let mut walk = walk(hub, caller, choice);
    let mut total = 0;
    while walk.look(&hub.reader).await? {
        total += std::iter::from_fn(|| walk.take()).count() as u64;
    }
    Ok(total)
}

fn walk(hub: &Hub, caller: &Caller, choice: Choice) -> Walk {
    Walk::new(caller.actor(), choice, hub.reader.next_offset())
}

/// Reads which letters are to be redriven, and how fast.
fn parse(value: &Value) -> Result<(Choice, Option<u32>), Invalid> {
    let mut fields = Fields::of(value, "")?;
    let choice = parse_filter(fields.need("filter")?.fields()?)?;
    let rate = fields.get("rate_per_second").map(|field| {
        let rate = u32::try_from(field.number()?).ok().filter(|rate| *rate > 0);
        rate.ok_or_else(|| field.bad("must be at least 1, and fit 32 bits"))
    });
    let rate = rate.transpose()?;
    fields.done(&[])?;
    Ok((choice, rate))
}

fn parse_filter(mut fields: Fields<'_>) -> Result<Choice, Invalid> {
    let text = |field: Field<'_>| match field.text()? {
        text if text.len() <= TEXT_BYTES_MAX => Ok(text.to_owned()),
        _ => Err(field.bad(format!("must have at most {TEXT_BYTES_MAX} bytes"))),
    };
    let time = |field: Field<'_>| {
        let parsed = field.text()?.parse();
        parsed.map_err(|_| field.bad("must be a timestamp as in RFC 3339"))
    };
    let ids = fields.get("ids").map(|field| parse_ids(&field)).transpose()?;
    let choice = Choice {
        subscription: fields.get("subscription").map(text).transpose()?,
        code: fields.get("code").map(text).transpose()?,
        since: fields.get("since").map(time).transpose()?,
        until: fields.get("until").map(time).transpose()?,
        ids: vec![],
    };
    fields.done(&[])?;
    match ids {
        Some(ids) if choice == Choice::default() => Ok(Choice { ids, ..choice }),
        Some(_) => Err(Invalid::new("/filter", "has ids, or says which ones, not both")),
        None => Ok(choice),
    }
}

fn parse_ids(field: &Field<'_>) -> Result<Vec<Id>, Invalid> {
    let items = field.items()?;
    if !(1..=IDS_MAX).contains(&items.len()) {
        return Err(field.bad(format!("must have 1 to {IDS_MAX} ids")));
    }
    let id = |item: &Field<'_>| {
        Id::parse(item.text()?).ok_or_else(|| item.bad("is no dead letter's id"))
    };
    let mut ids: Vec<Id> = items.iter().map(id).collect::<Result<_, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_says_which_ones_and_how_fast() {
        let id = |offset| Id { subscription: 1, offset };
        let value = json!({"filter": {"ids": ["1-9", "1-7", "1-9"]}, "rate_per_second": 5});
        let (choice, rate) = parse(&value).expect("valid");
        assert_eq!((choice.ids, rate), (vec![id(7), id(9)], Some(5)));
        let all = parse(&json!({"filter": {}, "rate_per_second": null})).expect("valid");
        assert_eq!(all, (Choice::default(), None));
        let value = json!({"filter": {"subscription": "s", "since": "2026-11-21T10:00:00Z"}});
        assert!(parse(&value).expect("valid").0.since.is_some());
        let check = |value: Value, pointer: &str| {
            assert_eq!(parse(&value).expect_err(pointer).pointer, pointer, "{value}");
        };
        check(json!({}), "/filter");
        check(json!({"filter": {"ids": []}}), "/filter/ids");
        check(json!({"filter": {"ids": ["x"]}}), "/filter/ids/0");
        check(json!({"filter": {"ids": ["1-2"], "code": "x"}}), "/filter");
        check(json!({"filter": {"since": "soon"}}), "/filter/since");
        check(json!({"filter": {"id": "1-2"}}), "/filter/id");
        check(json!({"filter": {}, "rate_per_second": 0}), "/rate_per_second");
        check(json!({"filter": {}, "speed": 1}), "/speed");
    }

    #[test]
    fn a_purge_of_everything_has_to_say_so() {
        let check = |raw: &str, good: bool| {
            let query = Query::parse(Some(raw), &KEYS).expect("known keys");
            assert_eq!(wanted(&query).is_ok(), good, "{raw}");
        };
        check("", false);
        check("all=true", true);
        check("all=false", false);
        check("code=E-DELIVERY-TOO-OLD", true);
        check("all=true&code=E-DELIVERY-TOO-OLD", false);
        check("since=soon", false);
    }
}
