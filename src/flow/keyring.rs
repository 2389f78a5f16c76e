//! What opens secrets where they are used, and checks what subscriptions bring along. Secrets leave
//! it towards targets alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::Invalid;
use crate::domain::access::Tls;
use crate::domain::encoding::Encoding;
use crate::domain::sink::Sink;
use crate::domain::subscription::Wish;
use crate::domain::template::Key;
use crate::domain::vault::{Locked, Vault};
use crate::net::identity::{Fault, Identity};

/// Keys of the hub. Clones share them.
#[derive(Debug, Clone)]
pub struct Keyring {
    vault: Arc<Vault>,
    hmac: Arc<BTreeMap<String, Key>>,
}

impl Keyring {
    /// A keyring with what opens secrets, and the keys that templates name.
    pub fn new(vault: Arc<Vault>, hmac: BTreeMap<String, Key>) -> Self {
        Self { vault, hmac: Arc::new(hmac) }
    }

    /// Checks what only the keys can tell of a subscription: whether its TLS can be used, and
    /// whether there are the keys that its template names.
    pub fn check(&self, id: &str, wish: &Wish) -> Result<(), Invalid> {
        if let Sink::Http { access, .. } = &wish.sink
            && let Some(tls) = &access.tls
            && let Ok(identity) = self.identity(id, tls)
        {
            // What is held and cannot be opened any more is told by each delivery.
            identity.check().map_err(|fault| invalid(&fault))?;
        }
        if let Encoding::Template(template) = &wish.encoding {
            let missing = template.named_keys().find(|(_, name)| !self.hmac.contains_key(*name));
            if let Some((at, name)) = missing {
                let detail = format!("there is no key {name:?} for hmac; the operator adds keys");
                return Err(Invalid::new(format!("/template{at}"), detail));
            }
        }
        Ok(())
    }

    pub(super) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(super) fn hmac(&self) -> &BTreeMap<String, Key> {
        &self.hmac
    }

    fn identity(&self, id: &str, tls: &Tls) -> Result<Identity, Locked> {
        identity(&self.vault, id, tls)
    }
}

/// The TLS of a subscription's own, its key open.
pub(super) fn identity(vault: &Vault, owner: &str, tls: &Tls) -> Result<Identity, Locked> {
    let key = match &tls.identity {
        Some(held) => Some(held.key.open(vault, owner)?),
        None => None,
    };
    let chain = tls.identity.as_ref().map(|held| held.certificate.as_str());
    Ok(Identity::new(tls.ca.as_deref(), chain.zip(key.as_deref())))
}

fn invalid(fault: &Fault) -> Invalid {
    let (at, detail) = match fault {
        Fault::Ca(detail) => ("ca", detail),
        Fault::Certificate(detail) => ("certificate", detail),
        Fault::Key(detail) => ("key", detail),
    };
    Invalid::new(format!("/sink/http/tls/{at}"), detail)
}
