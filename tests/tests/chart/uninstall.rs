//! The end of a release: the webhook's configuration goes before its service.

use crate::helm::{Release, hook, name, render, render_with};

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
fn hooks_of_the_same_names_take_the_configuration_and_its_secret_away() {
    let release = render_with("minimal", &["--set", "webhook.uninstallHook=always"]);
    assert_eq!(
        hooks(&release, "pre-delete"),
        [
            (0, "ValidatingWebhookConfiguration", "rds-csi-webhook"),
            (1, "Secret", "rds-csi-webhook-tls"),
        ]
    );
    let configurations: Vec<_> = release.of("ValidatingWebhookConfiguration").collect();
    let (live, empty) = (configurations[0], configurations[1]);
    assert_eq!(name(live), name(empty));
    assert_eq!(live["webhooks"].as_array().unwrap().len(), 7);
    assert_eq!(empty["webhooks"].as_array().unwrap().len(), 0);
}

#[test]
fn a_secret_that_is_not_the_webhooks_own_stays() {
    for set in ["cert-manager", "provided"] {
        let release = render_with(set, &["--set", "webhook.uninstallHook=always"]);
        let kinds: Vec<_> = hooks(&release, "pre-delete")
            .into_iter()
            .map(|h| h.1)
            .collect();
        assert_eq!(kinds, ["ValidatingWebhookConfiguration"], "{set}");
    }
}

/// Whoever applies rendered manifests would apply the empty configuration too.
#[test]
fn manifests_for_no_cluster_have_no_such_hook() {
    assert_eq!(hooks(&render("minimal"), "pre-delete"), []);
    assert_eq!(hooks(&render("driver-only"), "pre-delete"), []);
}

#[test]
fn helm_test_makes_a_claim_and_then_a_pod_that_uses_it() {
    for (set, class) in [
        ("minimal", "rds-csi"),
        ("full", "fast"),
        ("block-only", "raw"),
    ] {
        let release = render(set);
        assert_eq!(
            hooks(&release, "test"),
            [
                (0, "PersistentVolumeClaim", "rds-csi-test"),
                (1, "Pod", "rds-csi-test"),
            ]
        );
        let claim = release.of("PersistentVolumeClaim").next().unwrap();
        assert_eq!(claim["spec"]["storageClassName"], class);
    }
}
