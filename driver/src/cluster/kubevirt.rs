//! Reads KubeVirt's objects, where there are any.
//!
//! A cluster without KubeVirt is asked one question. Which version of the kinds is served
//! is asked each time: nothing says when KubeVirt is installed, updated or removed.

use axum::http::Request;
use kube::Client;
use rds_csi_core::attachment::observation::KubeVirt;
use rds_csi_core::names::foreign::{KUBEVIRT_GROUP, MACHINES, MIGRATIONS};
use serde::de::DeserializeOwned;

use super::ClusterError;
use super::api_server::PAGE;
use super::calls::{Calls, present};
use super::wire::{Group, Listed, MachineObject, MigrationObject, Resources};

const DISCOVER: &str = "discover kubevirt";
const LIST_MACHINES: &str = "list virtualmachineinstances";
const LIST_MIGRATIONS: &str = "list virtualmachineinstancemigrations";

/// What there is of KubeVirt, with every machine and migration of a namespace.
pub(super) async fn read(
    client: &Client,
    calls: &Calls,
    namespace: &str,
) -> Result<KubeVirt, ClusterError> {
    let reader = Reader { client, calls };
    let group = format!("/apis/{KUBEVIRT_GROUP}");
    let Some(found) = reader.get::<Group>(DISCOVER, &group).await? else {
        return Ok(KubeVirt::Absent);
    };
    let mut missing = MACHINES;
    for version in found.versions() {
        let base = format!("{group}/{version}");
        let kinds = reader.get::<Resources>(DISCOVER, &base).await?;
        let kinds = kinds.unwrap_or_default();
        let lacks = [MACHINES, MIGRATIONS]
            .into_iter()
            .find(|kind| !kinds.has(kind));
        let Some(lacks) = lacks else {
            let base = format!("{base}/namespaces/{namespace}");
            return reader.objects(&base).await;
        };
        missing = lacks;
    }
    Ok(KubeVirt::Incomplete {
        missing: missing.to_owned(),
    })
}

struct Reader<'a> {
    client: &'a Client,
    calls: &'a Calls,
}

impl Reader<'_> {
    async fn objects(&self, base: &str) -> Result<KubeVirt, ClusterError> {
        // Machines last: a migration's machine was there before it.
        let migrations: Vec<MigrationObject> = self.list(LIST_MIGRATIONS, base, MIGRATIONS).await?;
        let machines: Vec<MachineObject> = self.list(LIST_MACHINES, base, MACHINES).await?;
        Ok(KubeVirt::Present {
            machines: machines.into_iter().map(Into::into).collect(),
            migrations: migrations.into_iter().map(Into::into).collect(),
        })
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
