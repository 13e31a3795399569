//! Browsers say which page a request comes from. A page that is not ours has no business here: it could only be riding
//! on somebody's key. Programs that are no browsers send no `Origin`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::error::{ApiError, Kind};

/// The pages that may use the API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Arc<BTreeSet<String>>);

impl Origins {
    /// The origins of these addresses: scheme, host and port, without the rest. An address of this machine goes by
    /// each of its names.
    pub(crate) fn new<'a>(urls: impl IntoIterator<Item = &'a str>) -> Origins {
        Origins(Arc::new(urls.into_iter().filter_map(origin_of).flat_map(names_of).collect()))
    }

    /// # Errors
    /// 403 for a request of another page.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
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

/// The names under which a browser on the same machine knows an origin of this machine.
fn names_of(origin: String) -> Vec<String> {
    const NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];
    let Some((scheme, authority)) = origin.split_once("://") else { return vec![origin] };
    // What follows the host: nothing, or a port.
    let rest =
        |name: &str| authority.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with(':'));
    match NAMES.iter().find_map(|name| rest(name)) {
        Some(port) => NAMES.iter().map(|name| format!("{scheme}://{name}{port}")).collect(),
        None => vec![origin],
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

/// Refuses requests of pages that are not ours.
pub(crate) async fn check(
    State(origins): State<Origins>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    origins.check(request.headers())?;
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
        for own in [
            "https://lap.example.org",
            "https://LAP.example.org:443",
            "http://127.0.0.1:4180",
            "http://localhost:4180",
            "http://[::1]:4180",
        ] {
            assert!(allowed(own), "{own}");
        }
        for other in [
            "http://lap.example.org",
            "https://lap.example.org.evil.com",
            "https://evil.com",
            "http://127.0.0.1:4181",
            "http://localhost:4181",
            "http://localhost.evil.com:4180",
            "https://localhost:4180",
            "http://127.0.0.1",
            "null",
            "",
        ] {
            assert!(!allowed(other), "{other}");
        }
    }
}
