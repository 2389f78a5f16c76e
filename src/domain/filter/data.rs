//! Tests of what stands at a place in an event's JSON data.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Number, Value, json};

use super::limits::Limits;
use super::path::Path;
use crate::domain::Invalid;

/// The least that a compiled regular expression is taken to have.
const COMPILED_BYTES_MIN: usize = 4 << 10;

/// What an expression may remember while it searches, if its compiled form is not larger.
const REMEMBERED_BYTES_MIN: usize = 64 << 10;

/// A test at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataTest {
    /// The place.
    pub path: Path,
    /// The test.
    pub test: Test,
}

/// What must be true of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// It is this value. Numbers are equal if they are the same number, however written.
    Equals(Value),
    /// It is one of these.
    In(Vec<Value>),
    /// There is one, or there is none.
    Exists(bool),
    /// It is a list, and has this element.
    Contains(Value),
    /// It is a text in which this is found.
    Regex(Pattern),
}

/// A regular expression, compiled. Takes time linear in the text.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// Two are equal if they are written alike.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Reads and compiles an expression. What it takes compiled is taken out of the room.
    pub(super) fn parse(text: &str, limits: &Limits, room: &mut usize) -> Result<Self, Invalid> {
        let Limits { regex_bytes_max: bytes_max, regex_compiled_max: compiled_max, .. } = *limits;
        if text.len() > bytes_max {
            return Err(Invalid::new("", format!("must have at most {bytes_max} bytes")));
        }
        compile(text, room).map(Self).map_err(|error| {
            if matches!(error, regex::Error::CompiledTooBig(_)) {
                let detail = format!(
                    "is too large: compiled, the regular expressions of a filter take at most \
                     {compiled_max} bytes together; repeat less, and write [0-9A-Za-z_] in place \
                     of \\w, [0-9] in place of \\d"
                );
                return Invalid::new("", detail);
            }
            let hint = match ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|sign| text.contains(sign)) {
                true => "; look-around is not offered: combine nodes by all and not instead",
                false => "",
            };
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Invalid::new("", format!("is no regular expression: {why}{hint}"))
        })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    fn captures(&self, text: &str, found: &mut BTreeMap<String, String>) {
        let Some(captures) = self.0.captures(text) else { return };
        for name in self.0.capture_names().flatten() {
            if let Some(value) = captures.name(name) {
                found.entry(name.to_owned()).or_insert_with(|| value.as_str().to_owned());
            }
        }
    }
}

/// Compiles within the room. An expression does not tell how large it is: it takes the smallest of
/// some sizes that it fits into.
fn compile(text: &str, room: &mut usize) -> Result<Regex, regex::Error> {
    let mut size = COMPILED_BYTES_MIN.min(*room);
    loop {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(size).dfa_size_limit(size.max(REMEMBERED_BYTES_MIN));
        match builder.build() {
            Err(regex::Error::CompiledTooBig(_)) if size < *room => size = (4 * size).min(*room),
            Err(error) => return Err(error),
            Ok(regex) => {
                *room -= size;
                return Ok(regex);
            }
        }
    }
}

impl DataTest {
    /// Whether it is true of data.
    pub fn holds(&self, data: &Value) -> bool {
        let found = self.path.find(data);
        match &self.test {
            Test::Exists(wanted) => found.is_some() == *wanted,
            Test::Equals(value) => found.is_some_and(|found| same(found, value)),
            Test::In(values) => {
                found.is_some_and(|found| values.iter().any(|value| same(found, value)))
            }
            Test::Contains(value) => {
                let list = found.and_then(Value::as_array);
                list.is_some_and(|list| list.iter().any(|element| same(element, value)))
            }
            Test::Regex(pattern) => {
                found.and_then(Value::as_str).is_some_and(|text| pattern.0.is_match(text))
            }
        }
    }

    /// Takes the named captures of its expression in; what is known already stays.
    pub(super) fn capture(&self, data: &Value, found: &mut BTreeMap<String, String>) {
        if let (Test::Regex(pattern), Some(Value::String(text))) =
            (&self.test, self.path.find(data))
        {
            pattern.captures(text, found);
        }
    }

    /// The JSON form.
    pub(super) fn print(&self) -> Value {
        let (name, operand) = match &self.test {
            Test::Equals(value) => ("equals", value.clone()),
            Test::In(values) => ("in", json!(values)),
            Test::Exists(wanted) => ("exists", json!(wanted)),
            Test::Contains(value) => ("contains", value.clone()),
            Test::Regex(pattern) => ("regex", json!(pattern.as_str())),
        };
        let path = ("path".to_owned(), json!(self.path.to_string()));
        Map::from_iter([path, (name.to_owned(), operand)]).into()
    }
}

/// Whether two values are the same. A number is the same however it is written.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let mixed = one.is_f64() != other.is_f64();
            let exact = || !mixed || is_exact(one) && is_exact(other);
            let as_float = one.is_f64() || other.is_f64();
            one == other || as_float && one.as_f64() == other.as_f64() && exact()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let alike = |(name, value)| other.get(name).is_some_and(|other| same(value, other));
            one.len() == other.len() && one.iter().all(alike)
        }
        _ => one == other,
    }
}

/// Whether a floating-point number can be this number: a whole one has at most 53 digits in base 2,
/// zeros at its end not counted.
fn is_exact(number: &Number) -> bool {
    let whole = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    whole.is_none_or(|whole| whole.leading_zeros() + whole.trailing_zeros() >= 64 - 53)
}

/// A scalar as a text that is the same for values that are the same, and seldom for others; `None`
/// for anything else.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        // Adding zero takes the sign off a negative one.
        Value::Number(number) => number.as_f64().map(|number| format!("n{}", number + 0.0)),
        Value::String(text) => Some(format!("s{text}")),
        Value::Bool(flag) => Some(format!("b{flag}")),
        Value::Null => Some("0".to_owned()),
        Value::Array(_) | Value::Object(_) => None,
    }
}
