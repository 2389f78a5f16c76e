//! The de-duplication window: where the newest events are stored, by (source, id). Memory only,
//! bounded, rebuilt from the log's tail at start.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::clock;
use crate::domain::Offset;

/// What stands for a (source, id): a hash under a secret key, so that nobody can make two meet.
pub(crate) type Print = [u64; 2];

/// The newest events.
#[derive(Debug)]
pub(crate) struct Window {
    offsets: HashMap<Print, Offset, BuildHasherDefault<AsItIs>>,
    order: VecDeque<Print>,
    size_max: usize,
    /// With a key that is drawn anew for each window.
    hasher: SipHasher13,
}

/// A print is a hash already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let number = chunk.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte));
            self.write_u64(number);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(1) ^ number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Window {
    /// A window of at most so many events. Zero switches de-duplication off.
    pub(crate) fn new(size_max: usize) -> Self {
        let hasher = SipHasher13::new_with_key(&clock::random());
        Self { offsets: HashMap::default(), order: VecDeque::new(), size_max, hasher }
    }

    /// Where an event is stored, if it is in the window.
    pub(crate) fn find(&self, source: &str, id: &str) -> Option<Offset> {
        match self.size_max {
            0 => None,
            _ => self.offsets.get(&self.print(source, id)).copied(),
        }
    }

    /// Most events that it holds.
    pub(crate) fn size_max(&self) -> usize {
        self.size_max
    }

    /// Whether a further event pushes one out.
    pub(crate) fn is_full(&self) -> bool {
        self.order.len() >= self.size_max
    }

    /// What stands for a (source, id).
    pub(crate) fn print(&self, source: &str, id: &str) -> Print {
        let mut hasher = self.hasher;
        hasher.write(source.as_bytes());
        // No text has this byte, so that no two pairs are the same bytes.
        hasher.write_u8(0xff);
        hasher.write(id.as_bytes());
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }

    /// Takes an event in that is older than all that are held, if there is room.
    pub(crate) fn insert_older(&mut self, print: Print, offset: Offset) {
        if !self.is_full() && !self.offsets.contains_key(&print) {
            self.offsets.insert(print, offset);
            self.order.push_front(print);
        }
    }

    /// Takes an event in. Answers what stands for it if it is new to the window. The oldest ones go
    /// only with `trim`: this one may be taken back.
    pub(crate) fn insert(&mut self, source: &str, id: &str, offset: Offset) -> Option<Print> {
        if self.size_max == 0 {
            return None;
        }
        let print = self.print(source, id);
        let is_new = self.offsets.insert(print, offset).is_none();
        if is_new {
            self.order.push_back(print);
        }
        is_new.then_some(print)
    }

    /// Takes the oldest events out where there are too many. The newest `unsure` may still be taken
    /// back and do not count.
    pub(crate) fn trim(&mut self, unsure: usize) {
        while self.order.len() > self.size_max.saturating_add(unsure) {
            if let Some(oldest) = self.order.pop_front() {
                self.offsets.remove(&oldest);
            }
        }
    }

    /// Takes out the events that were taken in last: they were not stored after all.
    pub(crate) fn take_back(&mut self, prints: &[Print]) {
        for print in prints.iter().rev() {
            self.offsets.remove(print);
            if self.order.back() == Some(print) {
                self.order.pop_back();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_forgets_the_oldest_first() {
        let mut window = Window::new(2);
        window.insert("s", "1", 1);
        window.insert("s", "2", 2);
        window.insert("s", "3", 3);
        window.trim(1);
        assert_eq!(window.find("s", "1"), Some(1));
        window.trim(0);
        assert_eq!(window.find("s", "1"), None);
        assert_eq!(window.find("s", "2"), Some(2));
        assert_eq!(window.find("s2", ""), None);
        let mut off = Window::new(0);
        off.insert("s", "1", 1);
        assert_eq!(off.find("s", "1"), None);
    }

    #[test]
    fn what_was_taken_back_may_come_again() {
        let mut window = Window::new(3);
        window.insert("s", "1", 1);
        let prints: Vec<Print> =
            ["2", "3"].iter().filter_map(|id| window.insert("s", id, 7)).collect();
        window.take_back(&prints);
        assert_eq!((window.find("s", "1"), window.find("s", "2")), (Some(1), None));
        window.insert("s", "2", 2);
        window.insert("s", "3", 3);
        assert_eq!((window.find("s", "1"), window.find("s", "3")), (Some(1), Some(3)));
    }
}
