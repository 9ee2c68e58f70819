//! Tables of nodes and answers.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::attachment::identity::NodeIdentity;
use crate::attachment::judge::tests::sample::standing;
use crate::attachment::observation::{Claim, Node, Reading, Volume};
use crate::attachment::pod::{Pod, Role};
use crate::kind::{Failure as _, Kind};

fn pod(phase: Phase) -> Pod {
    Pod {
        namespace: "vms".to_owned(),
        name: "p".to_owned(),
        uid: "u".to_owned(),
        node: "a".to_owned(),
        phase,
        leaving: true,
        role: Role::Other,
        migration: None,
        claims: vec!["root".to_owned()],
    }
}

fn seen(node: Reading<Option<Node>>, phases: &[Phase]) -> Observations {
    Observations {
        volume: Volume {
            claim: Some(Claim {
                namespace: "vms".to_owned(),
                name: "root".to_owned(),
            }),
            ..Volume::default()
        },
        nodes: [("a".to_owned(), node)].into(),
        pods: Reading::Complete(phases.iter().map(|phase| pod(*phase)).collect()),
        ..Observations::default()
    }
}

fn word(release: &Release) -> String {
    match release {
        Release::LetGo(LetGo::NotInUse(_)) => "NotInUse".to_owned(),
        Release::LetGo(why) => format!("{why:?}"),
        Release::Keep(denial) => denial.rule.to_string(),
        Release::Unknown(unread) => unread.part.to_string(),
    }
}

/// A node by its letters: ready, out of service, in use.
fn node(letters: &str) -> Reading<Option<Node>> {
    Reading::Complete(Some(Node {
        ready: letters.contains('r'),
        out_of_service: letters.contains('o'),
        in_use: letters.contains('u'),
        ..Node::default()
    }))
}

#[rstest]
#[case::works("r", &[], "NotInUse")]
#[case::works_and_the_pod_goes("r", &[Phase::Running], "NotInUse")]
#[case::still_mounted("ru", &[Phase::Running], "in-use")]
#[case::one_still_runs("ru", &[Phase::Pending, Phase::Running], "in-use")]
#[case::forgotten_pods("ru", &[], "in-use")]
#[case::ended_and_still_mounted("ru", &[Phase::Over], "in-use")]
#[case::only_waits("ru", &[Phase::Pending], "NotBegun")]
#[case::not_ready("", &[], "node-loss")]
#[case::not_ready_in_use("u", &[], "node-loss")]
#[case::said_to_be_off("o", &[Phase::Running], "OutOfService")]
#[case::said_to_be_off_in_use("ou", &[], "OutOfService")]
#[case::said_to_be_off_and_is_not("rou", &[], "in-use")]
fn a_node_lets_go(#[case] letters: &str, #[case] phases: &[Phase], #[case] expected: &str) {
    let seen = seen(node(letters), phases);
    let answer = release(Some("a"), &Modes::default(), &seen);
    assert_eq!(word(&answer), expected, "{answer:?}");
}

#[test]
fn what_is_gone_is_gone() {
    let modes = Modes::default();
    let none = seen(Reading::Complete(None), &[]);
    assert_eq!(word(&release(Some("a"), &modes, &none)), "Vanished");
    for no_node in [None, Some("")] {
        let answer = release(no_node, &modes, &Observations::default());
        assert_eq!(word(&answer), "NoNode");
    }
}

#[test]
fn what_could_not_be_read_is_not_let_go() {
    let modes = Modes::default();
    assert_eq!(
        word(&release(Some("a"), &modes, &Observations::default())),
        "node a"
    );
    let failed = seen(Reading::Failed("timed out".to_owned()), &[]);
    let Release::Unknown(unread) = release(Some("a"), &modes, &failed) else {
        panic!()
    };
    assert!(unread.to_string().contains("timed out"));
    assert_eq!(unread.kind(), Kind::Unreachable);
    let mut pods = seen(node("ru"), &[]);
    pods.pods = Reading::NotYet;
    assert_eq!(
        word(&release(Some("a"), &modes, &pods)),
        "the pods that use the volume"
    );
}

#[test]
fn a_node_that_may_write_is_named_with_the_command() {
    let modes = Modes::default();
    let Release::Keep(denial) = release(Some("a"), &modes, &seen(node("u"), &[])) else {
        panic!()
    };
    let message = denial.to_string();
    assert!(
        message.contains("kubectl taint node a node.kubernetes.io/out-of-service="),
        "{message}"
    );
    assert_eq!(denial.kind(), Kind::Unreachable);
    let relaxed = modes
        .with(Rule::NodeLoss, Mode::Warn)
        .with(Rule::InUse, Mode::Warn);
    assert_eq!(
        word(&release(Some("a"), &relaxed, &seen(node("u"), &[]))),
        "Relaxed"
    );
    assert_eq!(
        word(&release(Some("a"), &relaxed, &seen(node("ru"), &[]))),
        "in-use"
    );
}

/// The UIDs of a machine and of a Node object.
type Who = (&'static str, &'static str);

fn identity((machine, object): Who) -> Option<NodeIdentity> {
    NodeIdentity::of(machine, "", object)
}

#[rstest]
#[case::the_same(Some(("m", "o")), Some(("m", "o")), true)]
#[case::another_machine_by_another_object(Some(("m", "o")), Some(("n", "p")), false)]
#[case::another_machine(Some(("m", "o")), Some(("n", "o")), false)]
#[case::an_object_made_anew(Some(("m", "o")), Some(("m", "p")), false)]
#[case::it_does_not_say_who_it_is(Some(("m", "o")), None, false)]
fn what_a_node_does_not_use_it_has_let_go_of_if_it_was_the_one_that_had_it(
    #[case] then: Option<Who>,
    #[case] now: Option<Who>,
    #[case] expected: bool,
) {
    let node = Node {
        ready: true,
        identity: now.and_then(identity),
        created: Some(0),
        ..Node::default()
    };
    let modes = Modes::default();
    let let_go = |node| match release(Some("a"), &modes, &seen(Reading::Complete(Some(node)), &[]))
    {
        Release::LetGo(let_go) => let_go,
        other => panic!("{other:?}"),
    };
    let attachment = VolumeAttachment {
        created: Some(10),
        ..standing("a").attachment
    };
    let entry = Entry {
        node: Some("a".to_owned()),
        identity: then.and_then(identity),
        reader: false,
        released: false,
    };
    assert_eq!(let_go(node).is_certain(&attachment, Some(&entry)), expected);
    // Of one that nobody noted it is enough that the object was there before the attachment.
    let unknown = Entry {
        identity: None,
        ..entry
    };
    for (created, expected) in [
        (Some(9), true),
        (Some(10), false),
        (Some(11), false),
        (None, false),
    ] {
        let let_go = let_go(Node { created, ..node });
        for recorded in [None, Some(&unknown)] {
            assert_eq!(
                let_go.is_certain(&attachment, recorded),
                expected,
                "{created:?}"
            );
        }
    }
}

proptest! {
    /// Nobody lets go of a node that may write: unready, and not said to be off.
    #[test]
    fn a_node_that_may_write_is_kept(in_use in any::<bool>(), running in any::<bool>()) {
        let phases = [if running { Phase::Running } else { Phase::Pending }];
        let letters = if in_use { "u" } else { "" };
        let answer = release(Some("a"), &Modes::default(), &seen(node(letters), &phases));
        prop_assert!(matches!(answer, Release::Keep(_)), "{:?}", answer);
    }
}
