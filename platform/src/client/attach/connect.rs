//! Where a server is, and making a socket to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lap_wire::PROTOCOL;
use lap_wire::control::{ErrorCode, WireError};
use lap_wire::limits::MAX_MESSAGE;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::UrlError;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, Response, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use tokio_util::either::Either;

use super::Lost;
use crate::client::{answer, trust};
use crate::model::{ErrorBody, ErrorDetail};
use crate::unix_socket;

/// Where a server takes `lap.attach.v1`.
pub const ATTACH_PATH: &str = "/api/v1/managed_agents/attach";

/// Read at once from the socket: several small messages, or a good part of a large one.
const READ_BUFFER: usize = 32 * 1024;
/// What the library may hold for a socket that takes nothing, before messages wait with us.
const WRITE_BUFFER: usize = 256 * 1024;

/// What to look at when the API answers and terminals do not.
const UPGRADE_HINT: &str = "if `lap sessions ls` works there, what stands before the server does not pass WebSockets on: \
    nginx needs `proxy_http_version 1.1` and the headers Upgrade and Connection";

/// A socket to a server, over the network or within this machine.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<Either<TcpStream, unix_socket::Socket>>>;

/// How a client proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    None,
    /// A key or token in the `Authorization` header.
    Bearer(String),
    /// A token in the URL, for load balancers that drop the header.
    Query(String),
}

// A key must not reach a log by way of a debug print.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credentials::None => "None",
            Credentials::Bearer(_) => "Bearer(…)",
            Credentials::Query(_) => "Query(…)",
        })
    }
}

/// A server and the right to use it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Its base URL, `http://…` or `https://…`.
    pub url: String,
    /// The unix socket it listens on beside that, if it runs on this machine: a shorter way for every keystroke.
    pub socket: Option<PathBuf>,
    /// What to show it.
    pub credentials: Credentials,
    /// Whether it is known to run on this very machine, not only to be reached by way of it: then the kernel tells
    /// when it dies, and an idle connection is left asleep for minutes.
    pub same_machine: bool,
}

impl Endpoint {
    fn request(&self) -> Result<Request<()>, String> {
        let base = self.url.trim_end_matches('/');
        let socket = if let Some(rest) = base.strip_prefix("https://") {
            format!("wss://{rest}")
        } else if let Some(rest) = base.strip_prefix("http://") {
            format!("ws://{rest}")
        } else {
            return Err(format!("{base} is not an http:// or https:// URL"));
        };
        let mut url = format!("{socket}{ATTACH_PATH}");
        if let Credentials::Query(token) = &self.credentials {
            url.push_str("?token=");
            url.push_str(token);
        }
        let mut request = url.into_client_request().map_err(|e| e.to_string())?;
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        if let Credentials::Bearer(token) = &self.credentials {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value =
                value.map_err(|_| "the API key has characters that no header can carry".to_owned())?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}

/// Connects: over the unix socket if there is one and somebody listens on it, and else over TCP.
pub(super) async fn connect(endpoint: Endpoint) -> Result<Socket, Lost> {
    let invalid = |message| Lost::Refused(WireError::new(ErrorCode::Invalid, message));
    let request = endpoint.request().map_err(invalid)?;
    let connector = match request.uri().scheme_str() {
        Some("wss") => {
            let trusted = trust::config().map_err(|error| Lost::Failed(error.to_string()))?;
            Some(Connector::Rustls(Arc::new(trusted)))
        }
        _ => None,
    };
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = READ_BUFFER;
    config.write_buffer_size = 0;
    config.max_write_buffer_size = WRITE_BUFFER;
    config.max_message_size = Some(MAX_MESSAGE);
    config.max_frame_size = Some(MAX_MESSAGE);
    let stream = open(&request, endpoint.socket.as_deref()).await.map_err(|error| judge(&error))?;
    let made =
        tokio_tungstenite::client_async_tls_with_config(request, stream, Some(config), connector).await;
    made.map(|(socket, _)| socket).map_err(|error| judge(&error))
}

async fn open(
    request: &Request<()>,
    socket: Option<&Path>,
) -> Result<Either<TcpStream, unix_socket::Socket>, Error> {
    if let Some(path) = socket
        && let Ok(stream) = unix_socket::connect(path).await
    {
        return Ok(Either::Right(unix_socket::Socket::new(stream.into_std()?)?));
    }
    let uri = request.uri();
    let host = uri.host().ok_or(Error::Url(UrlError::NoHostName))?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 });
    // An IPv6 address stands in brackets in a URL, and nowhere else.
    let stream = TcpStream::connect((host.trim_start_matches('[').trim_end_matches(']'), port)).await?;
    // Without Nagle's delay a keystroke leaves at once.
    stream.set_nodelay(true)?;
    Ok(Either::Left(stream))
}

