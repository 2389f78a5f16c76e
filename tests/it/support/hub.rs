//! A hub inside the test's own process, on port 0, in a directory of its own.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use tidings::config::{Sources, load};
use tidings::run::Hub;

use super::http::Api;
use super::wait::{eventually, in_time};

/// Short times, so that tests do not wait for what people wait for.
const QUICK: [(&str, &str); 8] = [
    ("http.listen", "127.0.0.1:0"),
    ("mqtt.listen", "127.0.0.1:0"),
    ("lease.min", "1s"),
    ("http.stream_heartbeat", "200ms"),
    ("delivery.checkpoint_interval", "50ms"),
    ("delivery.park_schedule", "100ms"),
    ("net.connect_timeout", "2s"),
    ("drain.timeout", "5s"),
];

/// A running hub and what is needed to start it again on the same data.
pub(crate) struct TestHub {
    pub(crate) api: Api,
    hub: Option<Hub>,
    sources: Sources,
    /// Removed when the test is over.
    dir: TempDir,
}

impl TestHub {
    /// A hub with `--dev`.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A hub with `--dev` and some keys (`section.key`) set.
    pub(crate) async fn with(keys: &[(&str, &str)]) -> Self {
        Self::open(tempfile::tempdir().expect("a directory"), true, keys).await
    }

    /// A hub on data that is there already.
    pub(crate) async fn open(dir: TempDir, dev: bool, keys: &[(&str, &str)]) -> Self {
        let environment = QUICK.iter().chain(keys).map(variable).collect();
        let data_dir = Some(dir.path().to_owned());
        let sources = Sources { file: None, data_dir, dev, environment };
        let (hub, api) = launch(&sources).await;
        Self { api, hub: Some(hub), sources, dir }
    }

    /// Stops the hub and starts it on the same data.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Stops the hub and starts it on the same data with some keys set otherwise.
    pub(crate) async fn restart_with(&mut self, keys: &[(&str, &str)]) {
        self.sources.environment.extend(keys.iter().map(variable));
        self.restart().await;
    }

    /// Starts a hub that was stopped.
    pub(crate) async fn start_again(&mut self) {
        let (hub, api) = launch(&self.sources).await;
        self.api = api;
        self.hub = Some(hub);
    }

    pub(crate) async fn stop(&mut self) {
        let hub = self.hub.take().expect("it runs");
        in_time("the hub stops", hub.stop()).await.expect("a clean stop");
    }

    /// Its data directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.hub.as_ref().expect("it runs").mqtt()
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.hub.as_ref().expect("it runs").http()
    }

    /// Every event in the log, in structured form, oldest first.
    pub(crate) async fn history(&self) -> Vec<Value> {
        history(&self.api).await
    }

    /// Waits until a subscription is in a state, and answers it.
    pub(crate) async fn in_state(&self, id: &str, state: &str) -> Value {
        let path = format!("/v1/subscriptions/{id}");
        eventually(&format!("{id} is {state}"), async || {
            let subscription = self.api.get(&path).await.expect(200);
            (subscription["state"] == state).then_some(subscription)
        })
        .await
    }

    /// Proves that the hub still works: posts one event and reads it back.
    pub(crate) async fn assert_works(&self, why: &str) {
        let id = uuid::Uuid::now_v7().to_string();
        let offset = self.api.publish(&event(&id, "still.working", json!(why))).await;
        let read = self.api.get(&format!("/v1/events/{offset}")).await.expect(200);
        assert_eq!(read["id"], id, "after {why}: {read}");
    }
}

/// A key and its value as a variable of the environment.
fn variable((key, value): &(&str, &str)) -> (String, String) {
    (format!("TIDINGS__{}", key.to_uppercase().replace('.', "__")), (*value).to_owned())
}

async fn launch(sources: &Sources) -> (Hub, Api) {
    let config = load(sources).expect("a valid configuration").config;
    let hub = in_time("the hub starts", Hub::start(config)).await.expect("a start");
    let api = Api::new(hub.http());
    (hub, api)
}

/// Every event in the log of a hub, oldest first.
pub(crate) async fn history(api: &Api) -> Vec<Value> {
    let mut events = Vec::new();
    let mut from = json!("earliest");
    loop {
        let start = from.as_str().map_or_else(|| from.to_string(), str::to_owned);
        let page = api.get(&format!("/v1/events?from={start}&limit=1000")).await.expect(200);
        events.extend(page["events"].as_array().expect("a list").iter().cloned());
        let next = page["next"].clone();
        if next.is_null() || next == from {
            return events;
        }
        from = next;
    }
}

/// One event as a publisher writes it, source `/tests`.
pub(crate) fn event(id: &str, kind: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/tests", "type": kind, "data": data})
}

/// A subscription to a topic filter that is delivered to a URL and retried soon.
pub(crate) fn wish(topic: &str, url: &str) -> Value {
    json!({
        "filter": {"topic": topic},
        "sink": {"http": {"url": url}},
        "lease_seconds": 3600,
        "policy": {"timeout": "2s", "retry": ["50ms", "50ms", "50ms"]},
    })
}

/// The one list that an answer holds, whatever it is called.
pub(crate) fn items(answer: &Value) -> Vec<Value> {
    let mut lists = answer.as_object().into_iter().flatten().filter_map(|(_, v)| v.as_array());
    let list = answer.as_array().or_else(|| lists.next());
    list.unwrap_or_else(|| panic!("no list in {answer}")).clone()
}

/// A subscription's id.
pub(crate) fn id_of(subscription: &Value) -> String {
    subscription["id"].as_str().expect("an id").to_owned()
}
