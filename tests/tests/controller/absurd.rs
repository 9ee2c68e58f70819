//! Strings that would end a string, a command or a line on the device, or be read as a
//! variable there, in every field: refused in words that fit a message, and never sent.

use rds_csi_tests::volume::Claim;
use tonic::Code;

use crate::fields::{assert_refused, set_flags, set_fs};
use crate::harness::{MIB, NAME, World, code};

/// What would end a string, a command or a line, or be read as a variable.
fn absurd() -> Vec<String> {
    let mut texts: Vec<String> = [
        "\"",
        "a\"; /system reset; \"",
        "$x",
        "a$b",
        "[/disk find]",
        "a{b}",
        "a;b",
        "a\nb",
        "a\r\nb",
        "a\\",
        "\u{0}",
        "a b",
        "../../etc",
        "ä",
        "\u{1b}[2J",
        "a#b",
        "?",
    ]
    .map(str::to_owned)
    .into();
    texts.push("x".repeat(1 << 20));
    texts.push("\"".repeat(1 << 20));
    texts
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[tokio::test]
async fn no_absurd_string_of_a_create_reaches_the_device() {
    let world = World::new().await;
    let before = world.sim.counters().executions;
    for text in absurd() {
        let plain = Claim::filesystem(NAME, 64, "ext4");
        let mut requests = vec![
            Claim::filesystem(&text, 64, "ext4").request(),
            plain.clone().parameter(&text, "1").request(),
        ];
        for key in [
            "rdsAddress",
            "nvmeAddress",
            "nvmePort",
            "volumePath",
            "ctrlLossTmo",
            "reconnectDelay",
            "keepAliveTmo",
            "fastIoFailTmo",
            "nrIoQueues",
            "migrationTimeoutSeconds",
            "csi.storage.k8s.io/fstype",
        ] {
            requests.push(plain.clone().parameter(key, &text).request());
        }
        let (mut fs, mut flags) = (plain.request(), plain.request());
        set_fs(&mut fs, &text);
        set_flags(&mut flags, &text);
        requests.extend([fs, flags]);
        for request in requests {
            let created = world.plugin.controller().create_volume(request).await;
            assert_refused(&created.unwrap_err(), Code::InvalidArgument, &short(&text));
        }
    }
    assert_eq!(world.sim.counters().executions, before, "nothing was sent");
    world.assert_empty();
}

#[tokio::test]
async fn no_absurd_id_reaches_the_device() {
    let world = World::new().await;
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    let before = (world.device(), world.sim.counters().executions);
    for text in absurd() {
        let what = short(&text);
        // An id that was never given out is a volume that does not exist.
        world.delete(&text).await.unwrap();
        let grown = world.expand(&text, MIB, 0).await.unwrap_err();
        assert_refused(&grown, Code::NotFound, &what);
        let mut other = volume.clone();
        other.volume.volume_id.clone_from(&text);
        let attached = other.attach(&world.plugin, "node-a").await.unwrap_err();
        assert_refused(&attached, Code::NotFound, &what);
        other.detach(&world.plugin, "node-a").await.unwrap();
        volume.detach(&world.plugin, &text).await.unwrap();
        for key in [
            "nvmeAddress",
            "nvmePort",
            "nqn",
            "volumePath",
            "ctrlLossTmo",
        ] {
            let mut other = volume.clone();
            other
                .volume
                .volume_context
                .insert(key.to_owned(), text.clone());
            let attached = other.attach(&world.plugin, "node-a").await.unwrap_err();
            assert_refused(&attached, Code::InvalidArgument, &format!("{key} {what}"));
        }
    }
    assert_eq!((world.device(), world.sim.counters().executions), before);
}

#[tokio::test]
async fn an_absurd_node_is_refused_or_only_compared() {
    let world = World::new().await;
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    let executed = world.sim.executed().len();
    for text in absurd() {
        if text.len() > 253 || text.chars().any(char::is_control) {
            let attached = volume.attach(&world.plugin, &text).await.unwrap_err();
            assert_refused(&attached, Code::InvalidArgument, &short(&text));
        } else {
            volume.attach(&world.plugin, &text).await.unwrap();
            volume.detach(&world.plugin, &text).await.unwrap();
        }
    }
    let none = volume.attach(&world.plugin, "").await;
    assert_eq!(code(none), Code::InvalidArgument);
    for script in &world.sim.executed()[executed..] {
        assert!(script.script.contains("/disk print"), "{}", script.script);
        assert!(
            !script.script.contains("/system reset"),
            "{}",
            script.script
        );
    }
}
