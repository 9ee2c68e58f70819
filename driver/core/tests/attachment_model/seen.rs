//! What can be read of a world: the observations that the rules decide by, and the record.

use std::sync::LazyLock;

use rds_csi_core::attachment::Fence;
use rds_csi_core::attachment::grant::{Observed, Record};
use rds_csi_core::attachment::observation::{
    Claim, KubeVirt, Machine, Migration, Node, NodeIdentity, Observations, Phase, Pod, Reading,
    Role, Standing, Volume, VolumeAttachment,
};

use super::world::{Attachment, Call, Guest, Health, Migrating, Reader, Site, Whose, World};

const NAMES: [&str; 3] = ["0", "1", "2"];

impl World {
    /// What a controller or the webhook reads of this world.
    pub(crate) fn seen(&self, for_many: bool) -> Observations {
        let sites = || NAMES.into_iter().zip(&self.sites);
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
                .map(|(name, site)| (name.to_owned(), Reading::Complete(node(name, site))))
                .collect(),
            pods: Reading::Complete(sites().flat_map(|(name, site)| pods(name, site)).collect()),
            kubevirt: Reading::Complete(self.kubevirt()),
        }
    }

    /// What of this world can be seen, the record beside. The rest is as in a world where nothing
    /// of it is, so that worlds that look alike are one.
    pub(crate) fn visible(&self) -> Self {
        let mut visible = self.visible_with_record();
        for site in &mut visible.sites {
            (site.lost, site.former) = (false, false);
            if let Some(attachment) = &mut site.attachment {
                attachment.before = false;
            }
        }
        visible
    }

    /// What the record of this world and its attachments say.
    pub(crate) fn recorded(&self) -> Self {
        let mut recorded = self.visible_with_record();
        recorded.migration = Migrating::None;
        for site in &mut recorded.sites {
            *site = Site {
                attachment: site.attachment,
                lost: site.lost,
                former: site.former,
                ..Site::FRESH
            };
        }
        recorded
    }

    /// What of this world can be seen.
    pub(crate) fn visible_with_record(&self) -> Self {
        let mut visible = Self {
            migrations_left: 0,
            losses_left: 0,
            strangers_left: 0,
            readers_left: 0,
            replacements_left: 0,
            ..*self
        };
        if visible.migration != Migrating::None {
            visible.migration = Migrating::Pending;
        }
        for site in &mut visible.sites {
            site.health = match site.health {
                Health::Cut => Health::Ready,
                Health::Off => Health::Lost,
                seen => seen,
            };
            (site.session, site.guest) = (false, Guest::None);
            (site.call, site.listed) = (Call::None, None);
            // It stands in the record, and no rule asks for it.
            if let Some(attachment) = &mut site.attachment {
                attachment.reader = false;
            }
        }
        visible
    }

    /// The record: each attachment that was granted, and each that went although its node was
    /// not known to have let go. `granted` is about to be.
    pub(crate) fn record(&self, granted: Option<usize>) -> Record {
        let of = |(n, (name, site)): (usize, (&str, &Site))| {
            let entry = |uid: &str, before| {
                let identity = identity(name, site.former, before)?;
                Some(format!("{uid}@{name}/{identity}"))
            };
            let own = site
                .attachment
                .filter(|own| own.granted || granted == Some(n));
            let lost = site
                .lost
                .then(|| entry(&format!("lost-{name}"), site.former));
            [own.and_then(|own| entry(name, own.before)), lost.flatten()]
        };
        let sites = NAMES.into_iter().zip(&self.sites).enumerate();
        let entries: Vec<_> = sites.flat_map(of).flatten().collect();
        Record::parse(&entries.join(","))
    }

    /// What is to be done before a node uses the volume, by the rules and the record as it is
    /// once the node was granted it.
    pub(crate) fn fence(&self, n: usize) -> Fence {
        let attachments: Vec<_> = NAMES
            .into_iter()
            .zip(&self.sites)
            .filter_map(|(name, site)| Some(attachment(name, site.attachment?)))
            .collect();
        let observed = Observed {
            persistent_volume: "pv",
            record: self.record(Some(n)),
            attachments: &attachments,
        };
        observed.fence(NAMES[n], identity(NAMES[n], false, false))
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
            created: None,
        };
        let goes_on = self.migration != Migrating::None;
        KubeVirt::Present {
            machines: vec![machine("ours"), machine("stranger")],
            migrations: goes_on.then_some(migration).into_iter().collect(),
        }
    }
}

fn attachment(name: &str, found: Attachment) -> VolumeAttachment {
    VolumeAttachment {
        name: name.to_owned(),
        uid: name.to_owned(),
        node: name.to_owned(),
        persistent_volume: "pv".to_owned(),
        attached: found.attached,
        leaving: found.leaving,
        created: Some(1),
    }
}

fn standing(name: &str, site: &Site) -> Option<Standing> {
    let found = site.attachment?;
    Some(Standing {
        attachment: attachment(name, found),
        granted: found.granted,
    })
}

/// Who a node is: the machine that had its name before or this one, by a Node object of before
/// or this one.
fn identity(name: &str, former: bool, before: bool) -> Option<NodeIdentity> {
    /// By the name, which is a digit, and what is of before.
    static KNOWN: LazyLock<[[Option<NodeIdentity>; 4]; NAMES.len()]> = LazyLock::new(|| {
        NAMES.map(|name| {
            // As it stands in a record, since to make one anew costs a digest.
            [(0, 0), (0, 1), (1, 0), (1, 1)]
                .map(|(former, before)| format!("{name:0>15}{former}-{before:016}").parse().ok())
        })
    });
    let at = NAMES.iter().position(|known| *known == name)?;
    KNOWN[at][usize::from(former) * 2 + usize::from(before)]
}

fn node(name: &str, site: &Site) -> Option<Node> {
    (site.health != Health::Vanished).then(|| Node {
        ready: site.seems_ready(),
        out_of_service: site.health == Health::Tainted,
        in_use: site.in_use,
        identity: identity(name, false, false),
        created: Some(0),
    })
}

fn pods(name: &str, site: &Site) -> impl Iterator<Item = Pod> {
    launcher(name, site).into_iter().chain(reader(name, site))
}

fn reader(name: &str, site: &Site) -> Option<Pod> {
    let phase = match site.reader {
        Reader::None => return None,
        Reader::Waits => Phase::Pending,
        Reader::Runs => Phase::Running,
    };
    Some(Pod {
        namespace: "vms".to_owned(),
        name: "reader".to_owned(),
        uid: format!("reader-{name}"),
        node: name.to_owned(),
        phase,
        leaving: false,
        role: Role::Reader,
        migration: None,
        claims: vec!["root".to_owned()],
    })
}

fn launcher(name: &str, site: &Site) -> Option<Pod> {
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
            name: machine.to_owned(),
        },
        migration,
        claims: vec!["root".to_owned()],
    })
}
