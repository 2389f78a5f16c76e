//! How deliveries are signed, in JSON: the member `signing`, and what a rotation asks for. A secret
//! is shown once, where the hub made it; a private key never.

use std::time::Duration;

use serde_json::{Value, json};

use super::fields::{Field, Fields};
use super::shape_policy::duration;
use crate::clock;
use crate::domain::sign::{Key, Keys, OVERLAP_MAX, Scheme};
use crate::domain::subscription::Signing;
use crate::domain::{Invalid, Timestamp};

/// A key that was asked for, and its secret if the hub made it and has to show it once.
pub(crate) type Asked = (Key, Option<String>);

/// Reads how deliveries are signed. A key that is held stays, unless another one is given or
/// another scheme is asked for.
pub(crate) fn parse(
    field: Option<Field<'_>>,
    held: Option<&Signing>,
) -> Result<(Signing, Option<String>), Invalid> {
    let Some(field) = field else { return Ok((Signing::None, None)) };
    let mut kinds = field.fields()?;
    let standard = kinds.need("standard_webhooks")?;
    kinds.done(&[])?;
    let mut fields = standard.fields()?;
    let (scheme, given) = key(&mut fields)?;
    fields.done(&["public_key", "overlap_until"])?;
    let scheme = scheme.unwrap_or(Scheme::V1);
    if let (None, Some(Signing::StandardWebhooks(kept))) = (&given, held)
        && kept.newest.scheme() == scheme
    {
        return Ok((Signing::StandardWebhooks(kept.clone()), None));
    }
    let (key, shown) = given.map_or_else(|| make(scheme), |key| (key, None));
    Ok((Signing::StandardWebhooks(Keys::new(key)), shown))
}

/// Reads what a rotation asks for: a key, and how long the one so far still signs. Where nothing is
/// said, the key is of the scheme so far and the time is the operator's.
pub(crate) fn rotation(
    body: &Value,
    so_far: Scheme,
    default: Duration,
) -> Result<(Asked, Duration), Invalid> {
    let mut fields = Fields::of(body, "")?;
    let (scheme, given) = key(&mut fields)?;
    let overlap = fields.get("overlap").map(|field| match duration(&field) {
        Ok(asked) if asked > OVERLAP_MAX => Err(field.bad("must be at most 30d")),
        read => read,
    });
    fields.done(&[])?;
    let asked = given.map_or_else(|| make(scheme.unwrap_or(so_far)), |key| (key, None));
    Ok((asked, overlap.transpose()?.unwrap_or(default)))
}

/// Writes how deliveries are signed, in the form in which it can be asked for again.
pub(crate) fn print(signing: &Signing) -> Value {
    match signing {
        Signing::None => Value::Null,
        Signing::StandardWebhooks(keys) => {
            json!({"standard_webhooks": {"scheme": keys.newest.scheme().as_str()}})
        }
    }
}

/// Adds what verifies signatures, and until when earlier keys sign too.
pub(crate) fn add_facts(printed: &mut Value, signing: &Signing, now: Timestamp) {
    let Signing::StandardWebhooks(keys) = signing else { return };
    let printed = &mut printed["standard_webhooks"];
    if let Some(key) = keys.newest.public_key() {
        printed["public_key"] = json!(key);
    }
    if let Some(until) = keys.overlap_until(now) {
        printed["overlap_until"] = json!(until.to_string());
    }
}

/// A scheme and a key, each if it is given. A key says its scheme itself.
fn key(fields: &mut Fields<'_>) -> Result<(Option<Scheme>, Option<Key>), Invalid> {
    let scheme = fields.get("scheme").map(|field| field.parse(Scheme::parse)).transpose()?;
    let Some(field) = fields.get("secret") else { return Ok((scheme, None)) };
    let key = field.parse(Key::parse)?;
    let own = key.scheme();
    match scheme {
        Some(scheme) if scheme != own => {
            Err(field.bad(format!("is a key of {}, not of {}", own.as_str(), scheme.as_str())))
        }
        _ => Ok((Some(own), Some(key))),
    }
}

fn make(scheme: Scheme) -> Asked {
    let key = Key::new(scheme, clock::random());
    let shown = key.reveal();
    (key, shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const K1: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const SEED: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read(value: Value, held: Option<&Signing>) -> Result<(Signing, Option<String>), Invalid> {
        let at = "/signing".to_owned();
        parse(Some(Field { value: &json!({ "standard_webhooks": value }), at }), held)
    }

    #[test]
    fn a_key_stays_until_another_one_or_another_scheme_is_asked_for() {
        let (first, shown) = read(json!({}), None).expect("valid");
        assert!(shown.expect("shown once").starts_with("whsec_"));
        assert_eq!(print(&first), json!({"standard_webhooks": {"scheme": "v1"}}));
        let check = |value: Value, stays: bool, is_shown: bool| {
            let (signing, shown) = read(value.clone(), Some(&first)).expect("valid");
            assert_eq!((signing == first, shown.is_some()), (stays, is_shown), "{value}");
            signing
        };
        check(json!({}), true, false);
        check(json!({"scheme": "v1"}), true, false);
        check(json!({"secret": K1}), false, false);
        let second = check(json!({"scheme": "v1a"}), false, false);
        assert_eq!(print(&second), json!({"standard_webhooks": {"scheme": "v1a"}}));
        check(json!({"secret": SEED}), false, false);
        let mut printed = print(&second);
        add_facts(&mut printed, &second, Timestamp::UNIX_EPOCH);
        let public = printed["standard_webhooks"]["public_key"].as_str().expect("shown");
        assert!(public.starts_with("whpk_"), "{public}");
        let (back, shown) = read(json!({}), Some(&second)).expect("valid");
        assert!(back != second && shown.is_some(), "the default is v1");
    }

    #[test]
    fn what_is_asked_wrongly_is_refused_at_its_field() {
        let at = "/signing/standard_webhooks";
        let check = |value: Value, pointer: &str| {
            let error = read(value, None).expect_err(pointer);
            assert_eq!(error.pointer, format!("{at}{pointer}"), "{error}");
        };
        check(json!({"scheme": "v2"}), "/scheme");
        check(json!({"secret": "whsec_AAEC"}), "/secret");
        check(json!({"scheme": "v1a", "secret": K1}), "/secret");
        check(json!({"scheme": "v1", "secret": SEED}), "/secret");
        check(json!({"public_key": "whpk_"}), "/public_key");
        check(json!([]), "");
    }

    #[test]
    fn a_rotation_asks_for_a_key_and_an_overlap_or_for_the_defaults() {
        let day = Duration::from_secs(86_400);
        let ask = |body: Value| rotation(&body, Scheme::V1a, day);
        let ((key, shown), overlap) = ask(json!({})).expect("valid");
        assert_eq!((key.scheme(), shown, overlap), (Scheme::V1a, None, day));
        let ((key, shown), overlap) = ask(json!({"scheme": "v1", "overlap": "0s"})).expect("valid");
        assert_eq!((key.scheme(), shown, overlap), (Scheme::V1, key.reveal(), Duration::ZERO));
        let ((key, shown), _) = ask(json!({"secret": K1})).expect("valid");
        assert_eq!((key.reveal().as_deref(), shown), (Some(K1), None));
        let check = |body: Value, pointer: &str| {
            assert_eq!(ask(body).expect_err(pointer).pointer, pointer);
        };
        check(json!({"overlap": "31d"}), "/overlap");
        check(json!({"overlap": 5}), "/overlap");
        check(json!({"secret": "x"}), "/secret");
        check(json!({"keep": true}), "/keep");
        check(json!([]), "");
    }
}
