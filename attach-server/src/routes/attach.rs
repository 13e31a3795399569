//! The terminals' WebSockets: checked and answered in HTTP here, then handed to the hub with their socket.

use axum::extract::{FromRef, Request, State};
use axum::http::header::{
    CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use lap_platform::model::SessionId;
use lap_platform::session::Sessions;
use lap_wire::PROTOCOL;
use sha1::{Digest as _, Sha1};
use tokio::net::{TcpStream, UnixStream};

use crate::http::auth::{Keys, Principal};
use crate::http::error::{ApiError, Kind};
use crate::http::extract::{QueryTokens, SessionPath};
use crate::http::limits::RETRY_AFTER;
use crate::http::listen::{self, ConnectionSlot};
use crate::hub::{ClientSocket, Grant, HubHandle};
use crate::server::drain::Drain;
use crate::state::AppState;

/// RFC 6455, 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What the terminals' sockets are opened with.
#[derive(Clone)]
pub(super) struct Sockets {
    keys: Keys,
    hub: HubHandle,
    drain: Drain,
}

impl FromRef<AppState> for Sockets {
    fn from_ref(state: &AppState) -> Sockets {
        Sockets {
            keys: Keys::from_ref(state),
            hub: HubHandle::from_ref(state),
            drain: Drain::from_ref(state),
        }
    }
}

/// Where an upgraded socket goes.
enum Destination {
    Attach,
    Tty(SessionId),
}

/// Many terminals on one WebSocket: subprotocol `lap.attach.v1`, docs/attach-protocol.md.
#[utoipa::path(get, operation_id = "attach_terminals", path = "/api/v1/managed_agents/attach", tag = "terminal",
    params(("token" = Option<String>, Query, description = "Where a load balancer strips the Authorization header")),
    responses(
        (status = 101, description = "The socket speaks lap.attach.v1"),
        (status = 400, description = "Not a WebSocket upgrade, or without the subprotocol", body = lap_platform::model::ErrorBody),
        (status = 401, description = "No valid token", body = lap_platform::model::ErrorBody),
        (status = 429, description = "Too many connections", body = lap_platform::model::ErrorBody),
    ))]
pub(super) async fn attach(
    State(sockets): State<Sockets>,
    QueryTokens(tokens): QueryTokens,
    request: Request,
) -> Result<Response, ApiError> {
    let principal = sockets.keys.authenticate(request.headers(), &tokens)?;
    let key = websocket_key(request.headers())?;
    if !offers(request.headers(), PROTOCOL) {
        let message = format!(
            "this socket speaks the WebSocket subprotocol {PROTOCOL}: ask for it in Sec-WebSocket-Protocol"
        );
        return Err(ApiError::new(Kind::Invalid, message));
    }
    let grant = Grant { only_session: principal.only_session(), may_type: principal.may_attach() };
    let mut response = sockets.hand_over(request, grant, Destination::Attach, &key)?;
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

/// One terminal on one WebSocket, for any client: binary frames of output, keystrokes back.
#[utoipa::path(get, operation_id = "attach_terminal", path = "/api/v1/managed_agents/sessions/{session_id}/tty", tag = "terminal",
    params(
        ("session_id" = SessionId, Path, description = "The session"),
        ("token" = Option<String>, Query, description = "The session's tty_token, or a key"),
    ),
    responses(
        (status = 101, description = "The socket carries the terminal"),
        (status = 400, description = "Not a WebSocket upgrade", body = lap_platform::model::ErrorBody),
        (status = 401, description = "No valid token", body = lap_platform::model::ErrorBody),
        (status = 403, description = "A token of another session", body = lap_platform::model::ErrorBody),
        (status = 404, description = "No such session", body = lap_platform::model::ErrorBody),
        (status = 409, description = "The session has no terminal now", body = lap_platform::model::ErrorBody),
        (status = 429, description = "Too many connections", body = lap_platform::model::ErrorBody),
    ))]
