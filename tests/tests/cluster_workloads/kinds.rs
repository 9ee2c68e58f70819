//! ext4, xfs and raw devices: the main job, and growing while in use.

use rds_csi_tests::cluster::claim::Claim;
use serde_json::Value;

use crate::stand::{Stand, pod_with_all};

/// 4 MiB that nobody can guess, everywhere.
const WRITE: &str = "for at in /ext4/data /xfs/data /dev/raw; do
    head -c 4194304 /dev/urandom | dd of=$at bs=1M iflag=fullblock conv=fsync,notrunc 2>/dev/null
done";
const READ: &str = "for at in /ext4/data /xfs/data /dev/raw; do head -c 4194304 $at | md5sum; done";
/// Size of the filesystems in KiB and of the device in bytes, what is mounted, and where.
const SIZES: &str = "df -k /ext4 /xfs | awk 'NR > 1 {print $2}'; blockdev --getsize64 /dev/raw";

async fn sizes(stand: &Stand, pod: &str) -> [u64; 3] {
    let sizes = stand.sh(pod, SIZES).await;
    let sizes: Vec<u64> = sizes.lines().map(|line| line.parse().unwrap()).collect();
    sizes.try_into().unwrap()
}

#[tokio::test]
async fn ext4_xfs_and_raw_devices_keep_their_data_through_growth_in_use_and_on_another_node() {
    let stand = Stand::shared("work-kinds").await;
    let claims = stand.cluster.kinds("").await.unwrap();
    let mut objects: Vec<Value> = claims.iter().map(Claim::manifest).collect();
    objects.push(pod_with_all("writer", Some("node-a"), &claims));
    stand.apply(&objects).await;
    stand.ready(&["writer"]).await;
    let mounts = stand
        .sh("writer", "grep -E ' /(ext4|xfs) ' /proc/mounts")
        .await;
    for line in mounts.lines() {
        assert!(
            line.starts_with("/dev/nvme") && line.contains(" rw,"),
            "{line}"
        );
    }
    assert!(
        mounts.contains(" /ext4 ext4 ") && mounts.contains(" /xfs xfs "),
        "{mounts}"
    );
    stand.sh("writer", WRITE).await;
    let written = stand.sh("writer", READ).await;
    let small = sizes(&stand, "writer").await;
    assert_eq!(small[2], 64 << 20);

    let bigger = [("ext4", "128Mi"), ("xfs", "384Mi"), ("raw", "128Mi")];
    for (claim, size) in bigger {
        stand.grow(claim, size).await;
    }
    for (claim, size) in bigger {
        // kubelet says so once the node has done its part.
        let capacity = format!("jsonpath={{.status.capacity.storage}}={size}");
        stand.wait(&capacity, &[&format!("pvc/{claim}")]).await;
    }
    let big = sizes(&stand, "writer").await;
    assert!(
        small[0] < 64 << 10 && big[0] > 100 << 10,
        "{small:?} {big:?}"
    );
    assert!(
        small[1] < 320 << 10 && big[1] > small[1] + (50 << 10),
        "{small:?} {big:?}"
    );
    assert_eq!(big[2], 128 << 20);
    assert_eq!(stand.sh("writer", READ).await, written);

    stand.remove(&["pod/writer"]).await;
    stand
        .apply(&[pod_with_all("reader", Some("node-b"), &claims)])
        .await;
    stand.ready(&["reader"]).await;
    assert_eq!(stand.sh("reader", READ).await, written);
    assert_eq!(sizes(&stand, "reader").await, big);
    stand.close().await;
}
