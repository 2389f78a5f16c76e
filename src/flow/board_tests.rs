//! What a board makes of replays beside what is new, and of what waited when it began.

use std::collections::HashMap;

use super::*;
use crate::config::{self, Sources};
use crate::domain::cloudevents;
use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::filter::Filter;
use crate::domain::policy::Policy;
use crate::domain::record::Entry;
use crate::domain::replay::Replay;
use crate::domain::samples::{at, subscription};
use crate::flow::parcel::{Carried, Task};
use crate::store::{self, Reader};

/// A board over one subscription, which begins where everything before `matched` was matched. The
/// log ends at `as_of`.
fn board(policy: Policy, matched: Offset, as_of: Offset) -> (Board, Reader) {
    let dir = tempfile::tempdir().expect("directory");
    let sources = Sources { data_dir: Some(dir.path().to_owned()), ..Sources::default() };
    let config = config::load(&sources).expect("reference").config;
    let (store, _lock) = store::open(&config, Arc::new(Metrics::default())).expect("opens");
    let mut held = subscription(0, 1_000);
    held.wish.filter = Filter::parse(&serde_json::json!({"topic": "t"})).expect("valid");
    held.wish.policy = Arc::new(policy);
    let resume = Resume {
        as_of,
        matched,
        cursors: HashMap::new(),
        subscriptions: vec![held],
        retries: vec![],
        replays: vec![],
        gaps: HashMap::new(),
    };
    let gate = Gate::new(store.reader.clone(), true, None);
    (Board::new(&config, resume, gate, Arc::default(), at(0)), store.reader)
}

/// One request at a time.
fn single() -> Policy {
    Policy { max_in_flight: 1, ..Policy::default() }
}

/// The log goes on with a record.
fn follow(board: &mut Board, record: Record) {
    let offset = board.matched();
    let entries = vec![Entry { offset, at: at(0), record }];
    board.follow(&Stretch { entries, to: offset + 1 }, 0, at(0));
}

fn replay(from: Offset, to: Offset) -> Record {
    Record::Replay(Arc::new(Replay { subscription: 0, from, to, cursor: from }))
}

fn offsets(task: &Task) -> Vec<Offset> {
    task.deliveries().map(|(offset, _)| offset).collect()
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
    let (mut board, reader) = board(single(), 2, 2);
    follow(&mut board, replay(0, 2));
    let read = board.next_read(at(0)).expect("a replay reads");
    board.take_read(&read, &stretch(&[0, 1]), at(0));
    let task = board.next_task(0, at(0)).expect("the first of the replay");
    follow(&mut board, Record::ReplayEnded { subscription: 0 });
    board.follow(&stretch(&[4]), 0, at(0));
    assert!(board.next_task(1, at(0)).is_none(), "one at a time");
    answer(&mut board, task, &reader).await;
    let task = board.next_task(0, at(1)).expect("what is new");
    assert_eq!(offsets(&task), [4]);
}

#[tokio::test]
async fn a_replay_leaves_alone_what_is_queued() {
    let (mut board, reader) = board(single(), 2, 2);
    board.follow(&stretch(&[2, 3]), 0, at(0));
    let task = board.next_task(0, at(0)).expect("the first");
    follow(&mut board, replay(2, 4));
    let read = board.next_read(at(0)).expect("a replay reads");
    board.take_read(&read, &stretch(&[2, 3]), at(0));
    answer(&mut board, task, &reader).await;
    let task = board.next_task(0, at(1)).expect("the second");
    assert_eq!((offsets(&task), task.is_replay()), (vec![3], false));
    answer(&mut board, task, &reader).await;
    assert!(board.next_task(0, at(1)).is_none(), "each once");
}

#[test]
fn what_waited_does_not_go_before_an_earlier_event_that_was_not_seen_yet() {
    let strict = Policy { ordering: Ordering::Strict, ..Policy::default() };
    let (mut board, _reader) = board(strict, 2, 4);
    board.restore(&Retry::untried(0, 3, at(0)), None);
    assert!(board.next_task(0, at(1)).is_none(), "2 may match");
    board.follow(&stretch(&[2, 3]), 0, at(1));
    let task = board.next_task(0, at(1)).expect("the first");
    assert_eq!(offsets(&task), [2]);
}
