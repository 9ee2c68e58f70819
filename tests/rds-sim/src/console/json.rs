//! `:serialize to=json`.

use super::value::Value;
use crate::variants::JsonNumbers;

/// The JSON text of `value`. Without `keep_strings` a text that reads as a number becomes
/// one (doc: that is what the option `json.no-string-conversion` turns off).
pub(super) fn serialize(value: &Value, keep_strings: bool, numbers: JsonNumbers) -> String {
    let inner = |value: &Value| serialize(value, keep_strings, numbers);
    match value {
        Value::Nil => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Num(number) => whole(*number, numbers),
        Value::Str(text) => match text.parse::<i64>() {
            Ok(number) if !keep_strings => whole(number, numbers),
            _ => string(text),
        },
        Value::Id(text) => string(text),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(inner).collect();
            format!("[{}]", texts.join(","))
        }
        Value::Map(pairs) => {
            let texts: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("{}:{}", string(name), inner(value)))
                .collect();
            format!("{{{}}}", texts.join(","))
        }
    }
}

fn whole(number: i64, numbers: JsonNumbers) -> String {
    match numbers {
        JsonNumbers::Plain => number.to_string(),
        JsonNumbers::Float => format!("{number}.000000"),
        JsonNumbers::Text => format!("\"{number}\""),
    }
}

fn string(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}
