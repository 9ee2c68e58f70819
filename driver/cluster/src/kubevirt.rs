//! Reads KubeVirt's objects, where there are any.
//!
//! A cluster without KubeVirt is asked one question. Which version of the kinds is served
//! is asked each time: nothing says when KubeVirt is installed, updated or removed.

use http::Request;
use kube::Client;
use rds_csi_core::attachment::observation::KubeVirt;
use rds_csi_core::names::foreign::{KUBEVIRT_GROUP, MACHINES, MIGRATIONS};
use rds_csi_core::names::is_object_name;
use serde::de::DeserializeOwned;

use super::api_server::PAGE;
use super::calls::{Calls, present};
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
}

impl Reader<'_> {
    /// What there is of KubeVirt, with every machine and migration of a namespace.
    pub(super) async fn read(&self, namespace: &str) -> Result<KubeVirt, ClusterError> {
        let base = match self.kinds().await? {
            Kinds::Absent => return Ok(KubeVirt::Absent),
            Kinds::Without(missing) => {
                let missing = missing.to_owned();
                return Ok(KubeVirt::Incomplete { missing });
            }
            Kinds::At(base) => format!("{base}/namespaces/{namespace}"),
        };
        // Machines last: a migration's machine was there before it.
        let migrations: Vec<MigrationObject> =
            self.list(LIST_MIGRATIONS, &base, MIGRATIONS).await?;
        let machines: Vec<MachineObject> = self.list(LIST_MACHINES, &base, MACHINES).await?;
        Ok(KubeVirt::Present {
            machines: machines.into_iter().map(Into::into).collect(),
            migrations: migrations.into_iter().map(Into::into).collect(),
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
    ) -> Result<Vec<T>, ClusterError> {
        let mut objects = Vec::new();
        let first = format!("{base}/{kind}?limit={PAGE}");
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
