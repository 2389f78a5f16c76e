//! A template as JSON. It parses again to the same template.

use serde_json::{Map, Value, json};

use super::step::{Body, Draft, Emit, Step, Template};
use super::text::Text;

impl Template {
    /// The JSON form.
    pub fn print(&self) -> Value {
        json!({ "steps": self.steps.iter().map(Step::print).collect::<Vec<_>>() })
    }
}

impl Step {
    fn print(&self) -> Value {
        match self {
            Self::Request(draft) => draft.print(),
            Self::Emit(emit) => json!({ "emit": emit.print() }),
        }
    }
}

impl Draft {
    fn print(&self) -> Value {
        let mut members = Map::new();
        members.insert("method".to_owned(), self.method.as_str().into());
        members.extend(self.url.iter().map(|url| ("url".to_owned(), url.to_string().into())));
        for (name, texts) in [("headers", &self.headers), ("query", &self.query)] {
            if !texts.is_empty() {
                let print = |(name, text): &(String, Text)| (name.clone(), text.to_string().into());
                let texts: Map<_, _> = texts.iter().map(print).collect();
                members.insert(name.to_owned(), texts.into());
            }
        }
        let body = self.body.as_ref().map(|body| match body {
            Body::Text(text) => text.to_string().into(),
            Body::Json(node) => node.print(),
        });
        members.extend(body.map(|body| ("body".to_owned(), body)));
        if !self.capture.is_empty() {
            let parts = self.capture.iter().map(|part| part.as_str()).collect::<Vec<_>>();
            members.insert("capture".to_owned(), parts.into());
        }
        members.into()
    }
}

impl Emit {
    fn print(&self) -> Value {
        let texts = [
            ("type", Some(&self.kind)),
            ("source", self.source.as_ref()),
            ("subject", self.subject.as_ref()),
            ("topic", self.topic.as_ref()),
            ("id", self.id.as_ref()),
        ];
        let print =
            |(name, text): (&str, Option<&Text>)| Some((name.to_owned(), text?.to_string().into()));
        let mut members: Map<_, _> = texts.into_iter().filter_map(print).collect();
        members.extend(self.data.iter().map(|data| ("data".to_owned(), data.print())));
        members.into()
    }
}
