//! What is reported of a volume that works and of one that does not.

use rds_csi_core::nvme::ControllerState;
use rds_csi_host::fake::Fault;

use super::*;

fn is_abnormal(report: &Report) -> bool {
    report.usage.is_none() && matches!(report.condition, Condition::Abnormal(_))
}

#[tokio::test]
async fn a_filesystem_tells_its_space_wherever_it_is_mounted() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.publish(EXT4).await.unwrap();
    for path in [STAGING, TARGET] {
        let report = lab.stats(path).await.unwrap();
        assert_eq!(report.condition, Condition::Normal);
        let Some(Usage::Filesystem(stats)) = report.usage else {
            panic!("{report:?}");
        };
        assert_eq!(stats.total_bytes, SIZE.get());
    }
}

#[tokio::test]
async fn a_raw_device_tells_its_size() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(Use::Block).await.unwrap();
    lab.publish(Use::Block).await.unwrap();
    let report = lab.stats(TARGET).await.unwrap();
    assert_eq!(report.usage, Some(Usage::Block(SIZE.get())));
    assert_eq!(report.condition, Condition::Normal);
}

#[tokio::test]
async fn nothing_at_the_path_is_not_found() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    for path in [TARGET, "/kubelet", "/elsewhere"] {
        let error = lab.stats(path).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
    }
}

#[tokio::test]
async fn a_dead_device_is_a_condition_and_is_never_asked() {
    for used in Use::ALL {
        let lab = Lab::new(Medium::Blank);
        lab.stage(used).await.unwrap();
        lab.publish(used).await.unwrap();
        lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
        assert!(is_abnormal(&lab.stats(TARGET).await.unwrap()), "{used:?}");
        lab.host.lose(&lab.nqn);
        assert!(is_abnormal(&lab.stats(TARGET).await.unwrap()), "{used:?}");
        assert!(!lab.host.log().iter().any(|call| call == "stats"));
    }
}

#[tokio::test]
async fn a_device_that_came_back_as_another_is_a_condition() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.publish(EXT4).await.unwrap();
    lab.host.lose(&lab.nqn);
    lab.connect_as(identity("node-1"), &lab.nqn).await;
    let report = lab.stats(TARGET).await.unwrap();
    assert!(is_abnormal(&report), "{report:?}");
    assert!(!lab.host.log().iter().any(|call| call == "stats"));
}

#[tokio::test]
async fn a_question_that_fails_on_a_live_device_is_a_condition_too() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    lab.stats(STAGING).await.unwrap();
    let log = lab.host.log();
    assert!(log.ends_with(&["stats".to_owned(), "has_shut_down".to_owned()]));
    let calls = log.iter().rev().position(|call| call == "mounts").unwrap() + 1;
    for question in [calls - 1, calls] {
        lab.host.fault_at(question, Fault::After);
        assert!(is_abnormal(&lab.stats(STAGING).await.unwrap()));
    }
}

#[tokio::test]
async fn a_filesystem_that_shut_down_on_a_living_device_is_not_well() {
    for used in [EXT4, Use::Filesystem(FsType::Xfs)] {
        let lab = Lab::new(Medium::Blank);
        lab.stage(used).await.unwrap();
        lab.publish(used).await.unwrap();
        lab.host.shut_down(&lab.nqn);
        for path in [STAGING, TARGET] {
            let report = lab.stats(path).await.unwrap();
            let Condition::Abnormal(words) = report.condition else {
                panic!("{used:?} at {path} is told to be well");
            };
            assert!(words.contains("Delete all pods"), "{words}");
            assert!(report.usage.is_some());
        }
    }
}

#[tokio::test]
async fn a_filesystem_that_stopped_writing_tells_its_space_and_that_it_is_not_well() {
    let lab = Lab::new(Medium::Blank);
    lab.stage(EXT4).await.unwrap();
    let mut readers = lab.publish_request(EXT4);
    readers.read_only = true;
    lab.node.publish(&readers).await.unwrap();
    assert_eq!(
        lab.stats(TARGET).await.unwrap().condition,
        Condition::Normal
    );
    lab.host.stop_writing(&lab.nqn);
    let report = lab.stats(STAGING).await.unwrap();
    assert!(report.usage.is_some());
    assert!(matches!(report.condition, Condition::Abnormal(_)));
    let report = lab.stats(TARGET).await.unwrap();
    assert_eq!(report.condition, Condition::Normal, "asked read-only");
}
