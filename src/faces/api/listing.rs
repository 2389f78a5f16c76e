//! Lists of subscriptions: bounded in answers and in what is looked at; the next page begins where
//! this one stopped.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::LINK;

use super::subscriptions::may_see;
use crate::domain::Timestamp;
use crate::domain::subscription::Subscription;
use crate::faces::problem::Problem;
use crate::faces::query::{Query, invalid};
use crate::faces::router::Hub;
use crate::flow::Caller;

/// Keys of the query.
pub(crate) const KEYS: [&str; 6] = ["state", "owner", "label.", "expires_before", "limit", "page"];

/// Most subscriptions on a page.
const LIMIT_MAX: usize = 1_000;

const LIMIT_DEFAULT: usize = 100;

/// Most subscriptions looked at for a page.
const SCAN_MAX: usize = 10_000;

/// Subscriptions read at a time.
const CHUNK: usize = 256;

/// One page.
pub(crate) struct Page {
    /// What is on it.
    pub(crate) found: Vec<Subscription>,
    /// The id after which the next page begins.
    pub(crate) next: Option<String>,
}

impl Page {
    /// `Link: rel=next`, if there is more.
    pub(crate) fn link_headers(&self, query: &Query) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(id) = &self.next {
            let query = query.print_with("page", &encode(id));
            let link = format!("</v1/subscriptions?{query}>; rel=\"next\"");
            headers.extend(link.parse().ok().map(|link| (LINK, link)));
        }
        headers
    }
}

/// Reads a page.
pub(crate) async fn read(hub: &Hub, caller: &Caller, query: &Query) -> Result<Page, Problem> {
    let limit = query.number("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT)?;
    let wanted = Wanted::parse(query)?;
    let mut after = query.get("page").map(decode).transpose()?;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        let chunk = hub.reader.subscriptions(after.clone(), CHUNK).await?;
        if chunk.is_empty() {
            return Ok(Page { found, next: None });
        }
        for subscription in chunk {
            if found.len() == limit || looked_at == SCAN_MAX {
                return Ok(Page { found, next: after });
            }
            looked_at += 1;
            after = Some(subscription.id.clone());
            if may_see(caller, &subscription) && wanted.has(&subscription) {
                found.push(subscription);
            }
        }
    }
}

/// A place to go on from, opaque to clients.
pub(crate) fn encode(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// Reads such a place.
pub(crate) fn decode(page: &str) -> Result<String, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(page).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| invalid("page", "take it from the page before"))
}

struct Wanted<'a> {
    state: Option<&'a str>,
    owner: Option<&'a str>,
    labels: Vec<(&'a str, &'a str)>,
    expires_before: Option<Timestamp>,
}

impl<'a> Wanted<'a> {
    fn parse(query: &'a Query) -> Result<Self, Problem> {
        let state = query.get("state");
        if state.is_some_and(|state| !["active", "paused", "parked", "ended"].contains(&state)) {
            return Err(invalid("state", "must be active, paused, parked or ended"));
        }
        Ok(Self {
            state,
            owner: query.get("owner"),
            labels: query.with_prefix("label."),
            expires_before: query.time("expires_before")?,
        })
    }

    fn has(&self, subscription: &Subscription) -> bool {
        let label = |(key, value): &(&str, &str)| {
            subscription.wish.labels.get(*key).is_some_and(|held| held == value)
        };
        let expires_before = |time| subscription.lease.is_some_and(|lease| lease.expires_at < time);
        self.state.is_none_or(|state| state == subscription.state.as_str())
            && self.owner.is_none_or(|owner| subscription.owner.as_deref() == Some(owner))
            && self.labels.iter().all(label)
            && self.expires_before.is_none_or(expires_before)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::printed::tests::subscription;
    use super::super::shape::{self, Context};
    use super::*;
    use crate::config::Size;
    use crate::domain::filter::Limits;

    #[test]
    fn a_list_shows_what_is_asked_for() {
        let value = json!({"filter": {"topic": "a"}, "sink": {"http": {"url": "http://a/"}},
            "labels": {"team": "media"}});
        let filters = Limits::HARD;
        let context = Context { held: None, admin: false, hold_max: Size(0), filters };
        let held = subscription(shape::parse(&value, context).expect("valid").wish);
        let check = |raw: &str, expected: Option<bool>| {
            let query = Query::parse(Some(raw), &KEYS).expect("known keys");
            let wanted = Wanted::parse(&query);
            assert_eq!(wanted.ok().map(|wanted| wanted.has(&held)), expected, "{raw}");
        };
        check("", Some(true));
        check("state=active&owner=t1&label.team=media", Some(true));
        check("state=ended", Some(false));
        check("state=gone", None);
        check("owner=t2", Some(false));
        check("label.team=other", Some(false));
        check("expires_before=1970-01-01T00:00:01Z", Some(true));
        check("expires_before=1970-01-01T00:00:00Z", Some(false));
        check("expires_before=soon", None);
    }

    #[test]
    fn a_page_token_reads_back() {
        assert_eq!(decode(&encode("a:b")).expect("own"), "a:b");
        assert!(decode("*").is_err());
    }
}
