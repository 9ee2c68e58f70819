//! A simulator over real SSH, with its faults.

use std::time::Duration;

use russh::ChannelMsg;

use super::{Options, Sim, ask};
use crate::fault::{Fault, Harm, Moment, Trigger};

mod client;
mod restarts;

use client::Ssh;

const DEADLINE: Duration = Duration::from_secs(20);

const ADD: &str = "/disk add type=file slot=a file-path=/storage-pool/csi/a.img file-size=4096; \
                   /disk set [find slot=a] comment=mine; :put \"OK:1\"";

async fn sim() -> Sim {
    Sim::start(Options::default()).await.unwrap()
}

fn has(sim: &Sim, slot: &str) -> bool {
    sim.with_model(|model| model.device().item(slot).is_some())
}

#[tokio::test]
async fn a_script_runs_over_ssh_and_failures_end_with_status_zero() {
    let sim = sim().await;
    let ssh = Ssh::login(&sim).await;
    assert_eq!(ssh.exec(ADD).await, ("OK:1\r\n".to_owned(), Some(0)));
    let (text, status) = ssh.exec("/disk foo").await;
    assert_eq!(
        (text.as_str(), status),
        ("bad command name foo (line 1 column 7)\r\n", Some(0))
    );
    assert_eq!(sim.executed()[0].script, ADD);
    let counters = sim.counters();
    assert_eq!(
        (counters.connections, counters.logins, counters.executions),
        (1, 1, 2)
    );
    sim.stop().await;
}

#[tokio::test]
async fn another_user_is_not_let_in() {
    let sim = sim().await;
    assert!(Ssh::try_login(&sim, "root").await.unwrap().is_none());
}

#[tokio::test]
async fn a_cut_leaves_exactly_what_it_says() {
    for (moment, item, comment) in [
        (Moment::Before, false, ""),
        (Moment::AfterStatements(1), true, ""),
        (Moment::AfterStatements(2), true, "mine"),
        (Moment::MidAnswer, true, "mine"),
        (Moment::After, true, "mine"),
    ] {
        let sim = sim().await;
        let ssh = Ssh::login(&sim).await;
        sim.inject(Fault::on("/disk add", Harm::Cut(moment)))
            .unwrap();
        assert_eq!(ssh.exec(":put x").await.1, Some(0), "other scripts pass");
        let (text, status) = ssh.exec(ADD).await;
        assert!(
            !text.contains("OK:1") && status.is_none(),
            "{moment:?}: {text}"
        );
        assert_eq!(has(&sim, "a"), item, "{moment:?}");
        let found =
            sim.with_model(|model| model.device().item("a").map(|item| item.comment.clone()));
        assert_eq!(found.unwrap_or_default(), comment, "{moment:?}");
        assert_eq!(Ssh::login(&sim).await.exec(":put x").await.1, Some(0));
        sim.stop().await;
    }
}

#[tokio::test]
async fn a_fault_waits_for_its_turn() {
    let sim = sim().await;
    let ssh = Ssh::login(&sim).await;
    let trigger = Trigger {
        skip: 2,
        matching: None,
    };
    sim.inject(Fault::Exec {
        trigger,
        harm: Harm::Denied,
    })
    .unwrap();
    for expected in ["x\r\n", "x\r\n", "not enough permissions (9)\r\n", "x\r\n"] {
        assert_eq!(ssh.exec(":put x").await.0, expected);
    }
}

#[tokio::test]
async fn answers_can_be_short_endless_or_senseless() {
    let sim = sim().await;
    let ssh = Ssh::login(&sim).await;
    sim.inject(Fault::next(Harm::Truncate { bytes: 3 }))
        .unwrap();
    assert_eq!(ssh.exec(":put abcdef").await, ("abc".to_owned(), Some(0)));
    sim.inject(Fault::next(Harm::Garbage)).unwrap();
    assert!(ssh.exec(":put abcdef").await.0.len() >= 1000);
    sim.inject(Fault::next(Harm::Endless)).unwrap();
    let (text, status) = ssh.exec(":put abcdef").await;
    assert!(text.len() > 1 << 20 && status.is_none());
    sim.stop().await;
}

#[tokio::test]
async fn a_script_that_hangs_is_never_answered_and_blocks_its_connection() {
    let sim = sim().await;
    let ssh = Ssh::login(&sim).await;
    sim.inject(Fault::next(Harm::Hang { effect: true }))
        .unwrap();
    let hung = tokio::time::timeout(Duration::from_millis(500), ssh.exec(ADD)).await;
    assert!(hung.is_err());
    assert!(has(&sim, "a"));
    let second = tokio::time::timeout(Duration::from_millis(500), ssh.exec(":put x")).await;
    assert!(second.is_err(), "one execution at a time on a connection");
    assert_eq!(Ssh::login(&sim).await.exec(":put x").await.0, "x\r\n");
    sim.stop().await;
}

