//! The AdmissionReview that goes back.
//!
//! A denial is `422 Invalid` with one cause for each field: kubectl then prints the
//! causes, controllers put the message into an event, and both name the field.

use serde::Serialize;

use super::wire;
use crate::verdict::Verdict;

/// An AdmissionReview with a response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Debug, Serialize)]
struct Response {
    uid: String,
    allowed: bool,
    status: Status,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Status {
    code: u16,
    #[serde(flatten)]
    failure: Option<Failure>,
}

#[derive(Debug, Serialize)]
struct Failure {
    status: &'static str,
    reason: &'static str,
    message: String,
    details: Details,
}

#[derive(Debug, Serialize)]
struct Details {
    name: String,
    group: String,
    kind: String,
    causes: Vec<Cause>,
}

#[derive(Debug, Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

impl Answer {
    pub(super) fn new(request: &wire::Request<'_>, name: String, verdict: Verdict) -> Self {
        let message = verdict.message();
        let failure = message.map(|message| Failure {
            status: "Failure",
            reason: "Invalid",
            message,
            details: Details {
                name,
                group: request.kind.group.clone(),
                kind: request.kind.kind.clone(),
                causes: verdict
                    .denials
                    .into_iter()
                    .map(|denial| Cause {
                        reason: "FieldValueInvalid",
                        message: denial.message,
                        field: denial.field,
                    })
                    .collect(),
            },
        });
        Self {
            api_version: wire::API_VERSION,
            kind: wire::KIND,
            response: Response {
                uid: request.uid.clone(),
                allowed: failure.is_none(),
                status: Status {
                    code: if failure.is_none() { 200 } else { 422 },
                    failure,
                },
                warnings: verdict.warnings,
            },
        }
    }
}
