//! A cheap look at many sessions: is each as it was?
//!
//! An attribute of sysfs that is kept open belongs to one kernel object for good: once the
//! object is gone every read fails, whatever has its name by then. So one read of a
//! controller's `state` and one of its namespace's `size` prove that both are still the
//! very ones of before, without a listing and without a name. Everything else is read
//! anew, and all of it in one pass over the subsystems.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::Subsystem;

use crate::nvme::{NvmeError, sysfs};
use crate::sys::{Root, files};

/// What was seen last of each subsystem that is asked about.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<HashMap<Nqn, Vec<Attribute>>>);

/// An open attribute and what it held.
#[derive(Debug)]
struct Attribute {
    file: File,
    text: Vec<u8>,
}

impl Attribute {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let text = read(&file)?;
        Ok(Self { file, text })
    }

    /// A failed read is a change too: the object is gone, or somebody should look.
    fn is_same(&self) -> bool {
        read(&self.file).is_ok_and(|text| text == self.text)
    }
}

/// Both attributes are a short line.
fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut line = [0; 64];
    let length = file.read_at(&mut line, 0)?;
    Ok(line[..length].to_vec())
}

impl Pulse {
    /// See [`crate::nvme::NvmeHost::changed`].
    pub(crate) fn changed(
        &self,
        root: &Root,
        nqns: &[Nqn],
    ) -> Result<Vec<(Nqn, Option<Subsystem>)>, NvmeError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|nqn, attributes| {
            nqns.contains(nqn) && attributes.iter().all(Attribute::is_same)
        });
        let changed: Vec<&Nqn> = nqns.iter().filter(|nqn| !known.contains_key(nqn)).collect();
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let found = sysfs::named(root, &changed)?;
        let mut readings = Vec::new();
        for nqn in changed {
            let subsystem = found.get(nqn.as_str()).cloned();
            if let Some(subsystem) = &subsystem
                && let Some(attributes) = keep(root, nqn, subsystem)
            {
                known.insert(nqn.clone(), attributes);
            }
            readings.push((nqn.clone(), subsystem));
        }
        Ok(readings)
    }
}

/// The attributes that tell later whether the subsystem is still what this reading shows;
/// `None` where they would not: what is incomplete, or changed meanwhile, is read anew.
fn keep(root: &Root, nqn: &Nqn, subsystem: &Subsystem) -> Option<Vec<Attribute>> {
    let [namespace] = subsystem.namespaces.as_slice() else {
        return None;
    };
    let mut attributes = Vec::new();
    for controller in &subsystem.controllers {
        let directory = sysfs::controller_directory(root, &controller.name);
        let state = Attribute::open(&directory.join("state")).ok()?;
        // Whose it is, is asked after it was opened.
        let owner = files::attribute(&directory.join("subsysnqn")).ok()?;
        let text = String::from_utf8_lossy(&state.text);
        if owner != nqn.as_str() || text.trim() != controller.state.to_string() {
            return None;
        }
        attributes.push(state);
    }
    let device = root.sys.join("block").join(&namespace.name);
    let size = Attribute::open(&device.join("size")).ok()?;
    let number = files::attribute(&device.join("dev")).ok()?;
    let sectors = sysfs::sectors(String::from_utf8_lossy(&size.text).trim())?;
    if number != namespace.number.to_string() || sectors != namespace.size {
        return None;
    }
    attributes.push(size);
    (attributes.len() > 1).then_some(attributes)
}

#[cfg(test)]
mod tests;
