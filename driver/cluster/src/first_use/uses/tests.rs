//! Which pods leave a note, and which only look as if they should.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn volume(name: &str, claim: &str, change: &Value) -> Object<VolumeSpec> {
    let mut object = json!({
        "metadata": {"name": name, "uid": "u", "resourceVersion": "1",
            "creationTimestamp": "2026-02-01T00:00:00Z"},
        "spec": {
            "csi": {"driver": "rds.csi.srvlab.io", "volumeHandle": name},
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "ns", "name": claim},
        },
        "status": {"phase": "Bound"},
    });
    merge(&mut object, change);
    serde_json::from_value(object).unwrap()
}

/// A pod `web` with a claim `data`, whose container runs.
fn pod(change: &Value) -> Object<PodSpec> {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "ns", "resourceVersion": "1",
            "managedFields": [{"manager": "kubelet"}]},
        "spec": {
            "nodeName": "node-a",
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/data"}]}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "token", "projected": {}}],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "c", "lastState": {},
                "state": {"running": {"startedAt": "2026-02-02T00:00:00Z"}}}],
        },
    });
    merge(&mut object, change);
    serde_json::from_value(object).unwrap()
}

/// A JSON merge patch.
fn merge(object: &mut Value, change: &Value) {
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            for (key, value) in change {
                merge(object.entry(key).or_insert(Value::Null), value);
            }
        }
        (object, change) => *object = change.clone(),
    }
}

fn uses() -> Uses {
    Uses::new(&DriverName::default())
}

#[rstest]
#[case::a_pod_that_runs(json!({}), true)]
#[case::a_pod_of_which_only_an_init_container_runs(
    json!({"status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {}}}],
        "initContainerStatuses": [{"state": {"running": {"startedAt": "2026-02-02T00:00:00Z"}}}]}}),
    true
)]
#[case::a_pod_that_ran_and_waits_to_run_again(
    json!({"status": {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"startedAt": "2026-02-02T00:00:00Z"}}}]}}),
    true
)]
#[case::a_pod_that_is_over(
    json!({"status": {"phase": "Succeeded", "containerStatuses": [
        {"state": {"terminated": {"startedAt": "2026-02-02T00:00:00Z"}}}]}}),
    true
)]
#[case::a_pod_that_was_over_before_the_volume_was_made(
    json!({"status": {"phase": "Failed", "containerStatuses": [
        {"state": {"terminated": {"startedAt": "2026-01-31T00:00:00Z"}}}]}}),
    false
)]
#[case::a_pod_that_is_being_created(
    json!({"status": {"phase": "Pending", "containerStatuses": [
        {"state": {"waiting": {"reason": "ContainerCreating"}}}]}}),
    false
)]
#[case::a_pod_that_was_never_admitted(
    json!({"status": {"phase": "Failed", "containerStatuses": [
        {"state": {"terminated": {"reason": "ContainerStatusUnknown", "startedAt": null}}}]}}),
    false
)]
#[case::a_pod_that_nobody_has_seen_yet(json!({"status": {"phase": "Pending", "containerStatuses": []}}), false)]
#[case::a_claim_that_no_container_mounts(json!({"spec": {"containers": [{"name": "c"}]}}), false)]
#[case::a_claim_of_another_name(json!({"spec": {"volumes": [
    {"name": "v", "persistentVolumeClaim": {"claimName": "dat"}}]}}), false)]
#[case::a_claim_of_another_namespace(json!({"metadata": {"namespace": "other"}}), false)]
fn a_pod_leaves_a_note_once_it_has_mounted_the_volume(#[case] change: Value, #[case] noted: bool) {
    let expected = noted.then(|| "pv".to_owned());
    let mut uses = uses();
    uses.volume(Event::Apply(volume("pv", "data", &json!({}))));
    uses.pod(Event::Apply(pod(&change)));
    assert_eq!(uses.due(), expected);
    // The other way round, and as a list.
    let mut listed = self::uses();
    listed.pod(Event::Init);
    listed.pod(Event::InitApply(pod(&change)));
    assert_eq!(listed.due(), None);
    listed.pod(Event::InitDone);
    listed.volume(Event::Init);
    listed.volume(Event::InitApply(volume("pv", "data", &json!({}))));
    assert_eq!(listed.due(), None);
    listed.volume(Event::InitDone);
    assert_eq!(listed.due(), expected);
}

