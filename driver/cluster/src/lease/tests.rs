//! Several that want one lease, over an API server of one object and by a clock that only
//! tests set.

use std::future::pending;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use rstest::rstest;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;

fn held_by(holder: &str) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        ..LeaseSpec::default()
    }
}

#[test]
fn a_lease_is_taken_when_nobody_has_it_or_its_holder_is_silent() {
    let soon = DURATION - Duration::from_secs(1);
    let next = |lease: Option<LeaseSpec>, unchanged| next(lease.as_ref(), "me", unchanged, true);
    let of = |holder| Some(held_by(holder));
    assert_eq!(super::next(None, "me", Duration::ZERO, false), Step::Create);
    assert_eq!(next(None, soon), Step::Wait, "somebody may have had it");
    assert_eq!(next(None, DURATION), Step::Create);
    assert_eq!(next(of("me"), Duration::ZERO), Step::Renew);
    assert_eq!(next(of(""), soon), Step::Take);
    assert_eq!(next(Some(LeaseSpec::default()), soon), Step::Take);
    assert_eq!(next(of("you"), soon), Step::Wait);
    assert_eq!(next(of("you"), DURATION), Step::Take);
}

/// What becomes of requests: after which time they arrive, and after which more their answers
/// do, or that these never do.
#[derive(Clone, Copy)]
struct Way {
    there: Option<Duration>,
    back: Option<Duration>,
}

const OPEN: Way = Way {
    there: Some(Duration::ZERO),
    back: Some(Duration::ZERO),
};

/// What is tried to shake a lease off its holder.
const LATE: Option<Duration> = Some(Duration::from_secs(9));

/// The one object, with the number of its version.
type Store = Arc<Mutex<(u64, Option<Value>)>>;

/// Who wants the lease.
#[derive(Clone)]
struct Candidate {
    leadership: Leadership,
    way: Arc<Mutex<Way>>,
}

impl Candidate {
    fn of(store: &Store, running: &mut JoinSet<()>) -> Self {
        let candidate = Self {
            leadership: Leadership::default(),
            way: Arc::new(Mutex::new(OPEN)),
        };
        let (store, own) = (store.clone(), candidate.clone());
        running.spawn(async move {
            let answer = tower::service_fn(move |request| {
                answer(store.clone(), *own.way.lock().unwrap(), request)
            });
            let client = Client::new(answer, "default");
            let calls = Calls::default();
            let election = Election::new(client, &calls, &DriverName::default());
            election.hold(&own.leadership).await;
        });
        candidate
    }

    fn goes(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }
}

async fn answer(
    store: Store,
    way: Way,
    request: Request<Body>,
) -> Result<Response<Body>, kube::Error> {
    wait(way.there).await;
    let method = request.method().clone();
    let body = request.into_body().collect_bytes().await?;
    let answer = store.lock().unwrap().answer(&method, &body);
    wait(way.back).await;
    let (code, body) = match answer {
        Ok(lease) => (200, lease),
        Err(code) => (
            code,
            json!({"kind": "Status", "status": "Failure", "code": code}),
        ),
    };
    let answer = Response::builder().status(code);
    Ok(answer.body(body.to_string().into_bytes().into()).unwrap())
}

async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => pending().await,
    }
}

trait Answers {
    fn answer(&mut self, method: &Method, body: &[u8]) -> Result<Value, u16>;
}

impl Answers for (u64, Option<Value>) {
    fn answer(&mut self, method: &Method, body: &[u8]) -> Result<Value, u16> {
        let (version, lease) = self;
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let over = &said["metadata"]["resourceVersion"];
        match (method.as_str(), lease.as_mut()) {
            ("GET", Some(lease)) => return Ok(lease.clone()),
            ("POST", None) => *lease = Some(said),
            ("PATCH", Some(lease)) if lease["metadata"]["resourceVersion"] == *over => {
                for (key, value) in said["spec"].as_object().unwrap() {
                    lease["spec"][key] = value.clone();
                }
                if !said["metadata"]["annotations"].is_null() {
                    lease["metadata"]["annotations"] = said["metadata"]["annotations"].clone();
                }
            }
            ("POST" | "PATCH", Some(_)) => return Err(409),
            _ => return Err(404),
        }
        *version += 1;
        let lease = lease.as_mut().unwrap();
        lease["metadata"]["resourceVersion"] = json!(version.to_string());
        Ok(lease.clone())
    }
}

