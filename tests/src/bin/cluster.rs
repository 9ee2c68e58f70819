//! The other half of `hack/cluster`: `cluster serve` holds a cluster, `cluster order`
//! tells it what to do, `cluster image` makes the images that it needs.
//!
//! `hack/cluster --help` is the page for people.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rds_csi_tests::cluster::image::Image;
use rds_csi_tests::cluster::layout::State;
use rds_csi_tests::cluster::order::{Order, Part, give};
use rds_csi_tests::cluster::supervisor::{Plan, Supervisor};

const USAGE: &str = "usage:
  cluster serve TOOLS ETCD BASE IMAGE…   start a cluster and hold it; under hack/lab
  cluster order JSON                give the supervisor an order
  cluster parts                     the parts of the cluster: name, pid and log
  cluster images DIRECTORY TOOLS BUSYBOX   make the archives that every cluster needs
The state is in $RDS_CSI_CLUSTER.";

/// The names under which the chart knows the sidecars.
const SIDECARS: [(&str, &str); 3] = [
    (
        "csi-provisioner",
        "registry.k8s.io/sig-storage/csi-provisioner:v6.3.0",
    ),
    (
        "csi-attacher",
        "registry.k8s.io/sig-storage/csi-attacher:v4.12.0",
    ),
    (
        "csi-resizer",
        "registry.k8s.io/sig-storage/csi-resizer:v2.2.0",
    ),
];

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the output is for people and scripts")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let state = State::of_this_machine();
    match words.as_slice() {
        ["serve", tools, etcd, base, images @ ..] => {
            let plan = Plan {
                state,
                tools: PathBuf::from(tools),
                etcd: PathBuf::from(etcd),
                base: PathBuf::from(base),
                images: images.iter().map(PathBuf::from).collect(),
            };
            Supervisor::start(plan).await?.serve().await?;
        }
        ["order", json] => {
            let order: Order = serde_json::from_str(json).context("reading the order")?;
            println!("{}", give(&state, &order).await?);
        }
        ["parts"] => {
            let parts: Vec<Part> = serde_json::from_value(give(&state, &Order::Status).await?)?;
            for part in parts {
                let pid = part
                    .pid
                    .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
                println!("{} {pid} {}", part.name, part.log.display());
            }
        }
        ["images", directory, tools, busybox] => {
            make_images(Path::new(directory), Path::new(tools), Path::new(busybox))?;
        }
        _ => bail!(USAGE),
    }
    Ok(())
}

/// The image of the chart's Job that fills CDI's profiles, which looks for kubectl on the PATH.
const KUBECTL: &str = "registry.k8s.io/kubectl:v1.36.3";

/// The pause container and the test image are Debian's busybox; the others are their programs.
fn make_images(directory: &Path, tools: &Path, busybox: &Path) -> anyhow::Result<()> {
    let pause = Image {
        name: "rds-csi.test/pause:1".to_owned(),
        entrypoint: ["/bin/busybox", "tail", "-f", "/dev/null"]
            .map(str::to_owned)
            .to_vec(),
        programs: vec![(busybox.to_owned(), "bin/busybox".to_owned())],
        links: Vec::new(),
    };
    pause.write(&directory.join("pause.tar"))?;
    let shell = Image {
        name: rds_csi_tests::cluster::claim::IMAGE.to_owned(),
        entrypoint: vec!["/bin/sh".to_owned()],
        links: applets(busybox)?
            .into_iter()
            .map(|applet| ("busybox".to_owned(), format!("bin/{applet}")))
            .collect(),
        ..pause
    };
    shell.write(&directory.join("busybox.tar"))?;
    for (program, name) in SIDECARS {
        let image = Image::of_program(name, &tools.join(program));
        image.write(&directory.join(format!("{program}.tar")))?;
    }
    let kubectl = Image {
        programs: vec![(tools.join("kubectl"), "bin/kubectl".to_owned())],
        ..Image::of_program(KUBECTL, Path::new("kubectl"))
    };
    kubectl.write(&directory.join("kubectl.tar"))
}

/// What busybox can be called as.
#[expect(
    clippy::disallowed_methods,
    reason = "a program of the test's own machine, asked for its contents"
)]
fn applets(busybox: &Path) -> anyhow::Result<Vec<String>> {
    let output = std::process::Command::new(busybox)
        .arg("--list")
        .output()
        .with_context(|| format!("running {}", busybox.display()))?;
    let text = String::from_utf8(output.stdout).context("reading the list of applets")?;
    Ok(text
        .lines()
        .filter(|name| *name != "busybox")
        .map(str::to_owned)
        .collect())
}
