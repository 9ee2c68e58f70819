//! Connect and mount without the plugin, by bare system calls and by a shell.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount, umount};
use tokio::time::{Instant, sleep};

use crate::Plan;
use crate::shell::Shell;

/// A guest that has no other session gives these names.
const CONTROLLER: &str = "/sys/class/nvme/nvme0";
const DEVICE: &str = "/dev/nvme0n1";
const TARGET: &str = "/run/by-hand";
const DEADLINE: Duration = Duration::from_secs(10);

impl Plan {
    pub(crate) async fn bare(&self) -> Result<Duration> {
        let line = self.connection()?;
        fs::create_dir_all(TARGET)?;
        let began = Instant::now();
        let mut fabrics = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/nvme-fabrics")?;
        fabrics.write_all(line.as_bytes()).context("connecting")?;
        let mut reply = [0; 64];
        let _ = fabrics.read(&mut reply)?;
        while mount(
            Some(DEVICE),
            TARGET,
            Some(self.fs_type.as_str()),
            MsFlags::empty(),
            None::<&str>,
        )
        .is_err()
        {
            if began.elapsed() > DEADLINE {
                bail!("the device cannot be mounted");
            }
            sleep(Duration::from_millis(1)).await;
        }
        let took = began.elapsed();
        clear().await?;
        Ok(took)
    }

    pub(crate) async fn typed(&self, shell: &mut Shell) -> Result<Duration> {
        let (line, fs) = (self.connection()?, &self.fs_type);
        fs::create_dir_all(TARGET)?;
        let command = format!(
            "echo {line} >/dev/nvme-fabrics && until [ -b {DEVICE} ]; do :; done && mount -t {fs} {DEVICE} {TARGET}"
        );
        let began = Instant::now();
        shell.run(&command).await?;
        let took = began.elapsed();
        clear().await?;
        Ok(took)
    }
}

/// Takes the mount and the session away and waits until nothing is left.
async fn clear() -> Result<()> {
    umount(TARGET)?;
    fs::write(Path::new(CONTROLLER).join("delete_controller"), "1")?;
    let began = Instant::now();
    while Path::new(CONTROLLER).exists() || Path::new(DEVICE).exists() {
        if began.elapsed() > DEADLINE {
            bail!("the session does not end");
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
