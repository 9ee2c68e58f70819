//! The certificates of a cluster: one authority, who everybody is, and kubeconfigs.
//!
//! They are valid for ever and lie on the disk unprotected: never use them outside of a
//! lab.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

/// The cluster's certificate authority and the directory of what it has signed.
#[derive(Debug)]
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
}

/// Files of a certificate and its key.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Authority {
    /// Makes an authority, `ca.crt`, and the key that signs service accounts' tokens,
    /// `sa.key` and `sa.pub`.
    pub(super) fn new(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        params.distinguished_name.push(DnType::CommonName, "lab-ca");
        let key = KeyPair::generate().context("making the authority's key")?;
        let certificate = params.self_signed(&key).context("signing the authority")?;
        let accounts = KeyPair::generate().context("making the key of service accounts")?;
        let authority = Self {
            issuer: Issuer::new(params, key),
            directory: directory.to_owned(),
        };
        authority.write("ca.crt", &certificate.pem())?;
        authority.write("sa.key", &accounts.serialize_pem())?;
        authority.write("sa.pub", &accounts.public_key_pem())?;
        Ok(authority)
    }

    /// The path of one of the authority's files.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A server under these names and addresses.
    pub(super) fn server(&self, name: &str, hosts: &[&str]) -> anyhow::Result<Identity> {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let params = CertificateParams::new(hosts).context("naming a server")?;
        self.sign(name, params, name, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client, who is `user` of `group`.
    pub(super) fn client(
        &self,
        name: &str,
        user: &str,
        group: Option<&str>,
    ) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::default();
        if let Some(group) = group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        self.sign(name, params, user, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A kubeconfig of a client, with which it finds `server`.
    pub(super) fn kubeconfig(
        &self,
        name: &str,
        identity: &Identity,
        server: &str,
    ) -> anyhow::Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {
                "server": server,
                "certificate-authority": self.file("ca.crt"),
            }}],
            "users": [{"name": name, "user": {
                "client-certificate": identity.certificate,
                "client-key": identity.key,
            }}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        });
        self.write(&format!("{name}.kubeconfig"), &config.to_string())
    }

    fn sign(
        &self,
        name: &str,
        mut params: CertificateParams,
        user: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> anyhow::Result<Identity> {
        params.distinguished_name.push(DnType::CommonName, user);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().with_context(|| format!("making the key of {name}"))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("signing {name}"))?;
        Ok(Identity {
            certificate: self.write(&format!("{name}.crt"), &certificate.pem())?,
            key: self.write(&format!("{name}.key"), &key.serialize_pem())?,
        })
    }

    fn write(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.file(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}
