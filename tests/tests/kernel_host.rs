//! The host crate on a real kernel against a real NVMe/TCP target.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

use std::time::Duration;

use rds_csi_tests::guest::{Guest, GuestOptions};
use rds_csi_tests::lab::{Lab, program};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

const PREFIX: &str = "nqn.2000-02.com.mikrotik:";
const UUID: &str = "6f0d1b9e-52a4-4a41-9d55-d7ad3d1c7a10";
const SIZE: u64 = 320 << 20;

struct Pair {
    lab: Lab,
    target: Guest,
    host: Guest,
}

fn nqn(id: &str) -> String {
    format!("{PREFIX}{id}")
}

impl Pair {
    /// A target with a pool and an open port, and a host.
    async fn boot(multipath: bool) -> Self {
        let lab = Lab::new().unwrap();
        let disk = lab.disk("pool", 1024).unwrap();
        let target = Guest::boot(&lab, GuestOptions::named("target").disk(&disk))
            .await
            .unwrap();
        let address = target.address();
        target
            .script(&format!(
                "mkfs.ext4 -q /dev/ubda
                 mkdir -p /mnt/pool && mount /dev/ubda /mnt/pool
                 cd /sys/kernel/config/nvmet/ports && mkdir 1 && cd 1
                 echo tcp >addr_trtype; echo ipv4 >addr_adrfam
                 echo {address} >addr_traddr; echo 4420 >addr_trsvcid"
            ))
            .await
            .unwrap();
        let options = GuestOptions::named("host").multipath(multipath);
        let host = Guest::boot(&lab, options).await.unwrap();
        Self { lab, target, host }
    }

    /// Makes the file of a volume, has `prepare` write to it as `$f`, and exports it.
    async fn export(&self, id: &str, prepare: &str) {
        let nqn = nqn(id);
        self.target
            .script(&format!(
                "f=/mnt/pool/{id}; truncate -s {SIZE} $f
                 {prepare}
                 cd /sys/kernel/config/nvmet
                 mkdir -p subsystems/{nqn}/namespaces/1
                 echo 1 >subsystems/{nqn}/attr_allow_any_host
                 echo $f >subsystems/{nqn}/namespaces/1/device_path
                 echo 1 >subsystems/{nqn}/namespaces/1/enable
                 ln -s /sys/kernel/config/nvmet/subsystems/{nqn} ports/1/subsystems/{nqn}"
            ))
            .await
            .unwrap();
    }

    async fn probe(&self, words: &[&str]) -> Value {
        let probe = program("host-probe").unwrap();
        let mut argv = vec![probe.to_str().unwrap()];
        argv.extend(words);
        let output = self
            .host
            .run_within(&argv, Duration::from_secs(150))
            .await
            .unwrap();
        assert!(output.success(), "{words:?}: {}", output.error_text());
        serde_json::from_str(&output.text()).unwrap()
    }

    /// A probe that must succeed.
    async fn ok(&self, words: &[&str]) -> Value {
        let answer = self.probe(words).await;
        assert!(answer.get("ok").is_some(), "{words:?}: {answer}");
        answer["ok"].clone()
    }

