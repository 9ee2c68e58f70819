//! A client that keeps one connection in one protocol.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::harness::NAME;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(crate) fn alpn(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// One kept-alive connection.
pub(crate) struct Client {
    sender: Sender,
    pub(crate) presented: CertificateDer<'static>,
    _driver: JoinSet<hyper::Result<()>>,
}

impl Client {
    pub(crate) async fn new(stream: TlsStream<TcpStream>, protocol: Protocol) -> Self {
        let session = stream.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(protocol.alpn().as_bytes()));
        let presented = session.peer_certificates().unwrap()[0].clone().into_owned();
        let io = TokioIo::new(stream);
        let mut driver = JoinSet::new();
        let sender = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await.unwrap();
                driver.spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.unwrap();
                driver.spawn(connection);
                Sender::Http2(sender)
            }
        };
        Self {
            sender,
            presented,
            _driver: driver,
        }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<(StatusCode, Value)> {
        let response: Response<_> = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap()))
    }

    pub(crate) async fn review(&mut self, body: &Value) -> hyper::Result<Value> {
        let (status, answer) = self.send(post(body.to_string())).await?;
        assert_eq!(status, StatusCode::OK, "{answer}");
        Ok(answer["response"].clone())
    }
}

pub(crate) fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("https://{NAME}/validate"))
        .header("host", NAME)
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}
