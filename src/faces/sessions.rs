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

/// How long a session lasts.
pub(crate) const SESSION_LIFE: Duration = Duration::from_secs(12 * 3_600);

/// The open sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    // Guards the map alone; held for one look-up or insertion.
    open: Mutex<HashMap<[u8; 32], Session>>,
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
        if open.len() >= SESSIONS_MAX {
            let first = open.iter().min_by_key(|(_, session)| session.until).map(|(key, _)| *key);
            first.map(|key| open.remove(&key));
        }
        open.insert(digest(&cookie), Session { caller, until: after(now, SESSION_LIFE) });
        cookie
    }

    /// Whose session a cookie is.
    pub(crate) fn find(&self, cookie: &str, now: Timestamp) -> Option<Caller> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get(&digest(cookie)).filter(|session| session.until > now)?;
        Some(session.caller.clone())
    }

    /// Ends a session.
    pub(crate) fn close(&self, cookie: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(cookie));
    }
}

/// SHA-256 of a secret. Comparing digests tells an attacker's clock nothing about the secret.
pub(crate) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::Grants;

    #[test]
    fn a_session_ends_and_their_number_is_bounded() {
        let sessions = Sessions::default();
        let caller = || Caller { owner: Some("a".to_owned()), grants: Grants::all().into() };
        let start = Timestamp::UNIX_EPOCH;
        let cookie = sessions.open(caller(), start);
        assert!(sessions.find(&cookie, start).is_some() && sessions.find("x", start).is_none());
        assert!(sessions.find(&cookie, after(start, SESSION_LIFE)).is_none());
        for second in 0..SESSIONS_MAX {
            let later = Duration::from_secs(u64::try_from(second).expect("small") + 1);
            sessions.open(caller(), after(start, later));
        }
        assert!(sessions.find(&cookie, start).is_none(), "the oldest made room");
        assert_eq!(sessions.open.lock().expect("lock").len(), SESSIONS_MAX);
        let cookie = sessions.open(caller(), start);
        sessions.close(&cookie);
        assert!(sessions.find(&cookie, start).is_none());
    }
}
