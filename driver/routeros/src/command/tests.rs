//! Scripts as they are sent, and values that cannot be written.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rds_csi_core::cluster_id::ClusterId;
use rds_csi_core::nqn::{HostIdentity, NqnPrefix};

use super::*;

fn id() -> VolumeId {
    "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap()
}

fn file() -> BackingFile {
    VolumeDirectory::default().file(&id())
}

fn owner() -> Owner {
    Owner::from_comment("rds-csi/lab/pvc-1").unwrap()
}

fn text(step: &Step, owner: Option<&Owner>) -> String {
    Command::of(step, &id(), &file(), owner)
        .unwrap()
        .text(Dialect::Json)
}

#[test]
fn an_addition_names_every_property() {
    let add = Step::Add {
        size: Bytes::gib(1),
        owner: owner(),
    };
    insta::assert_snapshot!(text(&add, None), @r#"/disk add type=file slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy" file-path="/storage-pool/rds-csi/pvc-bvhguhbpbnhx5gsxb5fgwhjmhy.img" file-size=1073741824 mount-filesystem=no nvme-tcp-export=no comment="rds-csi/lab/pvc-1""#);
}

#[test]
fn an_offer_sets_all_that_an_export_needs() {
    let offer = Step::Offer {
        nqn: NqnPrefix::default().nqn(&id()),
        port: 4420,
    };
    insta::assert_snapshot!(text(&offer, Some(&owner())), @r#"/disk set [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy" comment="rds-csi/lab/pvc-1"] mount-filesystem=no nvme-tcp-server-port=4420 nvme-tcp-server-nqn="nqn.2000-02.com.mikrotik:pvc-bvhguhbpbnhx5gsxb5fgwhjmhy" nvme-tcp-server-allow-host-name="""#);
}

#[test]
fn a_renewal_is_one_statement_that_asks_for_the_name_of_before() {
    let [from, nqn] = ["a", "b"].map(|name| format!("nqn.2000-02.com.mikrotik:{name}"));
    let renewal = Step::Renew {
        from: from.parse().unwrap(),
        nqn: nqn.parse().unwrap(),
        port: 4420,
    };
    insta::assert_snapshot!(text(&renewal, None), @r#":if ([:len [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy" nvme-tcp-server-nqn="nqn.2000-02.com.mikrotik:a"]] = 1) do={ /disk set [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy"] nvme-tcp-export=no; /disk set [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy"] mount-filesystem=no nvme-tcp-server-port=4420 nvme-tcp-server-nqn="nqn.2000-02.com.mikrotik:b" nvme-tcp-server-allow-host-name=""; /disk set [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy"] nvme-tcp-export=yes }"#);
}

#[test]
fn hosts_are_named_with_commas_between() {
    let nqns = ["a", "b"].map(|name| format!("nqn.2014-08.org.nvmexpress:uuid:{name}"));
    let hosts = nqns.iter().map(|nqn| nqn.parse().unwrap()).collect();
    insta::assert_snapshot!(text(&Step::Allow { hosts }, Some(&owner())), @r#"/disk set [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy" comment="rds-csi/lab/pvc-1"] nvme-tcp-server-allow-host-name="nqn.2014-08.org.nvmexpress:uuid:a,nqn.2014-08.org.nvmexpress:uuid:b""#);
    insta::assert_snapshot!(text(&Step::Allow { hosts: vec![] }, Some(&owner())), @r#"/disk set [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy" comment="rds-csi/lab/pvc-1"] nvme-tcp-server-allow-host-name="""#);
}

#[test]
fn a_removal_is_conditional() {
    insta::assert_snapshot!(text(&Step::RemoveItem, Some(&owner())), @r#":if ([:len [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy" comment="rds-csi/lab/pvc-1"]] = 1) do={ /disk remove [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy" comment="rds-csi/lab/pvc-1"] }"#);
    insta::assert_snapshot!(text(&Step::RemoveFile, None), @r#":if (([:len [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy"]] = 0) && ([:len [/disk find file-path="/storage-pool/rds-csi/pvc-bvhguhbpbnhx5gsxb5fgwhjmhy.img"]] = 0) && ([:len [/disk find file-path="storage-pool/rds-csi/pvc-bvhguhbpbnhx5gsxb5fgwhjmhy.img"]] = 0) && ([:len [/file find name="storage-pool/rds-csi/pvc-bvhguhbpbnhx5gsxb5fgwhjmhy.img"]] = 1)) do={ /file remove [/file find name="storage-pool/rds-csi/pvc-bvhguhbpbnhx5gsxb5fgwhjmhy.img"] }"#);
}

#[test]
fn a_volume_without_a_marker_is_found_by_its_slot() {
    insta::assert_snapshot!(text(&Step::Export, None), @r#"/disk set [/disk find slot="pvc-bvhguhbpbnhx5gsxb5fgwhjmhy"] nvme-tcp-export=yes"#);
}

/// Every step there is.
fn steps(owner: &Owner) -> [Step; 9] {
    let id = VolumeId::for_name(&owner.cluster, owner.name.as_str());
    let host = HostIdentity::of(&owner.cluster, owner.name.as_str()).nqn;
    [
        Step::Add {
            size: Bytes::gib(3),
            owner: owner.clone(),
        },
        Step::Offer {
            nqn: NqnPrefix::default().nqn(&id),
            port: 1,
        },
        Step::Allow {
            hosts: vec![host; 2],
        },
        Step::Export,
        Step::Unexport,
        Step::Renew {
            from: NqnPrefix::default().nqn(&id),
            nqn: NqnPrefix::default().nqn(&id),
            port: 1,
        },
        Step::Grow {
            size: Bytes::gib(4),
        },
        Step::RemoveItem,
        Step::RemoveFile,
    ]
}

/// What a command names outside of quotes.
fn properties(text: &str) -> BTreeSet<String> {
    let outside: String = text.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = outside.split(|c: char| !(c.is_ascii_lowercase() || "-=".contains(c)));
    let named = words.filter_map(|word| word.split_once('='));
    let names = named.map(|(name, _)| name.to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// A host would have to answer a password in a way that no document describes, and whoever
/// set one would have to keep it.
#[test]
fn no_step_sets_a_password_or_anything_else_that_is_not_known() {
    let named: BTreeSet<String> = steps(&owner())
        .iter()
        .flat_map(|step| properties(&text(step, Some(&owner()))))
        .collect();
    let known = [
        "comment",
        "do",
        "file-path",
        "file-size",
        "mount-filesystem",
        "name",
        "nvme-tcp-export",
        "nvme-tcp-server-allow-host-name",
        "nvme-tcp-server-nqn",
        "nvme-tcp-server-port",
        "slot",
        "type",
    ];
    assert_eq!(named.into_iter().collect::<Vec<_>>(), known);
}

#[test]
fn a_dot_in_a_directory_is_only_a_dot() {
    let below = Command::files_below(&"/pool.1/rds-csi".parse().unwrap()).unwrap();
    insta::assert_snapshot!(below.text(Dialect::Json), @r#":put [:serialize to=json [/file print detail as-value where name~"^pool\\.1/rds-csi/"]]"#);
    insta::assert_snapshot!(below.text(Dialect::Prose), @r#"/file print detail without-paging where name~"^pool\\.1/rds-csi/""#);
}

#[test]
fn values_that_a_console_might_run_are_refused() {
    for value in [
        "a[b", "a]b", "a{b", "a}b", "a;b", "a\nb", "a\rb", "a\0b", "ä", "\u{7f}",
    ] {
        assert!(
            matches!(
                Quoted::new("slot", value),
                Err(QuoteError::Character { field: "slot", .. })
            ),
            "{value:?}"
        );
    }
    assert_eq!(
        Quoted::new("slot", &"a".repeat(1025)),
        Err(QuoteError::Length {
            field: "slot",
            length: 1025
        })
    );
}

#[test]
fn a_marker_is_a_whole_line_of_this_script() {
    let nonce = Nonce::fresh();
    assert_eq!(
        nonce.marker(&format!("{nonce} ok 2\r")),
        Some(Marker::Done(2))
    );
    assert_eq!(
        nonce.marker(&format!("{nonce} read 0")),
        Some(Marker::Reading(0))
    );
    assert_eq!(nonce.marker(&format!("{nonce} end")), Some(Marker::End));
    for line in [
        "",
        "end",
        &format!("{nonce}"),
        &format!("{nonce} ok"),
        &format!("{nonce} ok x"),
        &format!("x {nonce} end"),
        &format!("{} end", Nonce::fresh()),
    ] {
        assert_eq!(nonce.marker(line), None, "{line:?}");
    }
}

/// Reads a quoted value as the manual describes it.
fn read_back(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut characters = inner.chars();
    let mut value = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?),
            '"' | '$' => return None,
            plain => value.push(plain),
        }
    }
    Some(value)
}

proptest! {
    #[test]
    fn a_quoted_value_reads_back(value in "[ -~]{0,40}") {
        if let Ok(quoted) = Quoted::new("slot", &value) {
            prop_assert_eq!(read_back(&quoted.to_string()), Some(value));
        }
    }

    #[test]
    fn whatever_the_domain_accepts_can_be_written(
        cluster in "[a-z0-9]([a-z0-9-]{0,34}[a-z0-9])?",
        name in "[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
        directory in "/[A-Za-z0-9][A-Za-z0-9_-]{0,20}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}){0,3}",
    ) {
        let cluster: ClusterId = cluster.parse().unwrap();
        let id = VolumeId::for_name(&cluster, &name);
        let directory: VolumeDirectory = directory.parse().unwrap();
        let file = directory.file(&id);
        let owner = Owner { cluster, name: name.parse().unwrap() };
        for step in &steps(&owner) {
            let text = Command::of(step, &id, &file, Some(&owner)).unwrap().text(Dialect::Json);
            prop_assert!(!text.contains(['\n', '\r', '$']), "{}", text);
        }
        prop_assert!(Command::files_below(&directory).is_ok());
    }
}
