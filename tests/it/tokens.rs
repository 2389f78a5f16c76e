//! Tokens and grants: one policy for HTTP, event streams and MQTT.

use http::Method;
use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::mosquitto;
use crate::support::mqtt::{self, BOTH, Client, PUBACK, SUBACK, Version};
use crate::support::process::{code, run, stderr, stdout, token_in};
use crate::support::{Api, Process, TestHub, eventually};

/// A hub without `--dev` and one client for each list of grants.
async fn guarded<const N: usize>(grants: [&[&str]; N]) -> (TestHub, [String; N]) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tokens = [const { String::new() }; N];
    for (n, grants) in grants.iter().enumerate() {
        let name = format!("token-{n}");
        let mut arguments = vec!["token", "create", &name];
        arguments.extend(grants.iter().flat_map(|grant| ["--allow", grant]));
        let made = run(dir.path(), &arguments).await;
        assert_eq!(code(&made), 0, "{}", stderr(&made));
        tokens[n] = token_in(&stdout(&made));
    }
    (TestHub::open(dir, false, &[]).await, tokens)
}

fn on(topic: &str) -> Value {
    let mut event = event(&uuid::Uuid::now_v7().to_string(), "a.b", json!(1));
    event["topic"] = json!(topic);
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_credentials_the_answer_is_401() {
    let (hub, _tokens) = guarded([&["admin"]]).await;
    for path in ["/v1/events", "/v1/stream", "/v1/subscriptions", "/v1/dead-letters", "/v1/status"]
    {
        hub.api.get(path).await.expect_problem(401);
        hub.api.with_token("tdg_wrong_token").get(path).await.expect_problem(401);
    }
    hub.api.post_event(&on("a")).await.expect_problem(401);
    assert!(hub.api.get("/livez").await.status.is_success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_grant_the_answer_is_403() {
    let grants: [&[&str]; 3] = [&["publish:doors/#"], &["subscribe:doors/+"], &["admin"]];
    let (hub, [publisher, reader, admin]) = guarded(grants).await;
    let (publisher, reader) = (hub.api.with_token(&publisher), hub.api.with_token(&reader));
    publisher.publish(&on("doors/1")).await;
    publisher.post_event(&on("lamps/1")).await.expect_problem(403);
    reader.post_event(&on("doors/1")).await.expect_problem(403);
    publisher
        .post("/v1/subscriptions", &wish("doors/1", "http://10.0.0.1/"))
        .await
        .expect_problem(403);
    let stream = publisher.open(Method::GET, "/v1/stream", &[], "".into()).await;
    assert_eq!(stream.status().as_u16(), 403, "no event stream without a subscribe grant");
    let admin = hub.api.with_token(&admin);
    admin.publish(&on("lamps/1")).await;
    let page = reader.get("/v1/events?from=earliest&topic=doors/%2B").await.expect(200);
    assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "{page}");
    let all = reader.get("/v1/events?from=earliest").await;
    assert!(!all.text().contains("lamps/1"), "events outside the grants are not shown: {all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_belongs_to_its_token() {
    let both: &[&str] = &["manage", "subscribe:a/#"];
    let (hub, [mine, other, admin]) = guarded([both, both, &["admin"]]).await;
    let [mine, other, admin] = [&mine, &other, &admin].map(|token| hub.api.with_token(token));
    let id = id_of(&mine.subscribe(&wish("a/#", "http://10.0.0.1/")).await);
    let path = format!("/v1/subscriptions/{id}");
    mine.get(&path).await.expect(200);
    admin.get(&path).await.expect(200);
    other.get(&path).await.expect_problem(404);
    other.delete(&path).await.expect_problem(404);
    other.post(&format!("{path}/pause"), &json!({})).await.expect_problem(404);
    assert!(items(&other.get("/v1/subscriptions").await.expect(200)).is_empty());
    assert_eq!(items(&admin.get("/v1/subscriptions").await.expect(200)).len(), 1);
    let wide = mine.post("/v1/subscriptions", &wish("#", "http://10.0.0.1/")).await;
    // Refused, or accepted and never wider than its owner's grants.
    assert!(matches!(wide.status.as_u16(), 201 | 403), "{wide:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_refuses_bad_credentials_with_its_own_codes() {
    let (hub, [token]) = guarded([&["publish:doors/#", "subscribe:doors/#"]]).await;
    for version in BOTH {
        for login in [None, Some(("anybody", "wrong")), Some(("anybody", ""))] {
            let mut client = Client::open(hub.mqtt(), version).await;
            client.send(&mqtt::connect(version, "stranger", login)).await;
            let answer = client.packet().await.expect("a CONNACK");
            let allowed: &[u8] = if version == Version::V4 { &[4, 5] } else { &[0x86, 0x87] };
            assert!(allowed.contains(&answer.body[1]), "{version:?} {login:?}: {answer:?}");
            assert!(client.until_closed().await.is_empty());
        }
        let mut client = Client::open(hub.mqtt(), version).await;
        client.send(&mqtt::connect(version, "guest", Some(("anything", &token)))).await;
        assert_eq!(client.packet().await.expect("a CONNACK").body[1], 0);
    }
    let login = Some(("anything", token.as_str()));
    for version in mosquitto::VERSIONS {
        let sent = mosquitto::publish(hub.mqtt(), version, "doors/1", "x", login).await;
        assert!(sent.status.success(), "{sent:?}");
        let refused = mosquitto::publish(hub.mqtt(), version, "doors/1", "x", None).await;
        assert!(!refused.status.success(), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_keeps_to_the_grants() {
    let grants: [&[&str]; 2] = [&["publish:doors/#", "subscribe:doors/#"], &["admin"]];
    let (hub, [token, admin]) = guarded(grants).await;
    for version in BOTH {
        let mut client = Client::open(hub.mqtt(), version).await;
        client.send(&mqtt::connect(version, "guest", Some(("guest", &token)))).await;
        assert_eq!(client.packet().await.expect("a CONNACK").body[1], 0);
        for (filter, allowed) in [("doors/+", true), ("lamps/+", false), ("#", false)] {
            client.send(&mqtt::subscribe(version, filter, 1)).await;
            let answer = client.packet().await.expect("a SUBACK");
            let refusal = if version == Version::V4 { 0x80 } else { 0x87 };
            let expected = if allowed { 1 } else { refusal };
            assert_eq!((answer.kind(), answer.body.last()), (SUBACK, Some(&expected)), "{filter}");
        }
        client.send(&mqtt::publish(version, "lamps/1", Some(9), b"forbidden")).await;
        // 3.1.1 has no code for it: an acknowledgement or the end; 5 says "not authorized".
        let answer = client.packet().await;
        if version == Version::V5 {
            let answer = answer.expect("a PUBACK");
            assert_eq!((answer.kind(), answer.body.get(2)), (PUBACK, Some(&0x87)), "{answer:?}");
        }
    }
    let admin = hub.api.with_token(&admin);
    admin.publish(&on("barrier")).await;
    let stored = crate::support::hub::history(&admin).await;
    assert!(stored.iter().all(|event| event["topic"] != "lamps/1"), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_refused_and_ends_what_it_owns() {
    let dir = tempfile::tempdir().expect("a directory");
    let create = async |name: &str, grants: &[&str]| {
        let mut arguments = vec!["token", "create", name];
        arguments.extend(grants.iter().flat_map(|grant| ["--allow", grant]));
        let made = run(dir.path(), &arguments).await;
        assert_eq!(code(&made), 0, "{}", stderr(&made));
        token_in(&stdout(&made))
    };
    // One on a stopped hub, one on a running hub.
    let admin = create("root", &["admin"]).await;
    let hub = Process::start(dir.path(), &["serve"], &[]);
    let token = create("guest", &["manage", "subscribe:#", "publish:#"]).await;
    let (admin, guest) = (hub.api().with_token(&admin), hub.api().with_token(&token));
    let id = id_of(&guest.subscribe(&wish("a/#", "http://10.0.0.1/")).await);
    let mut client = Client::open(hub.mqtt, Version::V5).await;
    client.send(&mqtt::connect(Version::V5, "guest", Some(("guest", &token)))).await;
    assert_eq!(client.packet().await.expect("a CONNACK").body[1], 0);

    let listed = stdout(&run(dir.path(), &["token", "list"]).await);
    assert!(listed.contains("guest") && listed.contains("root"), "{listed}");
    assert!(!listed.contains(&token), "secrets are shown once: {listed}");
    let token_id = token.split('_').nth(1).expect("tdg_<id>_<secret>");
    let revoked = run(dir.path(), &["token", "revoke", token_id]).await;
    assert_eq!(code(&revoked), 0, "{}", stderr(&revoked));
    guest.get("/v1/events").await.expect_problem(401);
    client.until_closed().await;
    eventually("its subscription ends", async || {
        let subscription = admin.get(&format!("/v1/subscriptions/{id}")).await.expect(200);
        (subscription["state"] == "ended").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_set_up_url_makes_the_administrators_token_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut hub = Process::start(dir.path(), &["serve"], &[]);
    let path = hub.setup();
    let api: Api = hub.api();
    assert!(api.get("/setup?key=wrong").await.status.is_client_error());
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let key = path.split_once("key=").expect("a key").1.to_owned();
    let post = |key: String| api.send(Method::POST, "/setup", &form, format!("key={key}&name=me"));
    assert!(post("wrong".to_owned()).await.status.is_client_error());
    assert!(!api.get(&path).await.text().contains("tdg_"), "looking makes no token");
    let page = post(key.clone()).await;
    assert!(page.status.is_success(), "{page:?}");
    let admin = api.with_token(&token_in(&page.text()));
    admin.get("/v1/status").await.expect(200);
    for again in [api.get(&path).await, post(key).await] {
        assert!(again.status.is_client_error() && !again.text().contains("tdg_"), "{again:?}");
    }
    hub.kill();
    let hub = Process::start(dir.path(), &["serve"], &[]);
    assert!(hub.setup.is_none(), "only the first start offers it");
    assert!(hub.api().get(&path).await.status.is_client_error());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrators_token_from_elsewhere_spends_the_set_up_url() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut hub = Process::start(dir.path(), &["serve"], &[]);
    let path = hub.setup();
    let key = path.split_once("key=").expect("a key").1.to_owned();
    let create = async |grant: &str| {
        let made = run(dir.path(), &["token", "create", "x", "--allow", grant]).await;
        assert_eq!(code(&made), 0, "{}", stderr(&made));
    };
    create("manage").await;
    assert_eq!(hub.api().get(&path).await.status.as_u16(), 200, "nobody is the administrator");
    create("admin").await;
    hub.api().get(&path).await.expect_problem(410);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!("key={key}&name=me");
    let posted = hub.api().send(Method::POST, "/setup", &form, body).await;
    assert_eq!(posted.expect_problem(410)["code"], "E-SETUP-KEY-SPENT");
    let large = format!("key={key}&name={}", "x".repeat(5_000));
    let posted = hub.api().send(Method::POST, "/setup", &form, large).await;
    posted.expect_problem(410);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_checked_alike_on_a_stopped_and_a_running_hub() {
    let dir = tempfile::tempdir().expect("a directory");
    let long = "x".repeat(129);
    let many = vec!["manage"; 1_000];
    let check = async || {
        for (name, allow) in
            [("", &["admin"][..]), (&long, &["admin"]), ("a\nb", &["admin"]), ("a", &many)]
        {
            let arguments = [&["token", "create", name, "--allow"][..], allow].concat();
            let refused = run(dir.path(), &arguments).await;
            assert_eq!(code(&refused), 2, "{name:?}: {}", stderr(&refused));
        }
    };
    check().await;
    let hub = Process::start(dir.path(), &["serve"], &[]);
    check().await;
    // Where the hub is may be said after the action too.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let made = run(dir.path(), &["token", "create", "root", "--allow", "admin"]).await;
    let file = elsewhere.path().join("token");
    std::fs::write(&file, token_in(&stdout(&made))).expect("written");
    let (url, file) = (format!("http://{}", hub.http), file.to_str().expect("UTF-8"));
    let arguments = ["token", "list", "--url", &url, "--token-file", file];
    let listed = run(elsewhere.path(), &arguments).await;
    assert!(stdout(&listed).contains("root"), "{}", stderr(&listed));
}
