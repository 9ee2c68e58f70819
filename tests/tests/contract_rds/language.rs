//! For every value that the domain accepts, the simulator's own parser reads back the
//! command that was meant.

use proptest::prelude::*;
use rds_csi_core::backing_file::VolumeDirectory;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::nqn::NqnPrefix;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::Owner;
use rds_csi_routeros::Rds;
use rds_csi_routeros::command::{Dialect, Quoted};
use rds_csi_tests::console::MemoryConsole;

use crate::fronts::{DELETION, Volume, memory, variants};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::Json), Just(Dialect::Prose)]
}

/// The one item beside the pool: slot, comment, path, size.
fn only_item(console: &MemoryConsole) -> Option<(String, String, String, u64)> {
    let model = console.model();
    let mut items = model.device().items.iter().skip(1);
    let item = items.next()?;
    assert!(items.next().is_none());
    let file = item.file()?;
    Some((
        item.slot.clone(),
        item.comment.clone(),
        file.file_path.clone(),
        file.size,
    ))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_the_domain_accepts_is_what_the_device_gets(
        cluster in "[a-z0-9]([a-z0-9-]{0,34}[a-z0-9])?",
        name in "[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
        directory in "(/[A-Za-z0-9_][A-Za-z0-9._-]{0,20}){0,3}",
        domain in "[a-z0-9._-]{1,20}[a-z0-9]",
        mib in 4_u64..1000,
        port: u16,
        width in prop_oneof![Just("none".to_owned()), (40_u16..200).prop_map(|w| w.to_string())],
        wrap in prop_oneof![Just("properties"), Just("values")],
        dialect in dialect(),
    ) {
        let width = format!("width={width}");
        let wrap = format!("wrap={wrap}");
        let front = memory(variants(&[&width, &wrap]), dialect);
        let owner = Owner { cluster: cluster.parse().unwrap(), name: name.parse().unwrap() };
        let directory: VolumeDirectory = format!("/storage-pool{directory}").parse().unwrap();
        let id = VolumeId::for_name(&owner.cluster, &name);
        let volume = Volume { file: directory.file(&id), id, owner };
        let prefix: NqnPrefix = format!("nqn.2026-11.{domain}:").parse().unwrap();
        let nqn = prefix.nqn(&volume.id);
        let size = Bytes::mib(mib);
        let mut steps = volume.creation(size);
        steps[1] = rds_csi_core::appliance::Step::Offer { nqn: nqn.clone(), port };
        let (id, file) = (&volume.id, &volume.file);
        let state = block_on(front.rds.apply(id, file, None, &steps)).unwrap();
        let wanted = (id.to_string(), volume.owner.to_string(), file.file_path(), size.get());
        prop_assert_eq!(only_item(&front.console), Some(wanted));
        let item = state.item.unwrap();
        prop_assert_eq!(item.nqn.as_deref(), Some(nqn.as_str()));
        prop_assert_eq!(item.port, Some(port));
        prop_assert_eq!(item.owner(), Some(volume.owner.clone()));
        prop_assert!(state.file_exists && item.is_on(file));
        let gone = block_on(front.rds.apply(id, file, Some(&volume.owner), &DELETION)).unwrap();
        prop_assert!(gone.item.is_none() && !gone.file_exists);
        prop_assert_eq!(only_item(&front.console), None);
    }

    #[test]
    fn a_quoted_value_is_read_back_by_the_console(value in "[ -~]{0,60}") {
        if let Ok(quoted) = Quoted::new("comment", &value) {
            let front = memory(variants(&["line-ends=lf"]), Dialect::Json);
            let output = front.console.model().exec(&format!(":put {quoted}"));
            prop_assert_eq!(output.text(), format!("{value}\n"));
        }
    }
}
