//! What every page shares: the style, and turning a template into an answer. Never a page's own
//! content.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::faces::codes;
use crate::faces::problem::Problem;

const STYLE: &str = include_str!("../../../web/static/tidings.css");

/// `GET /static/tidings.css`
pub(crate) async fn style() -> Response {
    let headers =
        [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=3600")];
    (headers, STYLE).into_response()
}

/// Answers with a page.
pub(crate) fn render(status: StatusCode, page: &impl Template) -> Result<Response, Problem> {
    let html = page.render().map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        Problem::new(codes::INTERNAL, "the page could not be rendered")
    })?;
    Ok((status, Html(html)).into_response())
}
