//! A small JSON client. It never follows redirects and never sends a request twice.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::wait::in_time;

/// Media type of one event in structured mode.
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";

/// Media type of a batch.
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";

/// A client of one hub, with or without a token.
#[derive(Clone)]
pub(crate) struct Api {
    address: SocketAddr,
    token: Option<String>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Api {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { address, token: None, client }
    }

    /// The same client as the bearer of a token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, path, body).await
    }

    pub(crate) async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// Posts one event in structured mode.
    pub(crate) async fn post_event(&self, event: &Value) -> Answer {
        let headers = [("content-type", STRUCTURED)];
        self.send(Method::POST, "/v1/events", &headers, event.to_string()).await
    }

    /// Posts one event and answers its offset.
    pub(crate) async fn publish(&self, event: &Value) -> u64 {
        let answer = self.post_event(event).await;
        answer.expect(201)["results"][0]["offset"].as_u64().expect("an offset")
    }

    /// Creates a subscription and answers it as the hub shows it.
    pub(crate) async fn subscribe(&self, wish: &Value) -> Value {
        self.post("/v1/subscriptions", wish).await.expect(201)
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let what = format!("{method} {path}");
        let response = self.open(method, path, headers, body.into()).await;
        let (head, body) = response.into_parts();
        let body = in_time(&what, body.collect()).await.expect(&what).to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Sends a request and answers with the body still to be read.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        self.try_open(method, path, headers, body).await.expect("an answer")
    }

    /// As `open`, for hubs that may be dead.
    pub(crate) async fn try_open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        let what = format!("{method} {path}");
        let uri = format!("http://{}{path}", self.address);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).expect("a valid request");
        in_time(&what, self.client.request(request)).await
    }
}

impl Answer {
    /// The body as JSON, whatever the status.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON in {self:?}"))
    }

    /// The body as JSON (null if empty). Panics if the status is another.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.value() }
    }

    /// Panics unless this is a problem with that status and a code of the agreed form.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16) -> Value {
        let problem = self.expect(status);
        let media_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        assert!(media_type.starts_with("application/problem+json"), "{self:?}");
        assert_eq!(problem["status"], status, "{problem}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "no {member}: {problem}");
        }
        let code = problem["code"].as_str().unwrap_or_default();
        let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
        let words: Vec<&str> = code.split('-').collect();
        assert!(words.len() >= 3 && words.iter().all(|w| word(w)), "code {code:?}: {problem}");
        problem
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
