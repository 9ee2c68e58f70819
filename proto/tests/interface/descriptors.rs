//! The statements that compiled descriptors make.

pub(crate) mod wire;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};

use crate::{Statements, state};
use wire::{Enum, Field, File, Message, Service};

/// The options that the interface uses, whatever they are set on: their numbers do not
/// overlap. `alpha` is declared once per kind of descriptor, always as 1060.
#[derive(Clone, PartialEq, prost::Message)]
struct Options {
    #[prost(bool, tag = "7")]
    map_entry: bool,
    #[prost(bool, tag = "1059")]
    secret: bool,
    #[prost(bool, tag = "1060")]
    alpha: bool,
}

impl Options {
    fn decode_from(bytes: Option<&[u8]>) -> Self {
        Self::decode(bytes.unwrap_or_default()).expect("options decode")
    }
}

/// The named options, or the bytes themselves where they say anything else.
fn describe(bytes: Option<&[u8]>) -> String {
    let options = Options::decode_from(bytes);
    if options.encode_to_vec() != bytes.unwrap_or_default() {
        return format!(" other options {bytes:?}");
    }
    let named = [
        (options.map_entry, " map_entry"),
        (options.secret, " secret"),
        (options.alpha, " alpha"),
    ];
    let set = named.iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, name)| *name).collect()
}

fn absolute(name: &str) -> &str {
    name.strip_prefix('.').unwrap_or(name)
}

/// Everything that `file` declares.
pub(crate) fn statements(file: &File) -> Statements {
    let mut statements = Statements::new();
    let package = file.package();
    state(&mut statements, "package".to_owned(), package.to_owned());
    state(
        &mut statements,
        "syntax".to_owned(),
        file.syntax().to_owned(),
    );
    if file.options.is_some() {
        let options = describe(file.options.as_deref());
        state(&mut statements, "file options".to_owned(), options);
    }
    for name in &file.dependency {
        state(&mut statements, format!("import {name}"), String::new());
    }
    for extension in &file.extension {
        state_extension(&mut statements, package, extension);
    }
    for found in &file.enum_type {
        state_enum(&mut statements, package, found);
    }
    for message in &file.message_type {
        state_message(&mut statements, package, message);
    }
    for service in &file.service {
        state_service(&mut statements, package, service);
    }
    statements
}

fn state_service(statements: &mut Statements, scope: &str, service: &Service) {
    let path = format!("{scope}.{}", service.name());
    let options = describe(service.options.as_deref());
    state(statements, format!("service {path}"), options);
    for method in &service.method {
        let stream = |flag: bool| if flag { "stream " } else { "" };
        let what = format!(
            "({}{}) -> {}{}{}",
            stream(method.client_streaming()),
            absolute(method.input_type()),
            stream(method.server_streaming()),
            absolute(method.output_type()),
            describe(method.options.as_deref()),
        );
        state(statements, format!("rpc {path}.{}", method.name()), what);
    }
}

fn state_message(statements: &mut Statements, scope: &str, message: &Message) {
    let path = format!("{scope}.{}", message.name());
    let options = describe(message.options.as_deref());
    state(statements, format!("message {path}"), options);
    for found in &message.enum_type {
        state_enum(statements, &path, found);
    }
    for extension in &message.extension {
        state_extension(statements, &path, extension);
    }
    for nested in &message.nested_type {
        // An entry of a map shows as the type of the field that is the map.
        if !Options::decode_from(nested.options.as_deref()).map_entry {
            state_message(statements, &path, nested);
        }
    }
    for field in &message.field {
        let mut what = format!("{} {}", field.number(), field_type(message, &path, field));
        if let Some(index) = field.oneof_index {
            let index = usize::try_from(index).expect("an index of a oneof");
            what += &format!(" oneof={}", message.oneof_decl[index].name());
        }
        what += &describe(field.options.as_deref());
        state(statements, format!("field {path}.{}", field.name()), what);
    }
}

/// The type as a proto file writes it, with its label.
fn field_type(message: &Message, path: &str, field: &Field) -> String {
    let name = absolute(field.type_name());
    let entry = message.nested_type.iter().find(|nested| {
        Options::decode_from(nested.options.as_deref()).map_entry
            && format!("{path}.{}", nested.name()) == name
    });
    if let Some(entry) = entry
        && let [key, value] = entry.field.as_slice()
    {
        return format!("map<{}, {}>", plain_type(key), plain_type(value));
    }
    let label = match field.label() {
        Label::Repeated => " repeated",
        Label::Required => " required",
        Label::Optional if field.proto3_optional() => " optional",
        Label::Optional => "",
    };
    format!("{}{label}", plain_type(field))
}

fn plain_type(field: &Field) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => absolute(field.type_name()).to_owned(),
        scalar => scalar
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    }
}

fn state_extension(statements: &mut Statements, scope: &str, field: &Field) {
    let what = format!(
        "{} {} of {}{}",
        field.number(),
        plain_type(field),
        absolute(field.extendee()),
        describe(field.options.as_deref()),
    );
    let subject = format!("extension {scope}.{}", field.name());
    state(statements, subject, what);
}

fn state_enum(statements: &mut Statements, scope: &str, found: &Enum) {
    let path = format!("{scope}.{}", found.name());
    let options = describe(found.options.as_deref());
    state(statements, format!("enum {path}"), options);
    for value in &found.value {
        let what = format!("{}{}", value.number(), describe(value.options.as_deref()));
        state(statements, format!("enum {path}.{}", value.name()), what);
    }
}
