//! `GET /`: subscriptions with their leases, the newest dead letters and events. Reads, never
//! changes.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::phrase;
use super::render::render;
use crate::clock;
use crate::domain::Timestamp;
use crate::domain::record::Entry;
use crate::domain::subscription::Subscription;
use crate::faces::api::dead_letters::Sight;
use crate::faces::api::subscriptions::may_see;
use crate::faces::codes;
use crate::faces::problem::Problem;
use crate::faces::router::{App, Hub};
use crate::flow::Caller;

/// Subscriptions shown, and looked at for it.
const SUBSCRIPTIONS_MAX: usize = 200;
const SUBSCRIPTIONS_SCAN_MAX: usize = 2_000;

/// Dead letters shown, and looked at for it.
const LETTERS_MAX: usize = 20;
const LETTERS_SCAN_MAX: usize = 200;

/// Events shown.
const EVENTS_MAX: usize = 50;

/// Records of the tail that are looked at, in windows.
const WINDOWS_MAX: usize = 16;
const WINDOW: u64 = 256;

#[derive(Template)]
#[template(path = "home.html", config = "web/askama.toml")]
struct Home {
    version: &'static str,
    health: &'static str,
    log_size: String,
    log_records: u64,
    damage: String,
    refusing: String,
    named: bool,
    manages: bool,
    subscriptions: Vec<SubscriptionRow>,
    more_subscriptions: bool,
    letters: Vec<LetterRow>,
    events: Vec<EventRow>,
}

struct SubscriptionRow {
    id: String,
    name: String,
    state: &'static str,
    lease: String,
    filter: String,
    target: String,
    delivered: u64,
    failed: u64,
    retrying: usize,
    last_error: String,
    /// Offsets that it was not given since the log no longer had them; 0 for none.
    missed: u64,
    missed_newest: String,
}

struct LetterRow {
    id: String,
    time: String,
    subscription: String,
    code: &'static str,
    attempts: usize,
    outcome: String,
}

struct EventRow {
    offset: u64,
    time: String,
    topic: String,
    kind: String,
    size: String,
    preview: String,
}

/// `GET /`: people without credentials are sent to the login page.
pub(crate) async fn home(
    State(hub): State<Hub>,
    caller: Result<Caller, Problem>,
) -> Result<Response, Problem> {
    let caller = match caller {
        Ok(caller) => caller,
        Err(problem) if problem.code() == codes::CREDENTIALS_MISSING => {
            return Ok(Redirect::to("/login").into_response());
        }
        Err(problem) => return Err(problem),
    };
    let (subscriptions, more_subscriptions) = subscriptions(&hub, &caller).await?;
    let store = hub.reader.store_status();
    let (oldest, next) = (store.oldest_offset, store.next_offset);
    let page = Home {
        version: env!("CARGO_PKG_VERSION"),
        health: hub.metrics.health.verdict().err().unwrap_or("ready"),
        log_size: phrase::size(store.bytes),
        log_records: next.saturating_sub(oldest),
        damage: phrase::damage(&store.damage),
        refusing: phrase::refusing(store.disk),
        named: caller.owner.is_some(),
        manages: caller.grants.may_manage(),
        subscriptions,
        more_subscriptions,
        letters: letters(&hub, &caller).await?,
        events: events(&hub, &caller).await?,
    };
    render(StatusCode::OK, &page)
}

async fn subscriptions(
    hub: &Hub,
    caller: &Caller,
) -> Result<(Vec<SubscriptionRow>, bool), Problem> {
    if !caller.grants.may_manage() {
        return Ok((Vec::new(), false));
    }
    let now = clock::now();
    let mut all = hub.reader.subscriptions(None, SUBSCRIPTIONS_SCAN_MAX).await?;
    let cut = all.len() == SUBSCRIPTIONS_SCAN_MAX;
    all.retain(|subscription| may_see(caller, subscription));
    let more = cut || all.len() > SUBSCRIPTIONS_MAX;
    let shown = all.iter().take(SUBSCRIPTIONS_MAX);
    Ok((shown.map(|subscription| subscription_row(hub, subscription, now)).collect(), more))
}

