//! What makes pods on two nodes one machine on its way: a migration that goes on.

use crate::attachment::observation::{Machine, Migration};
use crate::attachment::pod::OfMachine;

/// KubeVirt's objects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tie<'a> {
    pub(super) machines: &'a [Machine],
    pub(super) migrations: &'a [Migration],
}

impl<'a> Tie<'a> {
    /// The live migration that brings the machine of the source to the target.
    ///
    /// # Errors
    /// Why there is none, to stand behind "the pod is not for one, as".
    pub(super) fn of(
        &self,
        target: OfMachine<'_>,
        source: OfMachine<'_>,
    ) -> Result<&'a Migration, String> {
        let Some(uid) = target.migration else {
            return Err("it was not made for a migration".to_owned());
        };
        let migration = self
            .migrations
            .iter()
            .find(|migration| migration.uid == uid);
        let Some(migration) = migration else {
            return Err(format!("its migration {uid:.36} exists no more"));
        };
        if !migration.is_live() {
            let phase = if migration.leaving {
                "being deleted"
            } else {
                migration.phase.as_str()
            };
            return Err(format!(
                "its migration {:.63} is {phase:.32}",
                migration.name
            ));
        }
        let machine = self.machine(target.machine)?;
        if migration.machine != machine.name || migration.namespace != machine.namespace {
            return Err(format!(
                "its migration {:.63} moves another machine",
                migration.name
            ));
        }
        if target.machine == source.machine || self.joins(migration, source.machine) {
            Ok(migration)
        } else {
            Err("it and the pod on the other node are of two machines".to_owned())
        }
    }

    fn machine(&self, uid: &str) -> Result<&'a Machine, String> {
        let machine = self.machines.iter().find(|machine| machine.uid == uid);
        match machine {
            Some(machine) if machine.is_over => {
                Err(format!("its machine {:.63} has ended", machine.name))
            }
            Some(machine) => Ok(machine),
            None => Err("its machine exists no more".to_owned()),
        }
    }

    /// Whether a decentralised migration's other half sends the machine of that UID: source
    /// and target are two machines then, and the migrations' common id is what joins them.
    fn joins(&self, migration: &Migration, source: &str) -> bool {
        let Some(id) = &migration.decentralised else {
            return false;
        };
        let Ok(source) = self.machine(source) else {
            return false;
        };
        self.migrations.iter().any(|other| {
            other.is_live()
                && other.decentralised.as_ref() == Some(id)
                && other.machine == source.name
                && other.namespace == source.namespace
        })
    }
}
