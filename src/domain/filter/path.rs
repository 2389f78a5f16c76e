//! Paths into JSON data: `event.flow_id`, `items[0].name`, `labels["a.b"]`.

use std::fmt;

use serde_json::Value;

use crate::domain::Invalid;

/// A place in JSON data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Step {
    Member(String),
    Element(usize),
}

impl Path {
    /// Reads a path: member names with dots between them, `[n]` for an element of a list,
    /// `["name"]` for a name with other characters than letters, digits, `_` and `-`.
    pub fn parse(text: &str, depth_max: usize) -> Result<Self, Invalid> {
        let (mut steps, mut rest) = (Vec::new(), text);
        while !rest.is_empty() || steps.is_empty() {
            let (step, after) = next_step(rest, steps.is_empty()).ok_or_else(|| bad(text, rest))?;
            steps.push(step);
            rest = after;
            if steps.len() > depth_max {
                return Err(Invalid::new("", format!("a path has at most {depth_max} steps")));
            }
        }
        Ok(Self(steps))
    }

    /// What stands there.
    pub fn find<'a>(&self, data: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(data, |held, step| match step {
            Step::Member(name) => held.get(name),
            Step::Element(index) => held.as_array()?.get(*index),
        })
    }
}

fn bad(text: &str, rest: &str) -> Invalid {
    let column = text.len() - rest.len() + 1;
    let detail = format!(
        "{text:?} is no path at character {column}; write member names with dots between them, [n] \
         for an element, [\"a.b\"] for other names"
    );
    Invalid::new("", detail)
}

fn next_step(text: &str, is_first: bool) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        if rest.starts_with('"') {
            let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let name = texts.next()?.ok()?;
            let after = rest.get(texts.byte_offset()..)?.strip_prefix(']')?;
            return Some((Step::Member(name), after));
        }
        let (index, after) = rest.split_once(']')?;
        let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        return Some((Step::Element(index.parse().ok().filter(|_| is_number)?), after));
    }
    let text = if is_first { text } else { text.strip_prefix('.')? };
    let end = text.find(|symbol: char| !is_plain(symbol)).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    (!name.is_empty()).then(|| (Step::Member(name.to_owned()), after))
}

fn is_plain(symbol: char) -> bool {
    symbol.is_alphanumeric() || symbol == '_' || symbol == '-'
}

/// As it is parsed again.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Element(index) => write!(f, "[{index}]")?,
                Step::Member(name) if !name.is_empty() && name.chars().all(is_plain) => {
                    let dot = if at == 0 { "" } else { "." };
                    write!(f, "{dot}{name}")?;
                }
                Step::Member(name) => write!(f, "[{}]", Value::from(name.as_str()))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const DEPTH_MAX: usize = 32;

    #[test]
    fn a_path_leads_to_its_place_and_reads_back() {
        let data = json!({"event": {"id": 7, "a.b": [1, {"ü-x": null}], "": 3}, "0": 5});
        let check = |text: &str, expected: Option<Value>| {
            let path = Path::parse(text, DEPTH_MAX).expect(text);
            assert_eq!(path.find(&data).cloned(), expected, "{text}");
            assert_eq!(path.to_string(), text);
        };
        check("event.id", Some(json!(7)));
        check("event[\"a.b\"][0]", Some(json!(1)));
        check("event[\"a.b\"][1].ü-x", Some(json!(null)));
        check("event[\"\"]", Some(json!(3)));
        check("0", Some(json!(5)));
        check("event.id.x", None);
        check("event[0]", None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = vec!["a"; DEPTH_MAX + 1].join(".");
        for text in ["", ".", "a.", "a..b", "[", "[x]", "[-1]", "[\"a]", "a b", "$.a", &long] {
            assert!(Path::parse(text, DEPTH_MAX).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_that_reads_back_or_an_error(text in "[a.\\[\\]\"0 ü]{0,12}") {
            if let Ok(path) = Path::parse(&text, DEPTH_MAX) {
                let again = Path::parse(&path.to_string(), DEPTH_MAX).expect("printed");
                prop_assert_eq!(again, path);
            }
        }
    }
}
