//! Keys of the tables. One tree; the first byte says which table. Integers are big-endian, so that
//! ranges are time or number order.

use crate::domain::gap::{Gap, Missing};
use crate::domain::replay::Replay;
use crate::domain::{Offset, Timestamp, letter};

/// A table, by the first byte of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Table {
    /// id -> subscription
    Subscription = b'S',
    /// number -> id of the subscription
    Number = b'N',
    /// lease's next due time (expiring, then its end), number -> (nothing)
    Lease = b'L',
    /// time of the end, number -> (nothing)
    Ended = b'E',
    /// owner, 0, number -> (nothing), while the subscription is not ended
    Owner = b'O',
    /// number -> next offset, for lanes that lag
    Cursor = b'C',
    /// number, offset -> retry
    Retry = b'R',
    /// time, number, offset -> dead letter
    DeadLetter = b'D',
    /// number, offset -> when the dead letter was given up, and its record's place in the log
    Letter = b'I',
    /// number, offset -> the job that handed the delivery over, as long as it waits
    Redriven = b'V',
    /// id -> job
    Job = b'J',
    /// id -> token
    Token = b'T',
    /// number -> what the subscription passed over
    Gap = b'G',
    /// number -> replay under way
    Replay = b'P',
    /// number -> bytes that retention leaves to the subscription
    Hold = b'H',
    /// name -> number
    Meta = b'M',
}

/// Tables whose rows are counted and compared when the tables are opened.
pub(crate) const COUNTED: [Table; 15] = [
    Table::Subscription,
    Table::Number,
    Table::Lease,
    Table::Ended,
    Table::Owner,
    Table::Cursor,
    Table::Retry,
    Table::DeadLetter,
    Table::Token,
    Table::Gap,
    Table::Hold,
    Table::Letter,
    Table::Redriven,
    Table::Job,
    Table::Replay,
];

/// Records up to here are folded into the tables.
pub(crate) const APPLIED: &str = "applied";
/// The number that the next subscription gets.
pub(crate) const NEXT_NUMBER: &str = "next_number";
/// Every event before this offset was matched.
pub(crate) const MATCHED: &str = "matched";
/// Version of the tables' layout; another one is rebuilt.
pub(crate) const SCHEMA: &str = "schema";

/// A key, built piece by piece.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub(crate) Vec<u8>);

