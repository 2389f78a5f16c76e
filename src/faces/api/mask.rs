//! Headers that look like credentials: never printed, and kept when the mask comes back.

use std::collections::BTreeMap;

use crate::domain::Invalid;
use crate::domain::attribute::escape_pointer;
use crate::domain::sink::{MASK, is_credential};

/// The headers as they are shown.
pub(crate) fn mask(headers: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let show = |(name, value): (&String, &String)| {
        let value = if is_credential(name) { MASK.to_owned() } else { value.clone() };
        (name.clone(), value)
    };
    headers.iter().map(show).collect()
}

/// Puts the values held so far in the place of masks.
pub(crate) fn unmask(
    headers: &mut BTreeMap<String, String>,
    held: Option<&BTreeMap<String, String>>,
) -> Result<(), Invalid> {
    for (name, value) in headers {
        if value != MASK || !is_credential(name) {
            continue;
        }
        let same = |(key, _): &(&String, &String)| key.eq_ignore_ascii_case(name);
        let Some((_, kept)) = held.and_then(|held| held.iter().find(same)) else {
            let at = format!("/{}", escape_pointer(name));
            return Err(Invalid::new(at, "there is no value to keep; give the header's value"));
        };
        value.clone_from(kept);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn credentials_are_never_shown_and_survive_a_round_trip() {
        let held =
            headers(&[("Authorization", "Bearer x"), ("X-Api-Key", "y"), ("x-site", "ob-7")]);
        let mut shown = mask(&held);
        let expected =
            headers(&[("Authorization", "***"), ("X-Api-Key", "***"), ("x-site", "ob-7")]);
        assert_eq!(shown, expected);
        unmask(&mut shown, Some(&held)).expect("all held");
        assert_eq!(shown, held);
        let mut renamed = headers(&[("authorization", "***"), ("x-site", "***")]);
        unmask(&mut renamed, Some(&held)).expect("held under another case");
        assert_eq!(renamed, headers(&[("authorization", "Bearer x"), ("x-site", "***")]));
        let error = unmask(&mut headers(&[("x-token", "***")]), None).expect_err("not held");
        assert_eq!(error.pointer, "/x-token");
    }
}
