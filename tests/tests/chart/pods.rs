//! What the pods may do, see and be asked.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec, ServiceAccount, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::arguments::{controller, node, webhook};
use crate::helm::{render, render_with, sets};

/// Every pod of a release but the node's.
fn unprivileged(set: &str) -> Vec<PodSpec> {
    let release = render(set);
    let deployments = release.all::<Deployment>().into_iter();
    let jobs = release.all::<Job>().into_iter();
    let tests = release.of("Pod").map(|pod| {
        serde_json::from_value::<Pod>(pod.clone())
            .unwrap()
            .spec
            .unwrap()
    });
    deployments
        .map(|deployment| deployment.spec.unwrap().template.spec.unwrap())
        .chain(jobs.map(|job| job.spec.unwrap().template.spec.unwrap()))
        .chain(tests)
        .collect()
}

/// The profile `restricted` of the Pod Security Standards, and a read-only root.
#[test]
fn all_pods_but_the_nodes_are_restricted() {
    let mut containers = 0;
    for set in sets() {
        for pod in unprivileged(&set) {
            let context = pod.security_context.unwrap();
            assert_eq!(context.run_as_non_root, Some(true));
            assert!(context.run_as_user.unwrap() > 0);
            assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
            assert!(!pod.host_network.unwrap_or_default());
            assert!(
                pod.volumes
                    .iter()
                    .flatten()
                    .all(|volume| volume.host_path.is_none())
            );
            for container in pod.containers {
                let context = container.security_context.unwrap();
                assert_eq!(context.allow_privilege_escalation, Some(false));
                assert_eq!(context.read_only_root_filesystem, Some(true));
                assert_eq!(context.privileged, None);
                let capabilities = context.capabilities.unwrap();
                assert_eq!(capabilities.drop.unwrap(), ["ALL"]);
                assert_eq!(capabilities.add, None);
                containers += 1;
            }
        }
    }
    assert!(containers > 30, "{containers}");
}

#[test]
fn only_the_controllers_driver_sees_the_ssh_key() {
    for set in sets() {
        let release = render(&set);
        let pod = controller(&release);
        let volume = pod
            .volumes
            .iter()
            .flatten()
            .find(|volume| volume.secret.is_some())
            .unwrap();
        let secret = volume.secret.as_ref().unwrap();
        assert_eq!(secret.secret_name.as_deref(), Some("rds-ssh"));
        assert_eq!(secret.default_mode, Some(0o400));
        let seen: Vec<&str> = pod
            .containers
            .iter()
            .filter(|container| {
                let mounts = container.volume_mounts.as_deref().unwrap();
                mounts.iter().any(|mount| mount.name == volume.name)
            })
            .map(|container| container.name.as_str())
            .collect();
        assert_eq!(seen, ["driver"], "{set}");
        assert_eq!(release.text.matches("rds-ssh").count(), 1, "{set}");
    }
}

#[test]
fn the_node_sees_of_the_host_what_it_has_a_reason_for() {
    for (set, kubelet, state) in [
        ("minimal", "/var/lib/kubelet", "/var/lib/rds-csi"),
        (
            "full",
            "/var/snap/k8s/common/var/lib/kubelet",
            "/var/lib/elsewhere",
        ),
    ] {
        let pod = node(&render(set));
        let paths: BTreeSet<String> = pod
            .volumes
            .unwrap()
            .into_iter()
            .map(|volume| volume.host_path.expect("nothing but host paths").path)
            .collect();
        let plugin = format!("{kubelet}/plugins/rds.csi.srvlab.io");
        let expected = [
            "/dev".to_owned(),
            "/run".to_owned(),
            state.to_owned(),
            format!("{kubelet}/plugins"),
            format!("{kubelet}/plugins_registry"),
            format!("{kubelet}/pods"),
            plugin.clone(),
        ];
        assert_eq!(paths, BTreeSet::from(expected), "{set}");
        let arguments = pod.containers[0].args.as_deref().unwrap();
        assert!(arguments.contains(&format!("--kubelet-endpoint={plugin}/csi.sock")));
    }
}

/// One file of it is looked for, which is not there yet and must not be made.
#[test]
fn the_node_writes_nothing_in_the_hosts_run() {
    for set in sets() {
        let pod = node(&render(&set));
        let volumes = pod.volumes.unwrap();
        let path = |volume: &Volume| volume.host_path.as_ref().unwrap().path.clone();
        let run = volumes
            .iter()
            .find(|volume| path(volume) == "/run")
            .unwrap();
        let kind = run.host_path.as_ref().unwrap().type_.as_deref();
        assert_eq!(kind, Some("Directory"), "{set}");
        let mounts = pod.containers[0].volume_mounts.as_deref().unwrap();
        let mount = mounts.iter().find(|mount| mount.name == run.name).unwrap();
        assert_eq!(mount.read_only, Some(true), "{set}");
        assert_eq!(
            mount.recursive_read_only.as_deref(),
            Some("IfPossible"),
            "{set}"
        );
        // Kubernetes takes the one only without the other.
        assert_eq!(mount.mount_propagation, None, "{set}");
    }
}

