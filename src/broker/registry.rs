//! Who is connected: finds the older connection of a client that comes back, and the connections
//! whose token was revoked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::flow::{Caller, Gate};

use super::mailbox::Mailbox;
use super::reason::Reason;

/// Client ids belong to their owner: nobody can throw out somebody else's client.
type Key = (Option<String>, String);

/// All connections that have said a valid CONNECT.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// Guards the table of connections; held for a look-up, or one sweep over it.
    connections: Mutex<HashMap<Key, Connection>>,
}

#[derive(Debug)]
struct Connection {
    mailbox: Arc<Mailbox>,
    caller: Caller,
}

/// A connection's place in the registry, given up when dropped.
#[derive(Debug)]
pub(super) struct Place {
    registry: Arc<Registry>,
    key: Key,
    mailbox: Arc<Mailbox>,
}

impl Registry {
    /// Enters a connection. An older one with the same client id and owner is told to end.
    pub(super) fn enter(
        self: &Arc<Self>,
        client_id: &str,
        caller: &Caller,
        mailbox: &Arc<Mailbox>,
    ) -> Place {
        let key = (caller.owner.clone(), client_id.to_owned());
        let connection = Connection { mailbox: Arc::clone(mailbox), caller: caller.clone() };
        if let Some(older) = self.lock().insert(key.clone(), connection) {
            older.mailbox.cut(Reason::TAKEN_OVER);
        }
        Place { registry: Arc::clone(self), key, mailbox: Arc::clone(mailbox) }
    }

    /// Ends the connections whose token was revoked.
    pub(super) fn sweep(&self, gate: &Gate) {
        for connection in self.lock().values() {
            if !gate.still_valid(&connection.caller) {
                connection.mailbox.cut(Reason::ADMINISTRATIVE);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.registry.lock();
        // Whoever took the place over keeps it.
        let own = |held: &Connection| Arc::ptr_eq(&held.mailbox, &self.mailbox);
        if connections.get(&self.key).is_some_and(own) {
            connections.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::Grants;

    #[test]
    fn the_newer_connection_of_the_same_owner_takes_over() {
        let registry = Arc::new(Registry::default());
        let caller =
            |owner: &str| Caller { owner: Some(owner.to_owned()), grants: Grants::all().into() };
        let mailbox = || Arc::new(Mailbox::new("".into(), 1));
        let (first, second, foreign) = (mailbox(), mailbox(), mailbox());
        let first_place = registry.enter("c", &caller("a"), &first);
        let foreign_place = registry.enter("c", &caller("b"), &foreign);
        assert_eq!(first.cut_reason(), None);
        let second_place = registry.enter("c", &caller("a"), &second);
        assert_eq!(first.cut_reason(), Some(Reason::TAKEN_OVER));
        assert_eq!((second.cut_reason(), foreign.cut_reason()), (None, None));
        drop(first_place);
        assert_eq!(registry.lock().len(), 2, "a late leaver takes nobody's place away");
        drop((second_place, foreign_place));
        assert!(registry.lock().is_empty());
    }
}
