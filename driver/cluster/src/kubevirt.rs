//! Reads KubeVirt's objects, where there are any.
//!
//! A cluster without KubeVirt is asked one question. Which version of the kinds is served
//! is asked each time: nothing says when KubeVirt is installed, updated or removed.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use http::Request;
use kube::Client;
use rds_csi_core::attachment::observation::{KubeVirt, Machine, Migration};
use rds_csi_core::names::foreign::{KUBEVIRT_GROUP, MACHINES, MIGRATIONS};
use rds_csi_core::names::is_object_name;
use serde::de::DeserializeOwned;

use super::api_server::PAGE;
use super::calls::{Calls, present};
use super::joined::Joined;
use super::wire::{Group, Listed, MachineDisks, MachineObject, MigrationObject, Resources};
use super::{ClusterError, MachineDisk};

const DISCOVER: &str = "discover kubevirt";
const LIST_MACHINES: &str = "list virtualmachineinstances";
const GET_MACHINE: &str = "get virtualmachineinstances";
const LIST_MIGRATIONS: &str = "list virtualmachineinstancemigrations";

/// What the cluster knows of KubeVirt's kinds.
enum Kinds {
    /// None of them.
    Absent,
    /// Only some: this one is missing.
    Without(&'static str),
    /// All, at this path.
    At(String),
}

/// The way to KubeVirt's objects.
pub(super) struct Reader<'a> {
    pub(super) client: &'a Client,
    pub(super) calls: &'a Calls,
    pub(super) migrations: &'a Joined<String, Vec<Migration>>,
}

impl Reader<'_> {
    /// See [`super::Reader::kubevirt`]. Machines are read one by one: each is tens of kilobytes,
    /// and when a node is emptied all that were on it are asked about at once.
    pub(super) async fn read(
        &self,
        namespace: &str,
        names: &BTreeSet<&str>,
    ) -> Result<KubeVirt, ClusterError> {
        let base = match self.kinds().await? {
            Kinds::Absent => return Ok(KubeVirt::Absent),
            Kinds::Without(missing) => {
                let missing = missing.to_owned();
                return Ok(KubeVirt::Incomplete { missing });
            }
            Kinds::At(base) => format!("{base}/namespaces/{namespace}"),
        };
        // Machines last: a migration's machine was there before it.
        let reading = async {
            let list: Vec<MigrationObject> =
                self.list(LIST_MIGRATIONS, &base, MIGRATIONS, "").await?;
            Ok(list.into_iter().map(Migration::from).collect())
        };
        let migrations = self.migrations.read(base.clone(), reading.boxed()).await?;
        let mut machines = Vec::new();
        // What cannot be a name is no machine's.
        for name in names.iter().filter(|name| is_object_name(name)) {
            // A list of one: a kind that went away is not a machine that is not there, and the
            // right to list is enough.
            let one = format!("&fieldSelector=metadata.name%3D{name}");
            let found: Vec<MachineObject> = self.list(LIST_MACHINES, &base, MACHINES, &one).await?;
            machines.extend(found.into_iter().map(Machine::from));
        }
        Ok(KubeVirt::Present {
            machines,
            migrations,
        })
    }

    /// See [`super::Reader::disks`].
    pub(super) async fn disks(
        &self,
        namespace: &str,
        machine: &str,
    ) -> Result<Option<Vec<MachineDisk>>, ClusterError> {
        // What cannot be a name cannot be a path either.
        if !is_object_name(namespace) || !is_object_name(machine) {
            return Ok(None);
        }
        let base = match self.kinds().await? {
            Kinds::Absent => return Ok(None),
            // A machine that nobody can look for is not one that is not there.
            Kinds::Without(missing) => {
                let missing = missing.to_owned();
                return Err(ClusterError::Without { missing });
            }
            Kinds::At(base) => base,
        };
        let path = format!("{base}/namespaces/{namespace}/{MACHINES}/{machine}");
        let found = self.get::<MachineDisks>(GET_MACHINE, &path).await?;
        Ok(found.map(MachineDisks::disks))
    }

    async fn kinds(&self) -> Result<Kinds, ClusterError> {
        let group = format!("/apis/{KUBEVIRT_GROUP}");
        let Some(found) = self.get::<Group>(DISCOVER, &group).await? else {
            return Ok(Kinds::Absent);
        };
        let mut missing = MACHINES;
        for version in found.versions() {
            let base = format!("{group}/{version}");
            let kinds = self.get::<Resources>(DISCOVER, &base).await?;
            let kinds = kinds.unwrap_or_default();
            let lacks = [MACHINES, MIGRATIONS]
                .into_iter()
                .find(|kind| !kinds.has(kind));
            match lacks {
                Some(lacks) => missing = lacks,
                None => return Ok(Kinds::At(base)),
            }
        }
        Ok(Kinds::Without(missing))
    }

    async fn list<T: DeserializeOwned>(
        &self,
        call: &'static str,
        base: &str,
        kind: &str,
        which: &str,
    ) -> Result<Vec<T>, ClusterError> {
        let mut objects = Vec::new();
        let first = format!("{base}/{kind}?limit={PAGE}{which}");
        let mut path = first.clone();
        loop {
            // A kind that went away since it was discovered is not a kind without objects.
            let page = self.calls.run(call, self.request::<Listed<T>>(&path)).await;
            let page = page.map_err(|refusal| refusal.error)?;
            objects.extend(page.items);
            match page.metadata.r#continue.filter(|token| !token.is_empty()) {
                Some(token) => path = format!("{first}&continue={token}"),
                None => return Ok(objects),
            }
        }
    }

    /// What is at a path; `None` if nothing is.
    async fn get<T: DeserializeOwned>(
        &self,
        call: &'static str,
        path: &str,
    ) -> Result<Option<T>, ClusterError> {
        present(self.calls.run(call, self.request(path)).await)
    }

    async fn request<T: DeserializeOwned>(&self, path: &str) -> kube::Result<T> {
        let request = Request::get(path).body(Vec::new());
        self.client
            .request(request.map_err(kube::Error::HttpError)?)
            .await
    }
}
