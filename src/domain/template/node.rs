//! A JSON value whose texts may hold expressions. Member names never do.

use serde_json::{Map, Value};

use super::limits::BODY_DEPTH_MAX;
use super::scope::Scope;
use super::text::Text;
use crate::domain::Invalid;
use crate::domain::attribute::escape_pointer;

/// A JSON value with expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A text. One single expression keeps its JSON type.
    Text(Text),
    /// A list.
    List(Vec<Node>),
    /// An object.
    Object(Vec<(String, Node)>),
    /// `null`, a flag or a number.
    Plain(Value),
}

impl Node {
    /// Reads a value.
    pub(super) fn parse(value: &Value, scope: &mut Scope) -> Result<Self, Invalid> {
        Self::parse_at(value, scope, 0)
    }

    fn parse_at(value: &Value, scope: &mut Scope, depth: usize) -> Result<Self, Invalid> {
        let is_nested = matches!(value, Value::Array(_) | Value::Object(_));
        if is_nested && depth == BODY_DEPTH_MAX {
            let detail = format!("lists and objects are nested at most {BODY_DEPTH_MAX} deep");
            return Err(Invalid::new("", detail));
        }
        match value {
            Value::String(text) => Text::parse(text, scope).map(Self::Text),
            Value::Array(items) => {
                let item = |(index, item): (usize, &Value)| {
                    let node = Self::parse_at(item, scope, depth + 1);
                    node.map_err(|error| error.under(&format!("/{index}")))
                };
                items.iter().enumerate().map(item).collect::<Result<_, _>>().map(Self::List)
            }
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| {
                    let node = Self::parse_at(value, scope, depth + 1);
                    let at = || format!("/{}", escape_pointer(name));
                    Ok((name.clone(), node.map_err(|error| error.under(&at()))?))
                };
                members.iter().map(member).collect::<Result<_, _>>().map(Self::Object)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(Self::Plain(value.clone())),
        }
    }

    /// The JSON form.
    pub(super) fn print(&self) -> Value {
        match self {
            Self::Text(text) => text.to_string().into(),
            Self::List(nodes) => nodes.iter().map(Self::print).collect(),
            Self::Object(members) => {
                let print = |(name, node): &(String, Self)| (name.clone(), node.print());
                Value::Object(members.iter().map(print).collect::<Map<_, _>>())
            }
            Self::Plain(value) => value.clone(),
        }
    }
}
