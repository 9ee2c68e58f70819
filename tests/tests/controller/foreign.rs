//! What is on the device and is not ours is never changed, whatever is asked; and the
//! volumes of the older driver, which carry no marker, are taken over.

use rds_csi_tests::volume::{Claim, Volume};
use rds_sim::Fault;
use rstest::rstest;
use tonic::{Code, Status};

use crate::harness::{DIRECTORY, GIB, MIB, NAME, World, code};

/// The id of [`NAME`].
const ID: &str = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy";

pub(crate) fn item(slot: &str, file: &str, comment: &str) -> Fault {
    Fault::ForeignItem {
        slot: slot.to_owned(),
        file_path: format!("/{file}"),
        nqn: Some(format!("nqn.2000-02.com.mikrotik:{slot}")),
        comment: comment.to_owned(),
        size: 64 << 20,
    }
}

/// As the orchestrator knows a volume of this id.
pub(crate) fn known(id: &str) -> Volume {
    let context = [
        ("nvmeAddress", "127.0.0.1".to_owned()),
        ("nvmePort", "4420".to_owned()),
        ("nqn", format!("nqn.2000-02.com.mikrotik:{id}")),
        ("volumePath", format!("/{DIRECTORY}")),
    ];
    Volume {
        claim: Claim::block(NAME, 64),
        volume: csi_proto::v1::Volume {
            volume_id: id.to_owned(),
            volume_context: context.map(|(key, value)| (key.to_owned(), value)).into(),
            ..csi_proto::v1::Volume::default()
        },
    }
}

