//! `GET /v1/events/{offset}/explain`: which subscriptions take an event and what became of that,
//! which do not and why, what caused it and what derives from it. As far as that is known now.

use axum::Json;
use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

use super::kinship::{self, event_at};
use super::{fate, listing, planned};
use crate::domain::Offset;
use crate::domain::objection::Objection;
use crate::domain::subscription::Subscription;
use crate::faces::auth::need_manage;
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::query::Query;
use crate::faces::router::Hub;
use crate::flow::{Caller, Subject};

const KEYS: [&str; 2] = ["limit", "page"];

/// `GET /v1/events/{offset}/explain`
pub(crate) async fn explain(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(offset): Segment,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, Problem> {
    need_manage(&caller)?;
    let query = Query::parse(raw.as_deref(), &KEYS)?;
    let subject = subject(&hub, &caller, &offset).await?;
    let page = listing::read(&hub, &caller, &query).await?;
    let sight = hub.preview.judge(subject.clone(), page.found).await;
    let sight = sight.map_err(|error| Problem::of(error, codes::QUERY_INVALID))?;
    let next = match sight.is_whole {
        true => page.next,
        false => sight.seen.last().map(|(subscription, _)| subscription.id.clone()),
    };
    let (matched_by, not_matched_by) = sort(&hub, &subject, &sight.seen).await?;
    let mut answer = json!({
        "event": kinship::summary(&subject),
        "matched_by": matched_by,
        "not_matched_by": not_matched_by,
        "next": next.as_deref().map(listing::encode),
    });
    if query.get("page").is_none() {
        let derived = kinship::derived(&hub, &caller, &subject).await?;
        answer["derived"] = derived.events.into();
        answer["derived_to"] = json!(derived.to);
        answer["derived_complete"] = json!(derived.is_whole);
        answer["caused_by"] = kinship::causes(&hub, &caller, &subject).await?.into();
    }
    Ok(Json(answer))
}

async fn subject(hub: &Hub, caller: &Caller, offset: &str) -> Result<Subject, Problem> {
    let unknown = || Problem::new(codes::EVENT_UNKNOWN, format!("nothing to see at {offset:?}"));
    let offset: Offset = offset.parse().map_err(|_| unknown())?;
    let entry = event_at(hub, caller, offset).await?;
    entry.as_ref().and_then(Subject::of).ok_or_else(unknown)
}

/// Those who take an event, with what became of it, and those who do not.
async fn sort(
    hub: &Hub,
    subject: &Subject,
    judged: &[(Subscription, Option<Objection>)],
) -> Result<(Vec<Value>, Vec<Value>), Problem> {
    let (mut matched, mut not_matched_by) = (Vec::new(), Vec::new());
    for (subscription, objection) in judged {
        let Some(objection) = objection else {
            matched.push((subscription, hub.lanes.status(subscription.number)));
            continue;
        };
        let mut value = planned::objection(objection);
        value["subscription"] = json!(subscription.id);
        value["name"] = json!(subscription.wish.name);
        value["changed_at"] = json!(fate::changed_at(subscription, subject.at));
        not_matched_by.push(value);
    }
    let mut matched_by = Vec::with_capacity(matched.len());
    if !matched.is_empty() {
        for (subscription, lane) in matched {
            let fate = fate::fate(hub, subscription, subject, lane.as_ref());
            matched_by.push(fate.await?);
        }
    }
    Ok((matched_by, not_matched_by))
}
