//! The lab itself: real kernels, both ends of NVMe/TCP, and faults between them,
//! with raw means only. What fails here is the lab's fault and not the product's.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use rds_csi_tests::agent::Status;
use rds_csi_tests::guest::{Guest, GuestOptions, Process};
use rds_csi_tests::lab::Lab;
use rds_csi_tests::wait::until;
use tokio::time::Instant;

const NQN: &str = "nqn.2000-02.com.mikrotik:lab-volume";
const UUID: &str = "6f0d1b9e-52a4-4a41-9d55-d7ad3d1c7a10";
const DEADLINE: Duration = Duration::from_secs(60);

/// Serves a file on the disk `/dev/ubda` as namespace 1 of [`NQN`].
///
/// nvmet makes up the namespace's UUID anew after each boot, and a host gives up a
/// device whose identifiers changed; a real appliance keeps them, so they are set.
async fn export(target: &Guest) {
    let address = target.address();
    let script = format!(
        "mkdir -p /mnt/pool
         mount /dev/ubda /mnt/pool
         [ -e /mnt/pool/volume ] || truncate -s 320M /mnt/pool/volume
         cd /sys/kernel/config/nvmet
         mkdir -p subsystems/{NQN}/namespaces/1
         echo 1 >subsystems/{NQN}/attr_allow_any_host
         echo {UUID} >subsystems/{NQN}/namespaces/1/device_uuid
         echo /mnt/pool/volume >subsystems/{NQN}/namespaces/1/device_path
         echo 1 >subsystems/{NQN}/namespaces/1/enable
         mkdir -p ports/1
         echo tcp >ports/1/addr_trtype
         echo ipv4 >ports/1/addr_adrfam
         echo {address} >ports/1/addr_traddr
         echo 4420 >ports/1/addr_trsvcid
         ln -s /sys/kernel/config/nvmet/subsystems/{NQN} ports/1/subsystems/{NQN}"
    );
    target.script(&script).await.unwrap();
}

async fn boot_target(lab: &Lab) -> Guest {
    let disk = lab.disk("pool", 512).unwrap();
    let options = GuestOptions::named("target").disk(&disk);
    let target = Guest::boot(lab, options).await.unwrap();
    target.script("mkfs.ext4 -q /dev/ubda").await.unwrap();
    export(&target).await;
    target
}

/// Connects through `/dev/nvme-fabrics` and gives the namespace's device.
async fn connect(host: &Guest, target: &Guest) -> String {
    let address = target.address();
    let options = format!(
        "transport=tcp,traddr={address},trsvcid=4420,nqn={NQN},reconnect_delay=1,ctrl_loss_tmo=-1,keep_alive_tmo=5"
    );
    let reply = host
        .script(&format!(
            "exec 9<>/dev/nvme-fabrics; printf %s '{options}' >&9; cat <&9"
        ))
        .await
        .unwrap();
    assert!(reply.starts_with("instance=0,cntlid="), "{reply}");
    until("the namespace is there", DEADLINE, async || {
        let found = host.run(&["test", "-b", "/dev/nvme0n1"]).await?;
        Ok(found.success().then(|| "/dev/nvme0n1".to_owned()))
    })
    .await
    .unwrap()
}

/// Mounts a fresh filesystem and starts a program that appends numbered lines to a
/// file, each flushed to the target before it is reported.
async fn start_writer(host: &Guest, device: &str) -> Process {
    let script = format!("mkfs.ext4 -q {device}; mkdir -p /mnt/volume; mount {device} /mnt/volume");
    host.script(&script).await.unwrap();
    let writer = "set -e; i=0
        while [ ! -e /run/stop ]; do
          i=$((i+1))
          printf '%08d\n' $i | dd of=/mnt/volume/lines oflag=append conv=notrunc,fsync status=none
          echo $i
        done";
    let writer = host
        .spawn("writer", &["bash", "-c", writer], &[])
        .await
        .unwrap();
    wait_beyond(&writer, 0).await;
    writer
}

/// The last number that the writer reported as written.
fn written(writer: &Process) -> u32 {
    let output = writer.output();
    let complete = output.rsplit_once('\n').map_or("", |(lines, _)| lines);
    complete
        .lines()
        .last()
        .map_or(0, |line| line.parse().unwrap())
}

async fn wait_beyond(writer: &Process, number: u32) {
    until("the writer gets on", DEADLINE, async || {
        Ok((written(writer) > number).then_some(()))
    })
    .await
    .unwrap();
}

