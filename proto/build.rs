//! Compiles the interfaces without protoc.
//!
//! Beside the messages and services it writes the descriptor set and, for each message
//! with a `csi_secret` field, a `Debug` that hides the value: a request printed whole
//! into a log must not give away a credential.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, Value};

const SOURCES: [&str; 2] = ["csi/v1/csi.proto", "pluginregistration.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);

    let mut compiler = protox::Compiler::new(["."])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(SOURCES)?;
    let set = compiler.file_descriptor_set();
    let secretive = messages_with_secrets(&compiler.descriptor_pool())?;

    // The compiler's own encoding keeps the values of custom options, which the typed
    // descriptors of prost-types drop. Source comments are of no use at run time.
    compiler.include_source_info(false);
    fs::write(
        out.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    fs::write(out.join("redacted.rs"), redacted_debug(&secretive)?)?;

    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(true)
        .skip_debug(secretive.iter().map(|found| found.message.full_name()))
        .emit_rerun_if_changed(false)
        .compile_fds(set)?;
    Ok(())
}

/// A message with the names of its fields that must not be printed.
struct Secretive {
    message: MessageDescriptor,
    hidden: Vec<String>,
}

fn messages_with_secrets(pool: &DescriptorPool) -> Result<Vec<Secretive>, Box<dyn Error>> {
    let secret = pool
        .get_extension_by_name("csi.v1.csi_secret")
        .ok_or("csi.proto does not declare csi_secret")?;
    let mut found = Vec::new();
    for message in pool.all_messages() {
        let hidden: Vec<FieldDescriptor> = message
            .fields()
            .filter(|field| *field.options().get_extension(&secret) == Value::Bool(true))
            .collect();
        if hidden.is_empty() {
            continue;
        }
        // `redacted_debug` writes fields of top-level messages by their own names and
        // tells how many entries a hidden map has; it knows no other shape.
        let nested = message.parent_message().is_some() || message.oneofs().len() > 0;
        if nested || !hidden.iter().all(FieldDescriptor::is_map) {
            return Err(format!("no redacted Debug for {}", message.full_name()).into());
        }
        let hidden = hidden.iter().map(|field| field.name().to_owned()).collect();
        found.push(Secretive { message, hidden });
    }
    Ok(found)
}

fn redacted_debug(messages: &[Secretive]) -> Result<String, std::fmt::Error> {
    let mut code = String::new();
    for Secretive { message, hidden } in messages {
        let name = message.name();
        writeln!(code, "impl ::core::fmt::Debug for {name} {{")?;
        writeln!(
            code,
            "    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{"
        )?;
        writeln!(code, "        f.debug_struct({name:?})")?;
        for field in message.fields() {
            let field = field.name();
            if hidden.iter().any(|name| name == field) {
                writeln!(
                    code,
                    "            .field({field:?}, &super::Redacted(self.{field}.len()))"
                )?;
            } else {
                writeln!(code, "            .field({field:?}, &self.{field})")?;
            }
        }
        writeln!(code, "            .finish()\n    }}\n}}")?;
    }
    Ok(code)
}
