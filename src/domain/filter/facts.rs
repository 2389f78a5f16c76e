//! What filters ask about one event. Its data is parsed once, and only if something asks for it.

use std::cell::OnceCell;

use serde_json::Value;

use crate::domain::event::{Event, Form};

/// An event as filters see it.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The event.
    pub event: &'a Event,
    data: OnceCell<Option<Value>>,
}

impl<'a> Facts<'a> {
    /// Of an event.
    pub fn new(event: &'a Event) -> Self {
        Self { event, data: OnceCell::new() }
    }

    /// The data, if it is JSON. What is nested too deep to be read counts as no JSON.
    pub fn data(&self) -> Option<&Value> {
        let parse = || {
            let data = self.event.data.as_ref().filter(|data| data.form == Form::Json)?;
            serde_json::from_slice(&data.bytes).ok()
        };
        self.data.get_or_init(parse).as_ref()
    }
}
