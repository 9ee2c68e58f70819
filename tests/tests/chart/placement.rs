//! Where pods run, how many of them, and what goes before what.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::arguments::{controller, node, webhook};
use crate::helm::{render, render_with, sets};

/// A node that is full, tainted or short of memory still has to let go of its volumes.
#[test]
fn the_node_runs_everywhere_and_is_evicted_last() {
    let pod = node(&render("minimal"));
    assert_eq!(
        pod.priority_class_name.as_deref(),
        Some("system-node-critical")
    );
    let tolerations = pod.tolerations.unwrap();
    assert_eq!(tolerations.len(), 1);
    assert_eq!(tolerations[0].operator.as_deref(), Some("Exists"));
    assert!(tolerations[0].key.is_none() && tolerations[0].effect.is_none());
    let resources = pod.containers[0].resources.clone().unwrap();
    assert!(resources.limits.is_none(), "a mkfs that is killed half-way");
}

#[test]
fn nodes_are_updated_some_at_a_time() {
    for (set, expected) in [
        ("minimal", IntOrString::String("10%".to_owned())),
        ("full", IntOrString::Int(3)),
    ] {
        let nodes: DaemonSet = render(set).one("-node");
        let strategy = nodes.spec.unwrap().update_strategy.unwrap();
        assert_eq!(strategy.type_.as_deref(), Some("RollingUpdate"));
        assert_eq!(
            strategy.rolling_update.unwrap().max_unavailable,
            Some(expected)
        );
    }
}

#[test]
fn a_drain_leaves_one_of_several_replicas() {
    for (set, controllers, webhooks) in [("minimal", 2, 2), ("full", 3, 3), ("driver-only", 1, 0)] {
        let release = render(set);
        let replicas: BTreeMap<String, i32> = release
            .all::<Deployment>()
            .into_iter()
            .map(|d| (d.metadata.name.unwrap(), d.spec.unwrap().replicas.unwrap()))
            .collect();
        let webhooks = (webhooks > 0).then_some(webhooks);
        assert_eq!(replicas["rds-csi-controller"], controllers, "{set}");
        assert_eq!(replicas.get("rds-csi-webhook").copied(), webhooks, "{set}");
        let budgets: Vec<String> = release
            .all::<PodDisruptionBudget>()
            .into_iter()
            .map(|budget| {
                let spec = budget.spec.unwrap();
                assert_eq!(spec.max_unavailable, Some(IntOrString::Int(1)));
                assert_eq!(
                    spec.unhealthy_pod_eviction_policy.as_deref(),
                    Some("AlwaysAllow")
                );
                budget.metadata.name.unwrap()
            })
            .collect();
        let several: Vec<String> = replicas
            .into_iter()
            .filter(|r| r.1 > 1)
            .map(|r| r.0)
            .collect();
        assert_eq!(budgets, several, "{set}");
    }
}

/// Apart where the cluster has room, and started all the same where it has not.
#[test]
fn replicas_are_spread_over_nodes_and_zones() {
    for set in sets().iter().filter(|set| *set != "driver-only") {
        let release = render(set);
        for (component, pod) in [
            ("controller", controller(&release)),
            ("webhook", webhook(&release)),
        ] {
            let spread = pod.topology_spread_constraints.unwrap_or_default();
            let keys: Vec<&str> = spread.iter().map(|s| s.topology_key.as_str()).collect();
            let expected = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];
            assert_eq!(keys, expected, "{set} {component}");
            for constraint in spread {
                assert_eq!(constraint.when_unsatisfiable, "ScheduleAnyway");
                assert_eq!(constraint.max_skew, 1);
                let labels = constraint.label_selector.unwrap().match_labels.unwrap();
                assert_eq!(labels["app.kubernetes.io/component"], component, "{set}");
            }
        }
    }
}

#[test]
fn pods_are_placed_and_pulled_as_the_values_say() {
    let release = render("full");
    for pod in [controller(&release), node(&release), webhook(&release)] {
        assert_eq!(pod.image_pull_secrets.unwrap()[0].name, "registry");
        let image = pod.containers[0].image.clone().unwrap();
        assert!(image.starts_with("registry.example:5000/a/") && image.ends_with(":v9"));
        assert_eq!(
            pod.containers[0].image_pull_policy.as_deref(),
            Some("Always")
        );
    }
    let pod = controller(&release);
    assert!(pod.priority_class_name.is_none() && pod.tolerations.is_none());
    assert!(
        pod.node_selector
            .unwrap()
            .contains_key("node-role.kubernetes.io/control-plane")
    );
    assert!(pod.affinity.unwrap().node_affinity.is_some());
    assert_eq!(
        node(&release).tolerations.unwrap()[0].toleration_seconds,
        Some(60)
    );
    let image = controller(&render("minimal"))
        .containers
        .remove(0)
        .image
        .unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image, format!("registry.example/rds-csi-driver:{version}"));
}

/// A tag can be another image tomorrow.
#[test]
fn every_image_can_be_named_by_its_digest() {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let images = [
        "image.driver",
        "image.webhook",
        "sidecars.provisioner.image",
        "sidecars.attacher.image",
        "sidecars.resizer.image",
    ];
    let settings = images.map(|image| format!("{image}.digest={digest}"));
    let more: Vec<&str> = settings
        .iter()
        .flat_map(|set| ["--set", set.as_str()])
        .collect();
    let release = render_with("minimal", &more);
    for pod in [controller(&release), node(&release), webhook(&release)] {
        for container in pod.containers {
            let image = container.image.unwrap();
            assert!(image.ends_with(&format!("@{digest}")), "{image}");
        }
    }
}

#[test]
fn pods_go_to_nodes_that_can_run_them() {
    let release = render("minimal");
    for pod in [controller(&release), node(&release), webhook(&release)] {
        let selector = pod.node_selector.unwrap();
        assert_eq!(selector["kubernetes.io/os"], "linux");
    }
}