/// A staged mount is seen by kubelet only at the path that kubelet itself uses.
#[test]
fn mounts_of_the_node_reach_the_host_at_their_own_paths() {
    for set in sets() {
        let pod = node(&render(&set));
        let container = &pod.containers[0];
        let paths: BTreeMap<String, String> = pod
            .volumes
            .unwrap()
            .into_iter()
            .map(|volume| (volume.name, volume.host_path.unwrap().path))
            .collect();
        let mut shared: Vec<&str> = Vec::new();
        for mount in container.volume_mounts.as_deref().unwrap() {
            if mount.mount_propagation.as_deref() == Some("Bidirectional") {
                assert_eq!(mount.mount_path, paths[&mount.name]);
                shared.push(&mount.name);
            }
        }
        assert_eq!(shared, ["plugins", "pods"], "{set}");
    }
}

#[test]
fn the_node_is_one_container() {
    for set in sets() {
        let release = render(&set);
        let pod = node(&release);
        assert_eq!(pod.containers.len(), 1);
        assert!(pod.init_containers.is_none());
        assert_eq!(pod.automount_service_account_token, Some(true));
        let account: ServiceAccount = release.one("-node");
        assert_eq!(account.automount_service_account_token, Some(false));
        assert_eq!(pod.host_network, Some(true));
        assert!(pod.host_pid.is_none() && pod.host_ipc.is_none());
        let context = pod.containers[0].security_context.clone().unwrap();
        assert_eq!(context.privileged, Some(true));
        assert_eq!(context.read_only_root_filesystem, Some(true));
    }
}

#[test]
fn everybody_is_asked_whether_it_serves_and_whether_it_is_ready() {
    for set in sets().iter().filter(|set| *set != "driver-only") {
        let release = render(set);
        for pod in [controller(&release), node(&release), webhook(&release)] {
            for container in &pod.containers {
                // What is slow to start is not restarted as if it hung.
                let startup = container.startup_probe.clone().unwrap();
                assert!(startup.failure_threshold.unwrap() * startup.period_seconds.unwrap() >= 60);
                let liveness = container.liveness_probe.clone().unwrap();
                assert_eq!(startup.http_get, liveness.http_get);
                let sidecar = container.name.starts_with("csi-");
                let ports = container.ports.as_deref().unwrap();
                let probes = [
                    container.liveness_probe.clone(),
                    container.readiness_probe.clone(),
                ];
                let paths: Vec<String> = probes
                    .into_iter()
                    .flatten()
                    .map(|probe| probe.http_get.unwrap())
                    .inspect(|get| {
                        let IntOrString::String(name) = &get.port else {
                            panic!("{}: a port without a name", container.name);
                        };
                        assert!(ports.iter().any(|port| port.name.as_ref() == Some(name)));
                    })
                    .map(|get| get.path.unwrap())
                    .collect();
                let expected: &[&str] = match sidecar {
                    true => &["/healthz/leader-election"],
                    false => &["/healthz", "/readyz"],
                };
                assert_eq!(paths, expected, "{set} {}", container.name);
            }
        }
    }
}

/// A machine that has no time for a process has less for a new one.
#[test]
fn programs_of_ours_may_be_silent_for_two_minutes() {
    for set in sets().iter().filter(|set| *set != "driver-only") {
        let release = render(set);
        for pod in [controller(&release), node(&release), webhook(&release)] {
            let liveness = pod.containers[0].liveness_probe.clone().unwrap();
            let period = liveness.period_seconds.unwrap_or(10);
            let name = &pod.containers[0].name;
            assert_eq!(
                liveness.failure_threshold.unwrap() * period,
                120,
                "{set} {name}"
            );
        }
    }
}

/// kubelet asks a pod in the host's network at the node's address, unless told otherwise.
#[test]
fn a_node_that_listens_on_one_address_is_asked_there() {
    for (address, host) in [
        ("0.0.0.0", None),
        ("[::]", None),
        ("127.0.0.1", Some("127.0.0.1")),
        ("[::1]", Some("::1")),
        ("10.0.0.7", Some("10.0.0.7")),
    ] {
        let setting = format!("node.adminAddress={address}");
        let release = render_with("minimal", &["--set-string", &setting]);
        let container = node(&release).containers.remove(0);
        for probe in [
            container.startup_probe,
            container.liveness_probe,
            container.readiness_probe,
        ] {
            let get = probe.unwrap().http_get.unwrap();
            assert_eq!(get.host.as_deref(), host, "{address}");
        }
    }
}
