//! What targets ask for before they take deliveries: credentials of each kind, client certificates,
//! authorities of their own. Shown masked, kept when the mask comes back.

use http::Method;
use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::process::{code, run, stderr, stdout, token_in};
use crate::support::tls::{Authority, TlsReceiver};
use crate::support::{Api, Receiver, TestHub, eventually};

/// Subscribes with an `auth` and answers a header of the delivery.
async fn header_of(auth: Value, name: &str) -> String {
    let (hub, receiver) = (TestHub::start().await, Receiver::start().await);
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["sink"]["http"]["auth"] = auth;
    hub.api.subscribe(&wanted).await;
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    receiver.wait_for(1).await[0].header(name).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_credential_arrives() {
    let bearer = json!({"bearer": {"token": "tok.en-1"}});
    assert_eq!(header_of(bearer, "authorization").await, "Bearer tok.en-1");
    let basic = json!({"basic": {"user": "Aladdin", "password": "open sesame"}});
    assert_eq!(header_of(basic, "authorization").await, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let header = json!({"header": {"name": "X-Site", "value": "ob 7"}});
    assert_eq!(header_of(header, "x-site").await, "ob 7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_masked_and_the_mask_keeps_it() {
    let (mut hub, receiver) = (TestHub::start().await, Receiver::start().await);
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["sink"]["http"]["auth"] = json!({"header": {"name": "X-Site", "value": "hidden-one"}});
    wanted["sink"]["http"]["headers"] = json!({"x-api-key": "hidden-two", "x-plain": "seen"});
    let path = "/v1/subscriptions/s";
    let made = hub.api.json(Method::PUT, path, &wanted).await.expect(201);
    let sink = made["sink"].clone();
    assert!(!made.to_string().contains("hidden"), "{made}");
    assert_eq!(sink["http"]["auth"]["header"]["value"], "***");
    assert_eq!(sink["http"]["headers"], json!({"x-api-key": "***", "x-plain": "seen"}));

    wanted["sink"] = sink;
    hub.api.json(Method::PUT, path, &wanted).await.expect(200);
    let patch = json!({"sink": {"http": {"method": "PUT"}}});
    hub.api.json(Method::PATCH, path, &patch).await.expect(200);
    hub.restart().await;
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!(request.method, "PUT");
    assert_eq!(request.header("x-site"), "hidden-one");
    assert_eq!(request.header("x-api-key"), "hidden-two");

    wanted["sink"]["http"]["auth"] = json!({"bearer": {"token": "***"}});
    let problem = hub.api.json(Method::PUT, path, &wanted).await.expect_problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/sink/http/auth/bearer/token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_delivery_does_not_show_the_credential() {
    let (hub, receiver) = (TestHub::start().await, Receiver::start().await);
    receiver.always(crate::support::Reply::Status(400));
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["sink"]["http"]["auth"] = json!({"header": {"name": "X-Site", "value": "hidden-one"}});
    let id = id_of(&hub.api.subscribe(&wanted).await);
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    let letter = dead_letter(&hub.api, &id).await;
    assert!(!letter.to_string().contains("hidden-one"), "{letter}");
}

async fn dead_letter(api: &Api, subscription: &str) -> Value {
    let path = format!("/v1/dead-letters?subscription={subscription}");
    eventually("a dead letter", async || {
        items(&api.get(&path).await.expect(200)).into_iter().next()
    })
    .await
}

/// A wish that is tried once.
fn once(url: &str, tls: Value) -> Value {
    let mut wanted = wish("a/b", url);
    wanted["sink"]["http"]["tls"] = tls;
    wanted["policy"]["retry"] = json!([]);
    wanted
}

/// Subscribes, publishes, and answers the dead letter that comes of it.
async fn refused(hub: &TestHub, wanted: &Value) -> String {
    let id = id_of(&hub.api.subscribe(wanted).await);
    let number = uuid::Uuid::now_v7().to_string();
    hub.api.publish(&event(&number, "a.b", json!(1))).await;
    let letter = dead_letter(&hub.api, &id).await.to_string();
    hub.api.delete(&format!("/v1/subscriptions/{id}")).await.expect(204);
    letter
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_and_a_private_authority_open_the_door() {
    let mut hub = TestHub::start().await;
    let (authority, other) = (Authority::new(), Authority::new());
    let receiver = TlsReceiver::start(&authority).await;
    let url = receiver.url("127.0.0.1");
    let (certificate, key) = authority.certify("hub.lan");

    let foreign = json!({"ca": other.pem, "certificate": certificate, "key": key});
    let letter = refused(&hub, &once(&url, foreign)).await;
    assert!(letter.contains("invalid peer certificate: UnknownIssuer"), "{letter}");
    let nobody = refused(&hub, &once(&url, json!({"ca": authority.pem}))).await;
    assert!(nobody.contains("CertificateRequired"), "{nobody}");
    let (strange, its_key) = other.certify("hub.lan");
    let stranger = json!({"ca": authority.pem, "certificate": strange, "key": its_key});
    let letter = refused(&hub, &once(&url, stranger)).await;
    assert!(letter.contains("fatal alert"), "{letter}");
    let mut plain = once(&url, Value::Null);
    plain["sink"]["http"]["tls"] = Value::Null;
    let letter = refused(&hub, &plain).await;
    assert!(letter.contains("UnknownIssuer"), "{letter}");
    assert!(receiver.requests().is_empty());

    let good = json!({"ca": authority.pem, "certificate": certificate, "key": key});
    let mut wanted = once(&url, good);
    wanted["sink"]["http"]["auth"] = json!({"bearer": {"token": "t"}});
    let made = hub.api.subscribe(&wanted).await;
    let tls = json!({"ca": authority.pem, "certificate": certificate, "key": "***"});
    assert_eq!(made["sink"]["http"]["tls"], tls);
    for round in 1..=2 {
        hub.api.publish(&event(&format!("good-{round}"), "a.b", json!(1))).await;
        eventually("the delivery arrives", async || {
            (receiver.requests().len() >= round).then_some(())
        })
        .await;
        hub.restart().await;
    }
    assert_eq!(receiver.requests()[0]["authorization"], "Bearer t");
    let renewed = json!({"sink": {"http": {"tls": {"certificate": strange}}}});
    let path = format!("/v1/subscriptions/{}", id_of(&made));
    let problem = hub.api.json(Method::PATCH, &path, &renewed).await.expect_problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/sink/http/tls/key", "held, of another pair");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tests_and_previews_work_with_what_is_sealed_and_do_not_show_it() {
    let hub = TestHub::start().await;
    let authority = Authority::new();
    let receiver = TlsReceiver::start(&authority).await;
    let (certificate, key) = authority.certify("hub.lan");
    let tls = json!({"ca": authority.pem, "certificate": certificate, "key": key});
    let mut wanted = once(&receiver.url("127.0.0.1"), tls);
    wanted["sink"]["http"]["auth"] = json!({"header": {"name": "X-Site", "value": "hidden-one"}});
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let answer = hub.api.post(&format!("/v1/subscriptions/{id}/test"), &json!({})).await;
    let answer = answer.expect(200);
    assert_eq!(answer["delivered"], true, "{answer}");
    assert_eq!(receiver.requests()[0]["x-site"], "hidden-one");
    assert_eq!(answer["exchanges"][0]["request"]["headers"]["x-site"], "***");
    wanted["sink"]["http"]["auth"]["header"]["value"] = json!("***");
    wanted["sink"]["http"]["tls"]["key"] = json!("***");
    wanted["id"] = json!(id);
    wanted["event"] = event("1", "a.b", json!(1));
    let seen = hub.api.post("/v1/subscriptions/preview", &wanted).await.expect(200).to_string();
    assert!(seen.contains("\"x-site\":\"***\"") && !seen.contains("hidden"), "{seen}");
    wanted["sink"]["http"]["tls"]["ca"] = json!("none");
    let problem = hub.api.post("/v1/subscriptions/preview", &wanted).await.expect_problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/sink/http/tls/ca");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_tls_is_refused_at_its_field() {
    let hub = TestHub::start().await;
    let authority = Authority::new();
    let ((one, key), (_, other)) = (authority.certify("a.lan"), authority.certify("b.lan"));
    let check = async |url: &str, tls: Value, pointer: &str| {
        let answer = hub.api.post("/v1/subscriptions", &once(url, tls)).await;
        let problem = answer.expect_problem(400);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    };
    let https = "https://10.0.0.1/";
    check("http://10.0.0.1/", json!({"ca": authority.pem}), "/sink/http/tls").await;
    check(https, json!({}), "/sink/http/tls").await;
    check(https, json!({"ca": "none"}), "/sink/http/tls/ca").await;
    check(https, json!({"certificate": one}), "/sink/http/tls/key").await;
    check(https, json!({"key": key}), "/sink/http/tls/certificate").await;
    let mismatched = json!({"certificate": one, "key": other});
    check(https, mismatched, "/sink/http/tls/key").await;
    let no_key = json!({"certificate": one, "key": "none"});
    check(https, no_key, "/sink/http/tls/key").await;
    let no_chain = json!({"certificate": "none", "key": key});
    check(https, no_chain, "/sink/http/tls/certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_holds_for_targets_with_tls_of_their_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = run(dir.path(), &["token", "create", "root", "--allow", "admin"]).await;
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let token = token_in(&stdout(&made));
    let hub = TestHub::open(dir, false, &[]).await;
    let api = hub.api.with_token(&token);
    let authority = Authority::new();
    let receiver = TlsReceiver::start(&authority).await;
    let (certificate, key) = authority.certify("hub.lan");
    let tls = json!({"ca": authority.pem, "certificate": certificate, "key": key});
    let literal = once(&receiver.url("127.0.0.1"), tls.clone());
    let problem = api.post("/v1/subscriptions", &literal).await.expect_problem(400);
    assert_eq!(problem["code"], "E-ADDRESS-REFUSED");
    let id = id_of(&api.subscribe(&once(&receiver.url("localhost"), tls)).await);
    api.publish(&event("1", "a.b", json!(1))).await;
    let letter = dead_letter(&api, &id).await.to_string();
    assert!(letter.contains("E-ADDRESS-REFUSED"), "{letter}");
    assert!(receiver.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_signs_with_the_keys_that_the_operator_has() {
    use std::os::unix::fs::OpenOptionsExt;

    let keys = tempfile::tempdir().expect("a directory");
    let mut file = std::fs::OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(keys.path().join("cdn"));
    std::io::Write::write_all(&mut file.expect("a file"), b"key\n").expect("written");
    let dir = keys.path().to_str().expect("text");
    let (hub, receiver) =
        (TestHub::with(&[("templates.keys_dir", dir)]).await, Receiver::start().await);
    let with = |key: &str| {
        let mut wanted = wish("a/b", &receiver.url("/"));
        let sum = format!("{{{{event.id | hmac(\"{key}\")}}}}");
        wanted["encoding"] = json!("template");
        wanted["template"] = json!({"steps": [{"method": "POST", "headers": {"x-sum": sum}}]});
        wanted
    };
    let problem = hub.api.post("/v1/subscriptions", &with("none")).await.expect_problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/template/steps/0/headers/x-sum");
    assert!(problem["detail"].to_string().contains("none"), "{problem}");
    hub.api.subscribe(&with("cdn")).await;
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    // printf 1 | openssl dgst -sha256 -hmac key
    let expected = "6da91fb91517be1f5cdcf3af91d7d40c717dd638a306157606fb2e584f7ae926";
    assert_eq!(receiver.wait_for(1).await[0].header("x-sum"), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_to_the_sink_have_its_credentials_and_others_do_not() {
    let hub = TestHub::start().await;
    let (sink, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let mut wanted = wish("a/b", &sink.url("/"));
    wanted["sink"]["http"]["auth"] = json!({"bearer": {"token": "t"}});
    wanted["encoding"] = json!("template");
    wanted["template"] = json!({"steps": [
        {"method": "POST", "body": "to the sink"},
        {"method": "POST", "url": elsewhere.url("/"), "body": "elsewhere"},
    ]});
    hub.api.subscribe(&wanted).await;
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    assert_eq!(sink.wait_for(1).await[0].header("authorization"), "Bearer t");
    assert!(!elsewhere.wait_for(1).await[0].headers.contains_key("authorization"));
}
