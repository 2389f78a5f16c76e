//! The router: routes, what every handler shares, and what every answer gets. Never the routes'
//! own work.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue};
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use super::problem::{self, Problem};
use super::sessions::Sessions;
use super::setup::Setup;
use super::{codes, routes};
use crate::clock::{self, Stopwatch};
use crate::config::Config;
use crate::domain::address::Guard;
use crate::stop::Stop;
use crate::telemetry::{Metrics, Status};
use crate::{flow, store};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken from a client.
const REQUEST_ID_BYTES_MAX: usize = 64;

const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// What the HTTP face works with.
pub struct Deps {
    /// The configuration.
    pub config: Arc<Config>,
    /// Reads the log and its tables.
    pub reader: store::Reader,
    /// Takes events and commands.
    pub ingest: flow::Ingest,
    /// Knows callers.
    pub gate: flow::Gate,
    /// Tells what delivery is doing.
    pub lanes: flow::Lanes,
    /// Looks at what would be delivered.
    pub preview: flow::Preview,
    /// Tests subscriptions.
    pub trial: flow::Trial,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Judges the targets of subscriptions.
    pub guard: Arc<Guard>,
    /// Checks the keys of subscriptions.
    pub keyring: flow::Keyring,
    /// One-time key of the set-up URL, if one was printed.
    pub setup: Option<String>,
    /// The sign to end event streams.
    pub stop: Stop,
}

/// What handlers share.
pub(crate) struct App {
    pub(crate) config: Arc<Config>,
    pub(crate) reader: store::Reader,
    pub(crate) ingest: flow::Ingest,
    pub(crate) gate: flow::Gate,
    pub(crate) lanes: flow::Lanes,
    pub(crate) preview: flow::Preview,
    pub(crate) trial: flow::Trial,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) keyring: flow::Keyring,
    pub(crate) stop: Stop,
    pub(crate) registry: Registry,
    pub(crate) sessions: Sessions,
    pub(crate) setup: Setup,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) since: Stopwatch,
}

/// The handlers' state.
pub(crate) type Hub = Arc<App>;

/// Builds the HTTP face.
pub fn router(deps: Deps) -> Router {
    let streams_max = deps.config.http.streams_max.min(Semaphore::MAX_PERMITS);
    let hub = Arc::new(App {
        registry: deps.metrics.registry(),
        sessions: Sessions::default(),
        setup: Setup::new(deps.setup.as_deref()),
        streams: Arc::new(Semaphore::new(streams_max)),
        since: Stopwatch::start(),
        config: deps.config,
        reader: deps.reader,
        ingest: deps.ingest,
        gate: deps.gate,
        lanes: deps.lanes,
        preview: deps.preview,
        trial: deps.trial,
        metrics: deps.metrics,
        guard: deps.guard,
        keyring: deps.keyring,
        stop: deps.stop,
    });
    let mut router = Router::new();
    for (method, path, handler) in routes::ROUTES {
        router = router.route(path, handler(routes::filter(method)));
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(CatchPanicLayer::custom(problem::of_panic))
        .layer(from_fn_with_state(hub.clone(), around))
        .with_state(hub)
}

async fn no_route() -> Problem {
    Problem::new(codes::ROUTE_UNKNOWN, "GET /openapi.json lists the routes")
}

async fn no_method() -> Problem {
    Problem::new(codes::METHOD_NOT_ALLOWED, "the header Allow lists the methods")
}

/// Gives every request an id and a span, every answer its headers and its place in the metrics.
async fn around(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let path = request.extensions().get::<MatchedPath>().cloned();
    let path = path.as_ref().map_or("unknown", MatchedPath::as_str);
    let method = request.method().clone();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, path);
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.in_scope(|| tracing::debug!(status = status.as_u16(), "answered"));
    hub.metrics.faces_answers.get_or_create(&Status { status: class(status) }).inc();
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Not `no-referrer`: it makes browsers send `Origin: null` with our own forms.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn request_id(request: &Request) -> HeaderValue {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let given = request.headers().get(REQUEST_ID).filter(|id| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(plain)
    });
    given.cloned().unwrap_or_else(|| {
        HeaderValue::try_from(clock::sortable_id().to_string()).expect("a UUID is plain ASCII")
    })
}

fn class(status: http::StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "1xx",
    }
}
