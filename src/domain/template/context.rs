//! What a step is rendered from. Borrowed; a template changes none of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::held::Held;
use super::key::Key;
use super::source::{About, Answer, Source};
use crate::domain::attribute;
use crate::domain::filter::{Facts, Path};
use crate::domain::subscription::Subscription;

/// All that expressions can see.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The event.
    pub facts: &'a Facts<'a>,
    /// Named captures of the subscription's filter.
    pub captures: &'a BTreeMap<String, String>,
    /// The subscription.
    pub subscription: &'a Subscription,
    /// What the steps before this one were answered, by their place. A step that emits has an
    /// empty one.
    pub responses: &'a [Response],
    /// Keys of the filter `hmac`, by name.
    pub keys: &'a BTreeMap<String, Key>,
    /// The most bytes that the step may make: URL, headers and body together.
    pub output_bytes_max: usize,
}

/// What a step was answered. Parts that were not captured are not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// The status.
    pub status: Option<u16>,
    /// The headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body: the JSON value it is, else its text.
    pub body: Option<Value>,
}

impl<'a> Context<'a> {
    /// What stands at a path.
    pub(super) fn find(&self, source: &Source) -> Option<Held<'a>> {
        match source {
            Source::Event(name) => self.attribute(name),
            Source::Data(None) => self.facts.event.data.as_ref().map(Held::Data),
            Source::Data(Some(path)) => path.find(self.facts.data()?).map(json),
            Source::Match(name) => self.captures.get(name).map(|value| text(value)),
            Source::Subscription(about) => self.about(about).map(text),
            Source::Step(step, answer) => self.responses.get(*step)?.find(answer),
        }
    }

    fn attribute(&self, name: &str) -> Option<Held<'a>> {
        let event = self.facts.event;
        match event.extension(name).filter(|_| name != "topic") {
            Some(attribute::Value::Boolean(flag)) => Some(Held::Json(Cow::Owned((*flag).into()))),
            Some(attribute::Value::Integer(number)) => {
                Some(Held::Json(Cow::Owned((*number).into())))
            }
            Some(attribute::Value::String(_)) | None => event.attribute(name).map(Held::Text),
        }
    }

    fn about(&self, about: &About) -> Option<&'a str> {
        match about {
            About::Id => Some(&self.subscription.id),
            About::Name => self.subscription.wish.name.as_deref(),
            About::Owner => self.subscription.owner.as_deref(),
            About::Label(name) => self.subscription.wish.labels.get(name).map(String::as_str),
        }
    }
}

impl Response {
    fn find(&self, answer: &Answer) -> Option<Held<'_>> {
        match answer {
            Answer::Status => Some(Held::Json(Cow::Owned(self.status?.into()))),
            Answer::Header(name) => self.headers.get(name).map(|value| text(value)),
            Answer::Body(path) => {
                let body = self.body.as_ref()?;
                path.as_ref().map_or(Some(body), |path: &Path| path.find(body)).map(json)
            }
        }
    }
}

fn json(value: &Value) -> Held<'_> {
    Held::Json(Cow::Borrowed(value))
}

fn text(value: &str) -> Held<'_> {
    Held::Text(Cow::Borrowed(value))
}
