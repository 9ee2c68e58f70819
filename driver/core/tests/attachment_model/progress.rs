//! What must come about, from wherever one is.

use super::bounds::Rules;
use super::graph::Graph;
use super::steps::By;
use super::world::{Guest, Migrating, Reader, Site, Whose, World};

/// What goes on by itself, where a person mends what is broken.
const ON: [By; 3] = [By::System, By::GivingUp, By::Repair];

/// Whether a node that works runs the machine as it was last started.
pub(crate) fn is_running(site: &Site) -> bool {
    site.is_ready() && site.guest == Guest::Writes(Whose::Ours)
}

/// From every world, the machine comes to run on a node that works, and where all nodes work
/// nobody has to mend anything for it; and once no migration goes on, one attachment is left.
/// Where a stranger has the volume, it may be the stranger that runs; and where a node gets
/// pods before it is clean, or has the volume only to be read, it may take a person who starts
/// the machine anew.
pub(crate) fn goes_on(name: &str, rules: &Rules, graph: &Graph) {
    let stranger = |site: &Site| site.is_ready() && site.guest == Guest::Writes(Whose::Stranger);
    let runs = |world: &World| {
        let strangers = rules.strangers > 0 && world.sites.iter().any(stranger);
        strangers || world.sites.iter().any(is_running)
    };
    let waits = |world: &World| {
        let anew =
            |site: &Site| site.is_kept_out() || (rules.returns_dirty && site.has_lost_its_disk());
        world.sites.iter().any(anew)
    };
    let idle = |world: &World| world.migration == Migrating::None;
    let works = |world: &World| world.sites.iter().all(Site::is_ready);
    let never = |what, found: Option<(World, usize)>| {
        let way = found.map(|(world, more)| (graph.way(rules, &world), world, more));
        assert_eq!(way, None, "{name}: {what}");
    };
    let on = graph.backwards(&ON);
    let again = graph.stuck(|_| true, &on, runs);
    never("the machine never runs again", again);
    let one = graph.stuck(idle, &on, |world| idle(world) && world.holders() <= 1);
    never("two attachments stay after a migration", one);
    let alone = graph.backwards(&[By::System, By::GivingUp]);
    let alone = graph.stuck(works, &alone, |world| runs(world) || waits(world));
    never("a machine on nodes that work never runs again", alone);
}

/// A reader on a node that works comes to read: a clone of a disk waits for no machine for ever.
pub(crate) fn reads(graph: &Graph) {
    let waits = |site: &Site| site.is_ready() && site.reader == Reader::Waits;
    let runs = |site: &Site| site.reader == Reader::Runs;
    let found = graph.stuck(
        |world| world.sites.iter().any(waits),
        &graph.backwards(&ON),
        |world| world.sites.iter().any(runs),
    );
    assert_eq!(found, None, "a reader is refused for good");
}

/// A migration whose nodes work, and that nobody gives up, arrives: no refusal but one that
/// passes stands in its way.
pub(crate) fn arrives(name: &str, graph: &Graph) {
    let source = |site: &Site| {
        let stays = site.pod.is_some_and(|pod| !pod.ends && !pod.target);
        is_running(site) && stays
    };
    let goes_on = |world: &World| match world.migration {
        Migrating::Pending => true,
        Migrating::Targeted => world.sites.iter().any(Site::is_target),
        Migrating::None | Migrating::HandOver => false,
    };
    let healthy = |world: &World| {
        let ready = world.sites.iter().all(Site::is_ready);
        ready && goes_on(world) && world.sites.iter().any(source)
    };
    let arrived = |world: &World| world.migration == Migrating::HandOver;
    let found = graph.stuck(healthy, &graph.backwards(&[By::System]), arrived);
    assert_eq!(found, None, "{name}: a migration is refused for good");
}
