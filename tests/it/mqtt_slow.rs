//! MQTT subscribers that are slow, stall or say nothing. Nothing is lost or doubled for being slow,
//! and nobody gets more than it said it takes.

use std::time::{Duration, Instant};

use crate::support::TestHub;
use crate::support::mqtt::{self, BOTH, Client, DISCONNECT, PINGRESP, PUBACK, PUBLISH, Version};

/// Messages sent before their acknowledgements are read.
const AHEAD: u16 = 50;

/// Publishes the numbers of a range on `flood/1`, each padded to a size.
async fn flood(publisher: &mut Client, numbers: std::ops::Range<u32>, size: usize) {
    let mut unacknowledged = 0;
    for number in numbers {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(size, b'x');
        unacknowledged += 1;
        let packet = mqtt::publish(publisher.version, "flood/1", Some(unacknowledged), &payload);
        publisher.send(&packet).await;
        if unacknowledged == AHEAD {
            acknowledged(publisher, unacknowledged).await;
            unacknowledged = 0;
        }
    }
    acknowledged(publisher, unacknowledged).await;
}

async fn acknowledged(publisher: &mut Client, count: u16) {
    for _ in 0..count {
        let answer = publisher.packet().await.expect("a slow subscriber holds no publisher back");
        assert_eq!(answer.kind(), PUBACK, "{answer:?}");
    }
}

async fn expect_numbers(subscriber: &mut Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let (_, payload) = subscriber.message().await;
        assert_eq!(payload[..4], number.to_be_bytes(), "{number} is next");
    }
}

/// Lets a subscriber stall over far more than the hub keeps for it, and over more while it catches
/// up.
async fn stall(version: Version, qos: u8, count: u32, size: usize) {
    let hub = TestHub::with(&[("mqtt.queue_max", "20")]).await;
    let mut subscriber = Client::login(hub.mqtt(), version, "slow").await;
    subscriber.subscribe("flood/#", qos).await;
    let mut publisher = Client::login(hub.mqtt(), Version::V4, "publisher").await;
    flood(&mut publisher, 0..count, size).await;
    let late = flood(&mut publisher, count..2 * count, size);
    tokio::join!(late, expect_numbers(&mut subscriber, 0..2 * count));
    subscriber.send(&[0xc0, 0]).await;
    let last = subscriber.packet().await.expect("a PINGRESP");
    assert_eq!(last.kind(), PINGRESP, "nothing is doubled: {last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_stalls_at_qos_1_gets_everything_in_order_and_once() {
    for version in BOTH {
        stall(version, 1, 600, 100).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_stalls_at_qos_0_gets_everything_in_order_and_once() {
    // More than the sockets' buffers take.
    stall(Version::V5, 0, 400, 40_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_events_reach_a_subscriber_that_stalled() {
    stall(Version::V4, 1, 150, 100_000).await;
}

/// The packet ids of the messages that come before the answer to a ping.
async fn ids_before_a_pong(client: &mut Client) -> Vec<u16> {
    client.send(&[0xc0, 0]).await;
    let mut ids = Vec::new();
    loop {
        let packet = client.packet().await.expect("the connection stays open");
        match packet.kind() {
            PUBLISH => ids.push(packet.publish(client.version).2.expect("QoS 1")),
            kind => {
                assert_eq!(kind, PINGRESP);
                return ids;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_sent_unacknowledged_than_receive_maximum() {
    let hub = TestHub::start().await;
    let mut client = Client::open(hub.mqtt(), Version::V5).await;
    // Clean start, no keep-alive, receive maximum 5.
    let options = [5, 2, 0, 0, 3, 33, 0, 5];
    let body = [&mqtt::text("MQTT")[..], &options, &mqtt::text("narrow")].concat();
    client.send(&mqtt::frame(0x10, &body)).await;
    assert_eq!(client.packet().await.expect("a CONNACK").body[1], 0);
    client.subscribe("flood/#", 1).await;
    let mut witness = Client::login(hub.mqtt(), Version::V5, "witness").await;
    witness.subscribe("flood/#", 1).await;
    let mut publisher = Client::login(hub.mqtt(), Version::V5, "publisher").await;
    flood(&mut publisher, 0..30, 100).await;
    expect_numbers(&mut witness, 0..30).await;

    let mut open = Vec::new();
    for round in 1..=3 {
        while open.len() < 5 {
            open.extend(ids_before_a_pong(&mut client).await);
        }
        open.extend(ids_before_a_pong(&mut client).await);
        assert_eq!(open.len(), 5, "round {round}: {open:?}");
        for id in open.drain(..2) {
            let [high, low] = id.to_be_bytes();
            client.send(&[PUBACK, 2, high, low]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_is_cut_off_after_one_and_a_half_times_its_keep_alive() {
    let hub = TestHub::start().await;
    for version in BOTH {
        let mut client = Client::open(hub.mqtt(), version).await;
        let level = if version == Version::V5 { 5 } else { 4 };
        let mut body = [&mqtt::text("MQTT")[..], &[level, 2, 0, 1]].concat();
        body.extend((version == Version::V5).then_some(0));
        body.extend(mqtt::text("quiet"));
        client.send(&mqtt::frame(0x10, &body)).await;
        assert_eq!(client.packet().await.expect("a CONNACK").body[1], 0);
        let since = Instant::now();
        let last_words = client.until_closed().await;
        let silence = since.elapsed();
        assert!(silence >= Duration::from_millis(1400), "{version:?}: after {silence:?}");
        assert!(silence < Duration::from_secs(10), "{version:?}: after {silence:?}");
        match version {
            Version::V4 => assert!(last_words.is_empty(), "{last_words:?}"),
            Version::V5 => {
                assert_eq!((last_words[0].kind(), last_words[0].body[0]), (DISCONNECT, 0x8d));
            }
        }
    }
}
