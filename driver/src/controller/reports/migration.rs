//! What people learn of a migration.

use rds_csi_cluster::Severity;
use rds_csi_core::attachment::{Change, HandOver, Left, Told};
use rds_csi_core::names::event;
use tracing::info;

use super::Reports;

impl Reports {
    /// What became of a migration.
    pub(crate) fn migration(&self, told: &Told) {
        let Told {
            volume,
            hand_over,
            change,
        } = told;
        let HandOver {
            migration,
            source,
            target,
            ..
        } = hand_over;
        info!(volume, migration, source, target, ?change, "migration");
        let (result, severity, reason, words) = match change {
            Change::Started => (
                "started",
                Severity::Normal,
                event::MIGRATION_STARTED,
                format!("nodes {source} and {target} have the volume for migration {migration}"),
            ),
            Change::TakesLong { after } => (
                "long",
                Severity::Warning,
                event::MIGRATION_TAKES_LONG,
                format!(
                    "migration {migration} from {source} to {target} has taken {} s; nothing is done about it. To see it: kubectl describe vmim -n {}",
                    after.as_secs(),
                    migration.replacen('/', " ", 1)
                ),
            ),
            Change::Completed { after } => (
                "completed",
                Severity::Normal,
                event::MIGRATION_COMPLETED,
                format!(
                    "the machine has arrived on {target} from {source} with migration {migration}; both had the volume for {} s",
                    after.as_secs()
                ),
            ),
            Change::Failed { after, left } => {
                let seconds = after.as_secs();
                let words = match left {
                    Left::Target => format!(
                        "migration {migration} has failed, and the volume has moved from {source} to {target} with it; both had it for {seconds} s"
                    ),
                    Left::Source => format!(
                        "{target} has let go of the volume after {seconds} s: migration {migration} has not arrived"
                    ),
                    Left::Both => format!(
                        "migration {migration} from {source} to {target} has not arrived after {seconds} s, and both keep the volume for the next one"
                    ),
                };
                ("failed", Severity::Warning, event::MIGRATION_FAILED, words)
            }
        };
        self.0.metrics.migration(result);
        if let Change::Completed { after } | Change::Failed { after, .. } = change {
            self.0.metrics.migration_took(*after);
        }
        self.post(volume, severity, reason, words);
    }
}
