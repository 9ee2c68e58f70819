//! Volumes that are taken from the node while the kernel tries to connect them.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_taken_while_the_kernel_connects_it_is_given_up() {
    for used in Use::ALL {
        let lab = published(used).await;
        let cluster = Told::new(Says::Attached);
        beside(&lab, &cluster, async {
            seconds(5).await;
            lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
            seconds(120).await;
            assert_eq!(lab.count("set_loss_time"), 0, "it is this node's");
            cluster.say(Says::Absent);
            seconds(45).await;
            assert!(!lab.host.connected().contains(lab.nqn.as_str()));
            let told = cluster.message(event::RECOVERY_FAILED);
            assert!(told.contains("another node"), "{told}");
            seconds(600).await;
            assert!(!lab.host.connected().contains(lab.nqn.as_str()));
            // Granted anew, it is connected as ever.
            cluster.say(Says::Attached);
            seconds(60).await;
        })
        .await;
        assert!(lab.is_whole(used).await, "{used:?}");
        assert_eq!(lab.host.loss_time(&lab.nqn), Some(None));
    }
}

/// This node has it, but another one had it in between and may have written.
#[tokio::test(start_paused = true)]
async fn a_session_of_before_the_volume_was_offered_anew_is_given_up() {
    let lab = published(EXT4).await;
    let cluster = Told::new(Says::Attached);
    beside(&lab, &cluster, async {
        seconds(5).await;
        cluster.say(Says::Renewed);
        lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
        seconds(45).await;
        assert!(!lab.host.connected().contains(lab.nqn.as_str()));
        seconds(600).await;
        assert!(!lab.host.connected().contains(lab.nqn.as_str()));
        let told = cluster.message(event::RECOVERY_FAILED);
        assert!(told.contains("offered anew"), "{told}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_answer_and_no_certain_one_gives_anything_up() {
    for says in [Says::Nothing, Says::Leaving, Says::Wished, Says::Attached] {
        let lab = published(EXT4).await;
        let cluster = Told::new(Says::Attached);
        beside(&lab, &cluster, async {
            seconds(5).await;
            cluster.say(says);
            lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
            seconds(3600).await;
            // One wrong answer alone.
            cluster.say(Says::Absent);
            until("it was asked", || cluster.is_asked()).await;
            cluster.say(says);
            seconds(600).await;
            cluster.say(Says::Attached);
            seconds(60).await;
            lab.host.set_state(&lab.nqn, &ControllerState::Live);
            seconds(10).await;
        })
        .await;
        assert_eq!(lab.count("set_loss_time"), 0, "{says:?}");
        assert!(lab.is_whole(EXT4).await, "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_all_is_well_and_little_in_an_outage() {
    let lab = published(EXT4).await;
    let cluster = Told::new(Says::Attached);
    beside(&lab, &cluster, async {
        seconds(600).await;
        assert_eq!(cluster.questions(), 0);
        lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
        seconds(600).await;
        let questions = cluster.questions();
        assert!((14..28).contains(&questions), "{questions}");
        lab.host.set_state(&lab.nqn, &ControllerState::Live);
        seconds(10).await;
        let questions = cluster.questions();
        seconds(600).await;
        assert_eq!(cluster.questions(), questions);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_cluster_every_volume_is_this_nodes() {
    let lab = published(EXT4).await;
    let stop = CancellationToken::new();
    let engine = Engine::new(lab.node.clone(), None).run(stop.clone());
    let script = async {
        seconds(5).await;
        lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
        seconds(3600).await;
        stop.cancel();
    };
    tokio::join!(engine, script);
    assert_eq!(lab.count("set_loss_time"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_on_the_volume_is_waited_for() {
    let lab = published(EXT4).await;
    let guard = lab.node.locks.try_lock(lab.id.as_str()).unwrap();
    let cluster = Told::new(Says::Absent);
    beside(&lab, &cluster, async {
        seconds(5).await;
        lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
        seconds(120).await;
        assert_eq!(lab.count("set_loss_time"), 0);
        drop(guard);
        seconds(15).await;
        assert!(!lab.host.connected().contains(lab.nqn.as_str()));
    })
    .await;
}