impl Key {
    /// The beginning of all keys of a table.
    pub(crate) fn of(table: Table) -> Self {
        Self(vec![table.byte()])
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn zero(mut self) -> Self {
        self.0.push(0);
        self
    }

    pub(crate) fn number(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn offset(mut self, offset: Offset) -> Self {
        self.0.extend_from_slice(&offset.to_be_bytes());
        self
    }

    /// Milliseconds, shifted so that times before 1970 sort first.
    pub(crate) fn time(self, time: Timestamp) -> Self {
        let millis = time.as_millisecond();
        self.offset(u64::from_be_bytes(millis.to_be_bytes()) ^ (1 << 63))
    }

    /// What names a delivery: a subscription's number and an event's offset.
    pub(crate) fn delivery(self, id: letter::Id) -> Self {
        self.number(id.subscription).offset(id.offset)
    }

    /// The first key after all that begin with this one.
    pub(crate) fn end(mut self) -> Self {
        while let Some(last) = self.0.pop() {
            if last < u8::MAX {
                self.0.push(last + 1);
                break;
            }
        }
        self
    }
}

impl Table {
    /// The first byte of the table's keys.
    pub(crate) fn byte(self) -> u8 {
        self as u8
    }
}

/// The number at the end of a key.
pub(crate) fn trailing_number(key: &[u8]) -> Option<u32> {
    key.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A row that holds one number.
pub(crate) fn number_row(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// Reads a row that holds one number.
pub(crate) fn read_number(row: &[u8]) -> Option<u64> {
    row.try_into().ok().map(u64::from_be_bytes)
}

/// A row that holds what a subscription passed over.
pub(crate) fn gap_row(gap: &Gap) -> Vec<u8> {
    let at = u64::from_be_bytes(gap.at.as_millisecond().to_be_bytes());
    [gap.newest.from, gap.newest.to, at, gap.total].map(u64::to_be_bytes).concat()
}

/// Reads a row that holds what a subscription passed over.
pub(crate) fn read_gap(row: &[u8]) -> Option<Gap> {
    let number = |at: usize| row.get(at..at + 8).and_then(read_number);
    let at = i64::from_be_bytes(number(16)?.to_be_bytes());
    Some(Gap {
        newest: Missing { from: number(0)?, to: number(8)? },
        at: Timestamp::from_millisecond(at).ok()?,
        total: number(24)?,
    })
}

/// A row that holds a replay.
pub(crate) fn replay_row(replay: &Replay) -> Vec<u8> {
    [replay.from, replay.to, replay.cursor].map(u64::to_be_bytes).concat()
}

/// Reads a row that holds a subscription's replay.
pub(crate) fn read_replay(subscription: u32, row: &[u8]) -> Option<Replay> {
    let number = |at: usize| row.get(at..at + 8).and_then(read_number);
    Some(Replay { subscription, from: number(0)?, to: number(8)?, cursor: number(16)? })
}

/// The key of a number kept in the table `Meta`.
pub(crate) fn meta(name: &str) -> Key {
    Key::of(Table::Meta).text(name)
}

/// The key of a table's row count.
pub(crate) fn rows(table: Table) -> Key {
    meta("rows/").text(&char::from(table.byte()).to_string())
}

/// A row that holds when a dead letter was given up and where its record is.
pub(crate) fn letter_row(at: Timestamp, place: Offset) -> Vec<u8> {
    let at = u64::from_be_bytes(at.as_millisecond().to_be_bytes());
    [at, place].map(u64::to_be_bytes).concat()
}

/// Reads a row that holds when a dead letter was given up and where its record is.
pub(crate) fn read_letter(row: &[u8]) -> Option<(Timestamp, Offset)> {
    let (at, place) = row.split_at_checked(8)?;
    let millis = i64::from_be_bytes(at.try_into().ok()?);
    Some((Timestamp::from_millisecond(millis).ok()?, read_number(place)?))
}

/// The delivery that a key ends with.
pub(crate) fn trailing_delivery(key: &[u8]) -> Option<letter::Id> {
    let (number, offset) = key.last_chunk::<12>()?.split_at(4);
    let subscription = u32::from_be_bytes(number.try_into().ok()?);
    Some(letter::Id { subscription, offset: read_number(offset)? })
}

/// The time in a key that begins with the table and a time.
pub(crate) fn leading_time(key: &[u8]) -> Option<Timestamp> {
    let bytes: [u8; 8] = key.get(1..9)?.try_into().ok()?;
    let millis = u64::from_be_bytes(bytes) ^ (1 << 63);
    Timestamp::from_millisecond(i64::from_be_bytes(millis.to_be_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_reads_back_as_it_was_written() {
        let at = Timestamp::from_millisecond(-7).expect("in range");
        let gap = Gap { newest: Missing { from: 1, to: u64::MAX }, at, total: 9 };
        assert_eq!(read_gap(&gap_row(&gap)), Some(gap));
        assert_eq!(read_gap(&[0; 31]), None);
    }

    #[test]
    fn a_dead_letters_place_reads_back() {
        let at = Timestamp::from_millisecond(-7).expect("in range");
        assert_eq!(read_letter(&letter_row(at, 9)), Some((at, 9)));
        assert_eq!(read_letter(&[0; 15]), None);
        let id = letter::Id { subscription: 7, offset: 1 << 40 };
        let key = Key::of(Table::DeadLetter).time(at).delivery(id);
        assert_eq!((trailing_delivery(&key.0), leading_time(&key.0)), (Some(id), Some(at)));
    }

    #[test]
    fn keys_sort_as_what_they_say() {
        let at = |millis| Timestamp::from_millisecond(millis).expect("in range");
        let key = |millis| Key::of(Table::Lease).time(at(millis)).number(1);
        assert!(key(-5) < key(-1) && key(-1) < key(0) && key(0) < key(1) && key(255) < key(256));
        assert_eq!(leading_time(&key(-5).0), Some(at(-5)));
        assert_eq!(trailing_number(&key(9).0), Some(1));
        let prefix = Key::of(Table::Retry).number(7);
        let row = prefix.clone().offset(u64::MAX);
        assert!(prefix < row && row < prefix.end());
        assert_eq!(Key(vec![1, 255, 255]).end(), Key(vec![2]));
    }
}
