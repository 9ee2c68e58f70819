//! A simulator of a MikroTik ROSE Data Server.
//!
//! One model of RouterOS ([`Model`]) behind two fronts: [`Model::exec`] in process, and an
//! SSH server ([`Sim`], `rds-sim serve`). Exports become real NVMe/TCP subsystems where the
//! kernel has nvmet. It is an independent reading of captures, the manual and reports: it
//! shares no code with the driver it tests, and no behaviour is here without its source
//! beside it. It is no proof of what a device does; where the sources are silent there is
//! a switch in [`variants`].
#![warn(missing_docs)]

pub mod console;
pub mod fault;
pub mod model;
pub mod nvmet;
pub mod sim;
pub mod store;
pub mod variants;

pub use fault::Fault;
pub use model::{Model, Output};
pub use sim::{Options, Sim};
pub use variants::Variants;
