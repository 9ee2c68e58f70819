//! That both maps read back, and that those of the older driver are read.

use proptest::prelude::*;

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn a_volume_of_the_older_driver_is_read() {
    let context = VolumeContext::parse(&map(&[
        ("rdsAddress", "10.42.241.3"),
        ("nvmeAddress", "10.42.68.1"),
        ("nvmePort", "4420"),
        (
            "nqn",
            "nqn.2000-02.com.mikrotik:pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e",
        ),
        ("volumePath", "/storage-pool/metal-csi"),
        ("ctrlLossTmo", "-1"),
        ("reconnectDelay", "5"),
        ("keepAliveTmo", "0"),
        ("migrationTimeoutSeconds", "300"),
        (
            "storage.kubernetes.io/csiProvisionerIdentity",
            "1770000000000-1234-rds.csi.srvlab.io",
        ),
    ]))
    .unwrap();
    assert_eq!(context.tuning, Tuning::default());
    assert_eq!(context.nvme_address.to_string(), "10.42.68.1");
}

#[test]
fn what_is_missing_or_absurd_is_named() {
    let whole = [
        ("nvmeAddress", "10.0.0.1"),
        ("nqn", "nqn.2000-02.com.mikrotik:x"),
        ("volumePath", "/pool/csi"),
    ];
    assert!(VolumeContext::parse(&map(&whole)).is_ok());
    for skip in 0..whole.len() {
        let rest: Vec<_> = whole
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != skip)
            .map(|(_, pair)| *pair)
            .collect();
        let error = VolumeContext::parse(&map(&rest)).unwrap_err().to_string();
        assert!(error.contains(whole[skip].0), "{error}");
    }
    for (key, value) in [
        ("nvmePort", "0"),
        ("nvmePort", "x"),
        ("nvmeAddress", "host"),
        ("nqn", "a,b"),
        ("volumePath", "../x"),
        ("reconnectDelay", "0"),
    ] {
        let mut changed = map(&whole);
        changed.insert(key.to_owned(), value.to_owned());
        let error = VolumeContext::parse(&changed).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

prop_compose! {
    fn tuning()(loss in proptest::option::of(2u32..86_400), delay in 1u32..=60, keep in 1u32..=120, fast in proptest::option::of(0u32..2), queues in proptest::option::of(1u32..=128)) -> Tuning {
        Tuning { ctrl_loss_tmo: loss, reconnect_delay: delay, keep_alive_tmo: keep, fast_io_fail_tmo: fast, nr_io_queues: queues }
    }
}

proptest! {
    #[test]
    fn a_volume_context_reads_back(address: [u8; 16], port in 1u16.., tuning in tuning(), migration in proptest::option::of(30u32..86_400)) {
        let context = VolumeContext {
            nvme_address: IpAddr::from(address),
            nvme_port: port,
            nqn: "nqn.2000-02.com.mikrotik:pvc-x".parse().unwrap(),
            volume_directory: VolumeDirectory::default(),
            tuning,
            migration_timeout_seconds: migration,
        };
        prop_assert_eq!(VolumeContext::parse(&context.to_map()).unwrap(), context);
    }

    #[test]
    fn a_publish_context_reads_back(size in proptest::option::of(any::<u64>()), used in proptest::option::of("[0-9TZ:-]{1,20}"), why in proptest::option::of("\\PC{1,20}"), is_renewed in any::<bool>(), reader in any::<bool>()) {
        let context = PublishContext { size: size.map(Bytes::new), first_used: used, format_override: why, nqn: is_renewed.then(|| "nqn.2000-02.com.mikrotik:epoch-0123456789ab:pvc-x".parse().unwrap()), reader };
        prop_assert_eq!(PublishContext::parse(&context.to_map()).unwrap(), context);
    }
}
