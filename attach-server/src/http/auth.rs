//! Who sends a request, and what they may do.
//!
//! A token comes as `Authorization: Bearer …`, and on the terminals' WebSockets also as `?token=`, because load
//! balancers strip the header from upgrades. Tokens are compared by their digests in constant time and never logged.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use lap_platform::model::{AgentId, SessionId};
use lap_platform::secret::{AgentTokens, MasterKey, TokenError, TtyTokens};
use lap_platform::store::{Store, StoreError};

use super::error::{ApiError, Kind};
use super::extract::AgentPath;

/// What a token may do. Each stands alone; the master key has all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Scope {
    /// See agents, sessions, logs, and terminals without typing.
    Read,
    /// Type into terminals.
    Attach,
    /// Start, stop and command sessions.
    Operate,
    /// Make, change and delete agents.
    Write,
}

/// A set of [`Scope`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Scopes(u8);

impl Scopes {
    /// All there are.
    pub(crate) const ALL: Scopes = Scopes(0b1111);

    /// Whether it is among them.
    #[must_use]
    pub(crate) const fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }
}

/// Who sends a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Principal {
    name: String,
    grant: Grant,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Grant {
    /// Of the API.
    Scopes(Scopes),
    /// Of one session's terminal, and of nothing else.
    Terminal(SessionId),
    /// Of what runs in a session: what its agent remembers and which skills it has.
    Agent(SessionId, AgentId),
}

impl Principal {
    /// Whoever has the master key.
    #[must_use]
    pub(crate) fn master() -> Principal {
        Principal::scoped("operator", Scopes::ALL)
    }

    /// Somebody who may do only this.
    pub(crate) fn scoped(name: impl Into<String>, scopes: Scopes) -> Principal {
        Principal { name: name.into(), grant: Grant::Scopes(scopes) }
    }

    /// Whoever has a terminal token of this session.
    #[must_use]
    pub(crate) fn terminal(session: SessionId) -> Principal {
        Principal { name: "terminal".to_owned(), grant: Grant::Terminal(session) }
    }

    /// What runs in a session of this agent.
    fn agent(session: SessionId, agent: AgentId) -> Principal {
        Principal { name: format!("session {session}"), grant: Grant::Agent(session, agent) }
    }

    /// The session and agent, where it is what runs in one.
    #[must_use]
    pub(crate) fn of_agent(&self) -> Option<(SessionId, AgentId)> {
        match &self.grant {
            Grant::Agent(session, agent) => Some((*session, *agent)),
            _ => None,
        }
    }

    /// Of two who sent one request, the one that may less; nobody where neither's rights are within the other's.
    fn narrower(one: Principal, other: Principal) -> Result<Principal, ApiError> {
        match (&one.grant, &other.grant) {
            (Grant::Terminal(session), Grant::Scopes(_)) if other.may_view(*session) => Ok(one),
            (Grant::Scopes(_), Grant::Terminal(session)) if one.may_view(*session) => Ok(other),
            _ => Err(ApiError::unauthorized()),
        }
    }

    /// The only session it may do anything with, if it is bound to one.
    #[must_use]
    pub(crate) fn only_session(&self) -> Option<SessionId> {
        match &self.grant {
            Grant::Scopes(_) => None,
            Grant::Terminal(session) | Grant::Agent(session, _) => Some(*session),
        }
    }

    /// A name for presence and the log.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has this scope of the API.
    #[must_use]
    pub(crate) fn has(&self, scope: Scope) -> bool {
        matches!(&self.grant, Grant::Scopes(scopes) if scopes.has(scope))
    }

    /// Whether it may watch this session's terminal.
    #[must_use]
    pub(crate) fn may_view(&self, session: SessionId) -> bool {
        match &self.grant {
            Grant::Scopes(scopes) => scopes.has(Scope::Read) || scopes.has(Scope::Attach),
            Grant::Terminal(theirs) => *theirs == session,
            Grant::Agent(..) => false,
        }
    }

    /// Whether it may type into this session's terminal.
    #[must_use]
    pub(crate) fn may_type(&self, session: SessionId) -> bool {
        match &self.grant {
            Grant::Scopes(scopes) => scopes.has(Scope::Attach),
            Grant::Terminal(theirs) => *theirs == session,
            Grant::Agent(..) => false,
        }
    }

    /// `Ok` if it has the scope, else 403.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), ApiError> {
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
            Grant::Agent(_, agent) => {
                format!("this token is for the memories and skills of agent {agent} and nothing else")
            }
        };
        Err(ApiError::new(Kind::Forbidden, message))
    }
}

