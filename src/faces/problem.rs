//! Errors as the outside sees them: `application/problem+json` (RFC 9457). What went wrong inside
//! is logged here, once, and never sent.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::codes::{self, Code};
use crate::domain::Invalid;
use crate::domain::command::Refusal;
use crate::domain::quantity::print_size;
use crate::domain::subscription::End;
use crate::{flow, store};

/// One problem, ready to be answered with.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    errors: Vec<Invalid>,
}

impl Problem {
    /// A problem with an explanation of this case.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new() }
    }

    /// A part of the request that cannot be accepted.
    pub(crate) fn invalid(code: Code, error: Invalid) -> Self {
        let detail = match error.pointer.as_str() {
            "" => error.detail.clone(),
            _ => error.to_string(),
        };
        Self { errors: vec![error], ..Self::new(code, detail) }
    }

    /// Several parts that cannot be accepted.
    pub(crate) fn with_errors(self, errors: Vec<Invalid>) -> Self {
        Self { errors, ..self }
    }

    /// What `flow` says; `invalid` is the code for what cannot be accepted at this place.
    pub(crate) fn of(error: flow::Error, invalid: Code) -> Self {
        match error {
            flow::Error::Refused(refusal) => Self::of_refusal(refusal, invalid),
            flow::Error::Busy => Self::new(codes::STORE_BUSY, "ask again in a moment"),
            flow::Error::DiskFull => {
                Self::new(codes::STORE_FULL, "nothing was stored; make room and repeat")
            }
            flow::Error::DiskFloor { free, floor } => Self::new(
                codes::STORE_FULL,
                format!(
                    "nothing was stored: {} are free, new input needs {} (log.disk_floor); \
                     delivery goes on",
                    print_size(free),
                    print_size(floor)
                ),
            ),
            flow::Error::Store(problem) => store_failed(&problem),
            flow::Error::Closed => Self::new(codes::HUB_STOPPING, "nothing was stored; repeat"),
        }
    }

    /// Why a command is not carried out.
    pub(crate) fn of_refusal(refusal: Refusal, invalid: Code) -> Self {
        let code = match &refusal {
            Refusal::NoSubscription(_) => codes::SUBSCRIPTION_UNKNOWN,
            Refusal::NoToken(_) => codes::TOKEN_UNKNOWN,
            Refusal::NoJob(_) => codes::JOB_UNKNOWN,
            Refusal::JobsFull(_) => codes::JOBS_FULL,
            Refusal::VersionMismatch(_) => codes::VERSION_MISMATCH,
            Refusal::Ended(End::Expired) => codes::LEASE_EXPIRED,
            Refusal::Ended(_) => codes::SUBSCRIPTION_ENDED,
            Refusal::Replaying(_) => codes::REPLAY_RUNNING,
            Refusal::Unsigned(_) => codes::SUBSCRIPTION_UNSIGNED,
            Refusal::Taken(_) => codes::SUBSCRIPTION_TAKEN,
            Refusal::Full(_) => codes::SUBSCRIPTIONS_FULL,
            Refusal::Invalid(error) => return Self::invalid(invalid, error.clone()),
            Refusal::Unreadable(problem) => return store_failed(problem),
        };
        Self::new(code, refusal.to_string())
    }

    /// The problem's code.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// The problem as one item's `error` in an answer about many.
    pub(crate) fn item(&self) -> Value {
        let mut item = json!({ "code": self.code.0, "detail": self.detail });
        if let Some(error) = self.errors.first() {
            item["pointer"] = json!(error.pointer);
        }
        item
    }

    /// The first offending part, or the whole with the problem's detail.
    pub(crate) fn fault(&self) -> Invalid {
        self.errors.first().cloned().unwrap_or_else(|| Invalid::new("", &self.detail))
    }

    fn body(&self) -> Value {
        let (code, status, title) = self.code;
        let mut body = json!({
            "type": format!("urn:tidings:problem:{}", code.to_ascii_lowercase()),
            "title": title,
            "status": status,
            "detail": self.detail,
            "code": code,
        });
        if !self.errors.is_empty() {
            let entry = |e: &Invalid| json!({ "pointer": e.pointer, "detail": e.detail });
            body["errors"] = self.errors.iter().map(entry).collect();
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.1).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = (status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = header_of(self.code) {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The header that a code always comes with.
fn header_of(code: Code) -> Option<(HeaderName, &'static str)> {
    match code {
        codes::CREDENTIALS_MISSING => Some((WWW_AUTHENTICATE, "Bearer")),
        codes::STORE_BUSY | codes::HUB_STOPPING | codes::TESTS_FULL => Some((RETRY_AFTER, "1")),
        codes::SUBSCRIPTIONS_FULL | codes::TOKENS_FULL | codes::JOBS_FULL => {
            Some((RETRY_AFTER, "60"))
        }
        _ => None,
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        store_failed(&error.to_string())
    }
}

fn store_failed(problem: &str) -> Problem {
    tracing::error!(problem, "the store failed a request");
    Problem::new(codes::STORE_FAILED, "the hub's log has the reason, under the request's id")
}

/// What a caught panic answers with.
pub(crate) fn of_panic(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request's handler panicked");
    let detail = "the hub's log has the reason, under the request's id";
    Problem::new(codes::INTERNAL, detail).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_code() {
        let check = |error: flow::Error, code: &str, status: u16| {
            let response = Problem::of(error, codes::EVENT_INVALID);
            assert_eq!((response.code.0, response.code.1), (code, status));
            assert_eq!(response.into_response().status().as_u16(), status);
        };
        let refused = |refusal| flow::Error::Refused(refusal);
        check(flow::Error::Busy, "E-STORE-BUSY", 503);
        check(flow::Error::DiskFull, "E-STORE-FULL", 507);
        check(flow::Error::DiskFloor { free: 1, floor: 2 }, "E-STORE-FULL", 507);
        check(flow::Error::Store("x".to_owned()), "E-STORE-FAILED", 503);
        check(refused(Refusal::NoSubscription("a".to_owned())), "E-SUBSCRIPTION-UNKNOWN", 404);
        check(refused(Refusal::Taken("a".to_owned())), "E-SUBSCRIPTION-TAKEN", 409);
        check(refused(Refusal::Unsigned("a".to_owned())), "E-SUBSCRIPTION-UNSIGNED", 409);
        check(refused(Refusal::VersionMismatch(3)), "E-VERSION-MISMATCH", 412);
        check(refused(Refusal::Ended(End::Expired)), "E-LEASE-EXPIRED", 410);
        check(refused(Refusal::Ended(End::Gone)), "E-SUBSCRIPTION-ENDED", 410);
        check(refused(Refusal::Full(1)), "E-SUBSCRIPTIONS-FULL", 429);
        check(refused(Refusal::NoJob(1)), "E-JOB-UNKNOWN", 404);
        check(refused(Refusal::JobsFull(1)), "E-JOBS-FULL", 429);
        check(refused(Refusal::Invalid(Invalid::new("/id", "no"))), "E-EVENT-INVALID", 400);
    }

    #[test]
    fn a_refusal_for_want_of_room_names_the_room_and_the_key() {
        let error = store::Error::Floor { free: 48 << 20, floor: 64 << 20 };
        let problem = Problem::of(error.into(), codes::EVENT_INVALID);
        let detail = "nothing was stored: 48MiB are free, new input needs 64MiB (log.disk_floor); \
                      delivery goes on";
        assert_eq!(problem.body()["detail"], detail);
    }

    #[test]
    fn a_problem_names_its_parts() {
        let problem = Problem::invalid(codes::QUERY_INVALID, Invalid::new("limit", "is wrong"));
        let body = problem.body();
        assert_eq!(body["type"], "urn:tidings:problem:e-query-invalid");
        assert_eq!(body["errors"][0]["pointer"], "limit");
        assert_eq!(problem.item()["pointer"], "limit");
        let busy = Problem::new(codes::STORE_BUSY, "x").into_response();
        assert_eq!(busy.headers()[RETRY_AFTER], "1");
    }
}
