//! MQTT's own rules: wills, no-local, what passes on beside the payload, who is still welcome.

use serde_json::{Value, json};

use crate::support::TestHub;
use crate::support::hub::event;
use crate::support::mqtt::{self, BOTH, Client, DISCONNECT, PUBACK, Version};

const CLOUDEVENT: [(&str, &str); 4] =
    [("specversion", "1.0"), ("id", "m-1"), ("source", "/mqtt"), ("type", "a.b")];

/// The options of a subscription at QoS 1 that wants nothing of its own back.
const NO_LOCAL: u8 = 0b101;

fn user_properties(pairs: &[(&str, &str)]) -> Vec<u8> {
    pairs.iter().flat_map(|(name, value)| mqtt::user_property(name, value)).collect()
}

/// Makes a token; answers its id and its text.
async fn token(hub: &TestHub, name: &str) -> (String, String) {
    let wish = json!({"name": name, "allow": ["publish:#", "subscribe:#"]});
    let made = hub.api.post("/v1/tokens", &wish).await.expect(201);
    let text = |field: &str| made[field].as_str().expect("text").to_owned();
    (text("id"), text("token"))
}

async fn login(hub: &TestHub, version: Version, id: &str, token: &str) -> Client {
    let mut client = Client::open(hub.mqtt(), version).await;
    client.send(&mqtt::connect(version, id, Some(("anybody", token)))).await;
    assert_eq!(client.packet().await.expect("a CONNACK").body[1], 0);
    client
}

/// Publishes with properties at QoS 1 and waits for the PUBACK.
async fn publish(client: &mut Client, topic: &str, properties: &[u8], payload: &[u8]) {
    client.send(&mqtt::publish_with(client.version, topic, Some(9), properties, payload)).await;
    let answer = client.packet().await.expect("a PUBACK");
    assert_eq!((answer.kind(), &answer.body[..2]), (PUBACK, &[0, 9][..]), "{answer:?}");
    assert!(answer.body.get(2).is_none_or(|code| *code == 0), "{answer:?}");
}

