//! Sizes that nobody should ask for, and what becomes of those that somebody may.

use csi_proto::v1::CapacityRange;
use rds_csi_tests::volume::Claim;
use rstest::rstest;
use tonic::Code;

use crate::harness::{GIB, MIB, NAME, World, code};

#[tokio::test]
async fn a_volume_is_at_least_as_large_as_asked_and_a_multiple_of_four_mebibytes() {
    let world = World::new().await;
    let cases = [
        ("block", 0, 0, GIB),
        ("block", 1, 0, 4 * MIB),
        ("block", GIB + GIB / 2, 0, GIB + GIB / 2),
        ("block", GIB + 1, 0, GIB + 4 * MIB),
        ("block", 5 * MIB, 8 * MIB, 8 * MIB),
        ("block", 0, 100 * MIB + 1, 100 * MIB),
        ("ext4", 1, 0, 16 * MIB),
        ("xfs", 1, 0, 300 * MIB),
        ("", 17 * MIB, i64::MAX, 20 * MIB),
    ];
    for (number, (fs, required, limit, size)) in cases.into_iter().enumerate() {
        let name = format!("volume-{number}");
        let claim = match fs {
            "block" => Claim::block(&name, 0),
            fs => Claim::filesystem(&name, 0, fs),
        };
        let mut request = claim.request();
        request.capacity_range = Some(CapacityRange {
            required_bytes: required,
            limit_bytes: limit,
        });
        for _ in 0..2 {
            let mut client = world.plugin.controller();
            let answer = client.create_volume(request.clone()).await.unwrap();
            let volume = answer.into_inner().volume.unwrap();
            assert_eq!(volume.capacity_bytes, size, "{fs} {required} {limit}");
            let claim = claim.clone();
            world.assert_whole(&rds_csi_tests::volume::Volume { claim, volume }, size);
        }
    }
}

#[rstest]
#[case::negative(-1, 0, Code::InvalidArgument)]
#[case::two_to_the_63_as_it_arrives(i64::MIN, 0, Code::InvalidArgument)]
#[case::negative_limit(GIB, -1, Code::InvalidArgument)]
#[case::limit_below_required(2 * GIB, GIB, Code::InvalidArgument)]
#[case::the_largest_number(i64::MAX, 0, Code::OutOfRange)]
#[case::the_largest_number_twice(i64::MAX, i64::MAX, Code::OutOfRange)]
#[case::one_over_the_largest_volume((1 << 50) + 1, 0, Code::OutOfRange)]
#[case::nothing_between(GIB + 1, GIB + 2, Code::OutOfRange)]
#[case::a_limit_under_the_smallest(0, MIB, Code::OutOfRange)]
#[case::more_than_the_pool(101 * GIB, 0, Code::ResourceExhausted)]
#[case::the_largest_volume(1 << 50, 0, Code::ResourceExhausted)]
#[tokio::test]
async fn an_impossible_size_is_refused(
    #[case] required: i64,
    #[case] limit: i64,
    #[case] expected: Code,
) {
    let world = World::new().await;
    let mut request = Claim::block(NAME, 0).request();
    request.capacity_range = Some(CapacityRange {
        required_bytes: required,
        limit_bytes: limit,
    });
    let created = world.plugin.controller().create_volume(request).await;
    assert_eq!(code(created), expected);
    world.assert_empty();
    if required != 0 {
        let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
        let grown = world.expand(volume.id(), required, limit).await;
        assert_eq!(code(grown), expected);
        world.assert_whole(&volume, 64 * MIB);
    }
}

#[tokio::test]
async fn a_volume_grows_and_never_shrinks() {
    let world = World::new().await;
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    let steps = [
        (65 * MIB, 0, Ok(68 * MIB)),
        (68 * MIB, 68 * MIB, Ok(68 * MIB)),
        (1, 0, Ok(68 * MIB)),
        (64 * MIB, 0, Ok(68 * MIB)),
        (0, 0, Ok(68 * MIB)),
        (32 * MIB, 64 * MIB, Err(Code::OutOfRange)),
        (0, 64 * MIB, Err(Code::OutOfRange)),
        (69 * MIB, 70 * MIB, Err(Code::OutOfRange)),
        (69 * MIB, 72 * MIB, Ok(72 * MIB)),
        (101 * GIB, 0, Err(Code::ResourceExhausted)),
        (100 * GIB, 0, Ok(100 * GIB)),
    ];
    let mut size = 64 * MIB;
    for (required, limit, expected) in steps {
        let answer = world.expand(volume.id(), required, limit).await;
        assert_eq!(answer.map_err(|status| status.code()), expected);
        size = expected.unwrap_or(size);
        world.assert_whole(&volume, size);
    }
    let missing = world.expand("pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa", GIB, 0).await;
    assert_eq!(code(missing), Code::NotFound);
}

#[tokio::test]
async fn the_size_that_is_told_is_the_one_that_the_device_has() {
    let world = World::new().await;
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    // Somebody has grown it on the device, to a size of no multiple.
    let size = 70 * MIB + 512;
    let script = format!(
        "/disk set [/disk find slot={}] file-size={size}",
        volume.id()
    );
    world.sim.with_model(|model| model.exec(&script));
    let again = world.create(&volume.claim).await.unwrap();
    assert_eq!(again.volume.capacity_bytes, size);
    let context = volume.attach(&world.plugin, "node-a").await.unwrap();
    assert_eq!(context["size"], size.to_string());
    assert_eq!(world.expand(volume.id(), 66 * MIB, 0).await.unwrap(), size);
    assert_eq!(
        world.expand(volume.id(), size + 1, 0).await.unwrap(),
        72 * MIB
    );
}
