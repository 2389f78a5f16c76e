//! Who is calling: bearer token, session cookie of the page, or nobody where that is allowed.
//! A browser's ambient authority (cookie, loopback) never serves another site's page.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method};

use super::codes;
use super::problem::Problem;
use super::router::Hub;
use super::sessions::{Key, digest};
use crate::clock;
use crate::flow::Caller;

/// Name of the session's cookie.
pub(crate) const COOKIE_NAME: &str = "tidings_session";

impl FromRequestParts<Hub> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, Problem> {
        let headers = &parts.headers;
        if let Some(value) = headers.get(AUTHORIZATION) {
            let token = value.to_str().ok().and_then(bearer);
            let caller = token.and_then(|token| hub.gate.bearer(token));
            return caller.ok_or_else(|| missing("the bearer token is unknown or revoked"));
        }
        let site = Site::of(parts);
        let session = cookie(headers).and_then(|value| hub.sessions.find(value, clock::now()));
        if let Some(caller) = session.filter(|caller| hub.gate.still_valid(caller)) {
            return if site.may_use_cookie() { Ok(caller) } else { Err(foreign()) };
        }
        let Some(caller) = hub.gate.anonymous() else {
            return Err(missing("send Authorization: Bearer TOKEN"));
        };
        if !site.is_loopback() {
            let detail = "use http://localhost or http://127.0.0.1, or send a token";
            return Err(Problem::new(codes::HOST_FOREIGN, detail));
        }
        site.refuse_foreign().map(|()| caller)
    }
}

/// Refuses callers without the administrator's grant.
pub(crate) fn need_admin(caller: &Caller) -> Result<(), Problem> {
    if caller.grants.is_admin() { Ok(()) } else { Err(grant_missing("admin")) }
}

/// Refuses callers that may not manage subscriptions.
pub(crate) fn need_manage(caller: &Caller) -> Result<(), Problem> {
    if caller.grants.may_manage() { Ok(()) } else { Err(grant_missing("manage")) }
}

/// Names the grant that is missing.
pub(crate) fn grant_missing(grant: &str) -> Problem {
    Problem::new(codes::GRANT_MISSING, format!("this needs the grant {grant}"))
}

/// The session cookie's value.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    })
}

/// The session that let a caller in: that of the cookie, if there was no token but a caller with a
/// name. Who came that way goes when the session ends.
pub(crate) fn session_of(headers: &HeaderMap, caller: &Caller) -> Option<Key> {
    let by_token = headers.contains_key(AUTHORIZATION) || caller.owner.is_none();
    if by_token { None } else { cookie(headers).map(digest) }
}

/// What a request says about the page that made it.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    unsafe_method: bool,
    host: Option<&'a str>,
    origin: Option<&'a str>,
    fetch_site: Option<&'a str>,
}

impl<'a> Site<'a> {
    /// Reads it off a request.
    pub(crate) fn of(parts: &'a Parts) -> Self {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            unsafe_method: ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&parts.method),
            host: text(HOST.as_str()).or(parts.uri.authority().map(Authority::as_str)),
            origin: text(ORIGIN.as_str()),
            fetch_site: text("sec-fetch-site"),
        }
    }

    /// Refuses requests that change something and were made by another site's page. Programs that
    /// are no browsers say nothing and pass.
    pub(crate) fn refuse_foreign(&self) -> Result<(), Problem> {
        let fine = match (self.fetch_site, self.origin) {
            _ if !self.unsafe_method => true,
            (Some(site), _) => matches!(site, "same-origin" | "none"),
            (None, Some(_)) => self.is_same_origin(),
            (None, None) => true,
        };
        if fine { Ok(()) } else { Err(foreign()) }
    }

    /// A cookie may change something only when the browser says that our own page asked.
    fn may_use_cookie(&self) -> bool {
        match self.fetch_site {
            _ if !self.unsafe_method => true,
            Some(site) => site == "same-origin",
            None => self.is_same_origin(),
        }
    }

    fn is_same_origin(&self) -> bool {
        let origin = self.origin.and_then(|origin| origin.split_once("://"));
        match (origin, self.host) {
            (Some((_, theirs)), Some(ours)) => theirs.eq_ignore_ascii_case(ours),
            _ => false,
        }
    }

    /// Whether the name asked for is one that only this machine's programs use. Another name that
    /// resolves to loopback is a page playing tricks with DNS.
    fn is_loopback(&self) -> bool {
        let Some(host) = self.host.and_then(|host| host.parse::<Authority>().ok()) else {
            return false;
        };
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn missing(detail: &str) -> Problem {
    Problem::new(codes::CREDENTIALS_MISSING, detail)
}

fn foreign() -> Problem {
    Problem::new(codes::ORIGIN_FOREIGN, "only the hub's own page may do this without a token")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site<'a>(host: &'a str, origin: Option<&'a str>, fetch_site: Option<&'a str>) -> Site<'a> {
        Site { unsafe_method: true, host: Some(host), origin, fetch_site }
    }

    #[test]
    fn a_cookie_serves_our_own_page_alone() {
        let check = |origin, fetch_site, expected: bool| {
            let site = site("hub.lan:8080", origin, fetch_site);
            assert_eq!(site.may_use_cookie(), expected, "{site:?}");
            assert!(Site { unsafe_method: false, ..site }.may_use_cookie());
        };
        check(None, Some("same-origin"), true);
        check(Some("http://hub.lan:8080"), None, true);
        check(None, None, false);
        check(Some("http://evil.example"), None, false);
        check(Some("http://hub.lan:8081"), None, false);
        check(Some("null"), None, false);
        check(Some("http://hub.lan:8080"), Some("cross-site"), false);
        check(None, Some("same-site"), false);
        check(None, Some("none"), false);
    }

    #[test]
    fn without_credentials_another_sites_page_is_refused() {
        let check = |origin, fetch_site, expected: bool| {
            let site = site("localhost:8080", origin, fetch_site);
            assert_eq!(site.refuse_foreign().is_ok(), expected, "{site:?}");
            assert!(Site { unsafe_method: false, ..site }.refuse_foreign().is_ok());
        };
        check(None, None, true);
        check(None, Some("none"), true);
        check(Some("http://localhost:8080"), None, true);
        check(Some("http://evil.example"), None, false);
        check(Some("null"), None, false);
        check(None, Some("cross-site"), false);
    }

    #[test]
    fn without_credentials_only_loopback_names_are_served() {
        for good in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080"] {
            assert!(site(good, None, None).is_loopback(), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example", "192.168.1.1", "", "a b"] {
            assert!(!site(bad, None, None).is_loopback(), "{bad}");
        }
    }

    #[test]
    fn credentials_are_found_in_their_headers() {
        assert_eq!(bearer("Bearer  tdg_a_b"), Some("tdg_a_b"));
        assert_eq!(bearer("bearer x"), Some("x"));
        assert_eq!(bearer("Basic x"), None);
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1; tidings_session=abc; b=2".parse().expect("header"));
        assert_eq!(cookie(&headers), Some("abc"));
        headers.clear();
        headers.append(COOKIE, "xtidings_session=abc".parse().expect("header"));
        assert_eq!(cookie(&headers), None);
    }
}
