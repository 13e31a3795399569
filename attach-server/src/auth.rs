//! Who sends a request, and what they may do.
//!
//! A token comes as `Authorization: Bearer …`, and on the terminals' WebSockets also as `?token=`, because load
//! balancers strip the header from upgrades. Tokens are compared by their digests in constant time and never logged.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use lap_platform::model::SessionId;

use crate::error::{ApiError, Kind};
use crate::state::AppState;

/// What a token may do. Each stands alone; the master key has all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// See agents, sessions, logs, and terminals without typing.
    Read,
    /// Type into terminals.
    Attach,
    /// Start, stop and command sessions.
    Operate,
    /// Make, change and delete agents.
    Write,
    /// Run the server itself.
    Admin,
}

/// A set of [`Scope`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// All there are.
    pub const ALL: Scopes = Scopes(0b1_1111);

    /// This one as well.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Scopes {
        Scopes(self.0 | 1 << scope as u8)
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }
}

/// Who sends a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    name: String,
    grant: Grant,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Grant {
    /// Of the API.
    Scopes(Scopes),
    /// Of one session's terminal, and of nothing else.
    Terminal(SessionId),
}

impl Principal {
    /// Whoever has the master key.
    #[must_use]
    pub fn master() -> Principal {
        Principal::scoped("operator", Scopes::ALL)
    }

    /// Somebody who may do only this.
    pub fn scoped(name: impl Into<String>, scopes: Scopes) -> Principal {
        Principal { name: name.into(), grant: Grant::Scopes(scopes) }
    }

    /// Whoever has a terminal token of this session.
    #[must_use]
    pub fn terminal(session: SessionId) -> Principal {
        Principal { name: "terminal".to_owned(), grant: Grant::Terminal(session) }
    }

    /// The only session it may do anything with, if it is bound to one.
    #[must_use]
    pub fn only_session(&self) -> Option<SessionId> {
        match &self.grant {
            Grant::Scopes(_) => None,
            Grant::Terminal(session) => Some(*session),
        }
    }

    /// A name for presence and the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has this scope of the API.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        matches!(&self.grant, Grant::Scopes(scopes) if scopes.has(scope))
    }

    /// Whether it may watch this session's terminal.
    #[must_use]
    pub fn may_view(&self, session: SessionId) -> bool {
        match &self.grant {
            Grant::Scopes(scopes) => scopes.has(Scope::Read) || scopes.has(Scope::Attach),
            Grant::Terminal(theirs) => *theirs == session,
        }
    }

    /// Whether it may type into this session's terminal.
    #[must_use]
    pub fn may_type(&self, session: SessionId) -> bool {
        match &self.grant {
            Grant::Scopes(scopes) => scopes.has(Scope::Attach),
            Grant::Terminal(theirs) => *theirs == session,
        }
    }

    /// Whether it may do everything with every session: take the right to type from others, say.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.has(Scope::Operate)
    }

    /// `Ok` if it has the scope, else 403.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.has(scope) {
            return Ok(());
        }
        let message = match &self.grant {
            Grant::Scopes(_) => {
                format!("this token may not do that: it lacks the scope {scope:?}").to_lowercase()
            }
            Grant::Terminal(session) => {
                format!("this token opens the terminal of session {session} and nothing else")
            }
        };
        Err(ApiError::new(Kind::Forbidden, message))
    }
}

/// Who sends a request with these headers and, where a token may stand there, this `?token=`. With both, one that is
/// valid is enough.
///
/// # Errors
/// 401 when no token is valid.
pub fn authenticate(
    headers: &HeaderMap,
    query_token: Option<&str>,
    state: &AppState,
) -> Result<Principal, ApiError> {
    bearer(headers)
        .into_iter()
        .chain(query_token)
        .find_map(|token| principal_of(token, state))
        .ok_or_else(ApiError::unauthorized)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn principal_of(token: &str, state: &AppState) -> Option<Principal> {
    if state.is_master_key(token) {
        return Some(Principal::master());
    }
    state.tty_session(token).map(Principal::terminal)
}

/// Lets nobody pass who has no valid token; behind it, [`Can`] asks for scopes.
pub(crate) async fn require(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let principal = authenticate(request.headers(), None, &state)?;
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}

/// A handler's argument: whoever sends this request may do that.
pub(crate) struct Can<S> {
    pub(crate) principal: Principal,
    scope: PhantomData<S>,
}

/// A scope as a type, for [`Can`].
pub(crate) trait Needed {
    const SCOPE: Scope;
}

macro_rules! needed {
    ($($name:ident)*) => {
        $(pub(crate) struct $name;
        impl Needed for $name {
            const SCOPE: Scope = Scope::$name;
        })*
    };
}
needed!(Read Operate Write);

impl<S: Needed> FromRequestParts<AppState> for Can<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Can<S>, ApiError> {
        let principal = parts.extensions.get::<Principal>().ok_or_else(ApiError::unauthorized)?.clone();
        principal.require(S::SCOPE)?;
        Ok(Can { principal, scope: PhantomData })
    }
}
