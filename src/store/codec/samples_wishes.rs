//! Records for tests: what versions 4 and 5 of the subscription added. Only ever appended to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::samples::at;
use crate::domain::access::{Access, Auth, Identity, Tls};
use crate::domain::encoding::{Batch, Encoding};
use crate::domain::policy::{Ordering, Policy, Sample};
use crate::domain::secret::Secret;
use crate::domain::sign::{Key, Keys};
use crate::domain::sink::{Method, Sink};
use crate::domain::subscription::{Signing, Wish};
use crate::domain::template::{Line, Template};

/// Wishes with what was added, the older ones first.
pub(super) fn added(wish: &Wish) -> Vec<Wish> {
    let mut all = templates(wish);
    all.extend(secrets(wish));
    all
}

/// What version 4 added.
fn templates(wish: &Wish) -> Vec<Wish> {
    let template = json!({"steps": [
        {"method": "POST", "url": "http://one.lan/{{event.subject | url}}", "capture": ["body"]},
        {"emit": {"type": "b", "data": {"of": "{{steps[0].response.body.id}}"}}}]});
    let template = Template::parse(&template).expect("valid");
    let line = |text| Some(Line::parse(text).expect("valid"));
    let batch = Batch { max: 7, wait: Duration::from_millis(20) };
    let policy = Policy {
        ordering: Ordering::Key,
        key: line("{{data.page}}"),
        delay_until: line("{{event.until}}"),
        sample: Some(Sample { parts: 250_000, key: line("{{event.subject}}") }),
        ..Policy::default()
    };
    let sampled = Some(Sample { parts: 0, key: None });
    vec![
        Wish { encoding: Encoding::Batch(batch), ..wish.clone() },
        Wish {
            encoding: Encoding::Template(Arc::new(template)),
            sink: Sink::Steps,
            policy: policy.into(),
            ..wish.clone()
        },
        Wish { policy: Policy { sample: sampled, ..Policy::default() }.into(), ..wish.clone() },
    ]
}

/// What version 5 added: each kind of secret.
fn secrets(wish: &Wish) -> Vec<Wish> {
    let sealed = || Secret::Sealed(vec![1, 2, 0xff]);
    let keys = Keys {
        newest: Key::V1a(sealed(), [5; 32]),
        older: vec![(Key::V1(sealed()), at(77)), (Key::V1a(sealed(), [6; 32]), at(70))],
    };
    let identity = Some(Identity { certificate: "chain".to_owned(), key: sealed() });
    let tls = Tls { ca: Some("roots".to_owned()), identity };
    let auths = [
        Auth::Bearer(sealed()),
        Auth::Basic("user".to_owned(), sealed()),
        Auth::Header("x-site".to_owned(), sealed()),
    ];
    let headers = BTreeMap::from([("x-key".to_owned(), sealed())]);
    let tls = [Some(tls), Some(Tls { ca: None, identity: None }), None];
    let with = |(auth, tls): (Auth, Option<Tls>)| Wish {
        sink: Sink::Http {
            url: "https://worker.lan/".parse().expect("valid"),
            method: Method::Post,
            headers: BTreeMap::new(),
            access: Box::new(Access { headers: headers.clone(), auth: Some(auth), tls }),
        },
        signing: Signing::StandardWebhooks(keys.clone()),
        ..wish.clone()
    };
    auths.into_iter().zip(tls).map(with).collect()
}
