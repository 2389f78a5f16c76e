//! MQTT input that is wrong or known to kill brokers: a clean disconnect, and the hub goes on.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::TestHub;
use crate::support::hub::event;
use crate::support::mqtt::{self, BOTH, CONNACK, Client, DISCONNECT, Version};

/// Proves that publishing and fan-out work for newcomers of both versions.
async fn assert_fans_out(hub: &TestHub, why: &str) {
    for version in BOTH {
        let mut subscriber = Client::login(hub.mqtt(), version, "probe-in").await;
        assert_eq!(subscriber.subscribe("probe/#", 1).await, 1, "after {why}");
        let mut publisher = Client::login(hub.mqtt(), version, "probe-out").await;
        publisher.publish("probe/1", why.as_bytes()).await;
        assert_eq!(subscriber.message().await, ("probe/1".to_owned(), why.as_bytes().to_vec()));
    }
    hub.assert_works(why).await;
}

/// Sends bytes on a fresh connection and expects it to be closed, after a CONNACK at most.
async fn assert_cut_off(address: SocketAddr, version: Version, bytes: &[u8], what: &str) {
    let mut client = Client::open(address, version).await;
    client.send(bytes).await;
    for packet in client.until_closed().await {
        let refusal = packet.kind() == CONNACK && packet.body.get(1) != Some(&0);
        assert!(refusal || packet.kind() == DISCONNECT, "{what}: {packet:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_does_not_speak_mqtt_is_cut_off() {
    let hub = TestHub::with(&[("mqtt.connect_timeout", "500ms")]).await;
    let publish_first = mqtt::publish(Version::V4, "a", Some(1), b"x");
    let bad_name = mqtt::frame(0x10, &[&mqtt::text("MQTX")[..], &[4, 2, 0, 0, 0, 0]].concat());
    let bad_level = mqtt::frame(0x10, &[&mqtt::text("MQTT")[..], &[9, 2, 0, 0, 0, 0]].concat());
    let connect = mqtt::connect(Version::V4, "half", None);
    let will_qos_3 = mqtt::frame(0x10, &[&mqtt::text("MQTT")[..], &[4, 0x1e, 0, 0, 0, 0]].concat());
    let table: [(&str, &[u8]); 13] = [
        ("silence", b""),
        ("zeros", &[0; 64]),
        ("noise", b"\xff\xfe\x00\x13\x37\xff\xff\xff\xff\xff"),
        ("HTTP", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("PUBLISH before CONNECT", &publish_first),
        ("CONNACK before CONNECT", &[0x20, 3, 0, 0, 0]),
        ("UNSUBACK before CONNECT", &[0xb0, 4, 0, 1, 0, 0]),
        ("a length of five bytes", &[0x10, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ("another protocol's name", &bad_name),
        ("an unknown level", &bad_level),
        ("half a CONNECT", &connect[..connect.len() / 2]),
        ("a will of QoS 3", &will_qos_3),
    ];
    for (what, bytes) in table {
        for version in BOTH {
            assert_cut_off(hub.mqtt(), version, bytes, what).await;
        }
    }
    assert_fans_out(&hub, "strangers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_packet_after_login_ends_that_connection_only() {
    let hub = TestHub::start().await;
    let mut bystander = Client::login(hub.mqtt(), Version::V5, "bystander").await;
    bystander.subscribe("bystander/#", 1).await;
    for version in BOTH {
        let table: [(&str, Vec<u8>); 12] = [
            ("reserved type 0", vec![0x00, 0]),
            ("QoS 3", mqtt::frame(0x36, &[&mqtt::text("a")[..], &[0, 1, 0, b'x']].concat())),
            ("packet id 0", mqtt::publish(version, "a", Some(0), b"x")),
            ("a topic longer than its packet", mqtt::frame(0x30, &[0, 200, b'a'])),
            ("a topic that is not UTF-8", mqtt::frame(0x30, &[0, 2, 0xc0, 0xaf, 0, b'x'])),
            ("a wildcard in a topic", mqtt::publish(version, "a/#", Some(1), b"x")),
            (
                "a SUBSCRIBE without filters",
                mqtt::frame(0x82, &[0, 1, 0][..2 + usize::from(version == Version::V5)]),
            ),
            (
                "a SUBSCRIBE with wrong flags",
                mqtt::frame(0x80, &mqtt::subscribe(version, "a", 0)[2..]),
            ),
            ("a second CONNECT", mqtt::connect(version, "again", None)),
            ("a CONNACK", vec![0x20, 3, 0, 0, 0]),
            ("an UNSUBACK", vec![0xb0, 4, 0, 1, 0, 0]),
            ("a packet over the limit", vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
        ];
        for (what, bytes) in table {
            let mut client = Client::login(hub.mqtt(), version, "wrong").await;
            client.send(&bytes).await;
            let answers = client.until_closed().await;
            assert!(
                answers.iter().all(|packet| packet.kind() == DISCONNECT),
                "{what}: {answers:?}"
            );
        }
    }
    hub.api.publish(&event("1", "bystander.x", json!(1))).await;
    assert_eq!(bystander.message().await.0, "bystander/x");
    assert_fans_out(&hub, "wrong packets").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_packet_is_forgotten_with_its_connection() {
    let hub = TestHub::start().await;
    for version in BOTH {
        let whole = mqtt::publish(version, "cut/off", Some(1), &[b'x'; 300]);
        for length in [1, 2, 3, 8, 50, whole.len() - 1] {
            let mut client = Client::login(hub.mqtt(), version, "truncated").await;
            client.send(&whole[..length]).await;
        }
    }
    assert_fans_out(&hub, "truncated packets").await;
    assert!(hub.history().await.iter().all(|event| event["topic"] != "cut/off"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_ascii_is_a_topic() {
    let hub = TestHub::start().await;
    for version in BOTH {
        let mut subscriber = Client::login(hub.mqtt(), version, "subscriber").await;
        subscriber.subscribe("#", 1).await;
        let mut narrow = Client::login(hub.mqtt(), version, "narrow").await;
        narrow.subscribe("été/+", 1).await;
        let mut publisher = Client::login(hub.mqtt(), version, "publisher").await;
        publisher.publish("été/1", b"chaud").await;
        assert_eq!(subscriber.message().await, ("été/1".to_owned(), b"chaud".to_vec()));
        assert_eq!(narrow.message().await, ("été/1".to_owned(), b"chaud".to_vec()));
        publisher.publish("😀", b"x").await;
        assert_eq!(subscriber.message().await.0, "😀");
    }
    assert_fans_out(&hub, "topics that are not ASCII").await;
}

/// Publishes far more to a subscriber than it reads, then lets it say one last thing.
async fn overrun(hub: &TestHub, version: Version, last_word: &[u8]) {
    let mut slow = Client::login(hub.mqtt(), version, "slow").await;
    slow.subscribe("flood/#", 0).await;
    let mut publisher = Client::login(hub.mqtt(), version, "publisher").await;
    let payload = vec![b'x'; 20_000];
    for _ in 0..15 {
        for id in 1..=20 {
            publisher.send(&mqtt::publish(version, "flood/1", Some(id), &payload)).await;
        }
        for _ in 0..20 {
            publisher.packet().await.expect("a PUBACK: the slow one does not hold it back");
        }
    }
    slow.send(last_word).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_may_say_goodbye() {
    let hub = TestHub::start().await;
    for version in BOTH {
        for _ in 0..3 {
            overrun(&hub, version, &[0xe0, 0]).await;
        }
    }
    assert_fans_out(&hub, "a slow subscriber's DISCONNECT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_may_ask_for_sys() {
    let hub = TestHub::start().await;
    for version in BOTH {
        for _ in 0..3 {
            overrun(&hub, version, &mqtt::subscribe(version, "$SYS/#", 0)).await;
        }
    }
    assert_fans_out(&hub, "a slow subscriber of $SYS/#").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_client_ids_do_not_close_the_listener() {
    let hub = TestHub::start().await;
    let long = "x".repeat(5000);
    for version in BOTH {
        for id in ["a/b", "a/b", "a+b", "#", "$SYS", "é", "a b", "tidings", "", "", &long, &long] {
            let mut client = Client::open(hub.mqtt(), version).await;
            client.send(&mqtt::connect(version, id, None)).await;
            // Accepted or refused, but answered or closed.
            let _answer = client.packet().await;
        }
    }
    assert_fans_out(&hub, "odd client ids").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_over_the_limit_do_not_close_the_listener() {
    let hub = TestHub::with(&[("mqtt.connections_max", "6")]).await;
    let mut held = Vec::new();
    for n in 0..6 {
        held.push(Client::login(hub.mqtt(), Version::V4, &format!("held-{n}")).await);
    }
    for n in 0..20 {
        let mut extra = Client::open(hub.mqtt(), Version::V4).await;
        extra.send(&mqtt::connect(Version::V4, &format!("extra-{n}"), None)).await;
        let accepted = extra.packet().await.is_some_and(|packet| packet.body.get(1) == Some(&0));
        assert!(!accepted, "number {n} over the limit");
    }
    drop(held);
    crate::support::eventually("there is room again", async || {
        let mut client = Client::open(hub.mqtt(), Version::V4).await;
        client.send(&mqtt::connect(Version::V4, "later", None)).await;
        client.packet().await.filter(|packet| packet.body.get(1) == Some(&0))
    })
    .await;
    assert_fans_out(&hub, "too many connections").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_of_version_5_do_not_hurt_older_subscribers() {
    let hub = TestHub::start().await;
    let mut old = Client::login(hub.mqtt(), Version::V4, "old").await;
    old.subscribe("mixed/#", 1).await;
    let mut publisher = Client::login(hub.mqtt(), Version::V5, "new").await;
    let correlation: &[u8] = &[9, 0, 2, 1, 2];
    let reply_to = [&[8][..], &mqtt::text("reply/here")].concat();
    let properties = [&[1, 1][..], &mqtt::user_property("a", "b"), &reply_to, correlation].concat();
    publisher.send(&mqtt::publish_with(Version::V5, "mixed/1", Some(1), &properties, b"x")).await;
    assert_eq!(old.message().await, ("mixed/1".to_owned(), b"x".to_vec()));
    assert_fans_out(&hub, "properties").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_come_and_go_do_not_cut_an_innocent_one() {
    let hub = TestHub::start().await;
    let mut innocent = Client::login(hub.mqtt(), Version::V4, "innocent").await;
    innocent.subscribe("innocent/#", 1).await;
    for n in 0..200 {
        let mut client = Client::login(hub.mqtt(), Version::V4, &format!("brief-{n}")).await;
        // An acknowledgement of nothing, and the socket closes at once.
        client.send(&[0x40, 2, 0, 99]).await;
    }
    hub.api.publish(&event("1", "innocent.x", json!(1))).await;
    assert_eq!(innocent.message().await.0, "innocent/x");
    assert_fans_out(&hub, "brief connections").await;
}
