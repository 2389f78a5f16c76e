//! What a board makes of requests that come back when nobody waits for them any more.

use std::collections::HashMap;

use super::*;
use crate::config::{self, Sources};
use crate::domain::cloudevents;
use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::record::Entry;
use crate::domain::replay::Replay;
use crate::domain::samples::{at, subscription};
use crate::flow::parcel::{Carried, Task};
use crate::store::{self, Reader};

/// A board over one subscription, which is given a range once more.
fn board(max_in_flight: u32, asked: Replay) -> (Board, Reader) {
    let dir = tempfile::tempdir().expect("directory");
    let sources = Sources { data_dir: Some(dir.path().to_owned()), ..Sources::default() };
    let config = config::load(&sources).expect("reference").config;
    let (store, _lock) = store::open(&config, Arc::new(Metrics::default())).expect("opens");
    let mut held = subscription(0, 1_000);
    Arc::make_mut(&mut held.wish.policy).max_in_flight = max_in_flight;
    let resume = Resume {
        as_of: asked.to,
        matched: asked.to,
        cursors: HashMap::new(),
        subscriptions: vec![held],
        retries: vec![],
        replays: vec![asked],
        gaps: HashMap::new(),
    };
    let gate = Gate::new(store.reader.clone(), true, None);
    (Board::new(&config, resume, gate, Arc::default(), at(0)), store.reader)
}

fn stretch(offsets: &[Offset]) -> Stretch {
    let entry = |offset: &Offset| {
        let text = format!(r#"{{"specversion":"1.0","id":"{offset}","source":"s","type":"t"}}"#);
        let event = cloudevents::parse(text.as_bytes()).expect("valid");
        Entry { offset: *offset, at: at(0), record: Record::Event(Arc::new(event)) }
    };
    let to = offsets.last().map_or(0, |last| last + 1);
    Stretch { entries: offsets.iter().map(entry).collect(), to }
}

async fn answer(board: &mut Board, mut task: Task, reader: &Reader) {
    let parcel = task.pack(reader, at(1)).await;
    let outcome = Outcome::Answered { status: 200, retry_after: None };
    let attempt = Attempt { at: at(1), took: Duration::ZERO, outcome, step: 0, answer: None };
    let carried = Carried { attempt, request: None, of_server: true };
    board.note_attempt(task.report(parcel, Ok(carried)), at(1), 0);
}

#[tokio::test]
async fn a_request_of_a_replay_that_was_given_up_leaves_its_place_to_another() {
    let asked = Replay { subscription: 0, from: 0, to: 2, cursor: 0 };
    let (mut board, reader) = board(1, asked);
    let read = board.next_read(at(0)).expect("a replay reads");
    board.take_read(&read, &stretch(&[0, 1]), at(0));
    let task = board.next_task(0, at(0)).expect("the first of the replay");
    let record = Record::ReplayEnded { subscription: 0 };
    let ended = Entry { offset: 2, at: at(0), record };
    board.follow(&Stretch { entries: vec![ended], to: 3 }, 0, at(0));
    board.follow(&stretch(&[3]), 0, at(0));
    assert!(board.next_task(1, at(0)).is_none(), "one at a time");
    answer(&mut board, task, &reader).await;
    let task = board.next_task(0, at(1)).expect("what is new");
    assert_eq!(task.deliveries().collect::<Vec<_>>(), [(3, 1)]);
}
