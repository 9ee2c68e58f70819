//! A whole controller on a real socket, over a device that takes its time.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use csi_proto::v1::controller_client::ControllerClient;
use csi_proto::v1::identity_client::IdentityClient;
use csi_proto::v1::plugin_capability::{Service, Type, VolumeExpansion};
use csi_proto::v1::plugin_capability::{service, volume_expansion};
use csi_proto::v1::{
    DeleteVolumeRequest, GetPluginCapabilitiesRequest, GetPluginInfoRequest, PluginCapability,
    ProbeRequest,
};
use rds_csi_driver::config::Role;
use rds_csi_driver::serve::{Driver, ServeError};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::device::SlowDevice;
use crate::running::{Running, channel, role, soon};

const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHtWzgSZyS0fDb2CTGFmvZ0DDNRcbHuhvmMJ1k5Pc3Ah";

/// A controller of the device, whose socket lies in `base`.
async fn start(base: &TempDir, device: Arc<SlowDevice>, grace: &str) -> Running {
    let key = base.path().join("key");
    fs::write(&key, "").unwrap();
    let args = [
        "controller",
        "--cluster=none",
        "--cluster-id=c1",
        "--rds-address=127.0.0.1",
        "--admin-listen=127.0.0.1:0",
        "--shutdown-grace",
        grace,
        "--rds-host-key",
        HOST_KEY,
        "--rds-key-file",
        key.to_str().unwrap(),
        "--endpoint",
        base.path().join("csi.sock").to_str().unwrap(),
    ]
    .map(str::to_owned);
    let Role::Controller(config) = role(args) else {
        panic!("a controller was asked for");
    };
    let stop = CancellationToken::new();
    let driver = Driver::controller(&config, device, None, stop.clone()).await;
    Running::start(driver.unwrap(), &config.endpoint, stop)
}

fn delete() -> DeleteVolumeRequest {
    DeleteVolumeRequest {
        volume_id: "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".to_owned(),
        ..DeleteVolumeRequest::default()
    }
}

#[tokio::test]
async fn identity_says_who_it_is_while_the_device_is_down() {
    let base = tempfile::tempdir().unwrap();
    let running = start(&base, Arc::new(SlowDevice::default()), "25s").await;
    let mut client = IdentityClient::new(channel(&running.socket).await);
    let info = client.get_plugin_info(GetPluginInfoRequest {}).await;
    let info = info.unwrap().into_inner();
    assert_eq!(info.name, "rds.csi.srvlab.io");
    assert_eq!(info.vendor_version, env!("CARGO_PKG_VERSION"));
    assert_eq!(info.manifest["role"], "controller");

    let answer = client
        .get_plugin_capabilities(GetPluginCapabilitiesRequest {})
        .await;
    let kinds = [
        Type::Service(Service {
            r#type: service::Type::ControllerService.into(),
        }),
        Type::VolumeExpansion(VolumeExpansion {
            r#type: volume_expansion::Type::Online.into(),
        }),
    ];
    assert_eq!(
        answer.unwrap().into_inner().capabilities,
        kinds.map(|kind| PluginCapability { r#type: Some(kind) })
    );
    let probe = client.probe(ProbeRequest {}).await.unwrap().into_inner();
    assert_eq!(probe.ready, Some(true));
    running.end().await.unwrap();
}

#[tokio::test]
async fn the_admin_port_tells_life_readiness_and_numbers_apart() {
    let base = tempfile::tempdir().unwrap();
    let running = start(&base, Arc::new(SlowDevice::default()), "25s").await;
    let mut client = IdentityClient::new(channel(&running.socket).await);
    client.probe(ProbeRequest {}).await.unwrap();

    let health = running.get("/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    let ready = running.get("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    assert!(
        ready.ends_with("device: no route to host\nserving: ok\n"),
        "{ready}"
    );
    let numbers = running.get("/metrics").await;
    // The client's Probe, and the one by which the process asks itself.
    for line in [
        "rds_csi_rpc_total{rpc=\"Probe\",code=\"OK\"} 2",
        "rds_csi_rpc_duration_seconds_count{rpc=\"Probe\"} 2",
        "rds_csi_rds_connection_state 0",
        "rds_csi_operations_in_flight 0",
    ] {
        assert!(numbers.lines().any(|found| found == line), "{numbers}");
    }
    running.end().await.unwrap();
}

#[tokio::test]
async fn an_operation_ends_though_its_client_left_and_shutdown_waits_for_it() {
    let device = Arc::new(SlowDevice::default());
    let base = tempfile::tempdir().unwrap();
    let mut running = start(&base, device.clone(), "25s").await;
    let socket = running.socket.clone();

    let mut leaving = ControllerClient::new(channel(&socket).await);
    tokio::select! {
        answer = leaving.delete_volume(delete()) => panic!("the device is slow: {answer:?}"),
        () = soon(device.asked()) => {}
    }
    drop(leaving);

    let mut second = ControllerClient::new(channel(&socket).await);
    let busy = second.delete_volume(delete()).await.unwrap_err();
    assert_eq!(busy.code(), Code::Aborted);
    running
        .metric("rds_csi_rpc_total{rpc=\"DeleteVolume\",code=\"CANCELLED\"} 1")
        .await;
    running.metric("rds_csi_operations_in_flight 1").await;

    running.stop.cancel();
    let early = tokio::time::timeout(Duration::from_millis(300), running.ended()).await;
    assert!(early.is_err(), "it did not wait for the operation");
    device.answer();
    soon(running.ended()).await.unwrap();
    assert!(!device.was_cut_off());
    assert!(!Path::new(&socket).exists());
}

#[tokio::test]
async fn a_volume_is_free_again_when_the_operation_has_ended() {
    let device = Arc::new(SlowDevice::default());
    device.answer();
    let base = tempfile::tempdir().unwrap();
    let running = start(&base, device, "25s").await;
    let mut client = ControllerClient::new(channel(&running.socket).await);
    for _ in 0..3 {
        soon(client.delete_volume(delete())).await.unwrap();
    }
    running.end().await.unwrap();
}

#[tokio::test]
async fn an_operation_without_end_does_not_hold_up_the_end_for_ever() {
    let device = Arc::new(SlowDevice::default());
    let base = tempfile::tempdir().unwrap();
    let mut running = start(&base, device.clone(), "1s").await;
    let mut client = ControllerClient::new(channel(&running.socket).await);
    tokio::select! {
        answer = client.delete_volume(delete()) => panic!("the device is slow: {answer:?}"),
        () = soon(device.asked()) => {}
    }
    running.stop.cancel();
    let error = soon(running.ended()).await.unwrap_err();
    assert!(
        matches!(error, ServeError::CutOff { in_flight: 1, .. }),
        "{error:?}"
    );
}
