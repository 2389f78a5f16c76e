//! What an event costs to match, by the number of subscriptions, of which ten match: the index and
//! the whole filter of each candidate.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::json;
use tidings::domain::cloudevents;
use tidings::domain::event::Event;
use tidings::domain::filter::{Facts, Filter};
use tidings::flow::Index;

const SIZES: [u32; 4] = [100, 10_000, 100_000, 1_000_000];

const MATCHING: u32 = 10;

/// How long each size is measured.
const TIME: Duration = Duration::from_millis(500);

pub(crate) fn measure() {
    let event = event();
    let mut least = None;
    for size in SIZES {
        let filters: Vec<Filter> = (0..size).map(filter).collect();
        let begin = Instant::now();
        let mut index = Index::default();
        (0..).zip(&filters).for_each(|(number, filter)| index.insert(number, filter));
        let filling = begin.elapsed().as_secs_f64() / f64::from(size);
        let cost = cost(&index, &filters, &event);
        let ratio = cost / *least.get_or_insert(cost);
        println!(
            "Matching, {size} subscriptions, {MATCHING} match: {:.2} us an event, {ratio:.2} times \
             that with {}; filing one {:.2} us",
            cost * 1e6,
            SIZES[0],
            filling * 1e6,
        );
    }
}

/// Seconds an event.
fn cost(index: &Index, filters: &[Filter], event: &Event) -> f64 {
    let (mut found, mut count) = (Vec::new(), 0);
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        for _ in 0..64 {
            let facts = Facts::new(event);
            index.candidates(&facts, &mut found);
            let holds =
                |number: &&u32| filters[usize::try_from(**number).expect("small")].holds(&facts);
            assert_eq!(black_box(found.iter().filter(holds).count()), 10);
            count += 1;
        }
    }
    begin.elapsed().as_secs_f64() / f64::from(count)
}

/// One of four kinds in turn; the first ten are of the event.
fn filter(number: u32) -> Filter {
    let own = if number < MATCHING { "own".to_owned() } else { format!("n{number}") };
    let value = match number % 4 {
        0 => json!({"topic": format!("site/{own}/#")}),
        1 => json!({"all": [{"topic": "site/#"}, {"exact": {"subject": own}}]}),
        2 => {
            json!({"all": [{"topic": "site/+/+"}, {"data": {"path": "event.flow", "equals": own}}]})
        }
        _ => json!({"any": [{"exact": {"type": own, "source": "/bench"}},
                            {"topic": format!("site/{own}/created")}]}),
    };
    Filter::parse(&value).expect("valid")
}

fn event() -> Event {
    let value = json!({
        "specversion": "1.0", "id": "1", "source": "/bench", "type": "own", "subject": "own",
        "topic": "site/own/created",
        "data": {"event": {"flow": "own", "tags": ["a", "b"]}, "filler": "x".repeat(400)},
    });
    cloudevents::parse(value.to_string().as_bytes()).expect("valid")
}
