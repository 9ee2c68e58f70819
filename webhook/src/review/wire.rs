//! The part of `admission.k8s.io/v1` that is read. Everything else in a review is
//! passed over, so that a newer API server is understood too.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ReviewError;
use crate::metrics::ReviewedOperation;

pub(super) const API_VERSION: &str = "admission.k8s.io/v1";
pub(super) const KIND: &str = "AdmissionReview";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default, borrow)]
    request: Option<Request<'a>>,
}

/// One request; objects stay unread until a rule wants them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    pub(super) uid: String,
    pub(super) kind: GroupVersionKind,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
    pub(super) operation: ReviewedOperation,
    #[serde(default)]
    pub(super) dry_run: bool,
    #[serde(default, borrow)]
    pub(super) object: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(super) old_object: Option<&'a RawValue>,
}

impl Request<'_> {
    /// What people call the object. A request to make one with a `generateName` may come
    /// before the name is made; it is then called by its beginning and a star.
    pub(super) fn object_name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let object = self.object.map(RawValue::get).unwrap_or_default();
        let metadata = serde_json::from_str::<Named>(object)
            .unwrap_or_default()
            .metadata;
        match (metadata.name, metadata.generate_name) {
            (Some(name), _) if !name.is_empty() => name,
            (_, Some(begin)) => format!("{begin}*"),
            (name, None) => name.unwrap_or_default(),
        }
    }
}

#[derive(Default, Deserialize)]
struct Named {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    generate_name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GroupVersionKind {
    #[serde(default)]
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

/// Reads a body.
pub(super) fn decode(body: &[u8]) -> Result<Request<'_>, ReviewError> {
    let review: Review<'_> = serde_json::from_slice(body).map_err(ReviewError::Body)?;
    if review.api_version != API_VERSION || review.kind != KIND {
        let short = |text: &str| text.chars().take(64).collect();
        return Err(ReviewError::Type {
            api_version: short(&review.api_version),
            kind: short(&review.kind),
        });
    }
    review
        .request
        .filter(|request| !request.uid.is_empty())
        .ok_or(ReviewError::NoRequest)
}