/// Publishes one message in each form that an event can come in.
async fn publish_in_all_forms(client: &mut Client, topic: &str) {
    publish(client, topic, &[], b"raw").await;
    publish(client, topic, &user_properties(&CLOUDEVENT), b"binary").await;
    let structured = [&[3][..], &mqtt::text("application/cloudevents+json")].concat();
    let body = event("m-2", "a.b", json!("structured")).to_string();
    publish(client, topic, &structured, body.as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_local_keeps_a_clients_own_messages_from_it_in_every_form() {
    let hub = TestHub::start().await;
    let mut client = Client::login(hub.mqtt(), Version::V5, "both").await;
    assert_eq!(client.subscribe("local/#", NO_LOCAL).await, 1);
    publish_in_all_forms(&mut client, "local/1").await;
    let mut other = Client::login(hub.mqtt(), Version::V5, "other").await;
    publish(&mut other, "local/2", &[], b"of somebody else").await;
    assert_eq!(client.message().await.0, "local/2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_two_owners_are_not_local_to_each_other_though_their_ids_are_equal() {
    let hub = TestHub::start().await;
    let (_, one) = token(&hub, "one").await;
    let (_, other) = token(&hub, "other").await;
    let mut client = login(&hub, Version::V5, "same", &one).await;
    assert_eq!(client.subscribe("local/#", NO_LOCAL).await, 1);
    let mut namesake = login(&hub, Version::V5, "same", &other).await;
    publish_in_all_forms(&mut namesake, "local/1").await;
    for payload in [&b"raw"[..], b"binary", b"\"structured\""] {
        assert_eq!(client.message().await.1, payload);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_publisher_says_beside_the_payload_reaches_subscribers_of_version_5() {
    let hub = TestHub::start().await;
    let mut subscriber = Client::login(hub.mqtt(), Version::V5, "subscriber").await;
    subscriber.subscribe("beside/#", 1).await;
    let mut publisher = Client::login(hub.mqtt(), Version::V5, "publisher").await;
    let request = [
        &[1, 1, 3][..],
        &mqtt::text("text/plain"),
        &[8],
        &mqtt::text("reply/here"),
        &[9, 0, 3, 0, 255, 7],
    ];
    let added = user_properties(&[("B", "2"), ("A", "1"), ("B", "3"), ("trace-id", "x")]);
    let raw = [&request.concat()[..], &added].concat();
    let binary = [&request.concat()[..], &user_properties(&CLOUDEVENT), &added].concat();
    for (form, properties) in [("raw", raw), ("binary", binary)] {
        let topic = format!("beside/{form}");
        publish(&mut publisher, &topic, &properties, b"hello").await;
        let packet = subscriber.packet().await.expect("a PUBLISH");
        let (.., id) = packet.publish(Version::V5);
        let expected = mqtt::publish_with(Version::V5, &topic, id, &properties, b"hello");
        assert_eq!(mqtt::frame(packet.first, &packet.body), expected, "{form}: byte for byte");
        subscriber
            .send(&[PUBACK, 2, packet.body[2 + topic.len()], packet.body[3 + topic.len()]])
            .await;
    }
}

/// Logs in with a will of QoS 1.
async fn login_with_will(hub: &TestHub, version: Version, topic: &str) -> Client {
    let five = version == Version::V5;
    let mut body = [&mqtt::text("MQTT")[..], &[if five { 5 } else { 4 }, 0b1110, 0, 0]].concat();
    body.extend(five.then_some(0));
    body.extend(mqtt::text("mortal"));
    body.extend(five.then_some(0));
    body.extend([mqtt::text(topic), mqtt::text("gone")].concat());
    let mut client = Client::open(hub.mqtt(), version).await;
    client.send(&mqtt::frame(0x10, &body)).await;
    assert_eq!(client.packet().await.expect("a CONNACK").body[1], 0);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_will_is_published_for_who_is_lost_and_not_for_who_says_goodbye() {
    let hub = TestHub::start().await;
    let mut heir = Client::login(hub.mqtt(), Version::V4, "heir").await;
    heir.subscribe("will/#", 1).await;
    for version in BOTH {
        let mut polite = login_with_will(&hub, version, "will/polite").await;
        polite.send(&[0xe0, 0]).await;
        assert!(polite.until_closed().await.is_empty());
        drop(login_with_will(&hub, version, "will/lost").await);
        assert_eq!(heir.message().await, ("will/lost".to_owned(), b"gone".to_vec()));
    }
    let mut wrong = login_with_will(&hub, Version::V5, "will/wrong").await;
    wrong.send(&[0x00, 0]).await;
    assert_eq!(heir.message().await.0, "will/wrong");
    let mut asking = login_with_will(&hub, Version::V5, "will/asked").await;
    asking.send(&[0xe0, 1, 4]).await;
    assert_eq!(heir.message().await.0, "will/asked");
    let topics: Vec<Value> =
        hub.history().await.into_iter().map(|event| event["topic"].clone()).collect();
    assert!(!topics.contains(&json!("will/polite")), "{topics:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_publishes_and_receives_nothing_more() {
    let hub = TestHub::start().await;
    for version in BOTH {
        let (id, text) = token(&hub, "guest").await;
        let mut publisher = login(&hub, version, "publisher", &text).await;
        let mut subscriber = login(&hub, version, "subscriber", &text).await;
        subscriber.subscribe("guests/#", 1).await;
        publisher.publish("guests/1", b"welcome").await;
        assert_eq!(subscriber.message().await.1, b"welcome");
        let answer = hub.api.delete(&format!("/v1/tokens/{id}")).await;
        assert_eq!(answer.status.as_u16(), 204);

        // At once: the sweep for idle connections comes only every few seconds.
        publisher.send(&mqtt::publish(version, "guests/2", Some(8), b"too late")).await;
        hub.api.publish(&event(&format!("{version:?}"), "guests.x", json!(1))).await;
        for client in [&mut publisher, &mut subscriber] {
            for packet in client.until_closed().await {
                assert_eq!((packet.kind(), packet.body[0]), (DISCONNECT, 0x98), "{packet:?}");
            }
        }
    }
    let stored = hub.history().await;
    assert!(stored.iter().all(|event| event["topic"] != "guests/2"), "{stored:?}");
}
