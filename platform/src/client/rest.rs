//! The typed client of a server's REST API.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Request, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::address;
use super::answer;
use super::error::ClientError;
use super::trust;

/// A connection that is not there by then will not come.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer that is not there by then: the API's slowest plain answer (diagnose) takes 5 s, a stop 10 s and some.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A stream that is silent this long is dead: the feed's heartbeat comes every 8 s.
const STREAM_SILENCE: Duration = Duration::from_secs(20);
/// Bytes of a request that are sent in a second over the slowest line that is waited for.
const SLOWEST_LINE: u64 = 4 * 1024;
/// Times a question is asked again when its connection breaks: a connection that was kept may have been closed by the
/// other end just when it was used, and so may the next one.
const ASKED_AGAIN: u32 = 2;
/// The heartbeat that is asked of a server on this machine: the kernel tells when it dies, and nobody idle is woken.
const LOCAL_HEARTBEAT: Duration = Duration::from_secs(300);
/// The largest answer taken in: a page of 200 rows is below 1 MiB; a recording is the largest there is.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A server's REST API. Cheap to clone; all clones share one pool of connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    base: Url,
    key: Option<String>,
    same_machine: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Client").field("base", &self.inner.base.as_str()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the server at `base` (`http://127.0.0.1:4180`, `https://lap.example.org/prefix`), which shows `key`
    /// with every request.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] if the address is no http(s) URL or the key cannot stand in a header.
    pub fn new(base: &str, key: Option<&str>) -> Result<Client, ClientError> {
        Client::make(base, key, false)
    }

    /// The same for a server that is known to run on this very machine, not only to be reached by way of it.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn on_this_machine(base: &str, key: Option<&str>) -> Result<Client, ClientError> {
        Client::make(base, key, true)
    }

    fn make(base: &str, key: Option<&str>, same_machine: bool) -> Result<Client, ClientError> {
        trust::install_provider();
        let base = address::parse(base)?;
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                invalid("the key", "it has characters that cannot stand in a header".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("lap/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // A redirect would hand the key to another host.
            .redirect(reqwest::redirect::Policy::none());
        if address::is_loopback(&base) {
            // A proxy from the environment would look for this address on its own machine.
            builder = builder.no_proxy();
        }
        let trusted = if base.scheme() == "http" { trust::nobody() } else { trust::config() }?;
        builder = builder.tls_backend_preconfigured(trusted);
        let http = builder.build().map_err(|error| invalid("the client", reason_of(&error)))?;
        Ok(Client { inner: Arc::new(Inner { http, base, key: key.map(str::to_owned), same_machine }) })
    }

    /// The server's address as it was given, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        self.inner.base.as_str().trim_end_matches('/')
    }

    /// The key shown with every request; the attach client shows the same.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.inner.key.as_deref()
    }

    /// Whether the server is known to run on this machine.
    #[must_use]
    pub fn is_on_this_machine(&self) -> bool {
        self.inner.same_machine
    }

    /// How often a stream is to show that it lives, where that is not as often as usual.
    pub(super) fn wished_heartbeat(&self) -> Option<Duration> {
        self.inner.same_machine.then_some(LOCAL_HEARTBEAT)
    }

    /// How long a stream may be silent.
    pub(super) fn stream_silence(&self) -> Duration {
        stream_silence(self.inner.same_machine)
    }

    /// The address of a path of the API, given without a slash at its beginning: `api/v1/health`.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.inner.base.clone();
        let joined = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&joined);
        url
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.inner.http.request(method, self.url(path))
    }

    /// A POST under an idempotency key of its own, so that the same request sent twice makes one thing.
    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path).header("idempotency-key", Uuid::now_v7().to_string())
    }

    pub(super) async fn get<T, Q>(&self, path: &str, query: &Q) -> Result<T, ClientError>
    where
        T: DeserializeOwned,
        Q: Serialize + ?Sized,
    {
        self.json(self.request(Method::GET, path).query(query), ANSWER_TIMEOUT).await
    }

    /// Sends a request whose answer is JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        within: Duration,
    ) -> Result<T, ClientError> {
        let body = self.bytes(request, within).await?;
        serde_json::from_slice(&body).map_err(|error| self.malformed(error.to_string()))
    }

    /// Sends a request whose answer is text.
    pub(super) async fn text(&self, request: RequestBuilder) -> Result<String, ClientError> {
        let body = self.bytes(request, ANSWER_TIMEOUT).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends a request whose answer's content does not matter.
    pub(super) async fn nothing(&self, request: RequestBuilder) -> Result<(), ClientError> {
        self.bytes(request, ANSWER_TIMEOUT).await.map(drop)
    }

    async fn bytes(&self, request: RequestBuilder, within: Duration) -> Result<Vec<u8>, ClientError> {
        let request = request.build().map_err(|error| self.transport(&error, within))?;
        // What changes something is sent once: whether it has been done is not known when the connection breaks.
        let mut again = if request.method() == Method::GET { ASKED_AGAIN } else { 0 };
        loop {
            let attempt = match request.try_clone() {
                Some(attempt) => attempt,
                None => return Err(invalid("the request", String::from("it cannot be sent"))),
            };
            let error = match self.attempt(attempt, within).await {
                Err(error @ ClientError::Broken { .. }) if again > 0 => error,
                done => return done,
            };
            tracing::debug!(%error, "asking again");
            again -= 1;
        }
    }

    async fn attempt(&self, request: Request, within: Duration) -> Result<Vec<u8>, ClientError> {
        let size = request.body().and_then(reqwest::Body::as_bytes).map_or(0, <[u8]>::len);
        let patience = within + Duration::from_secs(size as u64 / SLOWEST_LINE);
        let response = match tokio::time::timeout(patience, self.inner.http.execute(request)).await {
            Ok(sent) => sent.map_err(|error| self.transport(&error, within))?,
            Err(_) => return Err(self.timed_out(patience)),
        };
        self.accept(response, within).await
    }

    /// The whole body of a success; the error of anything else. `within` bounds each silence, not the whole: over a slow
    /// line a long answer takes as long as it takes.
    pub(super) async fn accept(
        &self,
        mut response: Response,
        within: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let retry_after = retry_after(&response);
        let mut body = Vec::new();
        loop {
            let chunk = match tokio::time::timeout(within, response.chunk()).await {
                Ok(read) => read.map_err(|error| self.transport(&error, within))?,
                Err(_) => return Err(self.timed_out(within)),
            };
            let Some(chunk) = chunk else { break };
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.malformed(format!("it is over {} MiB", MAX_ANSWER >> 20)));
            }
            body.extend_from_slice(&chunk);
        }
        answer::judge(self.base(), response.status(), response.headers(), body, retry_after)
    }

    /// What a failure below HTTP means.
    pub(super) fn transport(&self, error: &reqwest::Error, within: Duration) -> ClientError {
        let url = self.base().to_owned();
        if let Some(reason) = answer::mistrust(error) {
            ClientError::Untrusted { url, reason }
        } else if error.is_connect() {
            ClientError::Unreachable { url, reason: reason_of(error) }
        } else if error.is_timeout() {
            ClientError::TimedOut { url, after: within }
        } else if error.is_decode() || error.is_redirect() {
            ClientError::Malformed { url, reason: reason_of(error) }
        } else if let Some(reason) = answer::no_http(error) {
            ClientError::Between { url, reason }
        } else {
            // The connection broke while request or answer were on their way.
            ClientError::Broken { url, reason: reason_of(error) }
        }
    }

    pub(super) fn timed_out(&self, after: Duration) -> ClientError {
        ClientError::TimedOut { url: self.base().to_owned(), after }
    }

    pub(super) fn malformed(&self, reason: String) -> ClientError {
        ClientError::Malformed { url: self.base().to_owned(), reason }
    }
}

