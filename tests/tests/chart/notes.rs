//! What a person reads after an installation.

use std::fs;

use rds_csi_tests::tool;

use crate::helm::{chart, file};

/// The notes stand in no manifest, and helm shows them to whoever reaches a cluster. So they
/// are rendered within a chart that has them as an object beside what they are made of.
const SHOWN: &str = "kind: ConfigMap
apiVersion: v1
metadata: {name: notes}
data:
  text: |-
    {{- include \"rds-csi/templates/NOTES.txt\" . | nindent 4 }}
";

fn notes(set: &str) -> String {
    notes_with(set, &[])
}

fn notes_with(set: &str, more: &[&str]) -> String {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("templates")).unwrap();
    for part in [
        "Chart.yaml",
        "values.yaml",
        "values.schema.json",
        "templates/_helpers.tpl",
        "templates/NOTES.txt",
    ] {
        fs::copy(chart().join(part), scratch.path().join(part)).unwrap();
    }
    fs::write(scratch.path().join("templates/shown.yaml"), SHOWN).unwrap();
    let (copy, values) = (scratch.path().to_str().unwrap(), file(set));
    let arguments = ["template", "rds-csi", copy, "--namespace", "storage-system"];
    let values = ["--values", values.to_str().unwrap()];
    let arguments = arguments.iter().chain(&values).chain(more);
    let arguments: Vec<String> = arguments.map(|text| (*text).to_owned()).collect();
    let ended = tool::run("helm", &arguments).unwrap();
    assert!(ended.success, "{set}: {}", ended.stderr);
    ended.stdout
}

/// What a first claim would otherwise fail of, with the command that helps.
#[test]
fn the_notes_begin_with_what_must_be_there_before_the_first_claim() {
    for (set, user, management, storage) in [
        ("minimal", "rds-csi", "10.0.0.2", "10.0.1.2:4420"),
        ("full", "volumes", "[fd00::2]:2222", "[fd01::2]:4421"),
    ] {
        let notes = notes(set);
        let (before, after) = notes.split_once("Is it well?").unwrap();
        for expected in [
            "modprobe nvme-tcp && echo nvme-tcp > /etc/modules-load.d/nvme-tcp.conf".to_owned(),
            "kubectl label namespace storage-system pod-security.kubernetes.io/enforce=privileged"
                .to_owned(),
            "/user group add name=rds-csi policy=ssh,read,write,test".to_owned(),
            format!("/user add name={user} group=rds-csi"),
            format!("/user ssh-keys import user={user} "),
            format!(
                "From the nodes {storage} must be reachable, from the controller {management}."
            ),
            format!("The controller needs {storage} too"),
        ] {
            assert!(
                before.contains(&expected),
                "{set} lacks {expected}: {notes}"
            );
        }
        assert!(
            after.contains("helm -n storage-system test rds-csi"),
            "{notes}"
        );
    }
}

#[test]
fn without_a_trial_of_the_device_the_controller_needs_no_way_to_its_exports() {
    let off = notes_with("minimal", &["--set-string", "attachments.fencing=off"]);
    assert!(!off.contains("The controller needs"), "{off}");
}

#[test]
fn the_notes_name_the_classes_whose_claims_are_reviewed() {
    let reviewed = "reviewed at admission: made-elsewhere, raw\n";
    assert!(notes("block-only").contains(reviewed));
    assert!(!notes("driver-only").contains("reviewed at admission"));
}
