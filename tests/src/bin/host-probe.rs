//! Calls one operation of the host crate in a guest: `host-probe OPERATION ARGUMENT…`.
//!
//! Prints one line of JSON, `{"ok":…}` or `{"error":…,"kind":…}`, for kernel tests. It
//! disconnects and formats what it is told to: never run it outside of a guest.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rds_csi_core::filesystem::FsType;
use rds_csi_core::kind::{Chain, Failure};
use rds_csi_core::nqn::{HostIdentity, Nqn};
use rds_csi_core::nvme::{Target, Tuning};
use rds_csi_host::Linux;
use rds_csi_host::block::{BlockDevices, Device};
use rds_csi_host::command::{NODE, Runner};
use rds_csi_host::mounter::{Meant, Mounter, Mounting, Unmount};
use rds_csi_host::nvme::{NvmeHost, Seen, await_device};
use rds_csi_host::sys::Root;
use serde_json::{Value, json};
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_secs(20);

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    println!("{}", runtime.block_on(answer(&words))?);
    // Calls that hang in the kernel must not be waited for.
    runtime.shutdown_background();
    Ok(())
}

fn told<T, E: Failure>(result: Result<T, E>, show: impl FnOnce(T) -> Value) -> Value {
    match result {
        Ok(value) => json!({ "ok": show(value) }),
        Err(error) => {
            json!({ "error": Chain(&error).to_string(), "kind": format!("{:?}", error.kind()) })
        }
    }
}

async fn answer(words: &[&str]) -> anyhow::Result<Value> {
    let runner = Runner::default();
    runner.verify(NODE)?;
    let host = Linux::new(Root::default(), runner);
    let done = |()| json!("done");
    Ok(match *words {
        ["connect", nqn, address, port] => {
            let target = target(nqn, address.parse()?, port.parse()?)?;
            told(host.connect(&target).await, |name| json!(name))
        }
        ["disconnect", nqn] => told(host.disconnect(&nqn.parse()?).await, done),
        ["rescan", nqn] => told(host.rescan(&nqn.parse()?).await, done),
        ["loss-time", nqn, seconds] => told(
            host.set_loss_time(&nqn.parse()?, Some(seconds.parse()?))
                .await,
            done,
        ),
        ["subsystem", nqn] => told(host.subsystem(&nqn.parse()?).await, |found| {
            json!(found.map(|found| format!("{found:?}")))
        }),
        ["unmount", path] => told(host.unmount(Path::new(path), Unmount::Plain).await, done),
        ["bind-ro", from, to] => told(host.bind(Path::new(from), Path::new(to), true).await, done),
        ["stats", path] => told(host.stats(Path::new(path)).await, |stats| {
            json!(stats.total_bytes)
        }),
        [operation, nqn, ref rest @ ..] => {
            let nqn: Nqn = nqn.parse()?;
            let seen = match await_device(&host, &nqn, Instant::now() + DEADLINE).await {
                Ok(subsystem) => Seen::of(&nqn, Some(&subsystem)),
                Err(error) => Err(error),
            };
            match seen.map(Seen::live) {
                Ok(device) => {
                    let device = device.map_err(anyhow::Error::msg)?;
                    on_device(&host, operation, &device, rest).await?
                }
                Err(error) => told(Err::<(), _>(error), done),
            }
        }
        _ => bail!("usage: host-probe OPERATION ARGUMENT…"),
    })
}

async fn on_device(
    host: &Linux,
    operation: &str,
    device: &Device,
    rest: &[&str],
) -> anyhow::Result<Value> {
    let done = |()| json!("done");
    Ok(match (operation, rest) {
        ("device", []) => json!({ "ok": {
            "name": device.namespace.name,
            "number": device.namespace.number.to_string(),
            "size": device.namespace.size.get(),
            "read_only": device.namespace.read_only,
        }}),
        ("identify", []) => told(host.identify(device).await, |found| {
            json!(found.map(|found| format!("{} {} {}", found.fs, found.uuid, found.size.get())))
        }),
        ("examine", []) => told(host.examine(device).await, |content| {
            json!(format!("{content:?}"))
        }),
        ("format", [fs, uuid]) => {
            let uuid = uuid.parse().context("reading the UUID")?;
            told(host.format(device, fs.parse()?, uuid).await, done)
        }
        ("mount", [fs, path]) => {
            let (fs, path): (FsType, _) = (fs.parse()?, Path::new(path));
            let meant = Meant { fs, uuid: None };
            let options = ["noatime".to_owned()];
            let mounting = host.mount(device, path, meant, &options).await;
            told(mounting, |mounting| match mounting {
                Mounting::Made(_) => json!("done"),
                Mounting::Other(found) => json!(format!("other: {found:?}")),
            })
        }
        ("grow", [fs, path]) => told(
            host.grow(device, fs.parse()?, Path::new(path)).await,
            |size| json!(size.get()),
        ),
        ("holders", []) => told(host.holders(device).await, |holders| {
            json!(
                holders
                    .iter()
                    .map(|holder| format!("{holder:?}"))
                    .collect::<Vec<_>>()
            )
        }),
        ("read-only", [flag]) => told(host.set_read_only(device, *flag == "on").await, done),
        _ => bail!("unknown operation {operation} {rest:?}"),
    })
}

fn target(nqn: &str, address: IpAddr, port: u16) -> anyhow::Result<Target> {
    Ok(Target {
        nqn: nqn.parse()?,
        address,
        port,
        host: HostIdentity::of(&"lab".parse()?, "host"),
        tuning: Tuning {
            reconnect_delay: 1,
            ..Tuning::default()
        },
    })
}
