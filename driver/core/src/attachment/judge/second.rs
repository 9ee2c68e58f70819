//! Who may be on the second node.

use super::tie::Tie;
use super::way_out::{WayOut, name_in_command};
use super::{Request, Stop};
use crate::attachment::exception::Exception;
use crate::attachment::observation::{KubeVirt, Migration, Observations, Part, Standing};
use crate::attachment::pod::{OfMachine, Pod};
use crate::attachment::verdict::{Denial, HandOver, Object, Reason, Rule, Verdict};

/// Judges a second node beside `holder`, of a volume that may have two.
///
/// The pods on both sides are what counts, since a VolumeAttachment says nothing of who
/// uses it. Where only readers ask (the source of a clone, an export), one node writes and
/// all is well. Otherwise all that write must be of one machine, and that machine must be
/// migrating between the two, by a migration that exists and goes on now:
/// `status.migrationState` of a machine may tell of the one before.
///
/// That only readers are seen on the first node lets nobody in. A pod that was deleted by
/// force is forgotten before its guest has ended, and nothing that the cluster shows tells a
/// node where that is so from one that only ever read: an attachment is of a node, and
/// whatever is bound there later uses it without a question.
///
/// For the same reason who reads is told so with the attachment, and nothing on that node writes
/// while that stands. So a reader waits, too, for a node that nobody uses the volume on any more:
/// a moment later it is alone, and whoever comes to it may write.
pub(super) fn second(
    request: &Request<'_>,
    seen: &Observations,
    holder: &Standing,
) -> Result<Verdict, Stop> {
    let askers = seen.users(request.node)?;
    let residents = seen.users(&holder.attachment.node)?;
    let sides = Sides {
        request,
        seen,
        holder,
        askers: &askers,
        residents: &residents,
    };
    match sides.judge() {
        Err(Stop::Deny(denial)) => excepted(request, seen, denial),
        judged => judged,
    }
}

/// A person's exception, or the refusal with a word about why there is none.
fn excepted(
    request: &Request<'_>,
    seen: &Observations,
    mut denial: Box<Denial>,
) -> Result<Verdict, Stop> {
    let Some(text) = &seen.volume.exception else {
        return Err(Stop::Deny(denial));
    };
    match Exception::read(text, request.now) {
        Ok(Exception { until, reason }) => Ok(Verdict::Allow(Reason::Excepted { reason, until })),
        Err(error) => {
            denial.why = format!("{}; annotation shared-disk: {error}", denial.why);
            Err(Stop::Deny(denial))
        }
    }
}

struct Sides<'a> {
    request: &'a Request<'a>,
    seen: &'a Observations,
    holder: &'a Standing,
    askers: &'a [&'a Pod],
    residents: &'a [&'a Pod],
}

