//! Secrets where they are shown: never printed, and kept when the mask comes back.

use std::collections::BTreeMap;

use super::fields::Field;
use crate::domain::Invalid;
use crate::domain::attribute::escape_pointer;
use crate::domain::secret::Secret;
use crate::domain::sink::MASK;

/// All headers as they are shown.
pub(crate) fn mask(
    plain: &BTreeMap<String, String>,
    credentials: &BTreeMap<String, Secret>,
) -> BTreeMap<String, String> {
    let masked = credentials.keys().map(|name| (name.clone(), MASK.to_owned()));
    plain.clone().into_iter().chain(masked).collect()
}

/// Puts the values held so far in the place of masks.
pub(crate) fn unmask(
    credentials: &mut BTreeMap<String, Secret>,
    held: Option<&BTreeMap<String, Secret>>,
) -> Result<(), Invalid> {
    for (name, value) in credentials {
        if value.as_open() != Some(MASK.as_bytes()) {
            continue;
        }
        let same = |(key, _): &(&String, &Secret)| key.eq_ignore_ascii_case(name);
        let Some((_, kept)) = held.and_then(|held| held.iter().find(same)) else {
            let at = format!("/{}", escape_pointer(name));
            return Err(Invalid::new(at, "there is no value to keep; give the header's value"));
        };
        value.clone_from(kept);
    }
    Ok(())
}

/// Reads a secret: its text, or the mask of the one that is held.
pub(crate) fn secret(field: &Field<'_>, held: Option<&Secret>) -> Result<Secret, Invalid> {
    match (field.text()?, held) {
        (MASK, Some(held)) => Ok(held.clone()),
        (MASK, None) => Err(field.bad("there is no value to keep; give the secret itself")),
        (text, _) => Ok(Secret::new(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::Access;

    fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn credentials_are_never_shown_and_survive_a_round_trip() {
        let asked =
            headers(&[("Authorization", "Bearer x"), ("X-Api-Key", "y"), ("x-site", "ob-7")]);
        let (plain, held) = Access::of_headers(asked);
        let shown = mask(&plain, &held.headers);
        let expected =
            headers(&[("Authorization", "***"), ("X-Api-Key", "***"), ("x-site", "ob-7")]);
        assert_eq!(shown, expected);
        let (again, mut own) = Access::of_headers(shown);
        unmask(&mut own.headers, Some(&held.headers)).expect("all held");
        assert_eq!((again, own), (plain, held.clone()));
        let renamed = headers(&[("authorization", "***"), ("x-site", "***")]);
        let (again, mut own) = Access::of_headers(renamed);
        unmask(&mut own.headers, Some(&held.headers)).expect("held under another case");
        assert_eq!(own.headers["authorization"], Secret::new("Bearer x"));
        assert_eq!(again, headers(&[("x-site", "***")]));
        let (_, mut own) = Access::of_headers(headers(&[("x-token", "***")]));
        let error = unmask(&mut own.headers, None).expect_err("not held");
        assert_eq!(error.pointer, "/x-token");
    }
}
