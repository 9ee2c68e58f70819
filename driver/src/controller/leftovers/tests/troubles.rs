//! Calls that fail, leadership that is lost, and two that act at once.

use super::*;

/// Whichever call fails, before or after it took effect: what was read before counts, what was
/// not read clears nothing, and what was done is told once.
#[tokio::test(start_paused = true)]
async fn any_call_may_fail() {
    let all = left();
    during(&all, minutes(14)).await;
    assert!(all.calls() > 25, "{} calls", all.calls());
    for call in 0..all.calls() {
        for fault in [Fault::Before, Fault::After] {
            let cluster = left();
            cluster.fail(call, fault);
            let (told, _) = during(&cluster, async {
                sleep(Duration::from_secs(599)).await;
                assert!(!is_cleared(&cluster, "gone"), "{call} {fault:?}");
                minutes(3).await;
                assert!(is_cleared(&cluster, "gone"), "{call} {fault:?}");
            })
            .await;
            let once = [event::STALE_ATTACHMENT_CLEARED];
            assert_eq!(reasons(&told), once, "{call} {fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_api_server_begins_anew() {
    let cluster = left();
    // Two calls a look, of which the first fails: ten looks and a half, then five minutes.
    during(&cluster, async {
        sleep(Duration::from_secs(500)).await;
        let calls = cluster.calls();
        for call in calls..calls + 5 {
            cluster.fail(call, Fault::Before);
        }
        sleep(Duration::from_secs(320 + 599)).await;
        assert!(!is_cleared(&cluster, "gone"));
        minutes(2).await;
        assert!(is_cleared(&cluster, "gone"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_before_leadership_was_lost_for_a_moment_is_forgotten() {
    let cluster = left();
    let (told, _) = during(&cluster, async {
        sleep(Duration::from_secs(570)).await;
        cluster.lead(false);
        cluster.lead(true);
        sleep(Duration::from_secs(599)).await;
        assert!(!is_cleared(&cluster, "gone"));
        minutes(2).await;
        assert!(is_cleared(&cluster, "gone"));
    })
    .await;
    assert_eq!(reasons(&told), [event::STALE_ATTACHMENT_CLEARED]);
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_lead_looks_at_nothing() {
    let cluster = left();
    cluster.lead(false);
    let (told, page) = during(&cluster, minutes(60)).await;
    assert_eq!((cluster.calls(), told), (0, Vec::new()));
    assert!(page.contains("attachment_stale 0\n"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn leadership_that_is_lost_in_a_look_clears_nothing_in_it() {
    for is_lost in [false, true] {
        let cluster = left();
        let (driver, ..) = controller(&cluster);
        let leadership = cluster.leadership();
        let mut pass = Pass {
            cluster: &driver,
            began: Instant::now(),
            leadership: &leadership,
            term: leadership.term(),
            leftovers: &mut Leftovers::default(),
        };
        if is_lost {
            cluster.lead(false);
            cluster.lead(true);
        }
        for _ in 0..=10 {
            pass.look().await.unwrap();
            minutes(1).await;
        }
        assert_eq!(is_cleared(&cluster, "gone"), !is_lost);
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_both_believe_to_lead_clear_and_tell_once() {
    let cluster = left();
    let one = during(&cluster, minutes(15));
    let ((one, _), (other, _)) = tokio::join!(one, during(&cluster, minutes(15)));
    assert!(is_cleared(&cluster, "gone"));
    let all: Vec<_> = [reasons(&one), reasons(&other)].concat();
    assert_eq!(all, [event::STALE_ATTACHMENT_CLEARED]);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_judged_holds_up_no_other() {
    let cluster = left();
    cluster.wish("va-lost", "lost", "pv");
    cluster.attach("lost");
    cluster.node_is("lost", None);
    during(&cluster, async {
        sleep(Duration::from_secs(599)).await;
        // Attachments and nodes, and then the volume of the first.
        cluster.fail(cluster.calls() + 2, Fault::Before);
        sleep(Duration::from_secs(31)).await;
        let leaving = |node: &str| {
            let mut all = cluster.attachments().into_iter();
            all.any(|found| found.node == node && found.leaving)
        };
        assert!(!leaving("gone") && leaving("lost"));
        minutes(1).await;
        assert!(leaving("gone"));
    })
    .await;
}
