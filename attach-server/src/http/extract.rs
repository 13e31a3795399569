//! Bodies, queries and ids of requests. What does not fit is refused with every fault and its path, at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{FromRef, FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use lap_platform::model::validate::{INVALID, INVALID_TYPE};
use lap_platform::model::{
    AgentId, AgentPatch, AgentSpec, AnswerPermission, AttachSkill, CreateSession, ExecRequest, FieldError,
    MemoryId, MemoryPatch, MemorySpec, PermissionId, SendMessage, SessionId, SessionPatch, SkillId,
    SkillPatch, SkillSpec,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, Kind};
use super::limits::Slots;
use super::schema::{self, Pruned, Schemas};
use crate::openapi::IGNORED_FIELDS;

/// The longest a body may take to arrive: 1 MiB over a bad mobile link.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How large bodies may be.
#[derive(Clone, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes of one.
    pub(crate) bytes: usize,
    /// Bytes of one that carries attachments.
    pub(crate) attachment_bytes: usize,
    /// Those over the ordinary limit that are read at a time.
    pub(crate) large: Slots,
}

/// A request's JSON body, as far as it can be read: what is wrong with it is told by [`Body::judged`], all at once.
#[derive(Debug)]
pub(crate) struct Body<T> {
    value: T,
    /// Parts that could not be read and are not in the value.
    unfit: Vec<FieldError>,
    /// Parts beyond the document's limits.
    beyond: Vec<FieldError>,
    pruned: Pruned,
}

impl<T> Body<T> {
    fn of(value: T) -> Body<T> {
        Body { value, unfit: Vec::new(), beyond: Vec::new(), pruned: Pruned::default() }
    }

    /// The value, if all of it could be read, it passes this judgement and keeps to the limits the document states.
    pub(crate) fn judged(self, judge: impl FnOnce(&T) -> Result<(), Vec<FieldError>>) -> Result<T, ApiError> {
        let Body { value, unfit: mut faults, beyond, pruned } = self;
        let judged = judge(&value).err().unwrap_or_default();
        faults.extend(
            judged.into_iter().map(|fault| FieldError { path: pruned.original(fault.path), ..fault }),
        );
        // The judgement says more of the same place.
        let told = faults.len();
        for fault in beyond {
            if !faults.iter().take(told).any(|known| known.path == fault.path) {
                faults.push(fault);
            }
        }
        if faults.is_empty() { Ok(value) } else { Err(ApiError::invalid(faults)) }
    }

    /// What was sent, not yet judged, without what could not be read.
    pub(crate) fn unjudged(&self) -> &T {
        &self.value
    }
}

/// A type that comes as a request's body.
pub(crate) trait RequestBody: DeserializeOwned + ToSchema + 'static {
    /// Whether it may carry attachments, and then be larger than others.
    const WITH_ATTACHMENTS: bool = false;
}

impl RequestBody for AgentSpec {}
impl RequestBody for AgentPatch {}
impl RequestBody for SessionPatch {}
impl RequestBody for MemorySpec {}
impl RequestBody for MemoryPatch {}
impl RequestBody for SkillSpec {}
impl RequestBody for SkillPatch {}
impl RequestBody for AttachSkill {}
impl RequestBody for AnswerPermission {}
impl RequestBody for SendMessage {
    const WITH_ATTACHMENTS: bool = true;
}
impl RequestBody for ExecRequest {}
impl RequestBody for CreateSession {
    const WITH_ATTACHMENTS: bool = true;
}

impl<T, S> FromRequest<S> for Body<T>
where
    T: RequestBody,
    S: Send + Sync,
    BodyLimits: FromRef<S>,
    Arc<Schemas>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, ApiError> {
        let (parts, body) = request.into_parts();
        let limits = BodyLimits::from_ref(state);
        let bytes = limits.read(&parts.headers, body, T::WITH_ATTACHMENTS).await?;
        if bytes.is_empty() {
            return Err(ApiError::new(Kind::Invalid, "the request has no body; send a JSON object"));
        }
        parse(&parts.headers, &bytes, &Arc::from_ref(state))
    }
}

/// A body that may be left out.
#[derive(Debug)]
pub(crate) struct OptionalBody<T>(pub(crate) Body<T>);

