//! Who may talk to whom, where a NetworkPolicy is asked for.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::arguments::{controller, webhook};
use crate::helm::{render, render_with};

fn numbers(ports: Option<&[NetworkPolicyPort]>) -> Vec<i32> {
    let numbers = ports.unwrap().iter().map(|port| match &port.port {
        Some(IntOrString::Int(number)) => *number,
        other => panic!("{other:?}"),
    });
    numbers.collect()
}

fn policy(more: &[&str], suffix: &str) -> NetworkPolicySpec {
    let policy: NetworkPolicy = render_with("full", more).one(suffix);
    let spec = policy.spec.unwrap();
    assert_eq!(spec.policy_types.as_deref().unwrap(), ["Ingress", "Egress"]);
    spec
}

fn addresses(rule: &NetworkPolicyEgressRule) -> Vec<String> {
    let peers = rule.to.iter().flatten();
    peers
        .map(|peer| peer.ip_block.clone().unwrap().cidr)
        .collect()
}

#[test]
fn there_is_none_unless_asked_for() {
    assert!(render("minimal").all::<NetworkPolicy>().is_empty());
    let without = render_with("driver-only", &["--set", "networkPolicy.enabled=true"]);
    assert_eq!(
        without.all::<NetworkPolicy>().len(),
        1,
        "no webhook, no policy for it"
    );
}

#[test]
fn the_controller_reaches_the_device_and_nothing_else_of_its_network() {
    for (address, expected) in [
        ("[fd00::2]:2222", (vec!["fd00::2/128"], 2222)),
        ("10.0.0.2", (vec!["10.0.0.2/32"], 22)),
        ("10.0.0.2:2022", (vec!["10.0.0.2/32"], 2022)),
        ("fd00::2", (vec!["fd00::2/128"], 22)),
        ("[fd00::2]", (vec!["fd00::2/128"], 22)),
        ("rds.example.com", (vec![], 22)),
    ] {
        let setting = format!("device.address={address}");
        // Its classes say which device they are of.
        let others = ["--set-json", "storageClasses=[]"];
        let settings = [&["--set-string", &setting], &others[..]].concat();
        let egress = policy(&settings, "-controller").egress.unwrap();
        assert_eq!(addresses(&egress[0]), expected.0, "{address}");
        assert_eq!(
            numbers(egress[0].ports.as_deref()),
            [expected.1],
            "{address}"
        );
        // Its exports, to see what it does about hosts.
        assert_eq!(addresses(&egress[1]).len(), 1, "{address}");
        assert_eq!(numbers(egress[1].ports.as_deref()).len(), 1, "{address}");
        assert_eq!(
            numbers(egress[2].ports.as_deref()),
            [6443],
            "the API server"
        );
        assert_eq!(numbers(egress[3].ports.as_deref()), [53, 53]);
        assert_eq!(egress.len(), 4);
    }
}

#[test]
fn exports_are_reached_where_hosts_are_kept_out() {
    let exports = |more: &[&str]| {
        let address = ["--set-string", "device.nvmeAddress=10.0.1.2"];
        let egress = policy(&[&address[..], more].concat(), "-controller").egress;
        let rules: Vec<_> = egress.unwrap().iter().map(addresses).collect();
        rules.contains(&vec!["10.0.1.2/32".to_owned()])
    };
    assert!(exports(&[]));
    assert!(exports(&["--set", "attachments.fencing=record"]));
    assert!(!exports(&["--set-string", "attachments.fencing=off"]));
    let address = ["--set-string", "device.nvmeAddress=fd00::9"];
    let egress = policy(&address, "-controller").egress.unwrap();
    assert_eq!(addresses(&egress[1]), ["fd00::9/128"]);
}

#[test]
fn ports_of_the_pods_are_let_in_and_metrics_only_for_those_who_read_them() {
    let release = render("full");
    for (suffix, pod) in [
        ("-controller", controller(&release)),
        ("-webhook", webhook(&release)),
    ] {
        let mut offered: Vec<(i32, bool)> = pod
            .containers
            .into_iter()
            .flat_map(|container| container.ports.unwrap())
            .map(|port| (port.container_port, port.name.as_deref() == Some("reviews")))
            .collect();
        let mut open: Vec<(i32, bool)> = policy(&[], suffix)
            .ingress
            .unwrap()
            .into_iter()
            .flat_map(|rule| {
                let all = rule.from.is_none();
                let ports = numbers(rule.ports.as_deref());
                ports.into_iter().map(move |port| (port, all))
            })
            .collect();
        offered.sort_unstable();
        open.sort_unstable();
        assert_eq!(open, offered, "{suffix}");
    }
}
