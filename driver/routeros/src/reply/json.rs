//! Records from `:serialize to=json`.
//!
//! Whole numbers may come as `443`, as `443.000000` or as text, booleans as booleans or
//! as text: they all become the same text here. A console that wraps its output breaks
//! the one long line anywhere; a line break inside a JSON value is always escaped, so
//! raw ones carry no meaning and are dropped.

use serde_json::Value;

use super::{Record, ReplyError};
use crate::failure::shorten;

/// The records of a reading: a list of objects, or one object.
///
/// # Errors
/// When the text is anything else. Nothing at all is not an empty list.
pub fn records(text: &str) -> Result<Vec<Record>, ReplyError> {
    let line: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let error = |why: String| ReplyError::Json {
        why,
        text: shorten(&line),
    };
    let value: Value = serde_json::from_str(&line).map_err(|e| error(e.to_string()))?;
    let values = match value {
        Value::Array(values) => values,
        Value::Object(object) if object.is_empty() => Vec::new(),
        object @ Value::Object(_) => vec![object],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(error("neither list nor record".to_owned()));
        }
    };
    values
        .into_iter()
        .map(|value| match value {
            Value::Object(object) => {
                let pairs = object
                    .into_iter()
                    .map(|(key, value)| (key, text_of(&value)))
                    .collect();
                Record::new(None, pairs)
            }
            _ => Err(error("a list of something else than records".to_owned())),
        })
        .collect()
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_f64() {
            // Beyond 2^53 a float has lost digits: kept as it reads, no size then.
            Some(float)
                if number.is_f64()
                    && float.fract() == 0.0
                    && float.abs() <= 9_007_199_254_740_992.0 =>
            {
                format!("{float:.0}")
            }
            _ => number.to_string(),
        },
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(text_of).collect();
            texts.join(",")
        }
        Value::Object(_) => value.to_string(),
    }
}
