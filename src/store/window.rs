//! The de-duplication window: where the newest events are stored, by (source, id). Memory only,
//! bounded, rebuilt from the log's tail at start.

use std::collections::{HashMap, VecDeque};

use sha2::{Digest, Sha256};

use crate::domain::Offset;

/// What stands for a (source, id): half of a SHA-256, so that nobody can make two meet.
pub(crate) type Print = [u8; 16];

/// The newest events.
#[derive(Debug)]
pub(crate) struct Window {
    offsets: HashMap<Print, Offset>,
    order: VecDeque<Print>,
    size_max: usize,
}

impl Window {
    /// A window of at most so many events. Zero switches de-duplication off.
    pub(crate) fn new(size_max: usize) -> Self {
        Self { offsets: HashMap::new(), order: VecDeque::new(), size_max }
    }

    /// Where an event is stored, if it is in the window.
    pub(crate) fn find(&self, source: &str, id: &str) -> Option<Offset> {
        match self.size_max {
            0 => None,
            _ => self.offsets.get(&Self::print(source, id)).copied(),
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
    pub(crate) fn print(source: &str, id: &str) -> Print {
        let mut hasher = Sha256::new();
        hasher.update(source.as_bytes());
        hasher.update([0]);
        hasher.update(id.as_bytes());
        let digest = hasher.finalize();
        let mut print = Print::default();
        print.copy_from_slice(&digest[..16]);
        print
    }

    /// Takes an event in that is older than all that are held, if there is room.
    pub(crate) fn insert_older(&mut self, print: Print, offset: Offset) {
        if !self.is_full() && !self.offsets.contains_key(&print) {
            self.offsets.insert(print, offset);
            self.order.push_front(print);
        }
    }

    /// Takes an event in, and the oldest out where there is no room.
    pub(crate) fn insert(&mut self, source: &str, id: &str, offset: Offset) {
        if self.size_max == 0 {
            return;
        }
        let print = Self::print(source, id);
        if self.offsets.insert(print, offset).is_none() {
            self.order.push_back(print);
        }
        while self.order.len() > self.size_max {
            if let Some(oldest) = self.order.pop_front() {
                self.offsets.remove(&oldest);
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
        assert_eq!(window.find("s", "1"), None);
        assert_eq!(window.find("s", "2"), Some(2));
        assert_eq!(window.find("s2", ""), None);
        let mut off = Window::new(0);
        off.insert("s", "1", 1);
        assert_eq!(off.find("s", "1"), None);
    }
}
