//! The rules as they are held, the bounds of each search, and what must not be.

use super::world::{Guest, Migrating, Site, Whose, World};

/// A rule that is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// An attachment that is being deleted counts no more.
    LeavingIsGone,
    /// What was granted counts only once it is attached, and is written over anything: a
    /// decision from a view that is behind.
    NoRecord,
    /// What was granted is attached whoever asks by then.
    GrantedStands,
    /// A node that is not ready is taken to have let go.
    UnreadyIsGone,
    /// A node that is ready is taken to have let go, whatever it says.
    InUseIsGone,
    /// A second node is for anybody.
    AnyMachine,
    /// A node that has the volume for pods that read is not told so.
    ReadersMayWrite,
}

/// The rules, as they are held, and the bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) for_many: bool,
    /// How many of the nodes have anything to do with the volume at a time.
    pub(crate) nodes: usize,
    /// Whether wishes are judged, too, by a webhook that is never behind.
    pub(crate) webhook: bool,
    pub(crate) migrations: u8,
    /// How many calls of the controller there are at a time.
    pub(crate) replicas: usize,
    /// Whether one call reads the attachments at another moment than the rest.
    pub(crate) torn: bool,
    pub(crate) losses: u8,
    /// Whether a pod may be deleted by force while the machine of its lost node runs on.
    pub(crate) forced: bool,
    pub(crate) strangers: u8,
    /// Whether strangers come only to where the volume is not attached, nor about to be by a
    /// judgement of before they came: whoever comes there uses it, and nobody asks the rules.
    pub(crate) strangers_ask: bool,
    pub(crate) readers: u8,
    /// Whether readers come only to where the machine has the volume, or is forgotten.
    pub(crate) readers_join: bool,
    /// Whether a pod that says of itself that it reads may write.
    pub(crate) readers_write: bool,
    /// How many machines take the name of one that was removed.
    pub(crate) replacements: u8,
    /// Whether a person may say that a machine is off which runs on.
    pub(crate) mistaken: bool,
    /// Whether the array shuts lost nodes out.
    pub(crate) fencing: bool,
    /// Whether a node may get a new pod while it still has what the cluster has forgotten, or
    /// has an attachment that was made for another machine of its name.
    pub(crate) returns_dirty: bool,
    pub(crate) broken: Option<Broken>,
}

pub(crate) const MIGRATIONS: Rules = Rules {
    for_many: true,
    nodes: 3,
    webhook: false,
    migrations: 2,
    replicas: 2,
    torn: false,
    losses: 0,
    forced: false,
    strangers: 0,
    strangers_ask: false,
    readers: 0,
    readers_join: false,
    readers_write: false,
    replacements: 0,
    mistaken: false,
    fencing: false,
    returns_dirty: false,
    broken: None,
};
pub(crate) const LOSS: Rules = Rules {
    replicas: 1,
    migrations: 1,
    losses: 1,
    ..MIGRATIONS
};
pub(crate) const FORCED: Rules = Rules {
    replicas: 1,
    migrations: 0,
    losses: 1,
    forced: true,
    ..MIGRATIONS
};
pub(crate) const MISTAKEN: Rules = Rules {
    mistaken: true,
    fencing: true,
    ..FORCED
};
pub(crate) const ONE_NODE_MISTAKEN: Rules = Rules {
    for_many: false,
    ..MISTAKEN
};
pub(crate) const TORN: Rules = Rules {
    torn: true,
    migrations: 1,
    ..MIGRATIONS
};
pub(crate) const STRANGER: Rules = Rules {
    migrations: 0,
    strangers: 1,
    ..MIGRATIONS
};
pub(crate) const STRANGER_ASKS: Rules = Rules {
    migrations: 1,
    replicas: 1,
    strangers_ask: true,
    ..STRANGER
};
pub(crate) const ONE_NODE: Rules = Rules {
    for_many: false,
    ..STRANGER
};
pub(crate) const ONE_NODE_FORCED: Rules = Rules {
    for_many: false,
    ..FORCED
};
pub(crate) const READER: Rules = Rules {
    readers: 1,
    migrations: 1,
    replicas: 1,
    ..MIGRATIONS
};
pub(crate) const READER_STAYS: Rules = Rules {
    readers: 1,
    readers_join: true,
    ..FORCED
};
pub(crate) const READER_FORCED: Rules = Rules {
    nodes: 2,
    readers: 1,
    ..FORCED
};
pub(crate) const READER_AND_STRANGER: Rules = Rules {
    readers: 1,
    replicas: 1,
    ..STRANGER
};
pub(crate) const REPLACED: Rules = Rules {
    replacements: 1,
    ..MISTAKEN
};
pub(crate) const ONE_NODE_REPLACED: Rules = Rules {
    for_many: false,
    ..REPLACED
};

impl Rules {
    pub(crate) fn start(&self) -> World {
        World {
            sites: [Site::FRESH; 3],
            migration: Migrating::None,
            migrations_left: self.migrations,
            losses_left: self.losses,
            strangers_left: self.strangers,
            readers_left: self.readers,
            replacements_left: self.replacements,
        }
    }

    pub(crate) fn broken(self, broken: Broken) -> Self {
        Self {
            broken: Some(broken),
            ..self
        }
    }
}

pub(crate) const ONE_WRITER: &str = "one writes, or one machine is handed over";
pub(crate) const ROOM: &str = "one node has a volume for one, and two any other";
pub(crate) const COVERED: &str = "a node that may write has an attachment, or is known to be lost";

fn one_writer(world: &World) -> bool {
    let ours = |site: &&Site| site.guest == Guest::Writes(Whose::Ours);
    let hand_over = world.migration == Migrating::HandOver
        && world.sites.iter().filter(ours).count() == world.writers();
    world.writers() <= 1 || (world.writers() == 2 && hand_over)
}

impl Rules {
    /// What of a world must not be.
    pub(crate) fn broken_in(&self, world: &World) -> Option<&'static str> {
        let covered = |site: &Site| !site.session || site.holds() || site.lost;
        if !one_writer(world) {
            Some(ONE_WRITER)
        } else if world.holders() > 1 + usize::from(self.for_many) {
            Some(ROOM)
        } else if !world.sites.iter().all(covered) {
            Some(COVERED)
        } else {
            None
        }
    }
}
