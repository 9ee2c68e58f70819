//! JSON schemas of Kubernetes kinds, in the layout that kubeconform reads, made from the
//! API description that comes with Kubernetes' own source. `RDS_CSI_SWAGGER` names that
//! file: kubeconform would otherwise fetch schemas from the internet. What the chart uses of
//! other projects' kinds is described in `tests/chart/kinds.yaml`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::helm::root;

/// Prefix of a reference within the API description.
const PREFIX: &str = "#/definitions/";

/// Writes one self-contained schema for each kind of a stable API version.
pub(crate) fn write(directory: &Path) {
    let path = std::env::var_os("RDS_CSI_SWAGGER").unwrap();
    let mut swagger: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let Value::Object(mut definitions) = swagger["definitions"].take() else {
        panic!("no definitions");
    };
    let foreign = fs::read_to_string(root().join("tests/chart/kinds.yaml")).unwrap();
    definitions.extend(serde_saphyr::from_str::<Map<String, Value>>(&foreign).unwrap());
    fs::create_dir(directory).unwrap();
    for (name, definition) in &definitions {
        let Some([kind]) = definition["x-kubernetes-group-version-kind"]
            .as_array()
            .map(Vec::as_slice)
        else {
            continue;
        };
        if kind["version"] == "v1" && definition["properties"]["kind"].is_object() {
            let schema = closed(name, &definitions);
            let file = directory.join(file_name(kind));
            fs::write(file, serde_json::to_vec(&schema).unwrap()).unwrap();
        }
    }
}

/// As kubeconform spells it: the kind and the first part of its group, in lower case.
fn file_name(kind: &Value) -> String {
    let group = kind["group"].as_str().unwrap();
    let group = group.split('.').next().unwrap();
    let separator = if group.is_empty() { "" } else { "-" };
    let kind = kind["kind"].as_str().unwrap();
    format!("{kind}{separator}{group}-v1.json").to_lowercase()
}

/// A definition with everything that it refers to, open to nothing else.
fn closed(name: &str, definitions: &Map<String, Value>) -> Value {
    let mut wanted = vec![name.to_owned()];
    let mut seen = BTreeSet::new();
    let mut parts = Map::new();
    while let Some(name) = wanted.pop() {
        if seen.insert(name.clone()) {
            let part = strict(&name, definitions[&name].clone());
            references(&part, &mut wanted);
            parts.insert(name, part);
        }
    }
    json!({"$ref": format!("{PREFIX}{name}"), "definitions": parts})
}

fn strict(name: &str, mut definition: Value) -> Value {
    if name.ends_with(".IntOrString") || name.ends_with(".Quantity") {
        return json!({"type": ["string", "number"]});
    }
    close(&mut definition);
    definition
}

/// Closes an object and those within it to every key that is not named.
fn close(schema: &mut Value) {
    if schema["properties"].is_object() && schema["additionalProperties"].is_null() {
        schema["additionalProperties"] = json!(false);
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(close);
    }
    if let Some(items) = schema.get_mut("items") {
        close(items);
    }
}

/// Notes what a schema refers to. What is beside a reference says nothing.
fn references(part: &Value, found: &mut Vec<String>) {
    match part {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                found.push(target.strip_prefix(PREFIX).unwrap().to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
