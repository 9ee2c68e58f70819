//! The API server asked without kubectl: a sequence makes and changes many objects, and how
//! long that takes must not decide how it goes.

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
use rds_csi_tests::cluster::layout::State;
use serde_json::{Value, json};

/// A kind of objects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    group: &'static str,
    name: &'static str,
    /// `None` is the namespace of the sequence.
    place: Option<Place>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Cluster,
    Namespace(&'static str),
}

const fn kind(group: &'static str, name: &'static str, place: Option<Place>) -> Kind {
    Kind { group, name, place }
}

pub(crate) const POD: Kind = kind("", "Pod", None);
pub(crate) const EVENT: Kind = kind("", "Event", None);
pub(crate) const MACHINE: Kind = kind("kubevirt.io", "VirtualMachineInstance", None);
pub(crate) const MIGRATION: Kind = kind("kubevirt.io", "VirtualMachineInstanceMigration", None);
pub(crate) const NODE: Kind = kind("", "Node", Some(Place::Cluster));
pub(crate) const VOLUME: Kind = kind("", "PersistentVolume", Some(Place::Cluster));
pub(crate) const CSI_NODE: Kind = kind("storage.k8s.io", "CSINode", Some(Place::Cluster));
pub(crate) const ATTACHMENT: Kind =
    kind("storage.k8s.io", "VolumeAttachment", Some(Place::Cluster));
/// Of nodes.
pub(crate) const LEASE: Kind = kind(
    "coordination.k8s.io",
    "Lease",
    Some(Place::Namespace("kube-node-lease")),
);

/// The objects of a namespace, and those of the cluster. Every call panics where the API
/// server does not answer as it should, but for what may be refused.
#[derive(Clone)]
pub(crate) struct Objects {
    client: Client,
    namespace: String,
}

impl Objects {
    /// As the administrator.
    pub(crate) async fn of(namespace: &str) -> Self {
        let file = Kubeconfig::read_from(State::of_this_machine().kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await;
        Self {
            client: Client::try_from(config.unwrap()).unwrap(),
            namespace: namespace.to_owned(),
        }
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let named = GroupVersionKind::gvk(kind.group, "v1", kind.name);
        let (resource, client) = (ApiResource::from_gvk(&named), self.client.clone());
        match kind.place {
            None => Api::namespaced_with(client, &self.namespace, &resource),
            Some(Place::Namespace(namespace)) => Api::namespaced_with(client, namespace, &resource),
            Some(Place::Cluster) => Api::all_with(client, &resource),
        }
    }

    /// Makes an object; its kind need not stand in it. The words of a refusal are an error.
    pub(crate) async fn ask(&self, kind: Kind, object: &Value) -> Result<Value, String> {
        let api = self.api(kind);
        let mut object = object.clone();
        let group = Some(kind.group).filter(|group| !group.is_empty());
        let version = group.map_or("v1".to_owned(), |group| format!("{group}/v1"));
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind.name);
        let object = serde_json::from_value(object).unwrap();
        let parameters = PostParams::default();
        let made = Box::pin(api.create(&parameters, &object)).await;
        match made {
            Ok(made) => Ok(serde_json::to_value(made).unwrap()),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(error) => panic!("{}: {error}", kind.name),
        }
    }

    /// Makes an object that nothing is against.
    pub(crate) async fn make(&self, kind: Kind, object: &Value) -> Value {
        match self.ask(kind, object).await {
            Ok(made) => made,
            Err(refusal) => panic!("{}: {refusal}", kind.name),
        }
    }

    /// Changes some fields of an object.
    pub(crate) async fn change(&self, kind: Kind, name: &str, fields: &Value) {
        self.try_change(kind, name, fields).await.unwrap();
    }

    /// [`Objects::change`] where it may fail.
    pub(crate) async fn try_change(
        &self,
        kind: Kind,
        name: &str,
        fields: &Value,
    ) -> Result<(), kube::Error> {
        let (api, parameters) = (self.api(kind), PatchParams::default());
        let patch = Patch::Merge(fields);
        let changed = Box::pin(api.patch(name, &parameters, &patch)).await;
        changed.map(drop)
    }

    /// Changes some fields of an object's status, as who reports them does.
    pub(crate) async fn report(&self, kind: Kind, name: &str, status: &Value) {
        let (api, parameters) = (self.api(kind), PatchParams::default());
        let patch = Patch::Merge(json!({"status": status}));
        Box::pin(api.patch_status(name, &parameters, &patch))
            .await
            .unwrap();
    }

    /// Binds a pod to a node, as a scheduler does.
    pub(crate) async fn bind(&self, pod: &str, node: &str) {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let (api, parameters) = (self.api(POD), PostParams::default());
        let bound = api.create_subresource::<_, Value>("binding", pod, &parameters, &binding);
        Box::pin(bound).await.unwrap();
    }

    /// Deletes an object, which may have so many seconds; one that is gone is as well.
    pub(crate) async fn delete(&self, kind: Kind, name: &str, grace: u32) {
        let parameters = DeleteParams::default().grace_period(grace);
        match Box::pin(self.api(kind).delete(name, &parameters)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            deleted => drop(deleted.unwrap()),
        }
    }

    /// An object, if it is there.
    pub(crate) async fn find(&self, kind: Kind, name: &str) -> Option<Value> {
        let found = Box::pin(self.api(kind).get_opt(name)).await.unwrap();
        found.map(|found| serde_json::to_value(found).unwrap())
    }

    /// All objects of a kind with this label, or whatever their labels are.
    pub(crate) async fn all(&self, kind: Kind, label: Option<&str>) -> Vec<Value> {
        let parameters = ListParams {
            label_selector: label.map(str::to_owned),
            ..ListParams::default()
        };
        let list = Box::pin(self.api(kind).list(&parameters)).await.unwrap();
        let items = list.items.into_iter();
        items
            .map(|item| serde_json::to_value(item).unwrap())
            .collect()
    }
}
