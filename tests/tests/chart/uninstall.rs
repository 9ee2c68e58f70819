//! The end of a release and of its webhook: the configuration goes before the service.

use crate::helm::{Release, hook, name, render, render_with};

/// The events in which a release comes to be without a webhook.
const OFF: &str = "pre-upgrade,pre-rollback";
const ALWAYS: &[&str] = &["--set", "webhook.uninstallHook=always"];
const CONFIGURATION: (i64, &str, &str) = (0, "ValidatingWebhookConfiguration", "rds-csi-webhook");

/// What the hooks of an event are, in the order in which helm runs them.
fn hooks<'a>(release: &'a Release, event: &str) -> Vec<(i64, &'a str, &'a str)> {
    let mut found: Vec<_> = release
        .objects
        .iter()
        .filter(|object| hook(object) == Some(event))
        .map(|object| {
            let annotations = &object["metadata"]["annotations"];
            let weight = annotations["helm.sh/hook-weight"].as_str().unwrap();
            let policy = &annotations["helm.sh/hook-delete-policy"];
            assert_eq!(policy, "before-hook-creation,hook-succeeded");
            let kind = object["kind"].as_str().unwrap();
            (weight.parse().unwrap(), kind, name(object))
        })
        .collect();
    found.sort_unstable();
    found
}

/// helm deletes what has a hook's name before it makes the hook, and the hook after it.
#[test]
fn a_hook_of_the_same_name_takes_the_configuration_away() {
    for set in ["minimal", "cert-manager", "provided"] {
        let release = render_with(set, ALWAYS);
        assert_eq!(hooks(&release, "pre-delete"), [CONFIGURATION], "{set}");
        assert_eq!(hooks(&release, OFF), [], "{set}");
    }
    let release = render_with("minimal", ALWAYS);
    let configurations: Vec<_> = release.of("ValidatingWebhookConfiguration").collect();
    let (live, empty) = (configurations[0], configurations[1]);
    assert_eq!(name(live), name(empty));
    assert_eq!(live["webhooks"].as_array().unwrap().len(), 7);
    assert_eq!(empty["webhooks"].as_array().unwrap().len(), 0);
}

/// helm deletes it after the service too where an upgrade, or the way back, switches the webhook off.
#[test]
fn the_configuration_goes_first_where_the_webhook_is_switched_off() {
    let release = render_with("driver-only", ALWAYS);
    assert_eq!(hooks(&release, OFF), [CONFIGURATION]);
    assert_eq!(hooks(&release, "pre-delete"), []);
    let configurations: Vec<_> = release.of("ValidatingWebhookConfiguration").collect();
    assert_eq!(configurations[0]["webhooks"], serde_json::json!([]));
    let with = render_with("minimal", ALWAYS);
    let live = with.of("ValidatingWebhookConfiguration").next().unwrap();
    assert_eq!(name(live), CONFIGURATION.2);
}

/// Whoever applies rendered manifests would apply the empty configuration too.
#[test]
fn manifests_for_no_cluster_have_no_such_hook() {
    for set in ["minimal", "driver-only"] {
        for event in ["pre-delete", OFF] {
            assert_eq!(hooks(&render(set), event), [], "{set} {event}");
        }
    }
}

/// A claim of its own would be kept by the pod of a test that failed, and helm waits for its end.
#[test]
fn helm_test_makes_a_pod_with_a_claim_that_goes_with_it() {
    for (set, class) in [("minimal", "rds-csi"), ("full", "fast")] {
        let release = render(set);
        assert_eq!(hooks(&release, "test"), [(0, "Pod", "rds-csi-test")]);
        let pod = release.of("Pod").next().unwrap();
        let claim = &pod["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"];
        assert_eq!(claim["spec"]["storageClassName"], class);
    }
}

/// Each run would leave a volume of such a class on the device.
#[test]
fn helm_test_takes_no_class_by_itself_whose_volumes_stay() {
    assert_eq!(hooks(&render("block-only"), "test"), []);
    let classes = r#"storageClasses=[{"name":"kept","reclaimPolicy":"Retain"},{"name":"gone"}]"#;
    let release = render_with("minimal", &["--set-json", classes]);
    let pod = release.of("Pod").next().unwrap();
    let claim = &pod["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"];
    assert_eq!(claim["spec"]["storageClassName"], "gone");
}

#[test]
fn the_pod_of_helm_test_goes_where_the_plugin_is() {
    let release = render("full");
    let pod = release.of("Pod").next().unwrap();
    let node = crate::arguments::node(&release);
    let placed: k8s_openapi::api::core::v1::PodSpec =
        serde_json::from_value(pod["spec"].clone()).unwrap();
    assert_eq!(placed.node_selector, node.node_selector);
    assert_eq!(placed.tolerations, node.tolerations);
    assert!(placed.priority_class_name.is_none());
}
