//! The queue to the writer. What bounds it is the room that each command needs; see `submit`.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::submit::Message;
use crate::store::Error;

/// Messages in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Guards memory only.
    held: Mutex<Held>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    messages: VecDeque<Message>,
    /// Somebody waits for the bell.
    sleeping: bool,
    /// There is something else to do.
    called: bool,
    closed: bool,
}

impl Queue {
    /// Sends a message, if there is somebody to take it.
    pub(super) fn push(&self, message: Message) -> Result<(), Error> {
        let mut held = self.held();
        if held.closed {
            return Err(Error::Closed);
        }
        held.messages.push_back(message);
        self.wake(held);
        Ok(())
    }

    /// Has who sleeps, or is about to, look for other work.
    pub(super) fn call(&self) {
        let mut held = self.held();
        held.called = true;
        self.wake(held);
    }

    /// Takes at most `max` messages.
    pub(super) fn take(&self, into: &mut VecDeque<Message>, max: usize) {
        let mut held = self.held();
        if into.is_empty() && held.messages.len() <= max {
            std::mem::swap(&mut held.messages, into);
        } else {
            let count = held.messages.len().min(max);
            into.extend(held.messages.drain(..count));
        }
    }

    /// Waits for a message or a call, `tick` at most.
    pub(super) fn sleep(&self, tick: Option<Duration>) {
        let is_idle = |held: &mut Held| held.messages.is_empty() && !held.called;
        let mut held = self.held();
        held.sleeping = true;
        let woken = match tick {
            Some(tick) => {
                let woken = self.bell.wait_timeout_while(held, tick, is_idle);
                woken.expect("no panic while it is held").0
            }
            None => self.bell.wait_while(held, is_idle).expect("no panic while it is held"),
        };
        held = woken;
        (held.sleeping, held.called) = (false, false);
    }

    /// Takes nothing more; whoever waits for the answer to something in it learns that none comes.
    pub(super) fn close(&self) {
        let dropped = {
            let mut held = self.held();
            held.closed = true;
            std::mem::take(&mut held.messages)
        };
        drop(dropped);
    }

    fn wake(&self, mut held: MutexGuard<'_, Held>) {
        let sleeping = std::mem::take(&mut held.sleeping);
        drop(held);
        if sleeping {
            self.bell.notify_one();
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while it is held")
    }
}
