//! The one-time key of the set-up URL. Spent by the first administrator's token, however that was
//! made; never shown.

use std::sync::{Arc, Mutex, PoisonError};

use super::codes;
use super::problem::Problem;
use super::sessions::digest;
use crate::domain::record::Token;

/// The key's digest while it can be used.
#[derive(Debug)]
pub(crate) struct Setup {
    // Guards the digest alone; held for one comparison.
    key: Mutex<Option<[u8; 32]>>,
}

/// The key while its use is under way. Dropped without `spend`, the key can be used again.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    setup: &'a Setup,
    key: Option<[u8; 32]>,
}

impl Setup {
    /// A set-up that waits for this key, or none.
    pub(crate) fn new(key: Option<&str>) -> Self {
        Self { key: Mutex::new(key.map(digest)) }
    }

    /// Refuses when there is nothing to set up, whatever the key.
    pub(crate) fn check_open(&self, tokens: &[Arc<Token>]) -> Result<(), Problem> {
        if self.lock().is_none() {
            return Err(spent());
        }
        check_no_administrator(tokens)
    }

    /// Checks a key without using it.
    pub(crate) fn check(&self, key: &str) -> Result<(), Problem> {
        match *self.lock() {
            None => Err(spent()),
            Some(held) if held != digest(key) => {
                Err(Problem::new(codes::SETUP_KEY_WRONG, "take the URL that the hub printed"))
            }
            Some(_) => Ok(()),
        }
    }

    /// Takes the key for use: nobody else can at the same time.
    pub(crate) fn claim(&self, key: &str) -> Result<Claim<'_>, Problem> {
        self.check(key)?;
        match self.lock().take() {
            Some(key) => Ok(Claim { setup: self, key: Some(key) }),
            None => Err(spent()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<[u8; 32]>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// The key did its work.
    pub(crate) fn spend(mut self) {
        self.key = None;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            *self.setup.lock() = Some(key);
        }
    }
}

/// The set-up is over once somebody is the administrator.
pub(crate) fn check_no_administrator(tokens: &[Arc<Token>]) -> Result<(), Problem> {
    if tokens.iter().any(|token| token.grants.is_admin()) { Err(spent()) } else { Ok(()) }
}

fn spent() -> Problem {
    Problem::new(codes::SETUP_KEY_SPENT, "log in with a token")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::grant::{Grant, Grants};

    #[test]
    fn an_administrators_token_spends_the_key_however_it_was_made() {
        let token = |grant: &str| {
            Arc::new(Token {
                id: "a".to_owned(),
                name: "a".to_owned(),
                grants: Grants(vec![Grant::parse(grant).expect(grant)]),
                digest: [0; 32],
                created_at: Timestamp::UNIX_EPOCH,
            })
        };
        let setup = Setup::new(Some("key"));
        assert!(setup.check_open(&[]).is_ok() && setup.check_open(&[token("manage")]).is_ok());
        let refused = setup.check_open(&[token("manage"), token("admin")]);
        assert_eq!(refused.expect_err("spent").code(), codes::SETUP_KEY_SPENT);
        assert!(Setup::new(None).check_open(&[]).is_err());
    }

    #[test]
    fn a_key_works_once_and_comes_back_when_its_use_failed() {
        let setup = Setup::new(Some("key"));
        let code = |result: Result<(), Problem>| result.err().map(|problem| problem.code().0);
        assert_eq!(code(setup.check("other")), Some("E-SETUP-KEY-WRONG"));
        let claim = setup.claim("key").expect("right key");
        assert_eq!(code(setup.check("key")), Some("E-SETUP-KEY-SPENT"), "under way");
        drop(claim);
        setup.claim("key").expect("came back").spend();
        assert_eq!(code(setup.check("key")), Some("E-SETUP-KEY-SPENT"));
        assert_eq!(code(Setup::new(None).check("")), Some("E-SETUP-KEY-SPENT"));
    }
}
