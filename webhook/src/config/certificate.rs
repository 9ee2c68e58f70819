//! What the flags about the certificate mean.

use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, duration, refuse};
use crate::args::{CertificateSource, TlsArgs};
use crate::certificates::authority::ServiceNames;
use crate::certificates::{Lifetimes, Settings};
use crate::tls::files::CertificateFiles;

/// What can go into the name of an object and into a DNS name.
const LABEL: &str = "lower-case letters, digits and '-', at most 63 of them";
const SUBDOMAIN: &str = "lower-case letters, digits, '-' and '.', at most 253 of them";

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateConfig {
    /// Two files that somebody else writes.
    Files(CertificateFiles),
    /// The webhook's own doing.
    Own(Settings),
}

impl CertificateConfig {
    /// What the flags say, for a certificate that is looked after once in every `interval`.
    pub(super) fn read(args: &TlsArgs, interval: Duration) -> Result<Self, ConfigError> {
        match args.certificates {
            CertificateSource::Files => Ok(Self::Files(CertificateFiles {
                certificate: file("--tls-cert", args.tls_cert.as_ref())?,
                key: file("--tls-key", args.tls_key.as_ref())?,
            })),
            CertificateSource::Own => settings(args, interval).map(Self::Own),
        }
    }
}

fn file(flag: &'static str, path: Option<&PathBuf>) -> Result<PathBuf, ConfigError> {
    let allowed = "a file; or say --certificates self, and the webhook makes its own certificate";
    path.cloned().ok_or_else(|| refuse(flag, "", allowed))
}

fn settings(args: &TlsArgs, interval: Duration) -> Result<Settings, ConfigError> {
    let namespace = label("--namespace", args.namespace.as_deref())?;
    let service = label("--service-name", args.service_name.as_deref())?;
    Ok(Settings {
        secret: subdomain("--secret-name", args.secret_name.as_deref())?,
        configuration: subdomain("--configuration-name", args.configuration_name.as_deref())?,
        names: ServiceNames::new(&service, &namespace)
            .ok_or_else(|| refuse("--service-name", &service, LABEL))?,
        namespace,
        lifetimes: lifetimes(args, interval)?,
    })
}

fn lifetimes(args: &TlsArgs, interval: Duration) -> Result<Lifetimes, ConfigError> {
    let (ms, hours) = (Duration::from_millis, Duration::from_hours);
    // The third of it that is left when it is due is longer than the time until the next
    // look, which may be a fifth more than the interval.
    let least = ms(3000).max(interval * 9 / 2);
    let leaf = duration("--leaf-lifetime", &args.leaf_lifetime, least, hours(8760))?;
    let ca = duration("--ca-lifetime", &args.ca_lifetime, leaf * 3, hours(87_600))?;
    // Within the third of its life that a certificate has left when it is renewed.
    let longest = hours(24).min(leaf / 6);
    let lead = duration("--ca-lead-time", &args.ca_lead_time, ms(10), longest)?;
    Ok(Lifetimes { ca, leaf, lead })
}

fn label(flag: &'static str, name: Option<&str>) -> Result<String, ConfigError> {
    named(flag, name, LABEL, |name| {
        !name.contains('.') && name.len() <= 63
    })
}

fn subdomain(flag: &'static str, name: Option<&str>) -> Result<String, ConfigError> {
    named(flag, name, SUBDOMAIN, |name| name.len() <= 253)
}

fn named(
    flag: &'static str,
    name: Option<&str>,
    allowed: &str,
    fits: fn(&str) -> bool,
) -> Result<String, ConfigError> {
    let name = name.unwrap_or_default();
    let is_plain = |part: &str| {
        let bytes = part.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        ends.iter()
            .all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
            && bytes
                .iter()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    if fits(name) && name.split('.').all(is_plain) {
        Ok(name.to_owned())
    } else {
        Err(refuse(flag, name, allowed))
    }
}
