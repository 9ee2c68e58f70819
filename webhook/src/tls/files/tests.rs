//! Pairs of certificate and key that may be served, and those that may not.

use std::fs;
use std::sync::Arc;

use rstest::rstest;
use tempfile::TempDir;

use super::*;

struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let (certificate, key) = pair();
        files.write(&certificate, &key);
        files
    }

    fn names(&self) -> CertificateFiles {
        CertificateFiles {
            certificate: self.directory.path().join("tls.crt"),
            key: self.directory.path().join("tls.key"),
        }
    }

    fn write(&self, certificate: &str, key: &str) {
        fs::write(self.names().certificate, certificate).unwrap();
        fs::write(self.names().key, key).unwrap();
    }
}

fn pair() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["webhook.example".to_owned()]).unwrap();
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

#[rstest]
#[case::empty("", "", "a certificate chain")]
#[case::garbage("hello", "hello", "a certificate chain")]
#[case::no_key("CERT", "hello", "a private key")]
#[case::key_of_another("CERT", "OTHER KEY", "using the key")]
#[case::certificate_in_place_of_key("CERT", "CERT", "a private key")]
#[case::broken_der(
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "KEY",
    "ends"
)]
#[tokio::test]
async fn a_pair_that_cannot_be_used_never_replaces_one_that_can(
    #[case] certificate: &str,
    #[case] key: &str,
    #[case] expected: &str,
) {
    let files = Files::new();
    let loaded = Certificate::default();
    files.names().load(&loaded).await.unwrap();
    let before = loaded.current().unwrap();
    let (new_certificate, new_key) = pair();
    let (_, other_key) = pair();
    let text = |name: &str| match name {
        "CERT" => new_certificate.clone(),
        "KEY" => new_key.clone(),
        "OTHER KEY" => other_key.clone(),
        other => other.to_owned(),
    };
    files.write(&text(certificate), &text(key));
    let error = files.names().load(&loaded).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let error = Chain(&error).to_string();
    assert!(error.contains(expected), "{error}");
    assert!(Arc::ptr_eq(&before, &loaded.current().unwrap()));
    fs::remove_file(files.names().key).unwrap();
    let error = files.names().load(&loaded).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    files.write(&new_certificate, &new_key);
    assert!(files.names().load(&loaded).await.unwrap());
    let again = files.names().load(&loaded).await.unwrap();
    assert!(!again, "nothing has changed since");
}

#[tokio::test]
async fn a_huge_file_is_not_read() {
    let files = Files::new();
    let huge = fs::File::create(files.names().certificate).unwrap();
    huge.set_len(LARGEST_FILE + 1).unwrap();
    let loaded = Certificate::default();
    let error = files.names().load(&loaded).await.unwrap_err();
    assert!(matches!(error, FileError::TooLarge { .. }));
    assert_eq!(
        loaded.obstacle(jiff::Timestamp::UNIX_EPOCH).unwrap(),
        "there is no certificate yet"
    );
}