fn subscription_row(hub: &App, subscription: &Subscription, now: Timestamp) -> SubscriptionRow {
    let lane = hub.lanes.status(subscription.number);
    let lane = lane.as_ref();
    SubscriptionRow {
        id: subscription.id.clone(),
        name: subscription.wish.name.clone().unwrap_or_default(),
        state: subscription.state.as_str(),
        lease: phrase::lease(subscription, now),
        filter: subscription.wish.filter.print().to_string(),
        target: phrase::target(subscription),
        delivered: lane.map_or(0, |lane| lane.delivered),
        failed: lane.map_or(0, |lane| lane.failed),
        retrying: lane.map_or(0, |lane| lane.retrying),
        last_error: lane.and_then(|lane| lane.last_error.clone()).unwrap_or_default(),
        missed: lane.and_then(|lane| lane.gap).map_or(0, |gap| gap.total),
        missed_newest: lane.and_then(|lane| lane.gap).map_or(String::new(), phrase::gap),
    }
}

/// The newest dead letters that the caller may see, newest first.
async fn letters(hub: &Hub, caller: &Caller) -> Result<Vec<LetterRow>, Problem> {
    let mut rows = Vec::new();
    if !caller.grants.may_manage() || hub.reader.counts().dead_letters == 0 {
        return Ok(rows);
    }
    let mut sight = Sight::new(hub, caller);
    for letter in hub.reader.dead_letters(None, LETTERS_SCAN_MAX).await? {
        if rows.len() < LETTERS_MAX && sight.reaches(&letter).await? {
            let outcome = letter.attempts.last().map(|last| last.outcome.to_string());
            rows.push(LetterRow {
                id: letter.name().to_string(),
                time: letter.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                subscription: letter.subscription_id,
                code: letter.reason.code(),
                attempts: letter.attempts.len(),
                outcome: letter.note.or(outcome).unwrap_or_default(),
            });
        }
    }
    Ok(rows)
}

/// The newest events that the caller may receive, newest first.
async fn events(hub: &Hub, caller: &Caller) -> Result<Vec<EventRow>, Problem> {
    let mut rows = Vec::new();
    let mut end = hub.reader.next_offset();
    for _ in 0..WINDOWS_MAX {
        let start = end.saturating_sub(WINDOW).max(hub.reader.oldest_offset());
        if start >= end {
            break;
        }
        let window = window(hub, start, end).await?;
        rows.extend(window.iter().rev().filter_map(|entry| event_row(caller, entry)));
        if rows.len() >= EVENTS_MAX {
            break;
        }
        end = start;
    }
    rows.truncate(EVENTS_MAX);
    Ok(rows)
}

/// The records of `start..end`; a read may give fewer than asked for.
async fn window(hub: &Hub, start: u64, end: u64) -> Result<Vec<Entry>, Problem> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut from = start;
    while from < end {
        let wanted = usize::try_from(end - from).unwrap_or(usize::MAX);
        let chunk = hub.reader.read(from, wanted).await?;
        let Some(last) = chunk.last() else { break };
        from = last.offset + 1;
        entries.extend(chunk.into_iter().filter(|entry| entry.offset < end));
    }
    Ok(entries)
}

fn event_row(caller: &Caller, entry: &Entry) -> Option<EventRow> {
    let event = entry.event()?;
    let topic = event.topic.as_str();
    caller.grants.may_receive(topic).then(|| EventRow {
        offset: entry.offset,
        time: entry.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        topic: topic.to_owned(),
        kind: event.kind.to_string(),
        size: phrase::size(
            event
                .data
                .as_ref()
                .map_or(0, |data| u64::try_from(data.bytes.len()).unwrap_or(u64::MAX)),
        ),
        preview: phrase::preview(event.data.as_ref()),
    })
}
