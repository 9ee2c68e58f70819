//! The webhook's own certificates: made, kept, renewed and trusted without anybody else.
//!
//! One Secret holds a CA and the leaf that every replica serves; the `caBundle` of one
//! ValidatingWebhookConfiguration says which CAs API servers trust. Every replica runs
//! the same loop ([`keeper`]): look at both, ask the pure function [`plan::plan`] for the
//! next step, take it, look again. Each write names the `resourceVersion` that the look
//! saw, so of replicas that want the same step one takes it and the others look again;
//! a lease would only decide earlier who that is. Whoever dies between two steps leaves a
//! state from which the next look goes on.
//!
//! A new CA comes into use in this order, and so API servers can verify the leaf that is
//! served at every moment:
//!
//! ```text
//! Secret: next CA ─► bundle: old + next ─► (lead time) ─► Secret: leaf of next, old retired
//!                                                             │ every replica serves it
//! bundle: next only ◄─ (the last leaf of old has ended) ◄─────┘
//! ```
//!
//! API servers follow the configuration by a watch and keep their connections by bundle:
//! the lead time bounds how far behind one of them may be. A CA that is found in the bundle
//! and not in the Secret, because somebody emptied the Secret or brought certificates by
//! other means before, is kept for the life of a leaf, since a replica may still serve
//! one of its leaves. To distrust a CA at once, empty the Secret and `caBundle`
//! while no replica runs.
//!
//! The Secret is made by whoever installs the webhook, empty: helm keeps its releases in the
//! Secrets of the namespace, so whoever may make one there runs hooks as an administrator.
//!
//! # Permissions
//!
//! Exactly these, and nothing is listed or watched:
//!
//! | resource | verbs | names |
//! |---|---|---|
//! | secrets, in the webhook's namespace | get, patch | the one Secret |
//! | validatingwebhookconfigurations | get, patch | the one configuration |
//!
//! The contents of the Secret never get into a log, an error or a metric.

pub mod authority;
pub mod cluster;
pub mod keeper;
pub mod plan;
pub mod secret;
pub mod trust;

use std::time::Duration;

use crate::certificates::authority::ServiceNames;

/// How long things last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// A CA's life.
    pub ca: Duration,
    /// A leaf's life.
    pub leaf: Duration,
    /// How long a new CA is in the bundle before a leaf of it is served.
    pub lead: Duration,
}

/// What the webhook keeps its own certificates with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The namespace of the Secret and of the service.
    pub namespace: String,
    /// The Secret.
    pub secret: String,
    /// The ValidatingWebhookConfiguration.
    pub configuration: String,
    /// What API servers call the webhook.
    pub names: ServiceNames,
    /// How long things last.
    pub lifetimes: Lifetimes,
}
