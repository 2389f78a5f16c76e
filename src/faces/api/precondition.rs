//! What a request's headers say must be true of a subscription: `If-Match` and `If-None-Match`
//! (RFC 9110, 13.1). Never decides against the store; the version found true goes with the write.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

use crate::domain::Invalid;
use crate::domain::command::Expect;
use crate::faces::codes;
use crate::faces::problem::Problem;

/// What must be true of the subscription so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Nothing was said.
    Anything,
    /// `If-None-Match: *`: there is none.
    Nothing,
    /// `If-Match: *`: there is one.
    Something,
    /// `If-Match` with tags: it stands at one of these versions.
    OneOf(Vec<u64>),
}

impl Precondition {
    /// Reads it off a request.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        match (headers.contains_key(IF_MATCH), headers.get(IF_NONE_MATCH)) {
            (false, None) => Ok(Self::Anything),
            (false, Some(value)) if value == "*" => Ok(Self::Nothing),
            (false, Some(_)) => Err(invalid(IF_NONE_MATCH, "must be *")),
            (true, Some(_)) => Err(invalid(IF_MATCH, "excludes If-None-Match")),
            (true, None) => {
                let lines = headers.get_all(IF_MATCH).into_iter().map(|line| line.to_str());
                let text = lines.collect::<Result<Vec<_>, _>>().unwrap_or_default().join(",");
                if text.trim() == "*" {
                    return Ok(Self::Something);
                }
                let tags = strong_tags(&text);
                let tags =
                    tags.ok_or_else(|| invalid(IF_MATCH, "must be *, or ETags in quotes"))?;
                Ok(Self::OneOf(tags.into_iter().filter_map(version).collect()))
            }
        }
    }

    /// What the write has to expect, given the version that there is. Pinning that version keeps
    /// the write from carrying over what was read from an older one. `None`: it does not hold.
    pub(crate) fn expect(&self, held: Option<u64>) -> Option<Expect> {
        match (self, held) {
            (Self::Anything, None) => Some(Expect::Anything),
            (Self::Nothing, None) => Some(Expect::Nothing),
            (Self::Anything | Self::Something, Some(version)) => Some(Expect::Version(version)),
            (Self::OneOf(versions), Some(version)) if versions.contains(&version) => {
                Some(Expect::Version(version))
            }
            (Self::Nothing | Self::OneOf(_), Some(_))
            | (Self::Something | Self::OneOf(_), None) => None,
        }
    }
}

/// The strong tags of a list (RFC 9110, 8.8.3); weak ones match nothing. `None`: not such a list.
fn strong_tags(text: &str) -> Option<Vec<&str>> {
    let (mut strong, mut seen) = (Vec::new(), false);
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return seen.then_some(strong);
        }
        let weak = rest.strip_prefix("W/");
        let (tag, after) = weak.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        if weak.is_none() {
            strong.push(tag);
        }
        seen = true;
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// The version that a tag of ours stands for.
fn version(tag: &str) -> Option<u64> {
    tag.parse().ok().filter(|version: &u64| version.to_string() == tag)
}

fn invalid(name: HeaderName, detail: &str) -> Problem {
    Problem::invalid(codes::HEADER_INVALID, Invalid::new(name.as_str(), detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_are_read_from_their_headers() {
        let check = |if_match: &str, if_none_match: &str, expected: Option<Precondition>| {
            let mut headers = HeaderMap::new();
            for line in if_match.split('|').filter(|line| !line.is_empty()) {
                headers.append(IF_MATCH, line.parse().expect("header"));
            }
            if !if_none_match.is_empty() {
                headers.insert(IF_NONE_MATCH, if_none_match.parse().expect("header"));
            }
            let read = Precondition::of(&headers);
            assert_eq!(read.ok(), expected, "{if_match} {if_none_match}");
        };
        let one_of = |versions: &[u64]| Some(Precondition::OneOf(versions.to_vec()));
        check("", "", Some(Precondition::Anything));
        check("\"7\"", "", one_of(&[7]));
        check("*", "", Some(Precondition::Something));
        check("\"7\", \"8\"", "", one_of(&[7, 8]));
        check("\"7\"|\"8\" ,, \"a,b\"", "", one_of(&[7, 8]));
        check("W/\"7\"", "", one_of(&[]));
        check("W/\"7\",\"8\"", "", one_of(&[8]));
        check("\"07\", \"+7\", \"\"", "", one_of(&[]));
        check("", "*", Some(Precondition::Nothing));
        for bad in ["7", "\"7", "\"7\" \"8\"", "\"7\", *", "w/\"7\"", ",", "W/7"] {
            check(bad, "", None);
        }
        check("", "\"7\"", None);
        check("\"7\"", "*", None);
    }

    #[test]
    fn a_precondition_holds_or_not() {
        let check = |precondition: Precondition, held, expected| {
            assert_eq!(precondition.expect(held), expected, "{precondition:?} {held:?}");
        };
        check(Precondition::Anything, None, Some(Expect::Anything));
        check(Precondition::Anything, Some(3), Some(Expect::Version(3)));
        check(Precondition::Nothing, None, Some(Expect::Nothing));
        check(Precondition::Nothing, Some(3), None);
        check(Precondition::Something, Some(3), Some(Expect::Version(3)));
        check(Precondition::Something, None, None);
        check(Precondition::OneOf(vec![2, 3]), Some(3), Some(Expect::Version(3)));
        check(Precondition::OneOf(vec![2]), Some(3), None);
        check(Precondition::OneOf(vec![2]), None, None);
    }
}
