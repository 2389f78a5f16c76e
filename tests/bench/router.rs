//! Why the MQTT front does not use rumqttd's router: what it keeps for each distinct topic and
//! filter, beside the trie that is used instead. Prints and judges nothing; run it by
//! `tests/bench/run router`.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::time::Instant;

use rumqttd::local::{LinkBuilder, LinkTx};
use rumqttd::protocol::{Packet, Publish};
use rumqttd::{Notification, RouterConfig};
use tidings::domain::topic::TopicFilter;
use tidings::domain::trie::Trie;

/// Distinct topics published, in batches.
const TOPICS: u32 = 500_000;
const BATCH: u32 = 100;

/// Short-lived subscribers, each with a filter of its own.
const FILTERS: u32 = 5_000;

fn main() {
    measure_trie();
    // A router for each: what one leaves behind slows the other down by orders of magnitude.
    measure_filters();
    measure_topics();
}

fn topic(number: u32) -> String {
    format!("e/flows/{number:036}/segments")
}

fn measure_trie() {
    let begin = resident();
    let mut trie = Trie::default();
    trie.insert(&TopicFilter::parse("e/#").expect("valid"), 1u32);
    let mut found = 0u64;
    let seconds = timed(|| {
        for number in 0..TOPICS {
            trie.matches(&topic(number), &mut |_| found += 1);
        }
    });
    print("the trie, distinct topics", TOPICS, begin, seconds);
    let begin = resident();
    let seconds = timed(|| {
        for number in 0..FILTERS {
            let filter = TopicFilter::parse(&format!("e/flows/{number}/+")).expect("valid");
            trie.insert(&filter, number);
            trie.remove(&filter, &number);
        }
    });
    print("the trie, filters come and gone", FILTERS, begin, seconds);
}

fn config() -> RouterConfig {
    RouterConfig {
        max_connections: 100,
        max_outgoing_packet_count: 200,
        max_segment_size: 65_536,
        max_segment_count: 4,
        ..RouterConfig::default()
    }
}

fn measure_filters() {
    let sender = rumqttd::Router::new(0, config()).spawn();
    let link = LinkBuilder::new("subscriber", sender).build();
    let (mut subscriber, _acks, _) = link.expect("a link");
    let begin = resident();
    let seconds = timed(|| {
        for number in 0..FILTERS {
            let filter = format!("e/flows/{number}/+");
            subscriber.subscribe(filter.clone()).expect("a running router");
            subscriber.unsubscribe(filter).expect("a running router");
        }
    });
    print("rumqttd's router, filters come and gone", FILTERS, begin, seconds);
}

fn measure_topics() {
    let sender = rumqttd::Router::new(1, config()).spawn();
    let link = |name: &str| LinkBuilder::new(name, sender.clone()).build().expect("a link");
    let (mut subscriber, mut reader, _) = link("subscriber");
    subscriber.subscribe("e/#").expect("a running router");
    std::thread::spawn(move || {
        while let Ok(notification) = reader.recv() {
            if matches!(notification, Some(Notification::Unschedule)) && reader.ready().is_err() {
                return;
            }
        }
    });
    let (mut publisher, _acks, _) = link("publisher");
    let begin = resident();
    let seconds = timed(|| {
        for first in (0..TOPICS).step_by(usize::try_from(BATCH).expect("small")) {
            publish(&mut publisher, (first..first + BATCH).map(topic));
        }
    });
    print("rumqttd's router, distinct topics", TOPICS, begin, seconds);
}

fn publish(link: &mut LinkTx, topics: impl Iterator<Item = String>) {
    let packet = |topic: String| {
        let publish = Publish::new(topic.into_bytes(), b"12345678".to_vec(), false);
        Packet::Publish(publish, None)
    };
    link.buffer().extend(topics.map(packet));
    link.publish("e/batch", "end").expect("a running router");
}

fn timed(work: impl FnOnce()) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64()
}

fn print(what: &str, count: u32, begin: u64, seconds: f64) {
    // The router works on its own thread: what it still has to do is waited for.
    let mut last = resident();
    loop {
        std::thread::park_timeout(std::time::Duration::from_millis(500));
        let now = resident();
        if now == last {
            break;
        }
        last = now;
    }
    let each = last.saturating_sub(begin) / u64::from(count);
    println!(
        "{what}: {each} bytes each stay, of {count}; {:.2} us each",
        seconds * 1e6 / f64::from(count)
    );
}

/// VmRSS in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
