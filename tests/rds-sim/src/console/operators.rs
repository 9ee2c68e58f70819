//! Operators of expressions, and the times of `:delay`.

use std::time::Duration;

use super::syntax::Operator;
use super::value::Value;
use super::{Message, Pattern};

/// The value of `left operator right`.
pub(super) fn apply(operator: Operator, left: &Value, right: &Value) -> Result<Value, Message> {
    let truths = || match (left.truth(), right.truth()) {
        (Some(left), Some(right)) => Ok((left, right)),
        _ => Err(type_error()),
    };
    Ok(match operator {
        Operator::Or => truths().map(|(left, right)| Value::Bool(left || right))?,
        Operator::And => truths().map(|(left, right)| Value::Bool(left && right))?,
        Operator::Equal => Value::Bool(left.same(right)),
        Operator::Different => Value::Bool(!left.same(right)),
        Operator::Less | Operator::Greater => match (left, right) {
            (Value::Num(left), Value::Num(right)) => Value::Bool(if operator == Operator::Less {
                left < right
            } else {
                left > right
            }),
            _ => return Err(type_error()),
        },
        Operator::Matches => {
            let pattern = Pattern::new(&right.text()).ok_or_else(type_error)?;
            Value::Bool(pattern.matches(&left.text()))
        }
        Operator::Concat => Value::Str(format!("{}{}", left.text(), right.text())),
    })
}

/// Operands that do not fit their operator (inf).
pub(super) fn type_error() -> Message {
    Message::new("cannot apply operator to values of these types")
}

/// `3s`, `250ms`, or seconds (doc).
pub(super) fn duration(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    let seconds = text.strip_suffix('s').unwrap_or(text);
    let seconds: f64 = seconds.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
