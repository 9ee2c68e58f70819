//! Expressions of the chart, evaluated as an API server would.
//!
//! The evaluator is the common language's own; an API server adds functions to it, none
//! of which the chart uses.

use std::sync::Arc;

use ::cel::{Context, Env, Value};
use serde_json::Value as Json;

/// Evaluates an expression that is true or false.
pub(crate) fn holds(expression: &str, variables: &[(&str, &Json)]) -> bool {
    match evaluate(expression, variables) {
        Value::Bool(answer) => answer,
        other => panic!("{expression} is {other:?}"),
    }
}

fn evaluate(expression: &str, variables: &[(&str, &Json)]) -> Value {
    let environment = Arc::new(Env::stdlib());
    let program = environment
        .compile(expression)
        .unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut context = Context::with_env(environment);
    for (name, value) in variables {
        context.add_variable(*name, (*value).clone()).unwrap();
    }
    program
        .execute(&context)
        .unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// The value of an expression, as JSON.
pub(crate) fn value(expression: &str, variables: &[(&str, &Json)]) -> Json {
    evaluate(expression, variables).json().unwrap()
}
