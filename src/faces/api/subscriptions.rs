//! Subscriptions: create, replace, patch, read. Writes go through `flow`, conditional on the
//! version that was read, so that nothing kept from before can be stale.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, LOCATION};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::merge::merge;
use super::precondition::Precondition;
use super::shape::{self, Context, Parsed};
use super::{listing, printed};
use crate::clock;
use crate::domain::Invalid;
use crate::domain::address::Guard;
use crate::domain::command::{Command, Put, Refusal, Reply};
use crate::domain::lease;
use crate::domain::sink::Sink;
use crate::domain::subscription::{Start, State as Standing, Subscription, Wish};
use crate::faces::auth::need_manage;
use crate::faces::body::{self, Payload};
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::query::Query;
use crate::faces::router::Hub;
use crate::flow::{self, Caller};

/// How often a write is tried again when somebody else was faster.
const TRIES: usize = 4;

/// `POST /v1/subscriptions`
pub(crate) async fn create(
    State(hub): State<Hub>,
    caller: Caller,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    need_manage(&caller)?;
    let value = body::json(&headers, &body, &["application/json"])?;
    let id = clock::sortable_id().to_string();
    let precondition = Precondition::Nothing;
    let write = Write { hub: &hub, caller: &caller, id: &id, precondition };
    write.carry_out(Asked::Whole(&value)).await
}

/// `PUT /v1/subscriptions/{id}`: creates or replaces.
pub(crate) async fn put(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    need_manage(&caller)?;
    let value = body::json(&headers, &body, &["application/json"])?;
    let precondition = Precondition::of(&headers)?;
    let write = Write { hub: &hub, caller: &caller, id: &id, precondition };
    write.carry_out(Asked::Whole(&value)).await
}

/// `PATCH /v1/subscriptions/{id}`: JSON merge patch. One that says nothing of the lease leaves it.
pub(crate) async fn patch(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    need_manage(&caller)?;
    let types = ["application/merge-patch+json", "application/json"];
    let patch = body::json(&headers, &body, &types)?;
    let precondition = Precondition::of(&headers)?;
    let write = Write { hub: &hub, caller: &caller, id: &id, precondition };
    write.carry_out(Asked::Patch(&patch)).await
}

/// `GET /v1/subscriptions/{id}`
pub(crate) async fn one(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Response, Problem> {
    let subscription = visible(&hub, &caller, &id).await?;
    Ok(answer(&hub, StatusCode::OK, &subscription))
}

/// `GET /v1/subscriptions`
pub(crate) async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    need_manage(&caller)?;
    let query = Query::parse(raw.as_deref(), &listing::KEYS)?;
    let page = listing::read(&hub, &caller, &query).await?;
    let print = |subscription: &Subscription| printed::subscription(&hub, subscription);
    let body = json!({ "subscriptions": page.found.iter().map(print).collect::<Value>() });
    Ok((page.link_headers(&query), axum::Json(body)).into_response())
}

/// A subscription that the caller may know of.
pub(crate) async fn visible(hub: &Hub, caller: &Caller, id: &str) -> Result<Subscription, Problem> {
    need_manage(caller)?;
    let held = hub.reader.subscription(id).await?;
    held.filter(|held| may_see(caller, held)).ok_or_else(|| {
        Problem::of_refusal(Refusal::NoSubscription(id.to_owned()), codes::SUBSCRIPTION_INVALID)
    })
}

/// Whether the caller may know of a subscription: their own, or all with `admin`.
pub(crate) fn may_see(caller: &Caller, subscription: &Subscription) -> bool {
    caller.grants.is_admin() || subscription.owner == caller.owner
}

/// An answer that shows a subscription.
pub(crate) fn answer(hub: &Hub, status: StatusCode, subscription: &Subscription) -> Response {
    let etag = [(ETAG, format!("\"{}\"", subscription.version))];
    (status, etag, axum::Json(printed::subscription(hub, subscription))).into_response()
}

/// What a write asks for.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Whole(&'a Value),
    Patch(&'a Value),
}

struct Write<'a> {
    hub: &'a Hub,
    caller: &'a Caller,
    id: &'a str,
    precondition: Precondition,
}