/// Stops the writer and reads back every line from the device itself.
async fn verify(host: &Guest, writer: &Process, device: &str) {
    host.write("/run/stop", "").await.unwrap();
    let status = writer.wait(DEADLINE).await.unwrap();
    assert_eq!(status, Some(Status::Exited(0)), "{}", writer.output());
    let count = written(writer);
    let remount = format!("umount /mnt/volume; e2fsck -fn {device}; mount {device} /mnt/volume");
    host.script(&remount).await.unwrap();
    let lines = host.read("/mnt/volume/lines").await.unwrap();
    let expected: Vec<_> = (1..=count).map(|i| format!("{i:08}")).collect();
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
}

async fn state(host: &Guest) -> String {
    host.read("/sys/class/nvme/nvme0/state").await.unwrap()
}

#[tokio::test]
async fn a_writer_outlives_a_cut_link_and_loses_nothing() {
    let lab = Lab::new().unwrap();
    let target = boot_target(&lab).await;
    let host = Guest::boot(&lab, GuestOptions::named("host"))
        .await
        .unwrap();
    let device = connect(&host, &target).await;
    let writer = start_writer(&host, &device).await;

    lab.cut(&target).unwrap();
    // Writes under way at the cut may still be told; then nothing must be.
    let cut = Instant::now();
    let mut last = written(&writer);
    until("the writer is stuck for 3 s", DEADLINE, async || {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = std::mem::replace(&mut last, written(&writer));
        Ok((before == last).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(writer.status().await.unwrap(), None);
    println!("cut for {:?}", cut.elapsed());

    lab.restore(&target).unwrap();
    let restored = Instant::now();
    wait_beyond(&writer, last).await;
    println!("resumed {:?} after the link", restored.elapsed());
    verify(&host, &writer, &device).await;
    assert_eq!(state(&host).await, "live");
}

#[tokio::test]
async fn a_writer_outlives_a_power_cut_of_the_target_and_loses_nothing() {
    let lab = Lab::new().unwrap();
    let target = boot_target(&lab).await;
    let host = Guest::boot(&lab, GuestOptions::named("host"))
        .await
        .unwrap();
    let device = connect(&host, &target).await;
    let writer = start_writer(&host, &device).await;

    target.kill().unwrap();
    assert!(!target.is_running());
    let last = written(&writer);
    target.start().await.unwrap();
    export(&target).await;
    let exported = Instant::now();
    // One more line may have been on its way when the power went.
    wait_beyond(&writer, last + 1).await;
    println!("resumed {:?} after the export", exported.elapsed());
    verify(&host, &writer, &device).await;
    assert_eq!(state(&host).await, "live");
}

#[tokio::test]
async fn kernels_with_and_without_multipath_read_the_same_volume() {
    let lab = Lab::new().unwrap();
    let target = boot_target(&lab).await;
    for (multipath, parent) in [(true, "nvme-subsys0"), (false, "nvme0")] {
        let options = GuestOptions::named(if multipath { "with" } else { "without" });
        let host = Guest::boot(&lab, options.multipath(multipath))
            .await
            .unwrap();
        let device = connect(&host, &target).await;
        let link = host
            .script("readlink -f /sys/class/block/nvme0n1")
            .await
            .unwrap();
        let found = Path::new(&link).parent().and_then(Path::file_name);
        assert_eq!(found.unwrap(), parent, "{link}");
        let script = if multipath {
            format!("mkfs.xfs -q {device}; mount {device} /mnt; echo kept >/mnt/file")
        } else {
            format!("mount {device} /mnt")
        };
        host.script(&script).await.unwrap();
        assert_eq!(host.read("/mnt/file").await.unwrap(), "kept");
        host.script("umount /mnt; echo 1 >/sys/class/nvme/nvme0/delete_controller")
            .await
            .unwrap();
        assert!(!host.run(&["test", "-e", &device]).await.unwrap().success());
    }
}

/// A small guest with a disk of its own, of so many MiB.
async fn boot_with_disk(lab: &Lab, mebibytes: u64) -> Guest {
    let disk = lab.disk("own", mebibytes).unwrap();
    let options = GuestOptions::named("guest").memory(128).disk(&disk);
    Guest::boot(lab, options).await.unwrap()
}

#[tokio::test]
async fn a_power_cut_loses_what_was_not_flushed_and_keeps_what_was() {
    let lab = Lab::new().unwrap();
    let guest = boot_with_disk(&lab, 64).await;
    guest
        .script(
            "mkfs.ext4 -q /dev/ubda; mount -o commit=300 /dev/ubda /mnt
             echo flushed >/mnt/flushed; sync
             echo lost >/mnt/lost; echo lost >/root-is-an-overlay",
        )
        .await
        .unwrap();
    guest
        .write(&format!("{}/note", guest.share().display()), "hello")
        .await
        .unwrap();
    guest.reboot().await.unwrap();
    guest.script("mount /dev/ubda /mnt").await.unwrap();
    assert_eq!(guest.read("/mnt/flushed").await.unwrap(), "flushed");
    let lost = guest.read("/mnt/lost").await.unwrap_err();
    assert_eq!(lost.errno(), Some(2));
    assert!(!Path::new("/root-is-an-overlay").exists());
    let gone = guest.read("/root-is-an-overlay").await.unwrap_err();
    assert_eq!(gone.errno(), Some(2));
    let note = fs::read_to_string(guest.share().join("note")).unwrap();
    assert_eq!(note, "hello");
}

#[tokio::test]
async fn a_guest_boots_again_from_its_disk_right_after_its_power_was_cut() {
    let lab = Lab::new().unwrap();
    let guest = boot_with_disk(&lab, 256).await;
    let word = lab.directory().display().to_string();
    guest.script("mkfs.ext4 -q /dev/ubda").await.unwrap();
    for _ in 0..5 {
        // The disk is written to when the power goes.
        let write = "mount /dev/ubda /mnt; dd if=/dev/zero of=/mnt/file bs=1M count=200";
        guest
            .spawn("writer", &["bash", "-c", write], &[])
            .await
            .unwrap();
        guest.kill().unwrap();
        assert_eq!(processes_with(&word), 0);
        guest.start().await.unwrap();
    }
}

/// Files fill its memory while packets come in.
#[tokio::test]
async fn a_guest_that_reads_much_goes_on_hearing() {
    let lab = Lab::new().unwrap();
    let guest = boot_with_disk(&lab, 512).await;
    let read = "while :; do cat /dev/ubda /dev/ubda; done >/dev/null";
    for name in ["first", "second"] {
        let argv = ["bash", "-c", read];
        guest.spawn(name, &argv, &[]).await.unwrap();
    }
    let content = "x".repeat(256 << 10);
    for _ in 0..100 {
        let heard = ["a", "b", "c", "d"].map(|name| {
            let (guest, content) = (&guest, &content);
            async move { guest.write(&format!("/run/{name}"), content).await }
        });
        let all = futures::future::try_join_all(heard);
        tokio::time::timeout(DEADLINE, all).await.unwrap().unwrap();
    }
    let complaints = guest.console();
    assert!(!complaints.contains("allocation failure"), "{complaints}");
}

/// Processes of this namespace whose command line has this word.
fn processes_with(word: &str) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(word))
        .count()
}

fn interfaces() -> String {
    fs::read_to_string("/proc/self/net/dev").unwrap()
}

#[tokio::test]
async fn two_labs_do_not_meet_and_each_leaves_nothing_behind() {
    let first = Lab::new().unwrap();
    let second = Lab::new().unwrap();
    let ours = Guest::boot(&first, GuestOptions::named("twin"))
        .await
        .unwrap();
    let theirs = Guest::boot(&second, GuestOptions::named("twin"))
        .await
        .unwrap();
    assert_ne!(ours.address(), theirs.address());
    assert_eq!(
        ours.read("/proc/sys/kernel/hostname").await.unwrap(),
        "twin"
    );
    assert!(
        Guest::boot(&first, GuestOptions::named("twin"))
            .await
            .is_err()
    );

    let directory = first.directory().to_owned();
    let (word, bridge) = (directory.display().to_string(), bridge_of(&first));
    assert!(processes_with(&word) > 0);
    assert!(interfaces().contains(&bridge));
    drop(ours);
    drop(first);
    assert_eq!(processes_with(&word), 0);
    assert!(!interfaces().contains(&bridge), "{}", interfaces());
    assert!(!directory.exists());
    let alive = theirs.run(&["true"]).await.unwrap();
    assert!(alive.success());
}

/// The first letters of the names of all the lab's interfaces.
fn bridge_of(lab: &Lab) -> String {
    let [_, _, number, _] = lab.address().octets();
    format!("lab{number}d")
}