    /// A probe that must fail with this kind and this text in its error.
    async fn fails(&self, words: &[&str], kind: &str, text: &str) {
        let answer = self.probe(words).await;
        assert_eq!(answer["kind"], kind, "{words:?}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(text), "{words:?}: {error}");
    }

    async fn connect(&self, id: &str) -> Value {
        let address = self.target.address().to_string();
        let name = self.ok(&["connect", &nqn(id), &address, "4420"]).await;
        self.ok(&["device", &nqn(id)]).await;
        name
    }
}

/// The life of a volume's filesystem, beside a volume whose name begins alike.
async fn live(multipath: bool) {
    let pair = Pair::boot(multipath).await;
    let (one, ten) = (nqn("pvc-1"), nqn("pvc-10"));
    pair.export("pvc-10", "").await;
    pair.export("pvc-1", "").await;
    pair.connect("pvc-10").await;
    let name = pair.connect("pvc-1").await;
    assert_eq!(
        pair.connect("pvc-1").await,
        name,
        "connecting is idempotent"
    );

    for (fs, nqn, at) in [("ext4", &one, "/mnt/one"), ("xfs", &ten, "/mnt/ten")] {
        assert_eq!(pair.ok(&["examine", nqn]).await, "Blank");
        assert_eq!(pair.ok(&["identify", nqn]).await, Value::Null);
        pair.ok(&["format", nqn, fs, UUID]).await;
        assert_eq!(
            pair.ok(&["identify", nqn]).await,
            json!(format!("{fs} {UUID} {SIZE}"))
        );
        pair.fails(&["format", nqn, fs, UUID], "Conflict", "not blank")
            .await;
        assert_eq!(pair.ok(&["holders", nqn]).await, json!([]));
        pair.ok(&["mount", nqn, fs, at]).await;
        assert_eq!(
            pair.ok(&["holders", nqn]).await,
            json!([format!("Mount({at:?})")])
        );
        let options = format!("findmnt -no FSTYPE,OPTIONS {at}");
        let mounted = pair.host.script(&options).await.unwrap();
        assert!(
            mounted.starts_with(fs) && mounted.contains("noatime"),
            "{mounted}"
        );
    }
    read_only_bind(&pair, "/mnt/one").await;
    hidden_mount_is_a_claim(&pair, &one, "/mnt/one").await;
    block_read_only(&pair, &one).await;
    for at in ["/mnt/one", "/mnt/ten"] {
        pair.ok(&["unmount", at]).await;
        pair.ok(&["unmount", at]).await;
    }
    pair.ok(&["disconnect", &one]).await;
    pair.ok(&["disconnect", &one]).await;
    assert_eq!(pair.ok(&["subsystem", &one]).await, Value::Null);
    assert!(
        !pair.ok(&["subsystem", &ten]).await.is_null(),
        "the other one stays"
    );
}

async fn read_only_bind(pair: &Pair, source: &str) {
    let script = format!("mkdir /mnt/bind; echo kept >{source}/file");
    pair.host.script(&script).await.unwrap();
    pair.ok(&["bind-ro", source, "/mnt/bind"]).await;
    let refused = pair.host.run(&["touch", "/mnt/bind/new"]).await.unwrap();
    assert!(refused.error_text().contains("Read-only file system"));
    pair.host
        .script(&format!("touch {source}/new"))
        .await
        .unwrap();
    pair.ok(&["unmount", "/mnt/bind"]).await;
}

/// A mount in another mount namespace is in no table of ours, but the kernel refuses an
/// exclusive open.
async fn hidden_mount_is_a_claim(pair: &Pair, nqn: &str, at: &str) {
    pair.host
        .spawn(
            "other",
            &[
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sleep",
                "600",
            ],
            &[],
        )
        .await
        .unwrap();
    until(
        "the other namespace is there",
        Duration::from_secs(20),
        async || {
            let script = format!(
                "p=$(pgrep -x sleep | head -1) && grep -q ' {at} ' /proc/$p/mountinfo && \
             [ $(readlink /proc/$p/ns/mnt) != $(readlink /proc/self/ns/mnt) ]"
            );
            Ok(pair.host.script(&script).await.is_ok().then_some(()))
        },
    )
    .await
    .unwrap();
    pair.ok(&["unmount", at]).await;
    assert_eq!(pair.ok(&["holders", nqn]).await, json!(["Claimed"]));
    pair.host.script("pkill -x sleep").await.unwrap();
    until("nobody holds it", Duration::from_secs(20), async || {
        Ok((pair.ok(&["holders", nqn]).await == json!([])).then_some(()))
    })
    .await
    .unwrap();
}

async fn block_read_only(pair: &Pair, nqn: &str) {
    pair.ok(&["read-only", nqn, "on"]).await;
    let device = pair.ok(&["device", nqn]).await;
    assert_eq!(device["read_only"], true);
    let write = format!("of=/dev/{}", device["name"].as_str().unwrap());
    let refused = pair
        .host
        .run(&[
            "dd",
            "if=/dev/zero",
            &write,
            "bs=4096",
            "count=1",
            "oflag=direct",
        ])
        .await
        .unwrap();
    assert!(!refused.success());
    pair.ok(&["read-only", nqn, "off"]).await;
}

#[tokio::test]
async fn a_filesystem_is_made_mounted_and_taken_down_with_multipath() {
    live(true).await;
}

#[tokio::test]
async fn a_filesystem_is_made_mounted_and_taken_down_without_multipath() {
    live(false).await;
}

/// One entry of a DOS partition table: Linux, 1 MiB at 1 MiB.
const PARTITION: &str = r"\x00\x00\x02\x00\x83\x00\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00";

/// Writes bytes in the notation of printf(1) to `$f`.
fn bytes(at: u64, text: &str) -> String {
    format!("printf '{text}' | dd of=$f bs=1 seek={at} conv=notrunc status=none")
}

#[tokio::test]
async fn nothing_that_holds_anything_is_ever_blank_or_formatted() {
    let pair = Pair::boot(true).await;
    let cases = [
        (
            "partitions",
            bytes(446, PARTITION) + " && " + &bytes(510, r"\x55\xaa"),
        ),
        ("gpt", bytes(512, "EFI PART")),
        ("backup-gpt", bytes(SIZE - 512, "EFI PART")),
        ("luks", bytes(0, r"LUKS\xba\xbe\x00\x02")),
        ("lvm", bytes(512, "LABELONE")),
        ("swap", "mkswap -q $f".to_owned()),
        ("ext2", "mke2fs -q -t ext2 $f".to_owned()),
        ("start", bytes(0, "X")),
        ("middle", bytes(SIZE / 2 + 4097, "X")),
        ("end", bytes(SIZE - 1, "X")),
    ];
    for (id, prepare) in &cases {
        pair.export(id, prepare).await;
        pair.connect(id).await;
        let content = pair.ok(&["examine", &nqn(id)]).await;
        let content = content.as_str().unwrap();
        assert!(content.starts_with("Foreign("), "{id}: {content}");
        for fs in ["ext4", "xfs"] {
            pair.fails(&["format", &nqn(id), fs, UUID], "Conflict", "not blank")
                .await;
        }
    }
}

/// A mkfs that outlived its plugin claims the device and leaves half a filesystem to whoever looks
/// meanwhile: that is no reason to tell anybody to delete the volume.
#[tokio::test]
async fn what_somebody_writes_is_judged_when_he_has_ended() {
    const CLAIM: &str = "use Fcntl; sysopen(my $f, $ARGV[0], O_RDWR | O_EXCL) or die $!; sleep 600";
    let pair = Pair::boot(true).await;
    let nqn = nqn("half");
    pair.export("half", &bytes(0, "XFSB")).await;
    pair.connect("half").await;
    let device = pair.ok(&["device", &nqn]).await;
    let device = format!("/dev/{}", device["name"].as_str().unwrap());
    let argv = ["perl", "-e", CLAIM, &device];
    pair.host.spawn("writer", &argv, &[]).await.unwrap();
    let patience = Duration::from_secs(20);
    until("it is claimed", patience, async || {
        Ok((pair.ok(&["holders", &nqn]).await == json!(["Claimed"])).then_some(()))
    })
    .await
    .unwrap();
    for words in [&["examine", &nqn][..], &["format", &nqn, "xfs", UUID]] {
        pair.fails(words, "Unreachable", "is being written to")
            .await;
    }
    pair.host.script("pkill -x perl").await.unwrap();
    until("nobody holds it", patience, async || {
        Ok((pair.ok(&["holders", &nqn]).await == json!([])).then_some(()))
    })
    .await
    .unwrap();
    let content = pair.ok(&["examine", &nqn]).await;
    assert!(
        content.as_str().unwrap().starts_with("Foreign("),
        "{content}"
    );
}

#[tokio::test]
async fn refusals_of_the_kernel_have_their_meaning_and_none_is_final() {
    let pair = Pair::boot(true).await;
    pair.export("pvc-1", "").await;
    let (one, address) = (nqn("pvc-1"), pair.target.address().to_string());
    let unknown = nqn("pvc-2");
    for (words, text) in [
        ([one.as_str(), &address, "4421"], "nothing listens"),
        ([one.as_str(), "203.0.113.1", "4420"], "no route"),
        (
            [unknown.as_str(), &address, "4420"],
            "does not export this NQN",
        ),
    ] {
        let words = ["connect", words[0], words[1], words[2]];
        pair.fails(&words, "Unreachable", text).await;
    }
    pair.connect("pvc-1").await;
    pair.ok(&["loss-time", &one, "5"]).await;
}

#[tokio::test]
async fn a_larger_volume_shows_after_a_rescan_and_both_filesystems_grow_to_it() {
    let pair = Pair::boot(true).await;
    let larger = 400_u64 << 20;
    for (id, fs) in [("pvc-e", "ext4"), ("pvc-x", "xfs")] {
        let (nqn, at) = (nqn(id), format!("/mnt/{id}"));
        pair.export(id, "").await;
        pair.connect(id).await;
        pair.ok(&["format", &nqn, fs, UUID]).await;
        pair.ok(&["mount", &nqn, fs, &at]).await;
        assert_eq!(pair.ok(&["grow", &nqn, fs, &at]).await, SIZE);
        let resize = format!(
            "truncate -s {larger} /mnt/pool/{id}
             echo 1 >/sys/kernel/config/nvmet/subsystems/{nqn}/namespaces/1/revalidate_size"
        );
        pair.target.script(&resize).await.unwrap();
        pair.ok(&["rescan", &nqn]).await;
        until("the size shows", Duration::from_secs(20), async || {
            let device = pair.ok(&["device", &nqn]).await;
            Ok((device["size"] == larger).then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(pair.ok(&["grow", &nqn, fs, &at]).await, larger);
        let total = pair.ok(&["stats", &at]).await.as_u64().unwrap();
        assert!(total > SIZE && total <= larger, "{fs}: {total}");
    }
}

/// The call that hangs keeps the probe's process in the kernel, so its answer is read
/// while it still runs.
#[tokio::test]
async fn a_device_that_does_not_answer_is_a_timeout_and_not_blank() {
    let pair = Pair::boot(true).await;
    pair.export("pvc-1", "").await;
    pair.connect("pvc-1").await;
    pair.lab.cut(&pair.target).unwrap();
    let probe = program("host-probe").unwrap();
    let argv = [probe.to_str().unwrap(), "identify", &nqn("pvc-1")];
    let process = pair.host.spawn("hanging", &argv, &[]).await.unwrap();
    let answer = until("the probe answers", Duration::from_secs(60), async || {
        Ok(serde_json::from_str::<Value>(&process.output()).ok())
    })
    .await
    .unwrap();
    assert_eq!(answer["kind"], "Timeout", "{answer}");
    pair.lab.restore(&pair.target).unwrap();
    until(
        "the device answers again",
        Duration::from_secs(60),
        async || {
            let answer = pair.probe(&["identify", &nqn("pvc-1")]).await;
            Ok((answer == json!({ "ok": null })).then_some(()))
        },
    )
    .await
    .unwrap();
}
