//! Asks blkid what lies on a device, past its cache.

use std::path::Path;
use std::time::Duration;

use crate::command::{BLKID, CommandError, Runner};

/// What blkid recognises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signature {
    /// It says that it found nothing, which is no proof.
    Nothing,
    /// A filesystem of this name and nothing else.
    Filesystem(String),
    /// Something else, for people.
    Other(String),
}

const WITHIN: Duration = Duration::from_secs(60);

/// Low-level probing of filesystems and partition tables alike.
pub(super) async fn probe(runner: &Runner, node: &Path) -> Result<Signature, CommandError> {
    let node = node.to_string_lossy();
    let arguments = ["-p", "-o", "export", &*node];
    let output = runner.run(BLKID, &arguments, WITHIN).await?;
    read(output.status.code(), &output.stdout)
        .ok_or_else(|| CommandError::failed(BLKID, &arguments, &output))
}

/// blkid(8): 0 is a finding, 2 nothing (or no access), 8 several signatures that
/// contradict one another; the rest are failures.
fn read(status: Option<i32>, stdout: &str) -> Option<Signature> {
    match status {
        Some(2) if stdout.trim().is_empty() => Some(Signature::Nothing),
        Some(8) => Some(Signature::Other(
            "signatures of more than one kind (blkid: ambivalent)".to_owned(),
        )),
        Some(0) => Some(found(stdout)),
        _ => None,
    }
}

fn found(stdout: &str) -> Signature {
    let value = |key: &str| {
        stdout
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    match (value("TYPE"), value("PTTYPE"), value("USAGE")) {
        (Some(name), None, None | Some("filesystem")) => Signature::Filesystem(name.to_owned()),
        (Some(name), None, Some(usage)) => Signature::Other(format!("{name} ({usage})")),
        (Some(name), Some(table), _) => {
            Signature::Other(format!("{name} and a partition table ({table})"))
        }
        (None, Some(table), _) => Signature::Other(format!("a partition table ({table})")),
        (None, None, _) => Signature::Other("something that blkid gives no type".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing(Some(2), "", Some(Signature::Nothing))]
    #[case::two_with_output(Some(2), "TYPE=ext4\n", None)]
    #[case::usage_error(Some(4), "", None)]
    #[case::killed(None, "", None)]
    #[case::unknown(Some(1), "", None)]
    #[case::ext4(
        Some(0),
        "DEVNAME=/dev/x\nUUID=a\nTYPE=ext4\nUSAGE=filesystem\n",
        Some(Signature::Filesystem("ext4".into()))
    )]
    #[case::luks(
        Some(0),
        "TYPE=crypto_LUKS\nUSAGE=crypto\n",
        Some(Signature::Other("crypto_LUKS (crypto)".into()))
    )]
    #[case::partitions(
        Some(0),
        "PTUUID=a\nPTTYPE=gpt\n",
        Some(Signature::Other("a partition table (gpt)".into()))
    )]
    #[case::both(
        Some(0),
        "TYPE=ext4\nUSAGE=filesystem\nPTTYPE=dos\n",
        Some(Signature::Other("ext4 and a partition table (dos)".into()))
    )]
    #[case::subtype_is_no_type(
        Some(0),
        "SUBTYPE=x\n",
        Some(Signature::Other("something that blkid gives no type".into()))
    )]
    fn statuses_and_output_have_one_meaning(
        #[case] status: Option<i32>,
        #[case] stdout: &str,
        #[case] expected: Option<Signature>,
    ) {
        assert_eq!(read(status, stdout), expected);
    }
}