impl Write<'_> {
    async fn carry_out(&self, asked: Asked<'_>) -> Result<Response, Problem> {
        for _ in 0..TRIES {
            let held = self.held(asked).await?;
            let parsed = self.read(asked, held.as_ref())?;
            let Parsed { mut wish, made_secret, start_time } = parsed;
            if let Some(time) = start_time {
                wish.start = Start::Offset(self.hub.reader.offset_at(time).await?);
            }
            let put = self.put(wish, held.as_ref())?;
            match self.hub.ingest.execute(Command::Put(Box::new(put))).await {
                Ok(Reply::Subscription { subscription, created }) => {
                    return Ok(self.answer(&subscription, created, made_secret));
                }
                Err(flow::Error::Refused(refusal)) if self.is_outrun(&refusal) => {}
                Err(flow::Error::Refused(refusal)) => return Err(self.refused(refusal)),
                Err(error) => return Err(Problem::of(error, codes::SUBSCRIPTION_INVALID)),
                Ok(_) => return Err(Problem::new(codes::INTERNAL, "an unfitting answer")),
            }
        }
        Err(Problem::new(codes::VERSION_MISMATCH, "somebody else changes it all the time"))
    }

    async fn held(&self, asked: Asked<'_>) -> Result<Option<Subscription>, Problem> {
        if matches!(asked, Asked::Patch(_)) {
            let held = visible(self.hub, self.caller, self.id).await?;
            return match held.state {
                Standing::Ended(end, _) => Err(self.refused(Refusal::Ended(end))),
                Standing::Active | Standing::Paused | Standing::Parked(_) => Ok(Some(held)),
            };
        }
        let held = self.hub.reader.subscription(self.id).await?;
        Ok(held.filter(|held| may_see(self.caller, held)))
    }

    fn read(&self, asked: Asked<'_>, held: Option<&Subscription>) -> Result<Parsed, Problem> {
        let patched = match (asked, held) {
            (Asked::Patch(patch), Some(held)) => merge(printed::wish(held), patch),
            (Asked::Whole(value) | Asked::Patch(value), _) => value.clone(),
        };
        let hold_max = self.hub.config.subscriptions.hold_max;
        let filters = self.hub.config.filters.limits();
        let context = Context { held, admin: self.caller.grants.is_admin(), hold_max, filters };
        let mut parsed = shape::parse(&patched, context)
            .map_err(|error| Problem::invalid(codes::SUBSCRIPTION_INVALID, error))?;
        if matches!(asked, Asked::Patch(patch) if patch.get("lease_seconds").is_none()) {
            parsed.wish.lease = lease::Asked::Keep;
        }
        check_target(&self.hub.guard, &parsed.wish)?;
        Ok(parsed)
    }

    /// The command: what was read must still be so when it is decided.
    fn put(&self, wish: Wish, held: Option<&Subscription>) -> Result<Put, Problem> {
        let live = held.filter(|held| !held.state.is_ended());
        let expect = self.precondition.expect(live.map(|live| live.version)).ok_or_else(|| {
            self.refused(match live {
                Some(live) => Refusal::VersionMismatch(live.version),
                None => Refusal::NoSubscription(self.id.to_owned()),
            })
        })?;
        Ok(Put { id: self.id.to_owned(), wish, actor: self.caller.actor(), expect })
    }

    fn is_outrun(&self, refusal: &Refusal) -> bool {
        self.precondition != Precondition::Nothing
            && matches!(refusal, Refusal::VersionMismatch(_) | Refusal::NoSubscription(_))
    }

    /// A stated precondition that does not hold is 412, whatever made it so (RFC 9110, 13.1).
    fn refused(&self, refusal: Refusal) -> Problem {
        match (&self.precondition, &refusal) {
            (Precondition::Nothing, Refusal::Taken(_))
            | (Precondition::Something | Precondition::OneOf(_), Refusal::NoSubscription(_)) => {
                Problem::new(codes::VERSION_MISMATCH, refusal.to_string())
            }
            _ => Problem::of_refusal(refusal, codes::SUBSCRIPTION_INVALID),
        }
    }

    fn answer(
        &self,
        subscription: &Subscription,
        created: bool,
        made_secret: Option<String>,
    ) -> Response {
        let mut value = printed::subscription(self.hub, subscription);
        if let Some(secret) = made_secret {
            value["signing"] = json!({ "standard_webhooks": { "secret": secret } });
        }
        let etag = (ETAG, format!("\"{}\"", subscription.version));
        let location = (LOCATION, format!("/v1/subscriptions/{}", subscription.id));
        match created {
            true => (StatusCode::CREATED, [etag, location], axum::Json(value)).into_response(),
            false => (StatusCode::OK, [etag], axum::Json(value)).into_response(),
        }
    }
}

/// Judges a target that is a literal address; names are judged when they are connected to.
fn check_target(guard: &Guard, wish: &Wish) -> Result<(), Problem> {
    let Sink::Http { url, .. } = &wish.sink else { return Ok(()) };
    let ip = match url.host() {
        Some(url::Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip),
        Some(url::Host::Domain(_)) | None => return Ok(()),
    };
    let target = SocketAddr::new(ip, url.port_or_known_default().unwrap_or(80));
    guard.judge(target).map_err(|refusal| {
        let fault = Invalid::new("/sink/http/url", refusal.to_string());
        Problem::invalid(codes::ADDRESS_REFUSED, fault)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Size;
    use crate::domain::filter::Limits;

    #[test]
    fn a_target_that_is_a_refused_address_is_refused_at_once() {
        let check = |url: &str, expected: Option<&str>| {
            let value = json!({"filter": {"topic": "a"}, "sink": {"http": {"url": url}}});
            let filters = Limits::HARD;
            let context = Context { held: None, admin: false, hold_max: Size(0), filters };
            let wish = shape::parse(&value, context).expect(url).wish;
            let outcome = check_target(&Guard::default(), &wish);
            assert_eq!(outcome.err().map(|problem| problem.code().0), expected, "{url}");
        };
        check("http://93.184.216.34/", None);
        check("http://name.lan/", None);
        check("http://127.0.0.1:9000/", Some("E-ADDRESS-REFUSED"));
        check("http://[::ffff:169.254.169.254]/", Some("E-ADDRESS-REFUSED"));
        check("http://2130706433/", Some("E-ADDRESS-REFUSED"));
    }
}
