//! The query of a request's URL. An unknown or repeated key is an error, never ignored.

use std::ops::RangeInclusive;

use super::codes;
use super::problem::Problem;
use crate::domain::{Invalid, Timestamp};

/// Most keys of one query.
const KEYS_MAX: usize = 64;

/// A query's keys and values.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query that may have these keys. A known key that ends in `.` is a prefix.
    pub(crate) fn parse(raw: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            let is_known = |name: &&str| match name.ends_with('.') {
                true => key.len() > name.len() && key.starts_with(*name),
                false => *name == key,
            };
            if !known.iter().any(is_known) {
                let detail = match known {
                    [] => "is not known; this request has no query".to_owned(),
                    _ => format!("is not known; there are {}", known.join(", ")),
                };
                return Err(invalid(&key, detail));
            }
            if pairs.iter().any(|(held, _)| *held == key) {
                return Err(invalid(&key, "is given twice"));
            }
            if pairs.len() == KEYS_MAX {
                return Err(invalid(&key, format!("is one too many; at most {KEYS_MAX} keys")));
            }
            pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(held, _)| held == key).map(|(_, value)| value.as_str())
    }

    /// All keys with a prefix, without it.
    pub(crate) fn with_prefix<'a>(&'a self, prefix: &str) -> Vec<(&'a str, &'a str)> {
        let strip = |(key, value): &'a (String, String)| {
            key.strip_prefix(prefix).map(|name| (name, value.as_str()))
        };
        self.0.iter().filter_map(strip).collect()
    }

    /// A whole number within bounds.
    pub(crate) fn number(
        &self,
        key: &str,
        bounds: RangeInclusive<usize>,
        default: usize,
    ) -> Result<usize, Problem> {
        let Some(text) = self.get(key) else { return Ok(default) };
        text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
            invalid(key, format!("must be a number from {} to {}", bounds.start(), bounds.end()))
        })
    }

    /// A point in time.
    pub(crate) fn time(&self, key: &str) -> Result<Option<Timestamp>, Problem> {
        let parse = |text: &str| {
            text.parse().map_err(|_| invalid(key, "must be a timestamp as in RFC 3339"))
        };
        self.get(key).map(parse).transpose()
    }

    /// The query again, with one key changed.
    pub(crate) fn print_with(&self, key: &str, value: &str) -> String {
        let mut out = url::form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(self.0.iter().filter(|(held, _)| held != key));
        out.append_pair(key, value);
        out.finish()
    }
}

/// What is wrong with one key.
pub(crate) fn invalid(key: &str, detail: impl Into<String>) -> Problem {
    Problem::invalid(codes::QUERY_INVALID, Invalid::new(key, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_known_keys_once() {
        let known = ["limit", "label."];
        let check = |raw: &str, good: bool| {
            assert_eq!(Query::parse(Some(raw), &known).is_ok(), good, "{raw}");
        };
        check("", true);
        check("limit=5&label.team=media", true);
        check("limit=5&limit=5", false);
        check("label.=x", false);
        check("Limit=5", false);
        let query = Query::parse(Some("label.a=x%20y&limit=7"), &known).expect("valid");
        assert_eq!(query.with_prefix("label."), [("a", "x y")]);
        assert_eq!(query.number("limit", 1..=10, 3).expect("number"), 7);
        assert!(query.number("limit", 1..=6, 3).is_err());
        assert_eq!(query.print_with("limit", "9"), "label.a=x+y&limit=9");
    }
}
