//! Sessions of the web page, in memory: a restart asks people to log in again. Holds digests of
//! the cookies, never the cookies.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::clock;
use crate::domain::Timestamp;
use crate::domain::lease::after;
use crate::flow::Caller;

/// Most sessions; the one that ends first makes room for a new one.
const SESSIONS_MAX: usize = 1_024;

/// Most sessions of one token; its oldest makes room for a new one.
const OWNERS_SESSIONS_MAX: usize = 16;

/// How long a session lasts.
pub(crate) const SESSION_LIFE: Duration = Duration::from_secs(12 * 3_600);

/// Digest of a session's cookie.
pub(crate) type Key = [u8; 32];

/// The open sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    // Guards the map alone; held for one look-up or insertion.
    open: Mutex<HashMap<Key, Session>>,
}

struct Session {
    caller: Caller,
    until: Timestamp,
}

impl Sessions {
    /// Opens a session and tells its cookie's value.
    pub(crate) fn open(&self, caller: Caller, now: Timestamp) -> String {
        let cookie = URL_SAFE_NO_PAD.encode(clock::random::<32>());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= SESSIONS_MAX {
            open.retain(|_, session| session.until > now);
        }
        let owner = caller.owner.clone();
        make_room(&mut open, OWNERS_SESSIONS_MAX, |session| session.caller.owner == owner);
        make_room(&mut open, SESSIONS_MAX, |_| true);
        open.insert(digest(&cookie), Session { caller, until: after(now, SESSION_LIFE) });
        cookie
    }

    /// Whose session a cookie is.
    pub(crate) fn find(&self, cookie: &str, now: Timestamp) -> Option<Caller> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get(&digest(cookie)).filter(|session| session.until > now)?;
        Some(session.caller.clone())
    }

    /// Whether the session of a cookie with this digest goes on.
    pub(crate) fn is_open(&self, cookie: &Key, now: Timestamp) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(cookie).is_some_and(|session| session.until > now)
    }

    /// Ends a session.
    pub(crate) fn close(&self, cookie: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(cookie));
    }
}

/// SHA-256 of a secret. Comparing digests tells an attacker's clock nothing about the secret.
pub(crate) fn digest(secret: &str) -> Key {
    Sha256::digest(secret.as_bytes()).into()
}

/// Closes the oldest of some sessions if there are as many as there may be.
fn make_room(open: &mut HashMap<Key, Session>, most: usize, counts: impl Fn(&Session) -> bool) {
    let counted = || open.iter().filter(|(_, session)| counts(session));
    if counted().count() >= most {
        let oldest = counted().min_by_key(|(_, session)| session.until).map(|(key, _)| *key);
        oldest.map(|key| open.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::Grants;

    fn caller(owner: &str) -> Caller {
        Caller { owner: Some(owner.to_owned()), grants: Grants::all().into() }
    }

    #[test]
    fn a_session_ends_and_their_number_is_bounded() {
        let sessions = Sessions::default();
        let start = Timestamp::UNIX_EPOCH;
        let cookie = sessions.open(caller("a"), start);
        assert!(sessions.find(&cookie, start).is_some() && sessions.find("x", start).is_none());
        assert!(sessions.find(&cookie, after(start, SESSION_LIFE)).is_none());
        for second in 0..SESSIONS_MAX {
            let later = Duration::from_secs(u64::try_from(second).expect("small") + 1);
            sessions.open(caller(&second.to_string()), after(start, later));
        }
        assert!(sessions.find(&cookie, start).is_none(), "the oldest made room");
        assert_eq!(sessions.open.lock().expect("lock").len(), SESSIONS_MAX);
        let cookie = sessions.open(caller("a"), start);
        assert!(sessions.is_open(&digest(&cookie), start));
        assert!(!sessions.is_open(&digest(&cookie), after(start, SESSION_LIFE)));
        sessions.close(&cookie);
        assert!(sessions.find(&cookie, start).is_none());
        assert!(!sessions.is_open(&digest(&cookie), start));
    }

    #[test]
    fn one_owner_does_not_push_out_others() {
        let sessions = Sessions::default();
        let start = Timestamp::UNIX_EPOCH;
        let other = sessions.open(caller("b"), start);
        let mut cookies = Vec::new();
        for second in 1..=20 {
            cookies.push(sessions.open(caller("a"), after(start, Duration::from_secs(second))));
        }
        let open = cookies.iter().map(|cookie| sessions.find(cookie, start).is_some());
        assert_eq!(open.filter(|open| *open).count(), OWNERS_SESSIONS_MAX);
        assert!(sessions.find(&cookies[3], start).is_none(), "the oldest made room");
        assert!(sessions.find(&cookies[4], start).is_some());
        assert!(sessions.find(&other, start).is_some());
    }
}