/// Whether trying again can help.
fn judge(error: &Error) -> Lost {
    let refused =
        |code, message: &str, hint: &str| Lost::Refused(WireError::new(code, message).with_hint(hint));
    if let Some(reason) = answer::mistrust(error) {
        return Lost::Failed(reason);
    }
    match error {
        Error::Http(response) => match response.status().as_u16() {
            401 => refused(
                ErrorCode::NotAllowed,
                "the server does not know this key",
                "run `lap login` for a new one",
            ),
            403 => refused(
                ErrorCode::NotAllowed,
                "this key may not attach",
                "ask for a token with the scope attach",
            ),
            404 => refused(
                ErrorCode::NotFound,
                "there is no lap server at this address",
                "check the URL of the context",
            ),
            _ => upgrade_refused(response),
        },
        Error::Url(UrlError::UnableToConnect(_)) | Error::Io(_) => Lost::Failed(plain(error)),
        Error::Protocol(tungstenite::error::ProtocolError::HttparseError(_)) => {
            Lost::Failed(answer::NO_HTTP.to_owned())
        }
        Error::Url(_) | Error::HttpFormat(_) => {
            refused(ErrorCode::Invalid, "the server's address is no URL", "check the URL of the context")
        }
        Error::Protocol(tungstenite::error::ProtocolError::SecWebSocketSubProtocolError(_)) => refused(
            ErrorCode::UnsupportedVersion,
            "the server does not speak lap.attach.v1",
            "bring lap and the server to the same version",
        ),
        other => Lost::Failed(other.to_string()),
    }
}

/// Something else than a terminal answered an upgrade. What passes by itself is tried again; the rest is named for what
/// it is, with the words that came.
fn upgrade_refused(response: &Response<Option<Vec<u8>>>) -> Lost {
    let status = response.status();
    let body = response.body().as_deref().unwrap_or_default();
    let own = serde_json::from_slice::<ErrorBody>(body).ok().and_then(|body| match body.error {
        ErrorDetail::Message(words) => Some(words),
        ErrorDetail::Fields(_) => None,
    });
    let passes = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    match own {
        Some(words) if passes => Lost::Failed(words),
        None if passes => Lost::Failed(answer::describe(status, response.headers())),
        own => {
            let words = own.unwrap_or_else(|| answer::describe(status, response.headers()));
            let message = format!("no terminal is opened through this address: {words}");
            Lost::Refused(WireError::new(ErrorCode::UnsupportedVersion, message).with_hint(UPGRADE_HINT))
        }
    }
}

/// An IO error without the library's words around it.
fn plain(error: &Error) -> String {
    match error {
        Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            "nothing answers at the server".into()
        }
        Error::Io(io) => io.to_string(),
        Error::Url(UrlError::UnableToConnect(_)) => "nothing answers at the server".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, credentials: Credentials) -> Endpoint {
        Endpoint { url: url.into(), socket: None, credentials, same_machine: false }
    }

    #[test]
    fn the_key_travels_in_the_header_and_the_token_in_the_url() {
        let request = endpoint("https://lap.example/", Credentials::Bearer("k1".into())).request().unwrap();
        assert_eq!(request.uri(), "wss://lap.example/api/v1/managed_agents/attach");
        assert_eq!(request.headers()["authorization"], "Bearer k1");
        assert_eq!(request.headers()["sec-websocket-protocol"], PROTOCOL);
        let request = endpoint("http://[::1]:4180", Credentials::Query("t.2".into())).request().unwrap();
        assert_eq!(request.uri(), "ws://[::1]:4180/api/v1/managed_agents/attach?token=t.2");
        assert!(!request.headers().contains_key("authorization"));
    }

    #[test]
    fn what_is_no_address_or_key_is_refused_with_words() {
        assert!(endpoint("ftp://x", Credentials::None).request().is_err());
        assert!(endpoint("http://x", Credentials::Bearer("a\nb".into())).request().is_err());
    }

    fn answered(status: u16, body: &str) -> Lost {
        let response = Response::builder().status(status).header("server", "nginx/1.22.1");
        judge(&Error::Http(Box::new(response.body(Some(body.into())).unwrap())))
    }

    #[test]
    fn an_upgrade_that_something_else_answers_is_final_and_told_in_its_words() {
        for (status, body, says) in [
            (200, "<html>", "nginx/1.22.1"),
            (400, r#"{"error":"this is no WebSocket request"}"#, "this is no WebSocket request"),
            (400, "Bad Request", "400"),
            (426, "", "426"),
            (302, "", "302"),
            (405, "", "405"),
        ] {
            match answered(status, body) {
                Lost::Refused(error) => {
                    assert!(error.message.contains(says), "{status}: {}", error.message);
                    assert!(error.hint.is_some_and(|hint| hint.contains("Upgrade")));
                }
                Lost::Failed(reason) => panic!("{status} is tried for ever: {reason}"),
            }
        }
    }

    #[test]
    fn what_passes_by_itself_is_tried_again() {
        for (status, body, says) in [
            (502, "<html>", "does not reach the server"),
            (503, r#"{"error":"the server stops"}"#, "the server stops"),
            (429, r#"{"error":"too many sockets"}"#, "too many sockets"),
        ] {
            match answered(status, body) {
                Lost::Failed(reason) => assert!(reason.contains(says), "{status}: {reason}"),
                Lost::Refused(error) => panic!("{status} is final: {}", error.message),
            }
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        let shown = format!("{:?}", endpoint("http://x", Credentials::Bearer("sk-secret".into())));
        assert!(!shown.contains("sk-secret"));
    }
}
