//! Jobs: how far redrives are, and ending one before its end.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::domain::command::{Command, Refusal, Reply};
use crate::domain::job::Job;
use crate::domain::letter::{Choice, Id};
use crate::domain::{Offset, Timestamp};
use crate::faces::auth::need_manage;
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::Caller;

/// `GET /v1/jobs`: newest first. Their number is bounded.
pub(crate) async fn list(State(hub): State<Hub>, caller: Caller) -> Result<Json<Value>, Problem> {
    need_manage(&caller)?;
    let jobs = hub.reader.jobs().await?;
    let own = jobs.iter().rev().filter(|job| may_see(&caller, job));
    Ok(Json(json!({ "jobs": own.map(print).collect::<Value>() })))
}

/// `GET /v1/jobs/{id}`
pub(crate) async fn one(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Json<Value>, Problem> {
    need_manage(&caller)?;
    let id = parse(&id)?;
    let job = hub.reader.job(id).await?.filter(|job| may_see(&caller, job));
    let job = job.ok_or_else(|| Problem::of_refusal(Refusal::NoJob(id), codes::REDRIVE_INVALID))?;
    Ok(Json(print(&job)))
}

/// `DELETE /v1/jobs/{id}`: hands over no more. The job as it is then.
pub(crate) async fn cancel(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Json<Value>, Problem> {
    need_manage(&caller)?;
    let command = Command::CancelJob { job: parse(&id)?, actor: caller.actor() };
    match hub.ingest.execute(command).await {
        Ok(Reply::Job(job)) => Ok(Json(print(&job))),
        Ok(_) => Err(Problem::new(codes::INTERNAL, "an unfitting answer")),
        Err(error) => Err(Problem::of(error, codes::REDRIVE_INVALID)),
    }
}

/// A job as it is shown.
pub(crate) fn print(job: &Job) -> Value {
    json!({
        "id": job.id.to_string(),
        "kind": "redrive",
        "state": job.state.as_str(),
        "owner": job.actor.owner,
        "filter": print_filter(&job.choice),
        "rate_per_second": job.rate_per_second,
        "created_at": job.created_at.to_string(),
        "ended_at": job.ended_at().map(|at| at.to_string()),
        "total": job.total,
        "done": job.counts.handed,
        "delivered": job.counts.delivered,
        "died_again": job.counts.died,
        "dropped": job.counts.dropped,
        "skipped": {
            "event_gone": job.skipped.event_gone,
            "subscription_ended": job.skipped.subscription_ended,
        },
    })
}

/// In the form in which it is asked for.
fn print_filter(choice: &Choice) -> Value {
    let mut filter = json!({});
    if !choice.ids.is_empty() {
        filter["ids"] = choice.ids.iter().map(Id::to_string).collect();
    }
    let texts = [("subscription", &choice.subscription), ("code", &choice.code)];
    for (name, text) in texts.into_iter().filter(|(_, text)| text.is_some()) {
        filter[name] = json!(text);
    }
    let times = [("since", choice.since), ("until", choice.until)];
    for (name, time) in times.into_iter().filter(|(_, time)| time.is_some()) {
        filter[name] = json!(time.as_ref().map(Timestamp::to_string));
    }
    filter
}

fn may_see(caller: &Caller, job: &Job) -> bool {
    caller.grants.is_admin() || job.actor.owner == caller.owner
}

fn parse(id: &str) -> Result<Offset, Problem> {
    let parsed = id.parse().ok();
    parsed.ok_or_else(|| Problem::new(codes::JOB_UNKNOWN, format!("there is no job {id:?}")))
}
