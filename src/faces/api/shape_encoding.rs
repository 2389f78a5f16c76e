//! In which form an event is delivered, in JSON: the members `encoding` and `template`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fields::Field;
use super::shape_policy::duration;
use crate::domain::Invalid;
use crate::domain::encoding::{Batch, Encoding};
use crate::domain::quantity::print_duration;
use crate::domain::template::Template;

/// Reads an encoding and the template that goes with it.
pub(crate) fn parse(
    encoding: Option<Field<'_>>,
    template: Option<Field<'_>>,
) -> Result<Encoding, Invalid> {
    let is_template = encoding.as_ref().is_some_and(|field| field.value == "template");
    match (is_template, template) {
        (true, Some(template)) => {
            let parsed = Template::parse(template.value);
            let parsed = parsed.map_err(|error| error.under(&template.at))?;
            Ok(Encoding::Template(Arc::new(parsed)))
        }
        (true, None) => Err(Invalid::new("/template", "is required with the encoding template")),
        (false, Some(template)) => {
            Err(template.bad("goes with \"encoding\": \"template\"; say that, or leave it out"))
        }
        (false, None) => encoding.map_or(Ok(Encoding::Structured), |field| plain(&field)),
    }
}

/// Writes an encoding, and the template that goes with it.
pub(crate) fn print(encoding: &Encoding) -> (Value, Value) {
    match encoding {
        Encoding::Batch(batch) => {
            let wait = print_duration(batch.wait);
            (json!({"batch": {"max": batch.max, "wait": wait}}), Value::Null)
        }
        Encoding::Template(template) => (json!(encoding.as_str()), template.print()),
        Encoding::Structured | Encoding::Binary | Encoding::Raw => {
            (json!(encoding.as_str()), Value::Null)
        }
    }
}

fn plain(field: &Field<'_>) -> Result<Encoding, Invalid> {
    if field.value == "batch" {
        return Ok(Encoding::Batch(Batch::default()));
    }
    if !field.value.is_object() {
        return field.parse(Encoding::parse);
    }
    let mut kinds = field.fields()?;
    let batch = kinds.get("batch");
    kinds.done(&[])?;
    let Some(batch) = batch else { return Err(field.bad("must have the member batch")) };
    let (mut fields, default) = (batch.fields()?, Batch::default());
    let max = fields.get("max").map(|field| {
        u32::try_from(field.number()?).map_err(|_too_large| field.bad("is too large"))
    });
    let batch = Batch {
        max: max.transpose()?.unwrap_or(default.max),
        wait: fields.get("wait").map_or(Ok(default.wait), |field| duration(&field))?,
    };
    fields.done(&[])?;
    Ok(Encoding::Batch(batch))
}
