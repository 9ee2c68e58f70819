//! What is done for every RPC: a span, a count, a time.
//!
//! A request is never logged here, not at any level: it may carry secrets. A call whose
//! client left before the answer counts as `CANCELLED`; its operation may go on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::metrics::Metrics;

/// Wraps the services.
#[derive(Debug, Clone)]
pub(crate) struct RpcLayer {
    metrics: Metrics,
}

impl RpcLayer {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for RpcLayer {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        let metrics = self.metrics.clone();
        Measured { inner, metrics }
    }
}

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub(crate) struct Measured<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B, R> Service<Request<B>> for Measured<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let rpc = rpc_name(request.uri().path());
        let span = tracing::info_span!("rpc", rpc);
        let mut call = Call {
            rpc,
            began: Instant::now(),
            code: Code::Cancelled,
            metrics: self.metrics.clone(),
        };
        let answer = span.in_scope(|| self.inner.call(request));
        let answer = async move {
            let answer = answer.await;
            call.code = match &answer {
                Ok(response) => Status::from_header_map(response.headers())
                    .map_or(Code::Ok, |status| status.code()),
                Err(_) => Code::Unknown,
            };
            drop(call);
            answer
        };
        Box::pin(answer.instrument(span))
    }
}

/// A call under way; dropped when it is answered, or when its client has left.
#[derive(Debug)]
struct Call {
    rpc: &'static str,
    began: Instant,
    code: Code,
    metrics: Metrics,
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let code = code_name(self.code);
        self.metrics.rpc(self.rpc, code, took);
        tracing::debug!(code, ?took, "answered");
    }
}

/// Every RPC that is offered. A client can send any path, and each label is a series
/// for ever, so others are counted as one.
const RPCS: [&str; 28] = [
    "GetPluginInfo",
    "GetPluginCapabilities",
    "Probe",
    "CreateVolume",
    "DeleteVolume",
    "ControllerPublishVolume",
    "ControllerUnpublishVolume",
    "ValidateVolumeCapabilities",
    "ListVolumes",
    "GetCapacity",
    "ControllerGetCapabilities",
    "CreateSnapshot",
    "DeleteSnapshot",
    "ListSnapshots",
    "GetSnapshot",
    "ControllerExpandVolume",
    "ControllerGetVolume",
    "ControllerModifyVolume",
    "NodeStageVolume",
    "NodeUnstageVolume",
    "NodePublishVolume",
    "NodeUnpublishVolume",
    "NodeGetVolumeStats",
    "NodeExpandVolume",
    "NodeGetCapabilities",
    "NodeGetInfo",
    "GetInfo",
    "NotifyRegistrationStatus",
];

/// The packages that they belong to.
const PACKAGES: [&str; 2] = ["/csi.v1.", "/pluginregistration."];

/// The method of a path such as `/csi.v1.Node/NodeStageVolume`.
fn rpc_name(path: &str) -> &'static str {
    let method = path.rsplit('/').next().unwrap_or_default();
    let known = RPCS.into_iter().find(|name| *name == method);
    known
        .filter(|_| PACKAGES.iter().any(|package| path.starts_with(package)))
        .unwrap_or("other")
}

/// The code as the gRPC specification spells it.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_of_the_interfaces_has_its_name() {
        let interfaces = concat!(
            include_str!("../../../proto/csi/v1/csi.proto"),
            include_str!("../../../proto/pluginregistration.proto"),
        );
        let services = ["Identity", "Controller", "Node", "Registration"];
        let mut service = "";
        let mut found = Vec::new();
        for line in interfaces.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("service ") {
                service = rest.split_whitespace().next().unwrap();
            }
            if let Some(rest) = line.strip_prefix("rpc ")
                && services.contains(&service)
            {
                found.push(rest.split('(').next().unwrap());
            }
        }
        assert_eq!(found, RPCS);
    }

    #[test]
    fn other_paths_share_one_name() {
        assert_eq!(rpc_name("/csi.v1.Node/NodeGetInfo"), "NodeGetInfo");
        let registration = "/pluginregistration.Registration/GetInfo";
        assert_eq!(rpc_name(registration), "GetInfo");
        for path in [
            "",
            "/",
            "/x",
            "/csi.v1.Node/Other",
            "/evil.v1.Node/NodeGetInfo",
        ] {
            assert_eq!(rpc_name(path), "other", "{path}");
        }
    }
}
