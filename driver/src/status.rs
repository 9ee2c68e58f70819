//! What a failed operation tells its caller: the one table from [`Kind`] to gRPC codes.
//!
//! A code is chosen by what its reader does with it. external-provisioner takes
//! `CANCELLED`, `DEADLINE_EXCEEDED`, `UNAVAILABLE` and `ABORTED` for "may still be
//! running" and asks again; any other code lets it forget the volume. So an error after
//! a possible side effect must come here with a kind that maps to one of the four, and
//! nothing outside this file may make a [`Status`] from an error.

use rds_csi_core::kind::{Chain, Failure, Kind};
use tonic::{Code, Status};

/// Messages travel in HTTP trailers, percent-encoded, where clients allow 8 to 16 KiB.
const MAX_MESSAGE: usize = 4096;

/// Ends a message that was cut.
const CUT: &str = "… (cut)";

/// The status of a failed operation: the code of its kind, the whole chain of causes as
/// its message, cut at 4 KiB. Logs the error too, so call it once per error.
pub(crate) fn status(error: &dyn Failure) -> Status {
    let kind = error.kind();
    let message = bounded(Chain(error).to_string());
    match kind {
        Kind::Bug => tracing::error!(?kind, "{message}"),
        Kind::Unreachable | Kind::Timeout | Kind::Denied | Kind::Conflict => {
            tracing::warn!(?kind, "{message}");
        }
        Kind::Invalid
        | Kind::NotFound
        | Kind::Exists
        | Kind::Busy
        | Kind::Exhausted
        | Kind::OutOfRange
        | Kind::Unsupported => tracing::info!(?kind, "{message}"),
    }
    Status::new(code(kind), message)
}

/// The code of a kind.
const fn code(kind: Kind) -> Code {
    match kind {
        Kind::Invalid => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::Conflict => Code::FailedPrecondition,
        Kind::Exists => Code::AlreadyExists,
        Kind::Busy => Code::Aborted,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Unreachable => Code::Unavailable,
        Kind::Timeout => Code::DeadlineExceeded,
        Kind::Denied => Code::PermissionDenied,
        Kind::Unsupported => Code::Unimplemented,
        Kind::Bug => Code::Internal,
    }
}

fn bounded(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE - CUT.len()));
        message.push_str(CUT);
    }
    message
}

#[cfg(test)]
mod tests;
