//! Request bodies: read whole, bounded in size and time. Never unbounded, never without a look at
//! the media type.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::Value;

use super::codes;
use super::problem::Problem;
use super::router::Hub;
use crate::config::Size;
use crate::domain::quantity::print_size;

/// Longest time that a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a body that is too long is read and thrown away.
const LINGER_MAX: u64 = 1 << 20;

/// Longest form.
const FORM_MAX: Size = Size(4_096);

/// A request's body, at most `http.body_max` long.
pub(crate) struct Payload(pub(crate) Bytes);

impl FromRequest<Hub> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, hub: &Hub) -> Result<Self, Problem> {
        read(request, hub.config.http.body_max, "http.body_max is").await.map(Self)
    }
}

/// The fields of a form that the page sent. They are short: nobody had to show a credential yet.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form, at most 4 KiB of it.
    pub(crate) async fn read(request: Request) -> Result<Self, Problem> {
        let body = read(request, FORM_MAX, "a form may have").await?;
        Ok(Self(url::form_urlencoded::parse(&body).into_owned().collect()))
    }

    /// A field by name, or nothing.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(held, _)| held == name).map_or("", |(_, value)| value.as_str())
    }
}

/// Reads a body. What is too long is read on for a while and thrown away: a connection that is
/// closed over unread bytes is reset, and the client would never see the answer.
async fn read(request: Request, size_max: Size, limit: &str) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(codes::BODY_TOO_LARGE, format!("{limit} {}", print_size(size_max.0)));
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let announced = announced.and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    if announced > size_max.0.saturating_add(LINGER_MAX) {
        return Err(too_large());
    }
    let mut body = request.into_body();
    let reading = async {
        let (mut kept, mut seen) = (BytesMut::new(), 0u64);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(Problem::new(codes::BODY_UNREADABLE, "the connection broke"));
            };
            let Some(data) = frame.data_ref() else { continue };
            seen = seen.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
            if seen <= size_max.0 {
                kept.extend_from_slice(data);
                continue;
            }
            kept = BytesMut::new();
            if seen > size_max.0.saturating_add(LINGER_MAX) {
                break;
            }
        }
        if seen > size_max.0 { Err(too_large()) } else { Ok(kept.freeze()) }
    };
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(codes::BODY_TIMEOUT, "a body may take 30 seconds")),
    }
}

/// Reads a body as JSON, if its media type is one of these or not said.
pub(crate) fn json(headers: &HeaderMap, body: &[u8], types: &[&str]) -> Result<Value, Problem> {
    if let Some(media_type) = media_type(headers)
        && !types.iter().any(|known| essence(media_type).eq_ignore_ascii_case(known))
    {
        let detail = format!("send Content-Type: {}", types.join(" or "));
        return Err(Problem::new(codes::MEDIA_TYPE_UNKNOWN, detail));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(codes::JSON_INVALID, error.to_string()))
}

/// The request's media type with its parameters. An empty one says as little as none.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let told = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    told.filter(|media_type| !media_type.trim().is_empty())
}

/// A media type without its parameters.
pub(crate) fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_bodies_are_judged_by_media_type_and_content() {
        let check = |media_type: Option<&str>, body: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(media_type) = media_type {
                headers.insert(CONTENT_TYPE, media_type.parse().expect("header"));
            }
            let read = json(&headers, body.as_bytes(), &["application/json"]);
            assert_eq!(read.err().map(|problem| problem.code().0), expected, "{media_type:?}");
        };
        check(None, "{}", None);
        check(Some(""), "{}", None);
        check(Some("Application/JSON; charset=utf-8"), "{}", None);
        check(Some("text/plain"), "{}", Some("E-MEDIA-TYPE-UNKNOWN"));
        check(Some("application/json"), "{", Some("E-JSON-INVALID"));
    }
}
