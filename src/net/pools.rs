//! Connections that are kept open: one pool for all targets, and one for each TLS identity that a
//! subscription brings along, so that no connection is used under another's name. Never connects
//! by itself: that is the dialer's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;

use super::dial::Dialer;
use super::identity::{Fault, Identity};

/// Connections kept open to one target while nothing is sent.
const IDLE_PER_TARGET_MAX: usize = 64;

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most identities whose connections are kept.
const IDENTITIES_MAX: usize = 256;

/// How long an identity is kept that nobody uses.
const IDENTITY_IDLE: Duration = Duration::from_secs(300);

/// Sends requests over connections of one kind.
pub(super) type Pool = legacy::Client<HttpsConnector<Dialer>, Full<Bytes>>;

#[derive(Debug)]
pub(super) struct Pools {
    dialer: Dialer,
    roots: Arc<RootCertStore>,
    /// For targets that ask for nothing.
    plain: Pool,
    /// By the identity's digest. Guards memory only.
    own: Mutex<HashMap<[u8; 32], Held>>,
}

#[derive(Debug)]
struct Held {
    pool: Pool,
    used: Instant,
}

impl Pools {
    pub(super) fn new(dialer: Dialer, roots: RootCertStore) -> Result<Self, Fault> {
        let roots = Arc::new(roots);
        let plain = Identity::new(None, None).config(&roots)?;
        let plain = pool(dialer.clone(), plain);
        Ok(Self { dialer, roots, plain, own: Mutex::default() })
    }

    /// For targets that ask for nothing.
    pub(super) fn plain(&self) -> &Pool {
        &self.plain
    }

    /// For targets that an identity is for.
    pub(super) fn of(&self, identity: &Identity) -> Result<Pool, Fault> {
        self.of_at(identity, Instant::now())
    }

    fn of_at(&self, identity: &Identity, now: Instant) -> Result<Pool, Fault> {
        let digest = identity.digest();
        if let Some(held) = self.own().get_mut(&digest) {
            held.used = now;
            return Ok(held.pool.clone());
        }
        let pool = pool(self.dialer.clone(), identity.config(&self.roots)?);
        let mut own = self.own();
        own.retain(|_, held| now.duration_since(held.used) < IDENTITY_IDLE);
        if own.len() >= IDENTITIES_MAX {
            let oldest = own.iter().min_by_key(|(_, held)| held.used).map(|(digest, _)| *digest);
            oldest.map(|digest| own.remove(&digest));
        }
        own.insert(digest, Held { pool: pool.clone(), used: now });
        Ok(pool)
    }

    fn own(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Held>> {
        self.own.lock().expect("no panic while pools are held")
    }
}

fn pool(dialer: Dialer, tls: ClientConfig) -> Pool {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(dialer);
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE_PER_TARGET_MAX)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Guard;

    #[test]
    fn identities_are_bounded_and_forgotten_when_nobody_uses_them() {
        let dialer = Dialer::new(Arc::new(Guard::default()), Duration::from_secs(1));
        let pools = Pools::new(dialer, RootCertStore::empty()).expect("made");
        let certificate = rcgen::generate_simple_self_signed(["a.lan".to_owned()]).expect("made");
        let pem = certificate.cert.pem();
        let identity = |number: usize| Identity::new(Some(&format!("{number}\n{pem}")), None);
        let mut now = Instant::now();
        for number in 0..IDENTITIES_MAX + 10 {
            pools.of_at(&identity(number), now).expect("good");
            now += Duration::from_millis(1);
            pools.of_at(&identity(0), now).expect("good");
        }
        let held = |number: usize| pools.own().contains_key(&identity(number).digest());
        assert_eq!(pools.own().len(), IDENTITIES_MAX);
        assert!(held(0) && !held(1) && held(IDENTITIES_MAX + 9));
        pools.of_at(&identity(5_000), now + IDENTITY_IDLE).expect("good");
        assert_eq!(pools.own().len(), 1);
        assert!(pools.of(&Identity::new(Some("none"), None)).is_err());
    }
}
