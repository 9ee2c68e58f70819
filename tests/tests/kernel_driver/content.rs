//! Volumes whose files on the appliance hold something already.

use rds_csi_tests::volume::{Claim, Volume};
use tonic::Code;

use crate::cluster::{Cluster, Node};
use crate::pod::Pod;

struct Case {
    name: &'static str,
    mebibytes: i64,
    fs: &'static str,
    /// Writes the content to `$f`, the volume's file, of `$size` bytes.
    prepare: &'static str,
    /// A word of the refusal.
    told: &'static str,
}

const fn case(name: &'static str, prepare: &'static str, told: &'static str) -> Case {
    Case {
        name,
        mebibytes: 32,
        fs: "ext4",
        prepare,
        told,
    }
}

/// The least size of an XFS, in MiB.
const LARGE: i64 = 320;

/// `put OFFSET BYTES` writes escaped bytes; the entry of a partition table begins with
/// its boot flag and has the type at its fifth byte.
const CASES: [Case; 11] = [
    case(
        "mbr",
        r"put 446 '\x80\x20\x21\x00\x83\xfe\xff\xff\x00\x08\x00\x00\x00\xe8\x01\x00'; put 510 '\x55\xaa'",
        "not blank",
    ),
    case(
        "gpt",
        r"put 446 '\x00\x00\x02\x00\xee\xff\xff\xff\x01\x00\x00\x00\xff\xff\x01\x00'; put 510 '\x55\xaa'
          put 512 'EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00'
          put $((size - 512)) 'EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00'",
        "not blank",
    ),
    case(
        "backup-gpt",
        r"put $((size - 512)) 'EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00'",
        "not blank",
    ),
    case("luks", r"put 0 'LUKS\xba\xbe\x00\x01aes'", "not blank"),
    case(
        "lvm",
        r"put 512 'LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00LVM2 001'",
        "not blank",
    ),
    Case {
        mebibytes: LARGE,
        ..case("other-type", "mkfs.xfs -q -f $f", "carries xfs")
    },
    case("foreign-uuid", "mkfs.ext4 -q -F $f", "carries ext4"),
    Case {
        mebibytes: LARGE,
        fs: "xfs",
        ..case("foreign-xfs", "mkfs.xfs -q -f $f", "carries xfs")
    },
    case("random-start", "random 0", "not blank"),
    Case {
        mebibytes: 64,
        ..case("random-middle", "random $((size / 2))", "not blank")
    },
    case("random-end", "random $((size - 512))", "not blank"),
];

const TOOLS: &str = r#"
    put() { printf "$2" | dd of=$f bs=512 seek=$1 oflag=seek_bytes conv=notrunc,fsync status=none; }
    random() { dd if=/dev/urandom of=$f bs=512 count=1 seek=$1 oflag=seek_bytes conv=notrunc,fsync status=none; }
"#;

async fn with_content(cluster: &Cluster, case: &Case, claim: Claim) -> Volume {
    let volume = claim.create(cluster.controller()).await.unwrap();
    let file = cluster.backing_file(&volume).await;
    let script = format!(
        "{TOOLS} f={file}; size=$(stat -c %s $f); {}; sync $f",
        case.prepare
    );
    cluster.appliance.guest().script(&script).await.unwrap();
    volume
}

async fn never_formatted(cluster: &Cluster, node: &Node, case: &Case) {
    let controller = cluster.controller();
    let claim = Claim::filesystem(&format!("fs-{}", case.name), case.mebibytes, case.fs);
    let volume = with_content(cluster, case, claim).await;
    let before = cluster.backing_sum(&volume).await;
    let context = volume.attach(controller, &node.name).await.unwrap();
    for _ in 0..2 {
        let refused = volume.stage(node.plugin(), &context).await.unwrap_err();
        let (code, message) = (refused.code(), refused.message());
        assert_eq!(code, Code::FailedPrecondition, "{}: {message}", case.name);
        assert!(message.contains(case.told), "{}: {message}", case.name);
    }
    assert_eq!(cluster.backing_sum(&volume).await, before, "{}", case.name);
    // Nobody asks to unstage what was refused.
    node.assert_clean().await;
    volume.detach(controller, &node.name).await.unwrap();
    volume.delete(controller).await.unwrap();
}

async fn usable_as_block(cluster: &Cluster, node: &Node, case: &Case) {
    let controller = cluster.controller();
    let claim = Claim::block(&format!("block-{}", case.name), case.mebibytes);
    let volume = with_content(cluster, case, claim).await;
    let before = cluster.backing_sum(&volume).await;
    let pod = Pod::start(controller, node, &volume, "pod").await;
    let read = format!(
        "dd if={} bs=1M iflag=direct status=none | cksum",
        pod.target
    );
    assert_eq!(node.script(&read).await, before.trim(), "{}", case.name);
    pod.stop(controller, node, &volume).await;
    assert_eq!(cluster.backing_sum(&volume).await, before, "{}", case.name);
    volume.delete(controller).await.unwrap();
}

#[tokio::test]
async fn what_is_not_blank_is_never_formatted_and_is_a_block_volume_as_it_is() {
    let cluster = Cluster::boot(&["node-a"]).await;
    for case in &CASES {
        never_formatted(&cluster, cluster.node(), case).await;
        usable_as_block(&cluster, cluster.node(), case).await;
    }
    assert_eq!(cluster.node().formats().await, 0);
    cluster.assert_clean().await;
}
