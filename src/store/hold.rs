//! What subscriptions ask retention to leave in the log. Reads the tables; never removes anything.

use super::Error;
use super::key::{self, Key, Table};
use super::retention::Pin;
use super::tables::Tables;
use crate::domain::Offset;

/// Every hold, in the order of the subscriptions' numbers.
pub(crate) fn holds(tables: &dyn Tables) -> Result<Vec<Pin>, Error> {
    let number_at = |key: &Key| Ok::<_, Error>(tables.get(key)?.and_then(|r| key::read_number(&r)));
    let matched = number_at(&key::meta(key::MATCHED))?.unwrap_or(0);
    let start = Key::of(Table::Hold);
    let mut holds = Vec::new();
    for (held, row) in tables.scan(&start, &start.clone().end(), usize::MAX, false)? {
        let (Some(number), Some(bytes)) = (key::trailing_number(&held), key::read_number(&row))
        else {
            return Err(Error::Tables("a hold's row cannot be read".to_owned()));
        };
        // A lane without a cursor of its own has done all that was matched.
        let cursor = number_at(&Key::of(Table::Cursor).number(number))?.unwrap_or(matched);
        let retries = Key::of(Table::Retry).number(number);
        let oldest = tables.scan(&retries, &retries.clone().end(), 1, false)?;
        let oldest = oldest.first().and_then(|(key, _)| key::read_number(key.get(5..)?));
        let replay = tables.get(&Key::of(Table::Replay).number(number))?;
        let replay = replay.and_then(|row| key::read_replay(number, &row));
        let from = [oldest, replay.map(|replay| replay.cursor)].into_iter().flatten();
        holds.push(Pin { from: from.fold(cursor, Offset::min), bytes });
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fold;
    use super::super::staged::{Staged, Totals};
    use super::super::tables::Memory;
    use super::super::window::Window;
    use super::*;
    use crate::domain::delivery::Retry;
    use crate::domain::record::{Progress, Record};
    use crate::domain::samples::{at, subscription};
    use crate::domain::subscription::{End, State};

    fn held(number: u32, state: State, hold: Option<u64>) -> Record {
        let mut held = subscription(number, 60);
        std::sync::Arc::make_mut(&mut held.wish.policy).hold = hold;
        held.state = state;
        Record::Subscription(Arc::new(held))
    }

    fn after(records: &[Record]) -> Vec<(Offset, u64)> {
        let (tables, mut window) = (Memory::default(), Window::new(0));
        let mut staged = Staged::new(&tables, &mut window, Totals::default(), 0, at(0));
        for (offset, record) in (0..).zip(records) {
            fold::apply(&mut staged, offset, at(0), record).expect("applies");
        }
        tables.apply(&staged.finish().writes).expect("in memory");
        let holds = holds(&tables).expect("readable");
        holds.iter().map(|hold| (hold.from, hold.bytes)).collect()
    }

    #[test]
    fn a_hold_reaches_back_to_the_cursor_or_the_oldest_retry() {
        let retry = |subscription, offset| {
            Record::Retry(Arc::new(Retry::untried(subscription, offset, at(5))))
        };
        let progress = |matched, lagging, caught_up| {
            Record::Progress(Arc::new(Progress {
                matched,
                lagging,
                caught_up,
                ..Progress::default()
            }))
        };
        let mut records = vec![
            held(0, State::Active, Some(7)),
            held(1, State::Paused, Some(8)),
            held(2, State::Active, None),
        ];
        assert_eq!(after(&records), [(1, 7), (2, 8)], "from their creation on");
        records.push(progress(90, vec![(1, 40)], vec![0]));
        assert_eq!(after(&records), [(90, 7), (40, 8)]);
        records.extend([retry(0, 30), retry(0, 20), retry(1, 60), retry(2, 1)]);
        assert_eq!(after(&records), [(20, 7), (40, 8)]);
        records.push(Record::Settled { subscription: 0, offset: 20 });
        records.push(held(1, State::Ended(End::Expired, at(9)), Some(8)));
        assert_eq!(after(&records), [(30, 7)], "an ended one holds nothing");
        records.push(held(0, State::Active, None));
        assert_eq!(after(&records), []);
    }
}
