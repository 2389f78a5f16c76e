//! The variable part of a route's path. Never axum's own answer, which is not a problem document.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::codes;
use super::problem::Problem;
use super::router::Hub;

/// The one segment of a path that names something, percent-decoded.
pub(crate) struct Segment(pub(crate) String);

impl FromRequestParts<Hub> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, hub).await;
        path.map(|Path(text)| Self(text))
            .map_err(|_| Problem::new(codes::ROUTE_UNKNOWN, "the path is not UTF-8"))
    }
}
