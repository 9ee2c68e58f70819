//! What API servers trust: anchors, the bundles made of them, and what verifies.
//!
//! Pure. A bundle is read leniently, for it may hold what somebody else put there, and
//! written in one way only.

use std::time::Duration;

use jiff::Timestamp;
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use tokio::time::Instant;

use super::authority::ServiceNames;
use crate::tls::{Validity, ValidityError};

/// A CA's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    der: CertificateDer<'static>,
    validity: Validity,
}

impl Anchor {
    /// A certificate that may be trusted.
    ///
    /// # Errors
    /// It cannot be seen when it is valid.
    pub fn new(der: CertificateDer<'static>) -> Result<Self, ValidityError> {
        let validity = Validity::of(&der)?;
        Ok(Self { der, validity })
    }

    /// From when until when.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Something to sort by: the older first.
    #[must_use]
    pub fn order(&self) -> (Timestamp, &[u8]) {
        (self.validity.not_before, &self.der)
    }

    /// Whether it has not ended. One that has not begun counts: clocks differ.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.validity.not_after > now
    }
}

/// The anchors in a PEM text; what is none is passed over.
#[must_use]
pub fn read(pem: &[u8]) -> Vec<Anchor> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .filter_map(|der| Anchor::new(der).ok())
        .collect()
}

/// Anchors as PEM, in the order given.
#[must_use]
pub fn write<'a>(anchors: impl IntoIterator<Item = &'a Anchor>) -> Vec<u8> {
    let blocks: Vec<_> = anchors
        .into_iter()
        .map(|anchor| Pem::new("CERTIFICATE", &*anchor.der))
        .collect();
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_many_config(&blocks, config).into_bytes()
}

/// Whether a server that presents `chain` under all of `names` is believed at `now` by a
/// client that trusts `anchors`: the check of an API server.
#[must_use]
pub fn verifies(
    chain: &[CertificateDer<'_>],
    anchors: &[&Anchor],
    names: &ServiceNames,
    now: Timestamp,
) -> bool {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return false;
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(anchors.iter().map(|anchor| anchor.der.clone()));
    let (Ok(leaf), Ok(seconds)) = (
        ParsedCertificate::try_from(leaf),
        u64::try_from(now.as_second()),
    ) else {
        return false;
    };
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    verify_server_cert_signed_by_trust_anchor(&leaf, &roots, intermediates, at, algorithms.all)
        .is_ok()
        && names
            .iter()
            .all(|name| verify_server_name(&leaf, name).is_ok())
}

/// The bundles of one configuration, one for each of its webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bundles(Vec<(Vec<u8>, Vec<Anchor>)>);

impl Bundles {
    /// From the texts of the entries.
    #[must_use]
    pub fn read(entries: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let parse = |text: Vec<u8>| {
            let anchors = read(&text);
            (text, anchors)
        };
        Self(entries.into_iter().map(parse).collect())
    }

    /// Every anchor of any entry, each once.
    #[must_use]
    pub fn anchors(&self) -> Vec<&Anchor> {
        let mut all: Vec<&Anchor> = Vec::new();
        for anchor in self.0.iter().flat_map(|(_, anchors)| anchors) {
            if !all.contains(&anchor) {
                all.push(anchor);
            }
        }
        all
    }

    /// Whether every entry holds the anchor.
    #[must_use]
    pub fn trust(&self, anchor: &Anchor) -> bool {
        self.0.iter().all(|(_, anchors)| anchors.contains(anchor))
    }

    /// Whether every entry is exactly this text.
    #[must_use]
    pub fn are(&self, bundle: &[u8]) -> bool {
        self.0.iter().all(|(text, _)| text == bundle)
    }

    /// Whether a client verifies `chain` whichever entry it takes its anchors from.
    #[must_use]
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        names: &ServiceNames,
        now: Timestamp,
    ) -> bool {
        self.0.iter().all(|(_, anchors)| {
            let anchors: Vec<&Anchor> = anchors.iter().collect();
            verifies(chain, &anchors, names, now)
        })
    }
}

/// Since when each anchor has been in every bundle, as this process saw it.
#[derive(Debug, Default)]
pub struct Sightings(Vec<(Anchor, Instant)>);

impl Sightings {
    /// Takes notice of bundles. An anchor that is missing once begins anew.
    pub fn note(&mut self, bundles: &Bundles, at: Instant) {
        self.0.retain(|(anchor, _)| bundles.trust(anchor));
        for anchor in bundles.anchors() {
            if bundles.trust(anchor) && !self.0.iter().any(|(known, _)| known == anchor) {
                self.0.push((anchor.clone(), at));
            }
        }
    }

    /// Since when an anchor has been there.
    #[must_use]
    pub fn since(&self, anchor: &Anchor) -> Option<Instant> {
        let mut known = self.0.iter();
        known
            .find(|(known, _)| known == anchor)
            .map(|(_, since)| *since)
    }
}