/// A create that finds the name taken; gives the reason.
async fn refused(world: &World) -> Status {
    let before = world.device();
    let status = world.create(&Claim::block(NAME, 64)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    assert_eq!(world.device(), before);
    status
}

/// Everything else that could touch a volume of this id.
async fn left_alone(world: &World, id: &str) {
    let before = world.device();
    let deleted = world.delete(id).await.unwrap_err();
    assert_eq!(deleted.code(), Code::FailedPrecondition, "{deleted}");
    let grown = world.expand(id, GIB, 0).await;
    assert_eq!(code(grown), Code::FailedPrecondition);
    let attached = known(id).attach(&world.plugin, "node-a").await;
    assert_eq!(code(attached), Code::FailedPrecondition);
    assert!(world.list(0, "").await.unwrap().entries.is_empty());
    assert_eq!(world.device(), before);
}

#[rstest]
#[case::no_comment("")]
#[case::a_remark("backup of the mail server; do not touch")]
#[case::another_cluster("rds-csi/other/pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e")]
#[case::another_volume("rds-csi/lab/pvc-11111111-2f0b-4f7e-9a57-0f4a6b1d2c3e")]
#[case::almost_ours("rds-csi/lab/pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e ")]
#[case::quotes("\"; /disk remove [find]; $x [")]
#[tokio::test]
async fn a_slot_with_anything_but_our_marker_is_left_alone(#[case] comment: &str) {
    let world = World::new().await;
    world.inject(item(ID, &format!("{DIRECTORY}/{ID}.img"), comment));
    let status = refused(&world).await;
    assert!(status.message().contains("not ours"), "{status}");
    left_alone(&world, ID).await;
    // A person moves it away, and the name is free.
    world.sim.with_model(|model| {
        model.change(|device| device.items.retain(|item| item.slot != ID));
    });
    let file = world.host_path(&format!("{DIRECTORY}/{ID}.img"));
    std::fs::remove_file(file).unwrap();
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    world.assert_whole(&volume, 64 * MIB);
}

#[tokio::test]
async fn our_marker_on_another_file_makes_it_no_volume_of_ours() {
    let world = World::new().await;
    let marker = format!("rds-csi/lab/{NAME}");
    world.inject(item(ID, "storage-pool/mail/backup.img", &marker));
    refused(&world).await;
    let before = world.device();
    assert_eq!(code(world.delete(ID).await), Code::FailedPrecondition);
    let grown = world.expand(ID, GIB, 0).await;
    assert_eq!(code(grown), Code::FailedPrecondition);
    assert_eq!(world.device(), before);
}

#[tokio::test]
async fn a_file_without_an_item_is_never_taken_for_a_new_volume() {
    let world = World::new().await;
    let path = format!("{DIRECTORY}/{ID}.img");
    world.inject(Fault::ForeignFile {
        path: format!("/{path}"),
        content: "somebody's bytes".to_owned(),
    });
    let status = refused(&world).await;
    assert!(status.message().contains(&path), "{status}");
    let content = std::fs::read_to_string(world.host_path(&path)).unwrap();
    assert_eq!(content, "somebody's bytes");
    std::fs::remove_file(world.host_path(&path)).unwrap();
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    world.assert_whole(&volume, 64 * MIB);
}

#[tokio::test]
async fn a_file_or_an_nqn_of_another_item_is_not_shared() {
    let world = World::new().await;
    world.inject(item("mail", &format!("{DIRECTORY}/{ID}.img"), ""));
    let status = refused(&world).await;
    assert!(status.message().contains("\"mail\""), "{status}");
    let before = world.device();
    let deleted = world.delete(ID).await;
    assert_eq!(code(deleted), Code::FailedPrecondition);
    assert_eq!(world.device(), before);

    let world = World::new().await;
    world.inject(item("mail", "storage-pool/mail.img", ""));
    world.sim.with_model(|model| {
        model.change(|device| {
            for item in &mut device.items {
                if let rds_sim::model::Kind::File(file) = &mut item.kind {
                    file.nqn = Some(format!("nqn.2000-02.com.mikrotik:{ID}"));
                }
            }
        });
    });
    let status = refused(&world).await;
    assert!(status.message().contains("\"mail\""), "{status}");
}

#[tokio::test]
async fn a_slot_that_is_taken_between_the_look_and_the_step_is_left_alone() {
    let mut setup = crate::harness::Setup::default();
    setup.device.variants.exec_latency_ms = 200;
    let world = setup.connected().await;
    let executions = world.sim.counters().executions;
    let claim = Claim::block(NAME, 64);
    let taken = async {
        let sent = async || {
            let looked = world.sim.counters().executions > executions + 1;
            Ok(looked.then_some(()))
        };
        // The step has been received and has not taken effect yet.
        rds_csi_tests::wait::until("the step is sent", crate::harness::PATIENCE, sent)
            .await
            .unwrap();
        world.inject(item(ID, &format!("{DIRECTORY}/{ID}.img"), "mail"));
        world.device()
    };
    let (created, before) = tokio::join!(world.create(&claim), taken);
    assert_eq!(code(created), Code::Unavailable);
    assert_eq!(world.device(), before);
    refused(&world).await;
}

#[tokio::test]
async fn a_volume_whose_file_is_gone_is_not_given_out() {
    let world = World::new().await;
    let claim = Claim::block(NAME, 64);
    let volume = world.create(&claim).await.unwrap();
    let path = format!("{DIRECTORY}/{}.img", volume.id());
    std::fs::remove_file(world.host_path(&path)).unwrap();
    assert_eq!(code(world.create(&claim).await), Code::Unavailable);
    let attached = volume.attach(&world.plugin, "node-a").await;
    assert_eq!(code(attached), Code::Unavailable);
    let before = world.device();
    let grown = world.expand(volume.id(), 128 * MIB, 0).await;
    let refused = grown.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let message = refused.message();
    assert!(message.contains("is not to be seen"), "{message}");
    assert_eq!(world.device(), before, "no blank file takes its place");
    world.delete(volume.id()).await.unwrap();
    world.assert_empty();
}

#[tokio::test]
async fn a_copy_of_a_deleted_volume_survives_a_repeated_deletion() {
    let world = World::new().await;
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    world.delete(volume.id()).await.unwrap();
    let copy = format!("{DIRECTORY}/backup/{}.img", volume.id());
    world.inject(Fault::ForeignFile {
        path: format!("/{copy}"),
        content: "a person's copy".to_owned(),
    });
    let repeated = world.delete(volume.id()).await;
    assert_eq!(code(repeated), Code::FailedPrecondition);
    let content = std::fs::read_to_string(world.host_path(&copy)).unwrap();
    assert_eq!(content, "a person's copy");
}

#[tokio::test]
async fn a_volume_of_the_older_driver_is_attached_grown_and_deleted() {
    let world = World::new().await;
    world.inject(item(NAME, &format!("{DIRECTORY}/{NAME}.img"), ""));
    let volume = known(NAME);
    for _ in 0..2 {
        let context = volume.attach(&world.plugin, "node-a").await.unwrap();
        assert_eq!(context["size"], (64 * MIB).to_string());
    }
    for _ in 0..2 {
        let size = world.expand(NAME, 65 * MIB, 0).await.unwrap();
        assert_eq!(size, 68 * MIB);
    }
    assert_eq!(code(world.delete(NAME).await), Code::FailedPrecondition);
    volume.detach(&world.plugin, "node-a").await.unwrap();
    for _ in 0..2 {
        world.delete(NAME).await.unwrap();
        world.assert_empty();
    }
}

#[rstest]
#[case::a_remark("mail")]
#[case::another_cluster("rds-csi/other/pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e")]
#[tokio::test]
async fn a_volume_of_the_older_driver_with_a_comment_is_left_alone(#[case] comment: &str) {
    let world = World::new().await;
    world.inject(item(NAME, &format!("{DIRECTORY}/{NAME}.img"), comment));
    left_alone(&world, NAME).await;
}