impl<T, S> FromRequest<S> for OptionalBody<T>
where
    T: RequestBody + Default,
    S: Send + Sync,
    BodyLimits: FromRef<S>,
    Arc<Schemas>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<OptionalBody<T>, ApiError> {
        let (parts, body) = request.into_parts();
        let limits = BodyLimits::from_ref(state);
        let bytes = limits.read(&parts.headers, body, T::WITH_ATTACHMENTS).await?;
        if bytes.is_empty() || bytes.trim_ascii() == b"null" {
            return Ok(OptionalBody(Body::of(T::default())));
        }
        parse(&parts.headers, &bytes, &Arc::from_ref(state)).map(OptionalBody)
    }
}

/// No body, or an empty object.
#[derive(Debug)]
pub(crate) struct NoBody;

impl<S> FromRequest<S> for NoBody
where
    S: Send + Sync,
    BodyLimits: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<NoBody, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = BodyLimits::from_ref(state).read(&parts.headers, body, false).await?;
        match serde_json::from_slice::<Value>(&bytes) {
            _ if bytes.iter().all(u8::is_ascii_whitespace) => Ok(NoBody),
            Ok(Value::Object(fields)) if fields.is_empty() => Ok(NoBody),
            _ => Err(ApiError::new(Kind::Invalid, "this request takes no body")),
        }
    }
}

impl BodyLimits {
    /// Reads a whole body within its limits.
    ///
    /// # Errors
    /// 413 over them, 408 when it does not come, 415 where it is encoded.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        body: HttpBody,
        with_attachments: bool,
    ) -> Result<Bytes, ApiError> {
        let plain = |encoding: &[u8]| encoding.trim_ascii().eq_ignore_ascii_case(b"identity");
        if !headers.get_all(header::CONTENT_ENCODING).iter().all(|encoding| plain(encoding.as_bytes())) {
            let message = "the body must be sent as it is, without a content-encoding such as gzip";
            return Err(ApiError::new(Kind::UnsupportedMediaType, message));
        }
        let length =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if !with_attachments || length.is_some_and(|length| length <= self.bytes) {
            return read(body, self.bytes).await;
        }
        // Held until the body is whole: it is the reading of many at a time that memory could not bear.
        let _slot = self.large.take()?;
        read(body, self.attachment_bytes).await
    }
}

/// Reads a whole body, up to `limit` bytes and for a limited time.
async fn read(body: HttpBody, limit: usize) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(ApiError::new(Kind::TooLarge, format!("the body is over the limit of {limit} bytes")))
        }
        Ok(Err(error)) => {
            Err(ApiError::new(Kind::Invalid, "the body ended before it was whole").because(error))
        }
        Err(_) => {
            let seconds = BODY_TIMEOUT.as_secs();
            Err(ApiError::new(Kind::RequestTimeout, format!("the body did not arrive within {seconds} s")))
        }
    }
}