#[rstest]
#[case::of_another_driver(json!({"spec": {"csi": {"driver": "other.example"}}}))]
#[case::a_raw_device(json!({"spec": {"volumeMode": "Block"}}))]
#[case::noted_already(json!({"metadata": {"annotations": {"rds.csi.srvlab.io/first-used": "x"}}}))]
#[case::without_a_claim(json!({"spec": {"claimRef": null}}))]
#[case::promised_to_the_claim_only(json!({"status": {"phase": "Available"}}))]
#[case::left_by_an_earlier_claim_of_that_name(json!({"status": {"phase": "Released"}}))]
#[case::no_csi_volume(json!({"spec": {"csi": null}}))]
fn some_volumes_need_no_note(#[case] change: Value) {
    let mut uses = uses();
    uses.pod(Event::Apply(pod(&json!({}))));
    uses.volume(Event::Apply(volume("pv", "data", &change)));
    assert_eq!(uses.due(), None);
    uses.volume(Event::Apply(volume("pv", "data", &json!({}))));
    assert_eq!(uses.due().as_deref(), Some("pv"));
}

#[test]
fn a_volume_that_an_earlier_claim_left_does_not_hide_that_of_the_next() {
    let mut uses = uses();
    uses.volume(Event::Apply(volume("pv-2", "data", &json!({}))));
    let left = json!({"status": {"phase": "Released"}});
    uses.volume(Event::Apply(volume("pv-1", "data", &left)));
    uses.pod(Event::Apply(pod(&json!({}))));
    assert_eq!(uses.due().as_deref(), Some("pv-2"));
}

#[test]
fn a_claim_made_for_a_pod_is_named_after_both() {
    let mut uses = uses();
    uses.volume(Event::Apply(volume("pv", "web-v", &json!({}))));
    let change =
        json!({"spec": {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {}}}]}});
    uses.pod(Event::Apply(pod(&change)));
    assert_eq!(uses.due().as_deref(), Some("pv"));
}

#[test]
fn a_note_that_failed_waits_for_its_time_and_outlives_the_pod() {
    let mut uses = uses();
    uses.volume(Event::Apply(volume("pv", "data", &json!({}))));
    uses.pod(Event::Apply(pod(&json!({}))));
    uses.failed("pv");
    assert_eq!(uses.due(), None);
    uses.pod(Event::Delete(pod(&json!({}))));
    uses.retry();
    assert_eq!(uses.due().as_deref(), Some("pv"));
    uses.noted("pv");
    uses.retry();
    assert_eq!(uses.due(), None);
}

#[test]
fn a_pod_that_is_gone_says_nothing_of_a_later_volume() {
    let mut uses = uses();
    uses.pod(Event::Apply(pod(&json!({}))));
    uses.pod(Event::Delete(pod(&json!({}))));
    uses.volume(Event::Apply(volume("pv", "data", &json!({}))));
    assert_eq!(uses.due(), None);
    // Nor does one that is missing from a new list.
    uses.pod(Event::Apply(pod(&json!({}))));
    uses.noted("pv");
    uses.pod(Event::Init);
    uses.pod(Event::InitDone);
    uses.volume(Event::Apply(volume("pv-2", "data", &json!({}))));
    assert_eq!(uses.due(), None);
    uses.volume(Event::Delete(volume("pv-2", "data", &json!({}))));
    uses.pod(Event::Apply(pod(&json!({}))));
    assert_eq!(uses.due(), None);
}
