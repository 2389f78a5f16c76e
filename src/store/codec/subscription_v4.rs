//! Version 4 of the subscription record: version 3, templates, batches, and what orders, delays and
//! samples its events. Frozen: never changed, only followed by a version 5.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::envelope::{malformed, millis};
use super::{Error, subscription_v3};
use crate::domain::encoding::{Batch, Encoding};
use crate::domain::policy::Sample;
use crate::domain::sink::Sink;
use crate::domain::subscription as domain;
use crate::domain::template::{Line, Template};

#[derive(Serialize, Deserialize)]
pub(super) struct Subscription {
    before: subscription_v3::Subscription,
    /// The template's steps say where deliveries go.
    sink_is_steps: bool,
    form: Form,
    key: Option<String>,
    delay_until: Option<String>,
    /// Parts in a million, and what decides.
    sample: Option<(u32, Option<String>)>,
}

#[derive(Serialize, Deserialize)]
enum Form {
    /// As version 1 says.
    Before,
    /// Most events, and milliseconds to wait.
    Batch(u32, u64),
    /// The template in its public JSON form.
    Template(String),
}

impl From<subscription_v3::Subscription> for Subscription {
    fn from(before: subscription_v3::Subscription) -> Self {
        let (form, sink_is_steps) = (Form::Before, false);
        Self { before, sink_is_steps, form, key: None, delay_until: None, sample: None }
    }
}

impl From<&domain::Subscription> for Subscription {
    fn from(held: &domain::Subscription) -> Self {
        let policy = &held.wish.policy;
        let text = |line: &Line| line.to_string();
        Self {
            before: held.into(),
            sink_is_steps: held.wish.sink == Sink::Steps,
            form: match &held.wish.encoding {
                Encoding::Structured | Encoding::Binary | Encoding::Raw => Form::Before,
                Encoding::Batch(batch) => Form::Batch(batch.max, millis(batch.wait)),
                Encoding::Template(template) => Form::Template(template.print().to_string()),
            },
            key: policy.key.as_ref().map(text),
            delay_until: policy.delay_until.as_ref().map(text),
            sample: policy.sample.as_ref().map(|it| (it.parts, it.key.as_ref().map(text))),
        }
    }
}

impl TryFrom<Subscription> for domain::Subscription {
    type Error = Error;

    fn try_from(held: Subscription) -> Result<Self, Error> {
        let mut subscription = Self::try_from(held.before)?;
        let wish = &mut subscription.wish;
        match held.form {
            Form::Before => {}
            Form::Batch(max, wait) => {
                let wait = Duration::from_millis(wait);
                wish.encoding = Encoding::Batch(Batch { max, wait });
            }
            Form::Template(text) => {
                let value = serde_json::from_str(&text).map_err(malformed)?;
                wish.encoding = Encoding::Template(Arc::new(Template::parse(&value)?));
            }
        }
        if held.sink_is_steps {
            wish.sink = Sink::Steps;
        }
        let line = |text: Option<String>| text.as_deref().map(Line::parse).transpose();
        std::sync::Arc::make_mut(&mut wish.policy).key = line(held.key)?;
        std::sync::Arc::make_mut(&mut wish.policy).delay_until = line(held.delay_until)?;
        if let Some((parts, key)) = held.sample {
            std::sync::Arc::make_mut(&mut wish.policy).sample =
                Some(Sample { parts, key: line(key)? });
        }
        Ok(subscription)
    }
}
