//! Dead letters: looking at one, forgetting some, and what retention takes.

use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::process::{code, run, stderr, stdout, token_in};
use crate::support::{Api, Receiver, Reply, TestHub, eventually};

/// Dead letters that there are, newest first.
pub(crate) async fn letters(api: &Api, query: &str) -> Vec<Value> {
    items(&api.get(&format!("/v1/dead-letters?{query}")).await.expect(200)["dead_letters"])
}

/// Waits for so many dead letters.
pub(crate) async fn wait_for_letters(api: &Api, count: usize) -> Vec<Value> {
    eventually(&format!("{count} dead letters"), async || {
        let found = letters(api, "limit=500").await;
        (found.len() == count).then_some(found)
    })
    .await
}

/// Subscribes to `a/b` at a receiver that refuses everything. The subscription's id.
pub(crate) async fn subscribe(api: &Api, receiver: &Receiver) -> String {
    receiver.always(Reply::Status(400));
    id_of(&api.subscribe(&wish("a/b", &receiver.url("/"))).await)
}

/// Publishes events `from..to` on `a/b`.
pub(crate) async fn publish(api: &Api, from: u32, to: u32) {
    for n in from..to {
        api.publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
}

/// The value of a metric.
pub(crate) async fn metric(api: &Api, name: &str) -> u64 {
    let metrics = api.get("/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_shows_the_request_masked_and_the_answers_cut() {
    let hub = TestHub::start().await;
    let receiver =
        Receiver::scripted(vec![Reply::Status(503), Reply::Json(400, json!("no".repeat(2_000)))])
            .await;
    let mut wanted = wish("a/b", &receiver.url("/hook?x=1"));
    wanted["sink"]["http"]["headers"] = json!({"authorization": "Bearer hush", "x-site": "7"});
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let big = event("1", "a.b", json!("x".repeat(5_000)));
    let offset = hub.api.publish(&big).await;
    let short = wait_for_letters(&hub.api, 1).await.remove(0);
    assert_eq!(short["note"], Value::Null, "{short}");
    assert!(short["request"].is_null() && !short.to_string().contains("nono"), "{short}");
    let path = format!("/v1/dead-letters/{}", short["id"].as_str().expect("an id"));
    let letter = hub.api.get(&path).await.expect(200);
    let expected =
        [("subscription", json!(id)), ("offset", json!(offset)), ("replay", json!(false))];
    for (member, value) in expected {
        assert_eq!(letter[member], value, "{member}");
    }
    assert_eq!((&letter["code"], &letter["note"]), (&short["code"], &Value::Null));
    assert_eq!((&letter["event"]["id"], &letter["event"]["data"]), (&json!("1"), &big["data"]));
    let request = &letter["request"];
    assert_eq!((&request["method"], &request["body_cut"]), (&json!("POST"), &json!(true)));
    assert_eq!(request["url"], json!(receiver.url("/hook?x=1")));
    let headers = &request["headers"];
    assert_eq!((&headers["authorization"], &headers["x-site"]), (&json!("***"), &json!("7")));
    assert_eq!(headers["tidings-attempt"], "2");
    assert!(request["body"].as_str().expect("text").contains("xxx"));
    assert!(!letter.to_string().contains("hush"), "{letter}");
    let attempts = letter["attempts"].as_array().expect("a list");
    let statuses: Vec<_> = attempts.iter().map(|attempt| attempt["status"].clone()).collect();
    assert_eq!(statuses, [503, 400]);
    let answer = &attempts[1]["answer"];
    assert_eq!((&attempts[1]["step"], &answer["body_cut"]), (&json!(0), &json!(true)));
    assert_eq!(answer["body"], format!("\"{}n", "no".repeat(511)), "its first bytes");
    assert_eq!(answer["headers"]["content-type"], "application/json");
    for unknown in ["/v1/dead-letters/9-9", "/v1/dead-letters/x"] {
        let problem = hub.api.get(unknown).await.expect_problem(404);
        assert_eq!(problem["code"], "E-DEAD-LETTER-UNKNOWN");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_listed_and_purged_by_what_they_are() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let id = subscribe(&hub.api, &receiver).await;
    publish(&hub.api, 0, 3).await;
    let found = wait_for_letters(&hub.api, 3).await;
    let text = |letter: &Value, member: &str| letter[member].as_str().expect("text").to_owned();
    let (newest, oldest) = (text(&found[0], "at"), text(&found[2], "at"));
    // Some may have been given up in the same millisecond.
    let at = |letter: &Value| text(letter, "at").parse::<jiff::Timestamp>().expect("a time");
    let before = found.iter().filter(|letter| at(letter) < at(&found[0])).count();
    assert_eq!(letters(&hub.api, &format!("until={newest}")).await.len(), before);
    assert_eq!(letters(&hub.api, &format!("since={newest}")).await.len(), 3 - before);
    assert_eq!(letters(&hub.api, &format!("until={oldest}")).await.len(), 0);

    let page = hub.api.get("/").await.text();
    assert!(page.contains("E-DELIVERY-PERMANENT") && page.contains("answered 400"), "{page}");

    let one = format!("/v1/dead-letters/{}", text(&found[1], "id"));
    hub.api.delete(&one).await.expect(204);
    hub.api.delete(&one).await.expect_problem(404);
    hub.api.get(&one).await.expect_problem(404);
    hub.api.delete("/v1/dead-letters").await.expect_problem(400);
    hub.api.delete("/v1/dead-letters?all=yes").await.expect_problem(400);
    let purge = async |query: &str| {
        hub.api.delete(&format!("/v1/dead-letters?{query}")).await.expect(200)["purged"].clone()
    };
    assert_eq!(purge("code=E-DELIVERY-TOO-OLD").await, 0);
    let before = letters(&hub.api, &format!("until={newest}")).await.len();
    assert_eq!(purge(&format!("subscription={id}&until={newest}")).await, before);
    publish(&hub.api, 3, 5).await;
    wait_for_letters(&hub.api, 4 - before).await;
    assert_eq!(purge("all=true").await, 4 - before);
    assert_eq!(metric(&hub.api, "tidings_flow_dead_letters_purged_total").await, 5);
    hub.restart().await;
    assert_eq!(letters(&hub.api, "").await.len(), 0, "they stay away");
    assert_eq!(receiver.count(), 5, "nothing was sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_letters_go_when_there_are_too_many() {
    let hub = TestHub::with(&[("dead_letters.count_max", "2")]).await;
    let receiver = Receiver::start().await;
    subscribe(&hub.api, &receiver).await;
    publish(&hub.api, 0, 5).await;
    receiver.wait_for(5).await;
    eventually("three are gone", async || {
        (metric(&hub.api, "tidings_flow_dead_letters_expired_total").await == 3).then_some(())
    })
    .await;
    let found = letters(&hub.api, "").await;
    let ids: Vec<_> = found.iter().map(|letter| letter["event"]["id"].clone()).collect();
    assert_eq!(ids, ["4", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_go_when_they_are_old_enough() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let id = subscribe(&hub.api, &receiver).await;
    publish(&hub.api, 0, 2).await;
    wait_for_letters(&hub.api, 2).await;
    hub.api.delete(&format!("/v1/subscriptions/{id}")).await.expect(204);
    assert_eq!(letters(&hub.api, "").await.len(), 2, "they outlive their subscription");
    hub.restart_with(&[("dead_letters.keep", "1s")]).await;
    wait_for_letters(&hub.api, 0).await;
    eventually("that is counted", async || {
        (metric(&hub.api, "tidings_flow_dead_letters_expired_total").await == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_belong_to_whom_the_subscription_belongs_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tokens = Vec::new();
    for grants in [["manage", "subscribe:a/#"], ["manage", "subscribe:a/#"], ["admin", "manage"]] {
        let arguments = ["token", "create", "x", "--allow", grants[0], "--allow", grants[1]];
        let made = run(dir.path(), &arguments).await;
        assert_eq!(code(&made), 0, "{}", stderr(&made));
        tokens.push(token_in(&stdout(&made)));
    }
    let mut hub = TestHub::open(dir, false, &[("net.allow", "127.0.0.0/8")]).await;
    let api = |hub: &TestHub, n: usize| hub.api.with_token(&tokens[n]);
    let (mine, other, admin) = (api(&hub, 0), api(&hub, 1), api(&hub, 2));
    // Loopback is refused without --dev: that makes dead letters.
    let id = id_of(&mine.subscribe(&wish("a/b", "http://localhost:9/")).await);
    publish(&admin, 0, 2).await;
    let found = wait_for_letters(&mine, 2).await;
    assert_eq!(found[0]["code"], "E-ADDRESS-REFUSED");
    let path = format!("/v1/dead-letters/{}", found[0]["id"].as_str().expect("an id"));
    mine.get(&path).await.expect(200);
    admin.get(&path).await.expect(200);
    other.get(&path).await.expect_problem(404);
    other.delete(&path).await.expect_problem(404);
    assert_eq!(other.delete("/v1/dead-letters?all=true").await.expect(200)["purged"], 0);
    let job = other.post("/v1/dead-letters/redrive", &json!({"filter": {}})).await.expect(202);
    assert_eq!(job["total"], 0, "{job}");
    let job = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    mine.get(&job).await.expect_problem(404);
    mine.delete(&job).await.expect_problem(404);
    admin.get(&job).await.expect(200);
    eventually("it ends", async || {
        (other.get(&job).await.expect(200)["state"] == "done").then_some(())
    })
    .await;
    assert_eq!(other.get(&job).await.expect(200)["done"], 0);
    mine.delete(&path).await.expect(204);
    mine.delete(&format!("/v1/subscriptions/{id}")).await.expect(204);
    assert_eq!(letters(&mine, "").await.len(), 0, "it was theirs by its subscription");
    assert_eq!(letters(&admin, "").await.len(), 1);
    hub.stop().await;
}