/// Lets time pass in which the two never lead at once; whether the second did in the end.
async fn pass(time: Duration, [first, second]: [&Candidate; 2]) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let leads = [first, second].map(|one| one.leadership.is_held());
        assert_ne!(
            leads,
            [true, true],
            "{:?} before the end",
            end - Instant::now()
        );
        sleep(Duration::from_millis(50)).await;
    }
    second.leadership.is_held()
}

/// Of what was asked, nothing or all may have come to pass, early or late.
#[rstest]
#[case::are_lost(Way { there: None, ..OPEN }, true)]
#[case::arrive_late(Way { there: LATE, ..OPEN }, true)]
#[case::are_answered_late(Way { back: LATE, ..OPEN }, true)]
#[case::are_not_answered(Way { back: None, ..OPEN }, true)]
#[case::take_a_while(Way { there: Some(LOOK / 2), back: Some(LOOK / 2) }, false)]
#[tokio::test(start_paused = true)]
async fn a_holder_stops_acting_before_another_begins_though_its_requests(
    #[case] way: Way,
    #[case] is_lost: bool,
) {
    for tenths in 0..30 {
        let (store, mut running) = (Store::default(), JoinSet::new());
        let first = Candidate::of(&store, &mut running);
        sleep(LOOK / 2).await;
        assert!(first.leadership.is_held());
        let second = Candidate::of(&store, &mut running);
        let both = [&first, &second];
        // Wherever between two looks it happens.
        assert!(!pass(LOOK + Duration::from_millis(100 * tenths), both).await);
        first.goes(way);
        assert_eq!(pass(DURATION + 3 * LOOK, both).await, is_lost);
        first.goes(OPEN);
        assert_eq!(pass(DURATION, both).await, is_lost);
        first.goes(Way { there: None, ..way });
        assert!(pass(DURATION + 3 * LOOK, both).await);
    }
}

/// One request that hangs costs nobody the lease.
#[tokio::test(start_paused = true)]
async fn a_holder_that_was_cut_off_for_a_moment_asks_again_before_another_may() {
    let (store, mut running) = (Store::default(), JoinSet::new());
    let first = Candidate::of(&store, &mut running);
    sleep(LOOK / 2).await;
    let second = Candidate::of(&store, &mut running);
    let both = [&first, &second];
    first.goes(Way {
        there: None,
        ..OPEN
    });
    pass(LOOK, both).await;
    first.goes(OPEN);
    assert!(!pass(2 * DURATION, both).await);
    assert!(first.leadership.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_lease_counts_from_when_it_was_asked_for_and_not_from_the_answer() {
    let (store, mut running) = (Store::default(), JoinSet::new());
    let back = Duration::from_secs(4);
    let first = Candidate::of(&store, &mut running);
    first.goes(Way {
        back: Some(back),
        ..OPEN
    });
    let asked = Instant::now() + back;
    sleep(2 * back + LOOK / 10).await;
    assert!(first.leadership.is_held());
    first.goes(Way {
        there: None,
        ..OPEN
    });
    sleep_until(asked + TRUST - LOOK / 10).await;
    assert!(first.leadership.is_held());
    sleep_until(asked + TRUST + LOOK / 10).await;
    assert!(!first.leadership.is_held());
}

/// Whoever deletes it makes nobody forget, whichever of them makes it anew, and no two lead.
#[tokio::test(start_paused = true)]
async fn a_lease_that_is_made_anew_says_what_the_one_before_said() {
    let (store, mut running) = (Store::default(), JoinSet::new());
    let first = Candidate::of(&store, &mut running);
    sleep(LOOK / 2).await;
    first.leadership.say("seen");
    let second = Candidate::of(&store, &mut running);
    pass(3 * LOOK, [&first, &second]).await;
    // The one that is cut off does not make it: first the one that follows, then the one that
    // leads, so that the other leads in the end.
    for (cut, other) in [(&second, &first), (&first, &second)] {
        cut.goes(Way {
            there: None,
            ..OPEN
        });
        store.lock().unwrap().1 = None;
        assert!(pass(DURATION + 3 * LOOK, [cut, other]).await);
        let said = store.lock().unwrap().1.clone().unwrap();
        let said = said["metadata"]["annotations"].as_object().unwrap();
        assert!(said.values().eq([&json!("seen")]), "{said:?}");
        cut.goes(OPEN);
        pass(DURATION + 3 * LOOK, [cut, other]).await;
        for candidate in [cut, other] {
            assert_eq!(candidate.leadership.word().as_deref(), Some("seen"));
        }
    }
}
