//! The table of routes: the router is built from it and the OpenAPI file is checked against it.
//! Never a handler.

use axum::routing::{MethodFilter, MethodRouter, on};

use super::api::{
    backup, changes, dead_letter, dead_letters, events, explain, history, jobs, preview, redrives,
    replay, rotation, status, subscriptions, tokens, trial,
};
use super::router::Hub;
use super::{pages, probes, sse};

/// A method, a path, and what mounts the handler.
pub(crate) type Route = (&'static str, &'static str, fn(MethodFilter) -> MethodRouter<Hub>);

/// Every route.
pub(crate) const ROUTES: &[Route] = &[
    ("post", "/v1/events", |m| on(m, events::publish)),
    ("get", "/v1/events", |m| on(m, history::page)),
    ("get", "/v1/events/{offset}", |m| on(m, history::one)),
    ("get", "/v1/events/{offset}/explain", |m| on(m, explain::explain)),
    ("get", "/v1/stream", |m| on(m, sse::stream)),
    ("post", "/v1/subscriptions", |m| on(m, subscriptions::create)),
    ("get", "/v1/subscriptions", |m| on(m, subscriptions::list)),
    ("post", "/v1/subscriptions/preview", |m| on(m, preview::preview)),
    ("get", "/v1/subscriptions/{id}", |m| on(m, subscriptions::one)),
    ("put", "/v1/subscriptions/{id}", |m| on(m, subscriptions::put)),
    ("patch", "/v1/subscriptions/{id}", |m| on(m, subscriptions::patch)),
    ("delete", "/v1/subscriptions/{id}", |m| on(m, changes::delete)),
    ("post", "/v1/subscriptions/{id}/renew", |m| on(m, changes::renew)),
    ("post", "/v1/subscriptions/{id}/pause", |m| on(m, changes::pause)),
    ("post", "/v1/subscriptions/{id}/resume", |m| on(m, changes::resume)),
    ("post", "/v1/subscriptions/{id}/replay", |m| on(m, replay::begin)),
    ("delete", "/v1/subscriptions/{id}/replay", |m| on(m, replay::cancel)),
    ("post", "/v1/subscriptions/{id}/test", |m| on(m, trial::test)),
    ("post", "/v1/subscriptions/{id}/rotate-secret", |m| on(m, rotation::rotate)),
    ("get", "/v1/dead-letters", |m| on(m, dead_letters::list)),
    ("delete", "/v1/dead-letters", |m| on(m, redrives::purge)),
    ("get", "/v1/dead-letters/{id}", |m| on(m, dead_letter::one)),
    ("delete", "/v1/dead-letters/{id}", |m| on(m, dead_letter::purge)),
    ("post", "/v1/dead-letters/redrive", |m| on(m, redrives::create)),
    ("get", "/v1/jobs", |m| on(m, jobs::list)),
    ("get", "/v1/jobs/{id}", |m| on(m, jobs::one)),
    ("delete", "/v1/jobs/{id}", |m| on(m, jobs::cancel)),
    ("post", "/v1/tokens", |m| on(m, tokens::create)),
    ("get", "/v1/tokens", |m| on(m, tokens::list)),
    ("delete", "/v1/tokens/{id}", |m| on(m, tokens::revoke)),
    ("get", "/v1/backup", |m| on(m, backup::take)),
    ("get", "/v1/status", |m| on(m, status::status)),
    ("get", "/service", |m| on(m, status::service)),
    ("get", "/livez", |m| on(m, probes::live)),
    ("get", "/readyz", |m| on(m, probes::ready)),
    ("get", "/metrics", |m| on(m, probes::metrics)),
    ("get", "/openapi.json", |m| on(m, probes::openapi)),
    ("get", "/asyncapi.json", |m| on(m, probes::asyncapi)),
    ("get", "/", |m| on(m, pages::home)),
    ("get", "/login", |m| on(m, pages::login_form)),
    ("post", "/login", |m| on(m, pages::login)),
    ("post", "/logout", |m| on(m, pages::logout)),
    ("get", "/setup", |m| on(m, pages::setup_form)),
    ("post", "/setup", |m| on(m, pages::setup)),
    ("get", "/static/tidings.css", |m| on(m, pages::style)),
];

/// The method's filter.
pub(crate) fn filter(method: &str) -> MethodFilter {
    match method {
        "post" => MethodFilter::POST,
        "put" => MethodFilter::PUT,
        "patch" => MethodFilter::PATCH,
        "delete" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::faces::CODES;

    fn document(text: &str) -> Value {
        serde_json::from_str(text).expect("valid JSON")
    }

    #[test]
    fn the_openapi_file_has_exactly_our_routes() {
        let ours: BTreeSet<_> =
            ROUTES.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
        let file = document(probes::OPENAPI);
        let mut theirs = BTreeSet::new();
        for (path, item) in file["paths"].as_object().expect("paths") {
            let methods = item.as_object().expect("path item").keys();
            let methods = methods.filter(|key| *key != "parameters");
            theirs.extend(methods.map(|method| format!("{method} {path}")));
        }
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), ROUTES.len(), "no route is there twice");
    }

    #[test]
    fn the_openapi_file_lists_every_code_and_its_references_hold() {
        let file = document(probes::OPENAPI);
        let codes = &file["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        let theirs: Vec<_> = codes.as_array().expect("enum").iter().collect();
        assert_eq!(theirs, CODES.iter().map(|(code, _, _)| code).collect::<Vec<_>>());
        check_references(&file, &file);
        assert_eq!(file["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_asyncapi_file_holds_together() {
        let file = document(probes::ASYNCAPI);
        assert_eq!(file["asyncapi"], "3.0.0");
        check_references(&file, &file);
    }

    fn check_references(file: &Value, node: &Value) {
        match node {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect("a local reference");
                    assert!(file.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|node| check_references(file, node));
            }
            Value::Array(items) => items.iter().for_each(|node| check_references(file, node)),
            _ => {}
        }
    }
}