#[tokio::test]
async fn one_execution_too_many_can_be_refused() {
    let mut options = Options::default();
    options.variants.set_pair("extra-exec=refuse").unwrap();
    let sim = Sim::start(options).await.unwrap();
    let ssh = Ssh::login(&sim).await;
    sim.inject(Fault::next(Harm::Hang { effect: false }))
        .unwrap();
    let hung = tokio::time::timeout(Duration::from_millis(300), ssh.exec(ADD)).await;
    assert!(hung.is_err());
    let mut channel = ssh.0.channel_open_session().await.unwrap();
    channel.exec(true, ":put x").await.unwrap();
    let answer = tokio::time::timeout(DEADLINE, channel.wait())
        .await
        .unwrap();
    assert!(matches!(answer, Some(ChannelMsg::Failure)), "{answer:?}");
}

#[tokio::test]
async fn connections_can_be_refused_limited_and_cut() {
    let sim = sim().await;
    let ssh = Ssh::login(&sim).await;
    sim.inject(Fault::RefuseConnections { refuse: true })
        .unwrap();
    assert!(Ssh::try_login(&sim, sim.user()).await.is_err());
    assert_eq!(ssh.exec(":put x").await.0, "x\r\n", "open ones stay");
    sim.inject(Fault::RefuseConnections { refuse: false })
        .unwrap();
    sim.with_model(|model| model.variants_mut().connection_limit = 1);
    assert!(Ssh::try_login(&sim, sim.user()).await.is_err());
    sim.inject(Fault::CutConnections).unwrap();
    assert_eq!(ssh.exec(":put x").await.1, None);
}

/// Waits until `state` is reached; fails when it is not in time.
async fn until(mut state: impl FnMut() -> bool) {
    let reached = async {
        while !state() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.unwrap();
}

#[tokio::test]
async fn somebody_elses_items_and_files_appear() {
    let sim = sim().await;
    sim.inject(Fault::ForeignItem {
        slot: "theirs".to_owned(),
        file_path: "/storage-pool/csi/theirs.img".to_owned(),
        nqn: Some("nqn.theirs".to_owned()),
        comment: "other:pvc".to_owned(),
        size: 4096,
    })
    .unwrap();
    sim.inject(Fault::ForeignFile {
        path: "/storage-pool/csi/stray.img".to_owned(),
        content: "stray".to_owned(),
    })
    .unwrap();
    let ssh = Ssh::login(&sim).await;
    let (text, _) = ssh
        .exec(":put [/disk get theirs nvme-tcp-server-nqn]")
        .await;
    assert_eq!(text, "nqn.theirs\r\n");
    let (text, _) = ssh.exec(":put [:len [/file find name~\"csi/\"]]").await;
    assert_eq!(text, "2\r\n");
}

#[tokio::test]
async fn the_control_socket_injects_and_tells() {
    let options = Options {
        control: Some("127.0.0.1:0".parse().unwrap()),
        ..Options::default()
    };
    let sim = Sim::start(options).await.unwrap();
    let to = sim.control_address().unwrap();
    let ok = "{\"ok\":true}";
    for request in [
        r#"{"op":"inject","fault":"exec","matching":"/disk","skip":1,"harm":{"cut":{"after-statements":1}}}"#,
        r#"{"op":"clear-faults"}"#,
        r#"{"op":"inject","fault":"exec","harm":{"slow":{"ms":1}}}"#,
        r#"{"op":"inject","fault":"exec","harm":"garbage"}"#,
        r#"{"op":"inject","fault":"exec","harm":{"cut":"before"}}"#,
        r#"{"op":"inject","fault":"pool-state","state":"degraded"}"#,
        r#"{"op":"inject","fault":"permissions","denied":"writes"}"#,
        r#"{"op":"inject","fault":"foreign-file","path":"/storage-pool/x","content":"y"}"#,
        r#"{"op":"connected","slot":"a","connected":true}"#,
        r#"{"op":"variant","name":"shrink","value":"reject"}"#,
    ] {
        assert_eq!(ask(to, request).await.unwrap(), ok, "{request}");
    }
    let state = ask(to, r#"{"op":"state"}"#).await.unwrap();
    for part in [
        "\"state\":\"degraded\"",
        "\"shrink\":\"reject\"",
        "\"waiting_faults\":3",
        "[\"storage-pool/x\",1]",
        "\"denied\":\"writes\"",
    ] {
        assert!(state.contains(part), "{part} in {state}");
    }
    let ran = ask(to, r#"{"op":"exec","script":":put hello"}"#)
        .await
        .unwrap();
    assert!(ran.contains("hello"), "{ran}");
    assert!(
        ask(to, r#"{"op":"counters"}"#)
            .await
            .unwrap()
            .contains("\"executions\":0")
    );
    assert!(
        ask(to, r#"{"op":"fly"}"#)
            .await
            .unwrap()
            .contains("\"ok\":false")
    );
}

#[tokio::test]
async fn answers_take_as_long_as_they_are_told_to() {
    let sim = sim().await;
    let ssh = Ssh::login(&sim).await;
    let took = async |script: &str| {
        let before = tokio::time::Instant::now();
        assert_eq!(ssh.exec(script).await.1, Some(0));
        before.elapsed()
    };
    sim.inject(Fault::next(Harm::Slow { ms: 200 })).unwrap();
    assert!(took(":put x").await >= Duration::from_millis(200));
    assert!(took(":delay 150ms; :put x").await >= Duration::from_millis(150));
    sim.inject(Fault::Latency { ms: 100 }).unwrap();
    assert!(took(":put x").await >= Duration::from_millis(100));
}