impl Sides<'_> {
    fn judge(&self) -> Result<Verdict, Stop> {
        let asking = self.askers.iter().find(|pod| !pod.leaving);
        let Some(asking) = asking else {
            return Err(self.nobody_asks());
        };
        let Some(resident) = self.residents.first() else {
            return Err(self.wait_for_the_first());
        };
        let reads = |pods: &[&Pod]| pods.iter().all(|pod| !pod.role.writes());
        if reads(self.askers) {
            let pod = format!("{}/{}", asking.namespace, asking.name);
            return Ok(Verdict::Allow(Reason::Reader { pod }));
        }
        if reads(self.residents) {
            return Err(self.beside_readers(resident));
        }
        let target = self.one_machine(self.askers)?;
        let source = self.one_machine(self.residents)?;
        let tie = self.tie(asking)?;
        let (here, there) = (self.request.node, self.holder.attachment.node.as_str());
        // It is the target that asks for a second node, or the source whose attachment is
        // made anew while the target has its own.
        match (tie.of(target, source), tie.of(source, target)) {
            (Ok(migration), _) => Ok(self.hand_over(migration, there, here)),
            (Err(_), Ok(migration)) => Ok(self.hand_over(migration, here, there)),
            (Err(why), Err(_)) => Err(self.refuse(asking, &why)),
        }
    }

    fn hand_over(&self, migration: &Migration, source: &str, target: &str) -> Verdict {
        Verdict::AllowAsMigration(HandOver {
            migration: format!("{}/{}", migration.namespace, migration.name),
            uid: migration.uid.clone(),
            source: source.to_owned(),
            target: target.to_owned(),
            timeout: self.seen.volume.migration_timeout,
        })
    }

    fn tie(&self, asking: &Pod) -> Result<Tie<'_>, Stop> {
        match self.seen.kubevirt.whole(Part::KubeVirt)? {
            KubeVirt::Present {
                machines,
                migrations,
            } => Ok(Tie {
                machines,
                migrations,
            }),
            KubeVirt::Absent => Err(self.refuse(
                asking,
                "there is no KubeVirt here whose migration it could be",
            )),
            KubeVirt::Incomplete { missing } => {
                let why = format!(
                    "KubeVirt is installed without {missing:.63}, so that no migration can be seen"
                );
                Err(self.refuse(asking, &why))
            }
        }
    }

    /// The one machine that all writers of a side are part of, and the migration that one
    /// of them was made for.
    fn one_machine<'p>(&'p self, side: &'p [&Pod]) -> Result<OfMachine<'p>, Stop> {
        let pods = self.seen.pods.whole(Part::Pods)?;
        let mut found: Option<OfMachine<'_>> = None;
        for pod in side.iter().filter(|pod| pod.role.writes()) {
            let Some(part) = OfMachine::by(pods, pod) else {
                return Err(self.refuse(pod, "it is no part of a KubeVirt machine"));
            };
            match found {
                Some(other) if other.machine != part.machine => {
                    return Err(
                        self.refuse(pod, "it is part of another machine than the pods beside it")
                    );
                }
                Some(other) if other.migration.is_some() => {}
                _ => found = Some(part),
            }
        }
        // A side without writers was let pass before.
        found.ok_or_else(|| self.nobody_asks())
    }

    /// Refuses because of a pod on either side. Who has the volume is what is in the way.
    fn refuse(&self, pod: &Pod, why: &str) -> Stop {
        let way_out = WayOut::of(self.seen, self.holder);
        self.deny(
            format!(
                "node {} {} the volume, and a second node gets it only for the live migration of the machine there: pod {} on node {} is not for one, as {why}",
                self.holder.attachment.node,
                self.holder.has(),
                name_in_command(&pod.name),
                pod.node
            ),
            way_out.object,
            way_out.next,
        )
    }

    fn nobody_asks(&self) -> Stop {
        self.deny(
            format!(
                "node {} {} the volume, and no pod on node {} asks for it",
                self.holder.attachment.node,
                self.holder.has(),
                self.request.node
            ),
            Object {
                kind: "PersistentVolume",
                namespace: None,
                name: self.seen.volume.persistent_volume.clone(),
            },
            format!(
                "Nothing is to be done if the pod is gone. To see the pods there: kubectl get pods -A --field-selector spec.nodeName={}",
                name_in_command(self.request.node)
            ),
        )
    }

    fn wait_for_the_first(&self) -> Stop {
        let way_out = WayOut::of_attachment(self.holder);
        self.deny(
            format!(
                "no pod on node {} uses the volume any more, and it is let go of there first",
                self.holder.attachment.node
            ),
            way_out.object,
            way_out.next,
        )
    }

    fn beside_readers(&self, resident: &Pod) -> Stop {
        let way_out = WayOut::of(self.seen, self.holder);
        self.deny(
            format!(
                "node {} {} the volume for pod {}, which only reads it, and a writer waits until it is let go of there: a machine that the cluster has forgotten may still write",
                self.holder.attachment.node,
                self.holder.has(),
                name_in_command(&resident.name)
            ),
            way_out.object,
            way_out.next,
        )
    }

    fn deny(&self, why: String, object: Object, next: String) -> Stop {
        Stop::Deny(Box::new(Denial {
            rule: Rule::SameMachine,
            why,
            object,
            next,
            held: false,
        }))
    }
}
