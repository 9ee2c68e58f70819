//! What can be read of a world: the observations that the rules decide by.

use rds_csi_core::attachment::observation::{
    Claim, KubeVirt, Machine, Migration, Node, Observations, Phase, Pod, Reading, Role, Standing,
    Volume, VolumeAttachment,
};

use super::world::{Health, Migrating, Site, Whose, World};

impl World {
    /// What a controller or the webhook reads of this world.
    pub(crate) fn seen(&self, for_many: bool) -> Observations {
        let names = ["0", "1", "2"];
        let sites = || names.into_iter().zip(&self.sites);
        let mode = if for_many {
            "ReadWriteMany"
        } else {
            "ReadWriteOnce"
        };
        Observations {
            volume: Volume {
                persistent_volume: "pv".to_owned(),
                claim: Some(Claim {
                    namespace: "vms".to_owned(),
                    name: "root".to_owned(),
                }),
                access_modes: vec![mode.to_owned()],
                is_block: true,
                ..Volume::default()
            },
            attachments: sites()
                .filter_map(|(name, site)| standing(name, site))
                .collect(),
            nodes: sites()
                .map(|(name, site)| (name.to_owned(), Reading::Complete(node(site))))
                .collect(),
            pods: Reading::Complete(sites().filter_map(|(name, site)| pod(name, site)).collect()),
            kubevirt: Reading::Complete(self.kubevirt()),
        }
    }

    fn kubevirt(&self) -> KubeVirt {
        let machine = |name: &str| Machine {
            namespace: "vms".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            is_over: false,
        };
        let migration = Migration {
            namespace: "vms".to_owned(),
            name: "now".to_owned(),
            uid: "now".to_owned(),
            machine: "ours".to_owned(),
            phase: "Pending".to_owned(),
            leaving: false,
            decentralised: None,
        };
        let goes_on = self.migration != Migrating::None;
        KubeVirt::Present {
            machines: vec![machine("ours"), machine("stranger")],
            migrations: goes_on.then_some(migration).into_iter().collect(),
        }
    }
}

fn standing(name: &str, site: &Site) -> Option<Standing> {
    let attachment = site.attachment?;
    Some(Standing {
        attachment: VolumeAttachment {
            name: name.to_owned(),
            uid: name.to_owned(),
            node: name.to_owned(),
            persistent_volume: "pv".to_owned(),
            attached: attachment.attached,
            leaving: attachment.leaving,
            created: Some(1),
        },
        granted: attachment.granted,
    })
}

fn node(site: &Site) -> Option<Node> {
    (site.health != Health::Vanished).then(|| Node {
        ready: site.seems_ready(),
        out_of_service: site.health == Health::Tainted,
        in_use: site.in_use,
        identity: None,
        // Nobody replaces a machine here: the node is older than what it has.
        created: Some(0),
    })
}

fn pod(name: &str, site: &Site) -> Option<Pod> {
    let launcher = site.pod?;
    let machine = match launcher.whose {
        Whose::Ours | Whose::Forgotten => "ours",
        Whose::Stranger => "stranger",
    };
    let migration = match (launcher.target, launcher.ends) {
        (false, _) => None,
        (true, false) => Some("now".to_owned()),
        (true, true) => Some("before".to_owned()),
    };
    Some(Pod {
        namespace: "vms".to_owned(),
        name: name.to_owned(),
        uid: name.to_owned(),
        node: name.to_owned(),
        phase: if launcher.runs {
            Phase::Running
        } else {
            Phase::Pending
        },
        leaving: launcher.ends,
        role: Role::Launcher {
            machine: machine.to_owned(),
        },
        migration,
        claims: vec!["root".to_owned()],
    })
}