fn parse<T: RequestBody>(headers: &HeaderMap, bytes: &[u8], schemas: &Schemas) -> Result<Body<T>, ApiError> {
    if !is_json(headers) {
        let message = "the body must be JSON; send it with the header content-type: application/json";
        return Err(ApiError::new(Kind::UnsupportedMediaType, message));
    }
    let mut value: Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::new(Kind::Invalid, format!("the body is not JSON: {error}")))?;
    let findings = schemas.check_body::<T>(&value).map_err(|fault| ApiError::invalid(vec![fault]))?;
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !IGNORED_FIELDS.contains(&name.as_str()));
    }
    let pruned = findings.prune(&mut value);
    match serde_path_to_error::deserialize(value) {
        Ok(value) => Ok(Body { value, unfit: findings.unfit, beyond: findings.beyond, pruned }),
        Err(error) => {
            let faults = findings.into_faults();
            Err(ApiError::invalid(if faults.is_empty() { vec![unreadable(&error)] } else { faults }))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    essence.is_some_and(|essence| {
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

/// What the document let pass and the type cannot hold: a fault of one of both.
fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>) -> FieldError {
    use serde_path_to_error::Segment;
    let name = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    tracing::warn!(error = %error.inner(), path = %error.path(), "a request fits the document and not its type");
    let path = error.path().iter().filter_map(name).collect();
    FieldError { code: INVALID_TYPE.to_owned(), path, message: "cannot be read".to_owned() }
}

/// A request's query.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned + IntoParams + 'static,
    S: Send + Sync,
    Arc<Schemas>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, ApiError> {
        let mut fields = Map::new();
        let mut faults = Vec::new();
        for (name, text) in form_pairs(parts.uri.query().unwrap_or_default()) {
            if fields.contains_key(&name) {
                let message = "is given more than once".to_owned();
                faults.push(FieldError { code: INVALID.to_owned(), path: vec![name], message });
                continue;
            }
            let value = typed::<T>(&name, text);
            fields.insert(name, value);
        }
        let value = Value::Object(fields);
        match Arc::<Schemas>::from_ref(state).check_query::<T>(&value) {
            Ok(findings) => faults.extend(findings.into_faults()),
            Err(fault) => faults.push(fault),
        }
        if !faults.is_empty() {
            return Err(ApiError::invalid(faults));
        }
        serde_path_to_error::deserialize(value)
            .map(Query)
            .map_err(|error| ApiError::invalid(vec![unreadable(&error)]))
    }
}

/// The tokens in a query, however often there is one. Read without any judgement of the rest of it, which whoever has no
/// right to ask is not told.
#[derive(Debug)]
pub(crate) struct QueryTokens(pub(crate) Vec<String>);

impl<S: Send + Sync> FromRequestParts<S> for QueryTokens {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<QueryTokens, ApiError> {
        let pairs = form_pairs(parts.uri.query().unwrap_or_default());
        Ok(QueryTokens(
            pairs.into_iter().filter(|(name, _)| name == "token").map(|(_, value)| value).collect(),
        ))
    }
}

fn form_pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// A query knows only text: what the document calls a number or a truth value is read as one where it is one.
fn typed<T: IntoParams>(name: &str, text: String) -> Value {
    let param = schema::query_params::<T>().into_iter().find(|param| param.name == name);
    let Some(RefOr::T(Schema::Object(object))) = param.and_then(|param| param.schema) else {
        return Value::String(text);
    };
    let is = |wanted: Type| match &object.schema_type {
        SchemaType::Type(kind) => *kind == wanted,
        SchemaType::Array(kinds) => kinds.contains(&wanted),
        SchemaType::AnyValue => false,
    };
    if is(Type::Integer) {
        let plain = text.strip_prefix('-').unwrap_or(&text).bytes().all(|b| b.is_ascii_digit());
        return match text.parse::<i64>() {
            Ok(number) if plain => number.into(),
            // Beyond what any count can be: the document's bounds say what is made of it.
            Err(_) if plain && text.len() > 1 => {
                if text.starts_with('-') {
                    i64::MIN.into()
                } else {
                    i64::MAX.into()
                }
            }
            _ => Value::String(text),
        };
    }
    if is(Type::Boolean) {
        return text.parse::<bool>().map_or(Value::String(text), Value::Bool);
    }
    Value::String(text)
}

macro_rules! path_id {
    ($(#[$doc:meta])* $name:ident($id:ty), $param:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name(pub(crate) $id);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<$name, ApiError> {
                let text = path_param(parts, state, $param).await?;
                text.parse().map($name).map_err(|_| ApiError::not_found(format!("{} {text:?}", $what)))
            }
        }
    };
}

path_id!(
    /// The agent a path names.
    AgentPath(AgentId), "agent_id", "agent"
);
path_id!(
    /// The session a path names.
    SessionPath(SessionId), "session_id", "session"
);
path_id!(
    /// The memory a path names.
    MemoryPath(MemoryId), "memory_id", "memory"
);
path_id!(
    /// What an agent asks to be allowed, as a path names it.
    PermissionPath(PermissionId), "permission_id", "permission"
);
path_id!(
    /// The skill a path names.
    SkillPath(SkillId), "skill_id", "skill"
);
path_id!(
    /// The version of a skill a path names.
    SkillVersionPath(u64), "version", "version"
);

/// A part of the path as text; one that is not UTF-8 can name nothing.
async fn path_param<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<String, ApiError> {
    let missing = || ApiError::not_found(parts_path(name));
    let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| missing())?;
    params.iter().find(|(param, _)| *param == name).map(|(_, value)| value.to_owned()).ok_or_else(missing)
}

fn parts_path(name: &str) -> String {
    format!("what the path's {name} names")
}
