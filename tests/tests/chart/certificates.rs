//! Where the webhook's certificate comes from, in each mode.

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::arguments::webhook;
use crate::helm::{Release, name, render};
use crate::policy::{denied_to, policy};

/// The Secret that the webhook reads its certificate from, as files.
fn mounted(release: &Release) -> Option<String> {
    let pod = webhook(release);
    let volume = pod.volumes?.into_iter().next().unwrap();
    let mount = &pod.containers[0].volume_mounts.as_deref().unwrap()[0];
    assert_eq!(mount.name, volume.name);
    let arguments = pod.containers[0].args.as_deref().unwrap();
    for file in ["--tls-cert=", "--tls-key="] {
        let path = arguments
            .iter()
            .find_map(|argument| argument.strip_prefix(file));
        assert!(path.unwrap().starts_with(&mount.mount_path));
    }
    volume.secret?.secret_name
}

fn certificates(release: &Release) -> Vec<&Value> {
    release.of("Certificate").collect()
}

/// What helm does not say it leaves as it is: with contents in the manifest each upgrade would write
/// over the webhook's. The type for TLS cannot be empty, and no type can be changed later.
#[test]
fn a_webhook_that_makes_its_own_is_told_where_and_given_an_empty_secret() {
    let release = render("minimal");
    assert_eq!(mounted(&release), None);
    assert!(certificates(&release).is_empty());
    let secret: Secret = release.one("rds-csi-webhook-tls");
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    assert_eq!((secret.data, secret.string_data), (None, None));
    for other in ["provided", "cert-manager", "driver-only"] {
        assert!(render(other).all::<Secret>().is_empty(), "{other}");
    }
    let pod = webhook(&release);
    let arguments = pod.containers[0].args.clone().unwrap();
    for expected in [
        "--certificates=self",
        "--secret-name=rds-csi-webhook-tls",
        "--namespace=rds-csi",
        "--service-name=rds-csi-webhook",
        "--configuration-name=rds-csi-webhook",
        "--leaf-lifetime=2160h",
        "--ca-lifetime=8760h",
        "--ca-lead-time=1m",
    ] {
        assert!(
            arguments.iter().any(|argument| argument == expected),
            "{expected}"
        );
    }
}

#[test]
fn a_provided_secret_is_the_one_that_is_read() {
    assert_eq!(mounted(&render("provided")).as_deref(), Some("our-tls"));
}

#[test]
fn cert_manager_fills_the_secret_that_is_read_for_the_name_that_is_called() {
    for (set, issuer) in [("cert-manager", "rds-csi-webhook"), ("full", "internal-ca")] {
        let release = render(set);
        let all = certificates(&release);
        let leaf = all
            .iter()
            .find(|object| name(object) == "rds-csi-webhook")
            .unwrap();
        let spec = &leaf["spec"];
        assert_eq!(spec["secretName"].as_str(), mounted(&release).as_deref());
        // helm takes the one of mode self away when the mode changes.
        assert_ne!(spec["secretName"], "rds-csi-webhook-tls");
        assert_eq!(spec["dnsNames"][0], "rds-csi-webhook.rds-csi.svc");
        assert_eq!(spec["issuerRef"]["name"], issuer);
    }
}

/// A CA that outlives its certificates: a renewal changes nothing for the API server.
#[test]
fn without_an_issuer_there_is_a_ca_of_its_own_and_with_one_there_is_none() {
    let release = render("cert-manager");
    let all = certificates(&release);
    let ca = all
        .iter()
        .find(|object| name(object) == "rds-csi-webhook-ca")
        .unwrap();
    assert_eq!(ca["spec"]["isCA"], true);
    let issuers: Vec<&Value> = release.of("Issuer").collect();
    let signing = issuers
        .iter()
        .find(|object| name(object) == "rds-csi-webhook")
        .unwrap();
    assert_eq!(
        signing["spec"]["ca"]["secretName"],
        ca["spec"]["secretName"]
    );
    let root = ca["spec"]["issuerRef"]["name"].as_str().unwrap();
    assert!(issuers.iter().any(|object| name(object) == root));
    let full = render("full");
    assert_eq!(
        (certificates(&full).len(), full.of("Issuer").count()),
        (1, 0)
    );
}

/// helm takes each Secret that has its labels for a release, whatever the name, and runs the hooks
/// in it with the rights of whoever asks it for anything.
#[test]
fn the_webhook_cannot_make_its_secret_a_release_of_helm() {
    let policy = policy("-webhook-secret");
    let secret =
        json!({"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "rds-csi"}}});
    let mut filled = secret.clone();
    filled["data"] = json!({"tls.crt": "YQ=="});
    filled["metadata"]["annotations"] = json!({"rds.csi.srvlab.io/kept-by": "rds-csi-webhook"});
    let mut release = filled.clone();
    release["metadata"]["labels"]["owner"] = json!("helm");
    let mut bare = filled.clone();
    bare["metadata"].as_object_mut().unwrap().remove("labels");
    let webhook = "system:serviceaccount:rds-csi:rds-csi-webhook";
    for (user, changed, is_denied) in [
        (webhook, &filled, false),
        (webhook, &release, true),
        (webhook, &bare, true),
        ("admin", &release, false),
    ] {
        let denied = denied_to(user, &policy, changed, Some(&secret));
        assert_eq!(denied, is_denied, "{user} {changed}");
    }
    let spec = policy.spec.unwrap();
    assert_eq!(spec.failure_policy.as_deref(), Some("Fail"));
    let rules = spec.match_constraints.unwrap().resource_rules.unwrap();
    assert_eq!(rules[0].resources.as_deref().unwrap(), ["secrets"]);
    assert_eq!(
        rules[0].resource_names.as_deref().unwrap(),
        ["rds-csi-webhook-tls"],
        "the one that the role names"
    );
}