pub(super) async fn tty(
    State(sockets): State<Sockets>,
    State(sessions): State<Sessions>,
    QueryTokens(tokens): QueryTokens,
    session: Result<SessionPath, ApiError>,
    request: Request,
) -> Result<Response, ApiError> {
    let principal = sockets.keys.authenticate(request.headers(), &tokens)?;
    let SessionPath(session) = session?;
    if !principal.may_view(session) {
        return Err(ApiError::new(Kind::Forbidden, "this token opens another session's terminal only"));
    }
    let key = websocket_key(request.headers())?;
    // In HTTP rather than by a close code, since simple clients show this and not that.
    sessions.resolve(session).await.map_err(|error| {
        let kind = match error.code {
            lap_wire::control::ErrorCode::NotFound => Kind::NotFound,
            _ => Kind::Conflict,
        };
        ApiError::new(kind, error.message)
    })?;
    let grant = Grant { only_session: Some(session), may_type: principal.may_type(session) };
    sockets.hand_over(request, grant, Destination::Tty(session), &key)
}

impl Principal {
    fn may_attach(&self) -> bool {
        self.only_session().is_some() || self.has(crate::http::auth::Scope::Attach)
    }
}

/// Whether a list header has this word.
fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(word))
}

fn offers(headers: &HeaderMap, protocol: &str) -> bool {
    has_word(headers, SEC_WEBSOCKET_PROTOCOL, protocol)
}

/// The key of a WebSocket handshake (RFC 6455, 4.2.1).
fn websocket_key(headers: &HeaderMap) -> Result<HeaderValue, ApiError> {
    let bad = |message: &str| Err(ApiError::new(Kind::Invalid, message));
    if !has_word(headers, UPGRADE, "websocket") || !has_word(headers, CONNECTION, "upgrade") {
        return bad("this is a WebSocket: connect with a WebSocket client (ws:// or wss://)");
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return bad("the WebSocket version is 13 (RFC 6455)");
    }
    match headers.get(SEC_WEBSOCKET_KEY) {
        Some(key) if STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) => Ok(key.clone()),
        _ => bad("Sec-WebSocket-Key is missing or not 16 bytes in base64"),
    }
}

impl Sockets {
    /// Answers 101 and gives the socket to the hub once the answer is out.
    fn hand_over(
        &self,
        mut request: Request,
        grant: Grant,
        destination: Destination,
        key: &HeaderValue,
    ) -> Result<Response, ApiError> {
        let slot = self.hub.slot().ok_or_else(|| {
            ApiError::too_many("too many terminals are attached to this server now", RETRY_AFTER)
        })?;
        let upgrade = request
            .extensions_mut()
            .remove::<OnUpgrade>()
            .ok_or_else(|| ApiError::new(Kind::Invalid, "this connection cannot be upgraded"))?;
        // The connection still counts as one of the server's while the hub has it.
        let connection = request.extensions().get::<ConnectionSlot>().cloned();
        let hub = self.hub.clone();
        self.drain.run("an upgrade", async move {
            let Some((socket, leftover)) = socket_of(upgrade).await else { return };
            let slot = slot.beside(connection);
            match destination {
                Destination::Attach => hub.attach(socket, leftover, grant, slot).await,
                Destination::Tty(session) => hub.tty(session, socket, leftover, grant, slot).await,
            }
        });
        let mut digest = Sha1::new();
        digest.update(key.as_bytes());
        digest.update(ACCEPT_GUID);
        let accept = HeaderValue::try_from(STANDARD.encode(digest.finalize())).map_err(ApiError::internal)?;
        let headers = [
            (UPGRADE, HeaderValue::from_static("websocket")),
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (SEC_WEBSOCKET_ACCEPT, accept),
        ];
        Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
    }
}

/// The bare socket, taken from its runtime, and what was read from it already.
async fn socket_of(upgrade: OnUpgrade) -> Option<(ClientSocket, Vec<u8>)> {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "a client went away during its upgrade");
            return None;
        }
    };
    let (socket, leftover) = match upgraded.downcast::<listen::Io<TcpStream>>() {
        Ok(parts) => (parts.io.into_inner().into_stream().into_std().map(ClientSocket::Tcp), parts.read_buf),
        Err(upgraded) => match upgraded.downcast::<listen::Io<UnixStream>>() {
            Ok(parts) => {
                (parts.io.into_inner().into_stream().into_std().map(ClientSocket::Unix), parts.read_buf)
            }
            Err(_) => {
                tracing::error!("an upgraded connection is of an unknown kind");
                return None;
            }
        },
    };
    match socket {
        Ok(socket) => Some((socket, leftover.to_vec())),
        Err(error) => {
            tracing::warn!(%error, "an upgraded socket could not be handed over");
            None
        }
    }
}
