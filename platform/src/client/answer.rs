//! Whose an answer is: the server's, or of something that stands before it, which is then named for what it is.

use std::error::Error;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, SERVER};
use rustls::{AlertDescription, CertificateError};

use super::error::{ApiError, ClientError};
use super::trust;
use crate::model::ErrorBody;

/// The longest that is repeated of what a stranger says of itself.
const MAX_WORDS: usize = 200;

/// The body of a success of the server's; else the error, by who made it.
pub(super) fn judge(
    url: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: Vec<u8>,
    retry_after: Option<Duration>,
) -> Result<Vec<u8>, ClientError> {
    let between = |reason| Err(ClientError::Between { url: url.to_owned(), reason });
    if status.is_redirection() {
        let to = words(headers, &LOCATION).unwrap_or_else(|| String::from("nowhere"));
        return between(format!(
            "it sends everything on to {to} ({status}); if the server is there, use that address"
        ));
    }
    if is_page(headers) {
        return between(describe(status, headers));
    }
    if status.is_success() {
        return Ok(body);
    }
    let of_a_gateway = matches!(status.as_u16(), 407 | 502..=504);
    if of_a_gateway && serde_json::from_slice::<ErrorBody>(&body).is_err() {
        return between(describe(status, headers));
    }
    Err(ApiError::from_body(status.as_u16(), &body, retry_after).into())
}

/// Whether it is a web page: the API has none.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// What answered, what it said, and what that means.
pub(super) fn describe(status: StatusCode, headers: &HeaderMap) -> String {
    let who = words(headers, &SERVER).unwrap_or_else(|| String::from("it"));
    let what = if is_page(headers) { "a web page" } else { "an answer" };
    let means = match status.as_u16() {
        200..=299 => "it may be a login page, or another program's port",
        401 | 403 | 407 => "it lets nobody through who has not logged in to it",
        404 => "it knows of no lap at this path",
        400 => "it may be that it wants https://",
        413 => "it lets no request of this size through",
        502..=504 => "it does not reach the server behind it",
        _ => "it does not pass the request on",
    };
    format!("{who} gave {what} with {status}: {means}")
}

/// A header's words, short and without what steers a terminal.
fn words(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned();
    let plain: String = value.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
    (!plain.trim().is_empty()).then(|| plain.trim().to_owned())
}

/// What answers there, where it is not HTTP.
pub(super) fn no_http(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(now) = cause {
        if now.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return Some(NO_HTTP.to_owned());
        }
        cause = now.source();
    }
    None
}

/// What most likely answers in something else than HTTP.
pub(super) const NO_HTTP: &str =
    "what answers there does not speak HTTP: if it is lap behind TLS, try https:// instead of http://";

/// Why there is no safe connection, where that is why an attempt failed.
pub(super) fn mistrust(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(now) = cause {
        if let Some(tls) = tls_error(now) {
            return Some(tls_words(tls));
        }
        cause = now.source();
    }
    None
}

fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    // An IO error hides the one it was made of from `source`.
    tls_error(error.downcast_ref::<std::io::Error>()?.get_ref()?)
}

fn tls_words(error: &rustls::Error) -> String {
    let words = match error {
        error if trust::is_authority(error) => {
            "its certificate is an authority's, and not one that this machine was told to trust (SSL_CERT_FILE names a \
             file of who else is)"
        }
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::UnknownIssuer => {
                "its certificate is signed by nobody this machine trusts (SSL_CERT_FILE names a file of who else is)"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired, or this machine's clock is wrong"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet, or this machine's clock is wrong"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name: use the name it was made for"
            }
            other => return format!("its certificate cannot be used: {other:?}"),
        },
        rustls::Error::InvalidMessage(_) => "it does not speak TLS: try http:// instead of https://",
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it asks for a certificate of the client's, which lap has not"
        }
        rustls::Error::AlertReceived(alert) => return format!("it ends the TLS handshake with {alert:?}"),
        other => return other.to_string(),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    fn judged(status: u16, pairs: &[(&'static str, &str)], body: &str) -> Result<Vec<u8>, ClientError> {
        let status = StatusCode::from_u16(status).unwrap();
        judge("http://x", status, &headers(pairs), body.into(), None)
    }

    #[test]
    fn what_stands_between_is_named_for_what_it_is() {
        let html = ("content-type", "text/html; charset=utf-8");
        for (status, pairs, says) in [
            (502, vec![html, ("server", "nginx/1.22.1")], "nginx/1.22.1"),
            (503, vec![], "does not reach the server behind it"),
            (504, vec![("content-type", "text/plain")], "504"),
            (200, vec![html], "login page"),
            (403, vec![html], "logged in"),
            (413, vec![html, ("server", "nginx")], "of this size"),
            (302, vec![("location", "https://sso.example.org/in")], "https://sso.example.org/in"),
            (308, vec![("location", "https://lap.example.org/")], "use that address"),
        ] {
            let error = judged(status, &pairs, "<html></html>").unwrap_err();
            assert!(matches!(error, ClientError::Between { .. }), "{status}: {error}");
            assert!(error.to_string().contains(says), "{status}: {error}");
            assert!(error.is_unreachable());
        }
    }

    #[test]
    fn the_servers_own_words_stay_its_own() {
        let json = [("content-type", "application/json")];
        for status in [400, 404, 429, 502, 503] {
            let error = judged(status, &json, r#"{"error":"the disk is full"}"#).unwrap_err();
            assert_eq!(error.status(), Some(status));
            assert_eq!(error.to_string(), "the disk is full");
        }
        assert_eq!(judged(200, &json, "{}").unwrap(), b"{}");
    }

    #[test]
    fn a_strangers_words_do_not_steer_the_terminal() {
        let mut headers = headers(&[]);
        headers.insert(SERVER, reqwest::header::HeaderValue::from_bytes(b"\xff\tx").unwrap());
        let text = describe(StatusCode::BAD_GATEWAY, &headers);
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
