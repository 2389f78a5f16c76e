//! A template: steps, each a request to send or an event to emit.

use std::collections::BTreeSet;

use super::node::Node;
use super::scope::Part;
use super::target;
use super::text::Text;
use crate::domain::Invalid;

/// A template that can be rendered: parsed and within its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub(super) steps: Vec<Step>,
}

impl Template {
    /// How many steps there are; at least one.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The server that the first request goes to, where that is known beforehand: scheme, host and
    /// port. `None`: the sink's.
    pub fn server(&self) -> Option<String> {
        let first = self.steps.iter().find_map(|step| match step {
            Step::Request(draft) => Some(draft),
            Step::Emit(_) => None,
        });
        target::server(first?.url.as_ref()?)
    }

    /// The parts of a step's answer that later steps may use.
    pub fn captured(&self, step: usize) -> impl Iterator<Item = Part> {
        let captured = match self.steps.get(step) {
            Some(Step::Request(draft)) => Some(&draft.capture),
            Some(Step::Emit(_)) | None => None,
        };
        captured.into_iter().flatten().copied()
    }
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Request(Draft),
    Emit(Emit),
}

/// A request with expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) method: Method,
    /// The sink's, if it says none.
    pub(super) url: Option<Text>,
    pub(super) headers: Vec<(String, Text)>,
    pub(super) query: Vec<(String, Text)>,
    pub(super) body: Option<Body>,
    pub(super) capture: BTreeSet<Part>,
}

/// A body with expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// A text, sent as it is.
    Text(Text),
    /// JSON.
    Json(Node),
}

/// An event with expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Emit {
    pub(super) kind: Text,
    pub(super) source: Option<Text>,
    pub(super) subject: Option<Text>,
    pub(super) topic: Option<Text>,
    pub(super) id: Option<Text>,
    pub(super) data: Option<Node>,
}

/// Request methods of templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// PURGE, by which caches are told to forget.
    Purge,
}

impl Method {
    const ALL: [Self; 6] =
        [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Purge];

    /// The method as HTTP writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Purge => "PURGE",
        }
    }

    /// Reads the method.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let method = Self::ALL.into_iter().find(|method| method.as_str() == text);
        let detail = "must be GET, POST, PUT, PATCH, DELETE or PURGE";
        method.ok_or_else(|| Invalid::new("", detail))
    }
}
