//! The facts of a specification as statements.
//!
//! A key that this reader does not know is an error: a fact left out of the comparison
//! would look like one that holds.

use serde_json::{Map, Value};

use crate::{Statements, state};

/// The Container Storage Interface.
pub(crate) const CSI: &str = include_str!("../interface-1.13.json");
/// Kubelet's plugin registration.
pub(crate) const REGISTRATION: &str = include_str!("../pluginregistration-v1.json");

/// Everything a specification declares, without what is not part of the interface.
pub(crate) fn statements(facts: &str) -> Statements {
    let facts: Value = serde_json::from_str(facts).expect("the facts are JSON");
    let facts = object(&facts);
    only_keys(
        facts,
        &[
            "package",
            "spec_version",
            "imports",
            "services",
            "enums",
            "extensions",
            "messages",
        ],
    );
    let package = text(&facts["package"]);
    let mut statements = Statements::new();
    state(&mut statements, "package".to_owned(), package.to_owned());
    state(&mut statements, "syntax".to_owned(), "proto3".to_owned());
    for name in array(&facts["imports"]) {
        let subject = format!("import {}", text(name));
        state(&mut statements, subject, String::new());
    }
    for extension in array(&facts["extensions"]) {
        state_extension(&mut statements, package, object(extension));
    }
    for (name, rpcs) in object(&facts["services"]) {
        state_service(&mut statements, &format!("{package}.{name}"), array(rpcs));
    }
    state_enums(&mut statements, package, &facts["enums"]);
    state_messages(&mut statements, package, &facts["messages"]);
    statements
}

fn state_extension(statements: &mut Statements, scope: &str, fact: &Map<String, Value>) {
    only_keys(fact, &["extends", "name", "number", "type"]);
    let what = format!(
        "{} {} of {}",
        fact["number"],
        text(&fact["type"]),
        text(&fact["extends"])
    );
    let subject = format!("extension {scope}.{}", text(&fact["name"]));
    state(statements, subject, what);
}

fn state_service(statements: &mut Statements, path: &str, rpcs: &[Value]) {
    state(statements, format!("service {path}"), String::new());
    for fact in rpcs {
        let fact = object(fact);
        only_keys(fact, &["rpc", "request", "response", "server_streaming"]);
        let stream = if flag(fact, "server_streaming") {
            "stream "
        } else {
            ""
        };
        let (request, response) = (text(&fact["request"]), text(&fact["response"]));
        let what = format!("({request}) -> {stream}{response}");
        state(
            statements,
            format!("rpc {path}.{}", text(&fact["rpc"])),
            what,
        );
    }
}

fn state_enums(statements: &mut Statements, scope: &str, enums: &Value) {
    for (name, values) in object(enums) {
        state(statements, format!("enum {scope}.{name}"), String::new());
        for (value, number) in object(values) {
            let subject = format!("enum {scope}.{name}.{value}");
            state(statements, subject, number.to_string());
        }
    }
}

fn state_messages(statements: &mut Statements, scope: &str, messages: &Value) {
    for (name, fact) in object(messages) {
        let path = format!("{scope}.{name}");
        let fact = object(fact);
        only_keys(fact, &["fields", "messages", "enums"]);
        state(statements, format!("message {path}"), String::new());
        for field in array(&fact["fields"]) {
            state_field(statements, &path, object(field));
        }
        if let Some(nested) = fact.get("messages") {
            state_messages(statements, &path, nested);
        }
        if let Some(enums) = fact.get("enums") {
            state_enums(statements, &path, enums);
        }
    }
}

fn state_field(statements: &mut Statements, path: &str, fact: &Map<String, Value>) {
    only_keys(
        fact,
        &[
            "name", "number", "type", "label", "oneof", "secret", "alpha",
        ],
    );
    let mut what = format!("{} {}", fact["number"], text(&fact["type"]));
    if let Some(label) = fact.get("label") {
        what += &format!(" {}", text(label));
    }
    if let Some(oneof) = fact.get("oneof") {
        what += &format!(" oneof={}", text(oneof));
    }
    for option in ["secret", "alpha"] {
        if flag(fact, option) {
            what += &format!(" {option}");
        }
    }
    let subject = format!("field {path}.{}", text(&fact["name"]));
    state(statements, subject, what);
}

fn only_keys(fact: &Map<String, Value>, known: &[&str]) {
    for key in fact.keys() {
        assert!(
            known.contains(&key.as_str()),
            "a fact without a reader: {key}"
        );
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn flag(fact: &Map<String, Value>, key: &str) -> bool {
    fact.get(key)
        .is_some_and(|value| value.as_bool().expect("a boolean"))
}
