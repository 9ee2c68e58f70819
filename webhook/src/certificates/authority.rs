//! CAs and the leaves that they sign: ECDSA P-256, RFC 5280.
//!
//! A CA may sign for the names of one service and for nothing else, so its key is worth
//! no more than that service. Nothing is believed of a CA that was read: it counts only
//! if a leaf that it signs verifies.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rds_csi_core::kind::{Failure, Kind};
use rustls::pki_types::ServerName;

use super::trust::{Anchor, verifies};
use crate::tls::{Pair, PairError, ValidityError};

/// How far back a new certificate's life begins, for API servers whose clock is behind;
/// less where lives are short.
const BACKDATE: Duration = Duration::from_secs(300);

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The key or the certificate cannot be made.
    #[error("making a certificate")]
    Make(#[from] rcgen::Error),
    /// What was made cannot be read back.
    #[error("reading the certificate that was made")]
    Read(#[from] ValidityError),
    /// What was made cannot be served.
    #[error("using the certificate that was made")]
    Use(#[from] PairError),
}

impl Failure for IssueError {
    fn kind(&self) -> Kind {
        Kind::Bug
    }
}

/// The names under which API servers reach the webhook's service, the short one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceNames([ServerName<'static>; 2]);

impl ServiceNames {
    /// `<service>.<namespace>.svc` and the same under `cluster.local`; `None` if these
    /// are no DNS names.
    #[must_use]
    pub fn new(service: &str, namespace: &str) -> Option<Self> {
        let short = format!("{service}.{namespace}.svc");
        let long = format!("{short}.cluster.local");
        let name = |text: String| ServerName::try_from(text).ok();
        Some(Self([name(short)?, name(long)?]))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ServerName<'static>> {
        self.0.iter()
    }

    fn texts(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|name| name.to_str().into_owned())
            .collect()
    }
}

/// A CA that can sign.
pub struct Authority {
    anchor: Anchor,
    key: KeyPair,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("anchor", &self.anchor)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one for these names, valid from `now` on.
    pub fn generate(
        names: &ServiceNames,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(&key);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: names
                .texts()
                .into_iter()
                .map(GeneralSubtree::DnsName)
                .collect(),
            excluded_subtrees: vec![],
        });
        set_validity(&mut params, lifetime, now, None);
        let certificate = params.self_signed(&key)?;
        let anchor = Anchor::new(certificate.der().clone())?;
        Ok(Self { anchor, key })
    }

    /// A CA from its certificate and its key in PEM, if a leaf that it signs for `names`
    /// verifies; when it is valid is left open.
    #[must_use]
    pub fn read(anchor: &Anchor, key_pem: &[u8], names: &ServiceNames) -> Option<Self> {
        let key = KeyPair::from_pem(str::from_utf8(key_pem).ok()?).ok()?;
        let authority = Self {
            anchor: anchor.clone(),
            key,
        };
        let within = anchor.validity().not_before;
        let trial = authority
            .sign(names, Duration::from_secs(60), within)
            .ok()?;
        verifies(trial.chain(), &[anchor], names, within).then_some(authority)
    }

    /// What clients trust when they trust this CA.
    #[must_use]
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The key in PKCS#8. Never to be logged.
    #[must_use]
    pub fn key_pem(&self) -> Vec<u8> {
        self.key.serialize_pem().into_bytes()
    }

    /// A leaf with a key of its own. It ends with the CA at the latest.
    pub fn sign(
        &self,
        names: &ServiceNames,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Pair, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.texts())?;
        let texts = names.texts();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name(&texts[0]));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, lifetime, now, Some(&self.anchor));
        let own = authority_params(&self.key);
        let certificate = params.signed_by(&key, &Issuer::from_params(&own, &self.key))?;
        let pair = Pair::parse(
            certificate.pem().into_bytes(),
            key.serialize_pem().into_bytes(),
        )?;
        Ok(pair)
    }
}

/// What names a CA. It follows from its key alone, so that a CA which was read signs under
/// the same name.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id: String = params.key_identifier(key)[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("rds-csi-webhook CA {id}"));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A common name has at most 64 characters (RFC 5280, upper bounds); clients read the
/// alternative names.
fn common_name(text: &str) -> String {
    text.chars().take(64).collect()
}

fn set_validity(
    params: &mut CertificateParams,
    lifetime: Duration,
    now: Timestamp,
    issuer: Option<&Anchor>,
) {
    let back = BACKDATE.min(lifetime / 20);
    let mut begin = now.saturating_sub(back).unwrap_or(Timestamp::MIN);
    let mut end = now.saturating_add(lifetime).unwrap_or(Timestamp::MAX);
    if let Some(issuer) = issuer {
        begin = begin.max(issuer.validity().not_before);
        end = end.min(issuer.validity().not_after);
    }
    let since_1970 =
        |time: Timestamp| Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(begin);
    params.not_after = epoch + since_1970(end);
}
