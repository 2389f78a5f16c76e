//! The gate: who is calling and what they may do. One policy for HTTP, MQTT and event streams.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};

use crate::clock;
use crate::domain::Timestamp;
use crate::domain::command::Actor;
use crate::domain::grant::Grants;
use crate::domain::record::Token;
use crate::store::Reader;

/// What every token's text begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "tdg_";

/// Owner that stands for the operator on this machine. No token has it as its id.
const LOCAL: &str = "local";

/// Says who is calling. Clones share it.
#[derive(Debug, Clone)]
pub struct Gate {
    reader: Reader,
    dev: bool,
    /// SHA-256 of the credential that the command line on this machine uses.
    local: Option<[u8; 32]>,
}

/// Who is calling.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's id; `None` with `--dev`.
    pub owner: Option<String>,
    /// What the caller may do.
    pub grants: Arc<Grants>,
}

impl Caller {
    /// The caller as decisions know it.
    pub fn actor(&self) -> Actor {
        let owner = self.owner.clone().filter(|owner| owner != LOCAL);
        Actor { owner, admin: self.grants.is_admin() }
    }
}

impl Gate {
    /// A gate over the tokens of a store. `local` is the operator's own credential.
    pub fn new(reader: Reader, dev: bool, local: Option<&str>) -> Self {
        Self { reader, dev, local: local.map(digest) }
    }

    /// Who calls without any credentials: nobody, but with `--dev` everybody is the administrator.
    pub fn anonymous(&self) -> Option<Caller> {
        self.dev.then(|| Caller { owner: None, grants: Arc::new(Grants::all()) })
    }

    /// Who calls with a token.
    pub fn bearer(&self, text: &str) -> Option<Caller> {
        let digest = digest(text);
        if self.local.is_some_and(|local| same(&local, &digest)) {
            return Some(Caller { owner: Some(LOCAL.to_owned()), grants: Arc::new(Grants::all()) });
        }
        let (id, _secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let token = self.reader.token(id)?;
        same(&token.digest, &digest).then(|| Caller {
            owner: Some(token.id.clone()),
            grants: Arc::new(token.grants.clone()),
        })
    }

    /// Whether a caller who was let in is still welcome.
    pub fn still_valid(&self, caller: &Caller) -> bool {
        match caller.owner.as_deref() {
            None | Some(LOCAL) => true,
            Some(id) => self.reader.token(id).is_some(),
        }
    }

    /// Whether the owner of a subscription still has a token.
    pub fn knows(&self, owner: Option<&str>) -> bool {
        owner.is_none_or(|id| self.reader.token(id).is_some())
    }

    /// Whether the owner of a subscription may receive events on a topic.
    pub fn owner_may_receive(&self, owner: Option<&str>, topic: &str) -> bool {
        match owner {
            None => true,
            Some(id) => self.reader.token(id).is_some_and(|token| token.grants.may_receive(topic)),
        }
    }

    /// Whether the owner of a subscription may publish on a topic.
    pub fn owner_may_publish(&self, owner: Option<&str>, topic: &str) -> bool {
        match owner {
            None => true,
            Some(id) => self.reader.token(id).is_some_and(|token| token.grants.may_publish(topic)),
        }
    }

    /// A new token and its text, which is shown once and kept nowhere.
    pub fn new_token(name: &str, grants: Grants, now: Timestamp) -> (Token, String) {
        let id: String = clock::random::<6>().iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("{PREFIX}{id}_{}", BASE64.encode(clock::random::<32>()));
        let digest = digest(&text);
        (Token { id, name: name.to_owned(), grants, digest, created_at: now }, text)
    }

    /// A text that nobody can guess.
    pub fn new_secret() -> String {
        BASE64.encode(clock::random::<32>())
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Compares without telling by its time where the difference is. What is compared are digests, so
/// that even a leak would tell nothing of the secret.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |different, (one, other)| different | (one ^ other)) == 0
}
