//! Browsers say which page a request comes from. A page that is not ours has no business here: it could only be riding
//! on somebody's key. Programs that are no browsers send no `Origin`.

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::error::{ApiError, Kind};
use crate::state::AppState;

/// The pages that may use the API.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeSet<String>);

impl Origins {
    /// The origins of these addresses: scheme, host and port, without the rest.
    pub fn new<'a>(urls: impl IntoIterator<Item = &'a str>) -> Origins {
        Origins(urls.into_iter().filter_map(origin_of).collect())
    }

    /// # Errors
    /// 403 for a request of another page.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let known = origin.to_str().ok().and_then(origin_of).is_some_and(|origin| self.0.contains(&origin));
        if known && headers.get_all(header::ORIGIN).iter().count() == 1 {
            return Ok(());
        }
        let message =
            "requests of this origin are not allowed; add it to LAP_ALLOWED_ORIGINS if they should be";
        Err(ApiError::new(Kind::Forbidden, message))
    }
}

/// Lower case, the scheme's own port left out, as browsers write it.
fn origin_of(url: &str) -> Option<String> {
    let url = url.trim().to_ascii_lowercase();
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())?;
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let authority = authority.strip_suffix(own_port).unwrap_or(authority);
    Some(format!("{scheme}://{authority}"))
}

pub(crate) async fn check(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    state.origins().check(request.headers())?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allowed(origin: &'static str) -> bool {
        let origins = Origins::new(["https://lap.example.org/prefix", "http://127.0.0.1:4180"]);
        origins.check(&HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))])).is_ok()
    }

    #[test]
    fn pages_of_our_own_may_and_others_may_not() {
        assert!(Origins::default().check(&HeaderMap::new()).is_ok(), "no browser sends none");
        for own in ["https://lap.example.org", "https://LAP.example.org:443", "http://127.0.0.1:4180"] {
            assert!(allowed(own), "{own}");
        }
        for other in [
            "http://lap.example.org",
            "https://lap.example.org.evil.com",
            "https://evil.com",
            "http://127.0.0.1:4181",
            "http://127.0.0.1",
            "null",
            "",
        ] {
            assert!(!allowed(other), "{other}");
        }
    }
}