fn stream_silence(same_machine: bool) -> Duration {
    if same_machine { LOCAL_HEARTBEAT * 3 } else { STREAM_SILENCE }
}

pub(super) fn invalid(what: &'static str, reason: String) -> ClientError {
    ClientError::Invalid { what, reason }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The innermost cause: reqwest's own text only repeats the URL.
fn reason_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_prefix() {
        let client = Client::new("https://example.org/lap/", None).unwrap();
        assert_eq!(client.base(), "https://example.org/lap");
        assert_eq!(client.url("api/v1/health").as_str(), "https://example.org/lap/api/v1/health");
        let plain = Client::new("http://127.0.0.1:4180", Some("key")).unwrap();
        assert_eq!(plain.url("api/v1/health").as_str(), "http://127.0.0.1:4180/api/v1/health");
    }

    #[test]
    fn a_key_that_no_header_carries_is_refused_with_words() {
        let error = Client::new("http://example.org", Some("line\nbreak")).unwrap_err();
        assert!(matches!(error, ClientError::Invalid { what: "the key", .. }), "{error}");
    }

    #[test]
    fn the_key_is_not_in_the_debug_text() {
        let client = Client::new("http://example.org", Some("sk-very-secret")).unwrap();
        assert!(!format!("{client:?}").contains("secret"));
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let client = Client::new(&format!("http://{address}"), None).unwrap();
        let error = client.health().await.unwrap_err();
        assert!(error.is_unreachable(), "{error:?}");
        assert_eq!(error.status(), None);
    }
}
