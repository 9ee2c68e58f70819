//! The Container Storage Interface services: decode a request, call the operation,
//! encode its result.
//!
//! Nothing here decides anything about a volume, and nothing outside `csi` and
//! `server` names the generated types.

pub(crate) mod controller;
pub(crate) mod convert;
pub(crate) mod identity;
pub(crate) mod node;
