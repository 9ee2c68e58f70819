//! The rules for classes of what this driver does not offer: VolumeAttributesClasses and
//! VolumeSnapshotClasses. Whoever makes one hears it at once, and not from an object that
//! stays pending for ever. A class that exists is left alone.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::RuleContext;
use crate::verdict::Verdict;

/// A VolumeAttributesClass, as far as it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AttributesClass {
    driver_name: String,
    parameters: Option<BTreeMap<String, String>>,
}

/// A VolumeSnapshotClass, as far as it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SnapshotClass {
    driver: String,
}

/// Judges a VolumeAttributesClass; `old` is what it was before an update.
#[must_use]
pub fn attributes(
    class: &AttributesClass,
    old: Option<&AttributesClass>,
    context: &RuleContext<'_>,
) -> Verdict {
    let mut verdict = Verdict::allow();
    if class.driver_name != context.driver.as_str() {
        return Verdict::foreign();
    }
    if old.is_some() {
        return verdict;
    }
    for key in class.parameters.iter().flatten().map(|(key, _)| key) {
        verdict.deny(
            format!("parameters[{}]", key.chars().take(64).collect::<String>()),
            "no attribute of a volume can be changed while it exists: set it in a StorageClass",
        );
    }
    if verdict.is_allowed() {
        verdict.deny(
            "driverName",
            format!("{} offers no volume attributes classes", context.driver),
        );
    }
    verdict
}

/// Judges a VolumeSnapshotClass; `old` is what it was before an update.
#[must_use]
pub fn snapshots(
    class: &SnapshotClass,
    old: Option<&SnapshotClass>,
    context: &RuleContext<'_>,
) -> Verdict {
    let mut verdict = Verdict::allow();
    if class.driver != context.driver.as_str() {
        return Verdict::foreign();
    }
    if old.is_none() {
        verdict.deny(
            "driver",
            format!(
                "{} offers no snapshots: copy the data by a pod that mounts both volumes, or back it up",
                context.driver
            ),
        );
    }
    verdict
}

#[cfg(test)]
mod tests {
    use rds_csi_core::names::DriverName;
    use serde_json::json;

    use super::*;

    const OURS: &str = "rds.csi.srvlab.io";

    #[test]
    fn every_attribute_is_named_and_a_class_without_any_is_of_no_use_either() {
        let driver = DriverName::default();
        let context = RuleContext {
            driver: &driver,
            classes: None,
        };
        let judge = |driver: &str, parameters: serde_json::Value| {
            let class = json!({"driverName": driver, "parameters": parameters});
            let class: AttributesClass = serde_json::from_value(class).unwrap();
            let exists = attributes(&class, Some(&class), &context);
            (attributes(&class, None, &context), exists)
        };
        let (verdict, exists) = judge(OURS, json!({"iops": "1", "throughput": "2"}));
        let fields: Vec<_> = verdict
            .denials
            .iter()
            .map(|denial| &*denial.field)
            .collect();
        assert_eq!(fields, ["parameters[iops]", "parameters[throughput]"]);
        assert_eq!(exists, Verdict::allow());
        let (verdict, _) = judge(OURS, json!(null));
        assert_eq!(verdict.denials[0].field, "driverName");
        let (verdict, _) = judge("other.example", json!({"iops": "1"}));
        assert_eq!(verdict, Verdict::foreign());
    }

    #[test]
    fn a_snapshot_class_of_this_driver_is_refused() {
        let driver = DriverName::default();
        let context = RuleContext {
            driver: &driver,
            classes: None,
        };
        let class = |driver: &str| SnapshotClass {
            driver: driver.to_owned(),
        };
        let ours = class(OURS);
        assert_eq!(snapshots(&ours, None, &context).denials[0].field, "driver");
        assert_eq!(snapshots(&ours, Some(&ours), &context), Verdict::allow());
        assert_eq!(
            snapshots(&class("other.example"), None, &context),
            Verdict::foreign()
        );
    }
}