/// What opens the server, and the terminals of its sessions.
#[derive(Clone)]
pub(crate) struct Keys(Arc<(MasterKey, TtyTokens, AgentTokens)>);

impl Keys {
    pub(crate) fn new(master: MasterKey, terminals: TtyTokens, agents: AgentTokens) -> Keys {
        Keys(Arc::new((master, terminals, agents)))
    }

    /// Who sends a request with these headers and, where tokens may stand there, these of its query. Those of the query
    /// are meant for this very request: each must be valid. A header beside them may be of something in between, and
    /// counts only where it is a token of ours.
    ///
    /// # Errors
    /// 401 without a valid token, with one of the query that is not, and with tokens that contradict each other.
    pub(crate) fn authenticate(&self, headers: &HeaderMap, query: &[String]) -> Result<Principal, ApiError> {
        let mut who = bearer(headers)?.and_then(|token| self.principal_of(token));
        for token in query {
            let principal = self.principal_of(token).ok_or_else(ApiError::unauthorized)?;
            // A terminal's token beside a key of the API's: what both may do, which is less.
            who = match who {
                Some(known) if known != principal => Some(Principal::narrower(known, principal)?),
                _ => Some(principal),
            };
        }
        who.ok_or_else(ApiError::unauthorized)
    }

    /// A token for a session's terminal: for some minutes the same one.
    ///
    /// # Errors
    /// When none can be made.
    pub(crate) fn terminal_token(&self, session: SessionId) -> Result<String, TokenError> {
        self.0.1.mint(session, Timestamp::now())
    }

    /// Whose token of a session's own it is that a request carries, if it does.
    fn session_of(&self, headers: &HeaderMap) -> Result<Option<SessionId>, ApiError> {
        Ok(bearer(headers)?.and_then(|token| self.0.2.verify(token)))
    }

    fn principal_of(&self, token: &str) -> Option<Principal> {
        if self.0.0.matches(token) {
            return Some(Principal::master());
        }
        self.0.1.verify(token, Timestamp::now()).ok().map(Principal::terminal)
    }
}

/// The header's token. Another scheme is somebody else's business, a proxy's say; several headers are nobody's token.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(ApiError::unauthorized());
    }
    let words = value.to_str().ok().and_then(|value| value.split_once(' '));
    Ok(words.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim()))
}

/// Lets nobody pass who has no valid token; behind it, [`Can`] asks for scopes.
pub(crate) async fn require(
    State(keys): State<Keys>,
    State(store): State<Store>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let principal = match keys.session_of(request.headers())? {
        Some(session) => of_live_session(&store, session).await?,
        None => keys.authenticate(request.headers(), &[])?,
    };
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}

/// What runs in a session has its token until the session ends.
async fn of_live_session(store: &Store, id: SessionId) -> Result<Principal, ApiError> {
    match store.sessions().get(id).await {
        Ok(record) if record.status.is_live() => Ok(Principal::agent(id, record.agent_id)),
        Ok(_) | Err(StoreError::NotFound(_)) => Err(ApiError::unauthorized()),
        Err(error) => Err(error.into()),
    }
}

/// A handler's argument: whoever sends this request may do that; or is what runs in a session, of whose agent the path is,
/// where it names one.
pub(crate) struct CanOrAgent<S> {
    /// The session, where it is what runs in one, and its agent.
    pub(crate) agent: Option<(SessionId, AgentId)>,
    scope: PhantomData<S>,
}

impl<N: Needed, S: Send + Sync> FromRequestParts<S> for CanOrAgent<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<CanOrAgent<N>, ApiError> {
        let principal = parts.extensions.get::<Principal>().ok_or_else(ApiError::unauthorized)?.clone();
        let agent = principal.of_agent();
        let named = AgentPath::from_request_parts(parts, state).await.ok();
        let own = agent.is_some_and(|(_, own)| named.is_none_or(|AgentPath(named)| named == own));
        if !own {
            principal.require(N::SCOPE)?;
        }
        Ok(CanOrAgent { agent, scope: PhantomData })
    }
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

impl<N: Needed, S: Send + Sync> FromRequestParts<S> for Can<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Can<N>, ApiError> {
        let principal = parts.extensions.get::<Principal>().ok_or_else(ApiError::unauthorized)?.clone();
        principal.require(N::SCOPE)?;
        Ok(Can { principal, scope: PhantomData })
    }
}
