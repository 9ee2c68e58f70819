//! The compiled descriptors against the facts of the specifications, and what the
//! generated code promises beyond them.
//!
//! Both sides become one flat list of statements, such as
//! `field csi.v1.CapacityRange.limit_bytes` → `2 int64`, so that a difference in either
//! direction is one entry of one comparison.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot read its input fails"
)]

mod descriptors;
mod facts;
mod generated;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use prost::Message as _;

use descriptors::wire::{File, FileSet};

/// What is stated: subject → all that is said about it.
type Statements = BTreeMap<String, String>;

/// Adds one statement; a subject stated twice would hide a difference.
fn state(statements: &mut Statements, subject: String, what: String) {
    match statements.entry(subject) {
        Entry::Vacant(entry) => entry.insert(what),
        Entry::Occupied(entry) => panic!("{} is stated twice", entry.key()),
    };
}

/// One line per subject that the two sides do not agree on.
fn differences(facts: &Statements, compiled: &Statements) -> Vec<String> {
    let missing = facts.iter().filter_map(|(subject, fact)| {
        let found = compiled.get(subject).map_or("nothing", String::as_str);
        (found != fact).then(|| format!("{subject}: {fact} expected, {found} compiled"))
    });
    let extra = compiled
        .iter()
        .filter(|(subject, _)| !facts.contains_key(*subject))
        .map(|(subject, found)| format!("{subject}: nothing expected, {found} compiled"));
    missing.chain(extra).collect()
}

/// What was compiled of a package.
fn compiled(package: &str) -> File {
    let set = FileSet::decode(csi_proto::FILE_DESCRIPTOR_SET).expect("a descriptor set");
    let mut files = set.file.into_iter();
    files
        .find(|file| file.package() == package)
        .expect("the package in the set")
}

#[test]
fn the_compiled_interfaces_are_the_specified_ones() {
    for (package, facts, rpcs) in [
        ("csi.v1", facts::CSI, 32),
        ("pluginregistration", facts::REGISTRATION, 2),
    ] {
        let facts = facts::statements(facts);
        assert_eq!(
            facts.keys().filter(|key| key.starts_with("rpc ")).count(),
            rpcs,
            "the facts were read whole"
        );
        let differences = differences(&facts, &descriptors::statements(&compiled(package)));
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// A change to the descriptors and the start of the line that must report it.
type Mutation = (&'static str, fn(&mut File));

const MUTATIONS: &[Mutation] = &[
    ("package: ", |file| file.package = Some("csi.v0".to_owned())),
    ("syntax: ", |file| file.syntax = None),
    ("import google/protobuf/wrappers.proto: ", |file| {
        file.dependency.retain(|name| !name.contains("wrappers"));
    }),
    ("file options: ", |file| file.options = Some(vec![8, 1])),
    ("field csi.v1.CapacityRange.limit_bytes: 2 int64 ", |file| {
        file.message("CapacityRange").field("limit_bytes").number = Some(3);
    }),
    ("field csi.v1.CapacityRange.limit_bytes: ", |file| {
        // uint64 instead of int64
        file.message("CapacityRange").field("limit_bytes").r#type = Some(4);
    }),
    ("field csi.v1.CapacityRange.limit_bytes: ", |file| {
        file.message("CapacityRange").field("limit_bytes").label = Some(3);
    }),
    ("field csi.v1.CapacityRange.limit_bytes: ", |file| {
        let field = file.message("CapacityRange").field("limit_bytes");
        field.proto3_optional = Some(true);
    }),
    ("field csi.v1.CapacityRange.limit_bytes: ", |file| {
        let fields = &mut file.message("CapacityRange").field;
        fields.retain(|field| field.name() != "limit_bytes");
    }),
    ("field csi.v1.CapacityRange.max_bytes: nothing ", |file| {
        let message = file.message("CapacityRange");
        let mut extra = message.field("limit_bytes").clone();
        extra.name = Some("max_bytes".to_owned());
        message.field.push(extra);
    }),
    ("field csi.v1.VolumeCapability.block: ", |file| {
        file.message("VolumeCapability").field("block").oneof_index = None;
    }),
    ("field csi.v1.DeleteVolumeRequest.secrets: ", |file| {
        file.message("DeleteVolumeRequest").field("secrets").options = None;
    }),
    ("field csi.v1.DeleteVolumeRequest.volume_id: ", |file| {
        // deprecated = true
        file.message("DeleteVolumeRequest")
            .field("volume_id")
            .options = Some(vec![0x18, 1]);
    }),
    ("field csi.v1.Topology.segments: ", |file| {
        let entry = file.message("Topology").message("SegmentsEntry");
        entry.field("value").r#type = Some(3);
    }),
    ("message csi.v1.ProbeRequest: ", |file| {
        file.message_type
            .retain(|found| found.name() != "ProbeRequest");
    }),
    ("enum csi.v1.VolumeUsage.Unit.INODES: ", |file| {
        file.message("VolumeUsage").enum_type[0].value[2].number = Some(7);
    }),
    ("enum csi.v1.VolumeUsage.Unit.INODES: ", |file| {
        file.message("VolumeUsage").enum_type[0].value.pop();
    }),
    ("rpc csi.v1.Node.NodeGetInfo: ", |file| {
        file.rpc("NodeGetInfo").input_type = Some(".csi.v1.ProbeRequest".to_owned());
    }),
    ("rpc csi.v1.Node.NodeGetInfo: ", |file| {
        file.rpc("NodeGetInfo").output_type = Some(".csi.v1.ProbeResponse".to_owned());
    }),
    ("rpc csi.v1.Node.NodeGetInfo: ", |file| {
        file.rpc("NodeGetInfo").server_streaming = Some(true);
    }),
    ("rpc csi.v1.SnapshotMetadata.GetMetadataDelta: ", |file| {
        file.rpc("GetMetadataDelta").server_streaming = None;
    }),
    ("service csi.v1.GroupController: ", |file| {
        file.service
            .retain(|found| found.name() != "GroupController");
    }),
    ("extension csi.v1.csi_secret: ", |file| {
        file.extension("csi_secret").number = Some(1061);
    }),
    ("extension csi.v1.csi_secret: ", |file| {
        file.extension("csi_secret").extendee = Some(".google.protobuf.EnumOptions".to_owned());
    }),
];

#[test]
fn every_kind_of_deviation_is_reported() {
    let facts = facts::statements(facts::CSI);
    for (number, (report, mutate)) in MUTATIONS.iter().enumerate() {
        let mut file = compiled("csi.v1");
        mutate(&mut file);
        let differences = differences(&facts, &descriptors::statements(&file));
        assert!(
            differences.iter().any(|line| line.starts_with(report)),
            "mutation {number} should report `{report}`, reported {differences:?}"
        );
    }
}
