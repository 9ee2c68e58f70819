//! That an operation outlives its caller, and nothing outlives a panic.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::oneshot;
use tonic::Code;

use super::*;
use crate::inflight::VolumeLocks;

#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
struct Failed(Kind);

impl Failure for Failed {
    fn kind(&self) -> Kind {
        self.0
    }
}

fn tasks() -> (Tasks, CancellationToken) {
    let token = CancellationToken::new();
    (Tasks::new(token.clone()), token)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("it should have ended long ago")
}

#[tokio::test]
async fn the_result_and_the_error_reach_the_caller() {
    let (tasks, _) = tasks();
    let locks = VolumeLocks::default();
    let guard = locks.try_lock("pvc-1").unwrap();
    let done = tasks
        .run("create", guard, async { Ok::<_, Failed>(7) })
        .await;
    assert_eq!(done.unwrap(), 7);
    let guard = locks.try_lock("pvc-1").unwrap();
    let failed = tasks
        .run("create", guard, async {
            Err::<(), _>(Failed(Kind::Exhausted))
        })
        .await;
    assert_eq!(failed.unwrap_err().code(), Code::ResourceExhausted);
    let read = tasks
        .read(async { Err::<(), _>(Failed(Kind::Timeout)) })
        .await;
    assert_eq!(read.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(locks.try_lock("pvc-1").is_ok());
}

#[tokio::test]
async fn an_operation_outlives_its_caller_and_keeps_the_volume() {
    let (tasks, _) = tasks();
    let locks = VolumeLocks::default();
    let (begun, may_go_on) = (oneshot::channel(), oneshot::channel::<()>());
    let guard = locks.try_lock("pvc-1").unwrap();
    let mut call = Box::pin(tasks.run("create", guard, async move {
        begun.0.send(()).unwrap();
        may_go_on.1.await.unwrap();
        Ok::<_, Failed>(())
    }));
    tokio::select! {
        _ = &mut call => panic!("the step is paused"),
        begun = begun.1 => begun.unwrap(),
    }
    drop(call);
    assert_eq!(tasks.in_flight(), 1);
    assert!(locks.try_lock("pvc-1").is_err());

    let mut finished = pin!(tasks.finished());
    assert!(futures::poll!(&mut finished).is_pending());
    may_go_on.0.send(()).unwrap();
    soon(finished).await;
    assert_eq!(tasks.in_flight(), 0);
    assert!(locks.try_lock("pvc-1").is_ok());
}

async fn defect(message: &'static str) -> Result<(), Failed> {
    panic!("{message}")
}

#[tokio::test]
async fn a_panic_leaves_the_outcome_open_and_frees_the_volume() {
    let (tasks, _) = tasks();
    let locks = VolumeLocks::default();
    let guard = locks.try_lock("pvc-1").unwrap();
    let failed = tasks
        .run("create", guard, defect("no pool"))
        .await
        .unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);
    assert_eq!(failed.message(), "create panicked: no pool");
    assert!(locks.try_lock("pvc-1").is_ok());
}

#[tokio::test]
async fn nothing_is_begun_while_shutting_down() {
    let (tasks, token) = tasks();
    let locks = VolumeLocks::default();
    token.cancel();
    let guard = locks.try_lock("pvc-1").unwrap();
    let refused = tasks
        .run("create", guard, defect("begun while shutting down"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(locks.try_lock("pvc-1").is_ok());
    soon(tasks.finished()).await;
}

#[tokio::test]
async fn the_span_of_the_call_goes_with_the_operation() {
    let (tasks, _) = tasks();
    let locks = VolumeLocks::default();
    let subscriber = tracing_subscriber::registry();
    let _default = tracing::subscriber::set_default(subscriber);
    let span = tracing::info_span!("rpc");
    let id = span.id();
    assert!(id.is_some());
    let guard = locks.try_lock("pvc-1").unwrap();
    let seen = tasks
        .run("create", guard, async {
            Ok::<_, Failed>(tracing::Span::current().id())
        })
        .instrument(span)
        .await;
    assert_eq!(seen.unwrap(), id);
}
