//! Reading filters from their JSON form. Errors point at the node.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::data::{DataTest, Pattern, Test};
use super::limits::Limits;
use super::path::Path;
use super::tree::Filter;
use crate::domain::Invalid;
use crate::domain::attribute::{check_name, escape_pointer};
use crate::domain::topic::TopicFilter;

const FORM: &str = "must be an object with exactly one of: topic, exact, prefix, suffix, exists, \
                    data, all, any, not";

const TESTS: &str = "needs, beside path, exactly one of: equals, in, exists, contains, regex";

impl Filter {
    /// Reads a filter that was accepted before.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        Self::parse_within(value, &Limits::HARD)
    }

    /// Reads a filter within an operator's limits.
    pub fn parse_within(value: &Value, limits: &Limits) -> Result<Self, Invalid> {
        let filter =
            Parser { limits, nodes: 0, room: limits.regex_compiled_max }.node(value, "", 1)?;
        match filter.print().to_string().len() > limits.bytes_max {
            true => {
                let detail = format!("must have at most {} bytes as JSON", limits.bytes_max);
                Err(Invalid::new("", detail))
            }
            false => Ok(filter),
        }
    }
}

struct Parser<'a> {
    limits: &'a Limits,
    nodes: usize,
    /// What is left for compiled regular expressions.
    room: usize,
}

impl Parser<'_> {
    fn node(&mut self, value: &Value, at: &str, depth: usize) -> Result<Filter, Invalid> {
        let Limits { depth_max, nodes_max, .. } = *self.limits;
        self.nodes += 1;
        if depth > depth_max || self.nodes > nodes_max {
            let detail =
                format!("at most {depth_max} levels deep and {nodes_max} nodes in a filter");
            return Err(Invalid::new(at, detail));
        }
        let single = value.as_object().filter(|object| object.len() == 1);
        let Some((operator, operand)) = single.and_then(|object| object.iter().next()) else {
            return Err(Invalid::new(at, FORM));
        };
        let at = format!("{at}/{}", escape_pointer(operator));
        match operator.as_str() {
            "topic" => {
                let text = operand.as_str();
                let text =
                    text.ok_or_else(|| Invalid::new(&at, "must be a topic filter as a string"))?;
                TopicFilter::parse(text).map(Filter::Topic).map_err(|error| error.under(&at))
            }
            "exact" => texts(operand, &at).map(Filter::Exact),
            "prefix" => texts(operand, &at).map(Filter::Prefix),
            "suffix" => texts(operand, &at).map(Filter::Suffix),
            "exists" => names(operand, &at).map(Filter::Exists),
            "data" => self.data(operand, &at).map(Filter::Data),
            "all" => self.list(operand, &at, depth).map(Filter::All),
            "any" => self.list(operand, &at, depth).map(Filter::Any),
            "not" => self.node(operand, &at, depth + 1).map(|it| Filter::Not(Box::new(it))),
            unknown => {
                Err(Invalid::new(&at, format!("{unknown:?} is not a filter; a filter {FORM}")))
            }
        }
    }

    fn list(&mut self, value: &Value, at: &str, depth: usize) -> Result<Vec<Filter>, Invalid> {
        let items = value.as_array().filter(|items| !items.is_empty());
        let items =
            items.ok_or_else(|| Invalid::new(at, "must be a list of at least one filter"))?;
        let mut filters = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            filters.push(self.node(item, &format!("{at}/{index}"), depth + 1)?);
        }
        Ok(filters)
    }

    fn data(&mut self, value: &Value, at: &str) -> Result<DataTest, Invalid> {
        let object = value.as_object().filter(|object| object.len() == 2);
        let path = object.and_then(|object| object.get("path"));
        let other = object.and_then(|object| object.iter().find(|(name, _)| *name != "path"));
        let (Some(path), Some((name, operand))) = (path, other) else {
            return Err(Invalid::new(at, TESTS));
        };
        let path_at = format!("{at}/path");
        let path = path.as_str().ok_or_else(|| Invalid::new(&path_at, "must be a string"))?;
        let path = Path::parse(path, self.limits.path_depth_max);
        let path = path.map_err(|error| error.under(&path_at))?;
        let at = format!("{at}/{}", escape_pointer(name));
        let test = match name.as_str() {
            "equals" => Test::Equals(operand.clone()),
            "contains" => Test::Contains(operand.clone()),
            "in" => {
                let values = operand.as_array().filter(|values| !values.is_empty()).cloned();
                let form = || Invalid::new(&at, "must be a list of at least one value");
                Test::In(values.ok_or_else(form)?)
            }
            "exists" => {
                let wanted = operand.as_bool();
                Test::Exists(wanted.ok_or_else(|| Invalid::new(&at, "must be true or false"))?)
            }
            "regex" => {
                let text = operand.as_str();
                let text = text.ok_or_else(|| Invalid::new(&at, "must be a string"))?;
                let pattern = Pattern::parse(text, self.limits, &mut self.room);
                Test::Regex(pattern.map_err(|error| error.under(&at))?)
            }
            unknown => {
                return Err(Invalid::new(&at, format!("{unknown:?} is no test; data {TESTS}")));
            }
        };
        Ok(DataTest { path, test })
    }
}

/// The name of one attribute, or a list of names. An error in a list points at the name.
fn names(value: &Value, at: &str) -> Result<BTreeSet<String>, Invalid> {
    let form = || Invalid::new(at, "must be an attribute name or a list of names, not empty");
    let name = |name: &Value, at: &str| {
        let name = name.as_str().ok_or_else(|| Invalid::new(at, "must be an attribute name"))?;
        check_name(name).map_err(|error| Invalid::new(at, error.detail))?;
        Ok(name.to_owned())
    };
    match value {
        Value::String(_) => Ok(BTreeSet::from([name(value, at)?])),
        Value::Array(list) if !list.is_empty() => {
            list.iter().zip(0..).map(|(item, index)| name(item, &format!("{at}/{index}"))).collect()
        }
        _ => Err(form()),
    }
}

fn texts(value: &Value, at: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let object: &Map<String, Value> =
        value.as_object().filter(|object| !object.is_empty()).ok_or_else(|| {
            Invalid::new(at, "must be an object of attribute names and texts, not empty")
        })?;
    let parse_entry = |(name, text): (&String, &Value)| {
        check_name(name).map_err(|error| error.under(at))?;
        match text.as_str() {
            Some(text) if !text.is_empty() => Ok((name.clone(), text.to_owned())),
            _ => Err(Invalid::new(
                format!("{at}/{}", escape_pointer(name)),
                "must be a string, not empty",
            )),
        }
    };
    object.iter().map(parse_entry).collect()
}
