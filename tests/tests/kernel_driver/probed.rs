//! The controller's trial of the device, against a real target.

use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::plugin::ControllerProcess;
use rds_csi_tests::wait::until;
use serde_json::json;

use crate::cluster::{Cluster, DEADLINE};
use crate::fenced::serve;

/// What the controllers of this API server tell each other of the device.
pub(crate) async fn seen(api: &FakeApiServer) -> String {
    until("the device is tried", DEADLINE, async || {
        let leases = api.list("leases");
        let key = "/metadata/annotations/rds.csi.srvlab.io~1device-access";
        let said = leases.first().and_then(|lease| lease.pointer(key));
        Ok(said.and_then(|said| said.as_str()).map(str::to_owned))
    })
    .await
    .unwrap()
}

/// The kernel's target is what the simulator serves exports with, and what the device has as
/// far as anybody can tell: it looks at hosts when they connect, and ends sessions with the
/// export.
#[tokio::test]
async fn a_real_target_answers_as_its_rule_is_and_ends_sessions_with_their_export() {
    for rule in ["exact", "list", "ignored"] {
        let mut cluster = Cluster::boot_on(&[&format!("access-rule={rule}")], &[], true).await;
        let api = serve(&cluster).await;
        let kubeconfig = FakeApiServer::kubeconfig(api.address());
        let (lab, appliance) = (&cluster.lab, &cluster.appliance);
        let controller = ControllerProcess::start_asking(lab, appliance, &kubeconfig, &[]);
        cluster.controller = controller.await.unwrap();
        let seen = seen(&api).await;
        println!("{rule}: {seen}");
        let expected = format!("rule={rule},keeps-sessions=true,ends-sessions=true,");
        assert!(seen.starts_with(&expected), "{seen}");
        let address = cluster.appliance.address();
        assert!(seen.contains(&format!("address={address}:4420,")), "{seen}");
        let state = cluster.appliance.control(&json!({"op": "state"})).await;
        let state = state.unwrap().to_string();
        assert!(!state.contains("rds-csi-probe"), "left: {state}");
        cluster.assert_clean().await;
    }
}
