//! Port calls of a volume's life fail, before or after their effect, with the plugin
//! restarted at that moment or not; kubelet asks again.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rds_csi_host::fake::Fault;

use super::*;

/// One life: how the volume is used, whether it comes blank, the faults by the number
/// of the port call, and whether each ends the process.
#[derive(Debug)]
struct Life {
    used: Use,
    is_blank: bool,
    faults: BTreeMap<usize, Fault>,
    restart: bool,
}

impl Life {
    async fn call(&self, lab: &mut Lab, call: usize) {
        // Each fault fails one call at most.
        for _ in 0..=self.faults.len() {
            let outcome = match call {
                0 => lab.stage(self.used).await,
                1 => lab.publish(self.used).await,
                2 => lab.unpublish().await,
                _ => lab.unstage().await,
            };
            match outcome {
                Ok(()) => return,
                Err(error) => assert!(error.kind().is_retryable(), "{self:?}: {error}"),
            }
            if self.restart {
                lab.restart();
            }
        }
        panic!("call {call} does not succeed in {self:?}");
    }

    /// Lives it and returns how many port calls it took.
    async fn live(&self) -> usize {
        let mut lab = Lab::new(Medium::Blank);
        if let (false, Use::Filesystem(fs)) = (self.is_blank, self.used) {
            lab.array.set_medium(&lab.nqn, own(&lab, fs));
        }
        for (k, fault) in &self.faults {
            lab.host.fault_at(*k, *fault);
        }
        for call in 0..4 {
            self.call(&mut lab, call).await;
            if call == 1 {
                let staged = usize::from(self.used != Use::Block);
                assert_eq!(lab.mounts(STAGING), staged, "{self:?}");
                assert_eq!(lab.mounts(TARGET), staged, "{self:?}");
            }
        }
        lab.host.clear_faults();
        let log = lab.host.log();
        // A format that failed before its effect is the only one asked for again.
        let formats = (1..).zip(&log).filter(|(k, call)| {
            *call == "format" && self.faults.get(k).copied() != Some(Fault::Before)
        });
        let expected = self.is_blank && self.used != Use::Block;
        assert_eq!(formats.count(), usize::from(expected), "{self:?}: {log:?}");
        if let Use::Filesystem(fs) = self.used {
            assert_eq!(lab.medium(), own(&lab, fs), "{self:?}");
        }
        lab.assert_gone().await;
        log.len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_call_is_retried_to_the_end_and_formats_at_most_once() {
    for (used, is_blank, restart) in [
        (Use::Block, true, false),
        (Use::Block, true, true),
        (EXT4, true, false),
        (EXT4, true, true),
        (EXT4, false, true),
        (Use::Filesystem(FsType::Xfs), true, true),
    ] {
        for fault in [Fault::Before, Fault::After] {
            let mut k = 1;
            loop {
                let faults = BTreeMap::from([(k, fault)]);
                let life = Life {
                    used,
                    is_blank,
                    faults,
                    restart,
                };
                if life.live().await < k {
                    break;
                }
                k += 1;
            }
            assert!(k > 20, "only {k} calls were tried");
        }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Before), Just(Fault::After)]
}

proptest! {
    // Each life writes its record to a disk.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn many_faults_change_nothing_of_that(
        used in proptest::sample::select(Use::ALL.to_vec()),
        is_blank: bool,
        restart: bool,
        faults in proptest::collection::btree_map(1usize..80, fault(), 0..12),
    ) {
        let life = Life { used, is_blank, faults, restart };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(life.live());
    }
}

#[tokio::test]
async fn a_refusal_that_cannot_end_its_session_is_asked_again_and_then_refused() {
    let foreign = || Lab::new(Medium::Foreign("a GPT".to_owned()));
    let lab = foreign();
    assert_eq!(lab.stage(EXT4).await.unwrap_err().kind(), Kind::Conflict);
    let log = lab.host.log();
    let disconnect = log.iter().position(|call| call == "disconnect").unwrap() + 1;
    for fault in [Fault::Before, Fault::After] {
        let mut lab = foreign();
        lab.host.fault_at(disconnect, fault);
        let error = lab.stage(EXT4).await.unwrap_err();
        assert!(error.kind().is_retryable(), "{error}");
        assert!(error.to_string().contains("a GPT"), "{error}");
        lab.restart();
        assert_eq!(lab.stage(EXT4).await.unwrap_err().kind(), Kind::Conflict);
        lab.assert_gone().await;
    }
}
