//! A volume that grew on the array grows on the node.

use super::*;

fn request(lab: &Lab, used: Use, path: &str, required: Bytes) -> ExpandRequest {
    ExpandRequest {
        id: lab.id.clone(),
        path: path.into(),
        staging: Some(STAGING.into()),
        block: Some(used == Use::Block),
        required: Some(required),
    }
}

const LARGER: Bytes = Bytes::gib(2);

#[tokio::test]
async fn what_is_published_is_grown_and_measured_once_and_again() {
    for used in Use::ALL {
        let lab = Lab::new(Medium::Blank);
        lab.stage(used).await.unwrap();
        lab.publish(used).await.unwrap();
        lab.array.resize(&lab.nqn, LARGER);
        for _ in 0..2 {
            let request = request(&lab, used, TARGET, LARGER);
            assert_eq!(lab.node.expand(&request).await.unwrap(), LARGER);
        }
        let rescans = lab.host.log().iter().filter(|c| *c == "rescan").count();
        assert_eq!(rescans, 1, "a size that is there needs no rescan");
        let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
        assert_eq!(record.staging.unwrap().size, LARGER);
        if let Use::Filesystem(fs) = used {
            let uuid = lab.id.filesystem_uuid();
            let size = LARGER;
            assert_eq!(lab.medium(), Medium::Filesystem { fs, uuid, size });
        }
    }
}

#[tokio::test]
async fn a_staged_volume_is_grown_at_its_staging_path() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.array.resize(&lab.nqn, LARGER);
    for (path, block) in [(STAGING, Some(false)), (TARGET, None)] {
        let request = ExpandRequest {
            block,
            ..request(&lab, EXT4, path, LARGER)
        };
        assert_eq!(lab.node.expand(&request).await.unwrap(), LARGER);
    }
}

#[tokio::test]
async fn what_is_not_here_is_not_found() {
    let lab = Lab::new(Medium::Blank);
    for used in Use::ALL {
        let error = lab
            .node
            .expand(&request(&lab, used, TARGET, SIZE))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_stays_short_is_asked_again_and_nothing_is_grown() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    let error = lab
        .node
        .expand(&request(&lab, EXT4, STAGING, LARGER))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert!(!lab.host.log().iter().any(|call| call == "grow"));
}

#[tokio::test]
async fn another_device_at_the_path_is_not_grown() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.host.lose(&lab.nqn);
    let lost = lab.node.expand(&request(&lab, EXT4, STAGING, SIZE)).await;
    assert_eq!(lost.unwrap_err().kind(), Kind::Unreachable);
    lab.connect_as(identity("node-1"), &lab.nqn).await;
    let other = lab.node.expand(&request(&lab, EXT4, STAGING, SIZE)).await;
    assert_eq!(other.unwrap_err().kind(), Kind::Conflict);
}
