//! A server's address as a person gives it.

use reqwest::Url;

use super::error::ClientError;
use super::rest::invalid;

/// The URL that is meant. `127.0.0.1:4180` and `localhost:4180` mean http; of anything farther away it has to be said.
///
/// # Errors
/// [`ClientError::Invalid`], with what to write instead.
pub(super) fn parse(given: &str) -> Result<Url, ClientError> {
    let wrong = |reason: String| invalid("the address", reason);
    let given = given.trim();
    if given.is_empty() {
        return Err(wrong(String::from("it is empty; give it as https://lap.example.org")));
    }
    if !given.contains("://") {
        let plain = Url::parse(&format!("http://{given}")).ok().filter(|url| url.host().is_some());
        return match plain {
            Some(url) if is_loopback(&url) => checked(url, given),
            Some(_) => Err(wrong(format!("say how it is reached: https://{given} or http://{given}"))),
            None => Err(wrong(format!("{given} is none; give it as https://lap.example.org"))),
        };
    }
    let url = Url::parse(given).map_err(|error| wrong(format!("{given}: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong(format!("{given} does not begin with http:// or https://")));
    }
    checked(url, given)
}

fn checked(mut url: Url, given: &str) -> Result<Url, ClientError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("the address", String::from("a name or password in it is not used; give a key")));
    }
    if url.query().is_some() || url.fragment().is_some() {
        // It may carry a token: it is not repeated.
        url.set_query(None);
        url.set_fragment(None);
        let reason = format!("what stands in it after ? or # is not used; give {url} alone");
        return Err(invalid("the address", reason));
    }
    if url.port() == Some(0) {
        return Err(invalid("the address", format!("{given} has no port that can be connected to")));
    }
    Ok(url)
}

/// Whether that is this machine, by its address.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_needs_no_scheme() {
        for (given, meant) in [
            ("127.0.0.1:4180", "http://127.0.0.1:4180/"),
            ("localhost:4180", "http://localhost:4180/"),
            ("localhost", "http://localhost/"),
            ("[::1]:9", "http://[::1]:9/"),
            (" 127.1.2.3:80/lap ", "http://127.1.2.3/lap"),
            ("https://lap.example.org/lap/", "https://lap.example.org/lap/"),
        ] {
            assert_eq!(parse(given).unwrap().as_str(), meant, "{given}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for (given, says) in [
            ("", "https://"),
            ("lap.example.org", "https://lap.example.org"),
            ("10.0.0.7:4180", "http://10.0.0.7:4180"),
            ("ftp://example.org", "http://"),
            ("http://me:secret@example.org", "give a key"),
            ("http://example.org/?x=1", "give http://example.org/ alone"),
            ("localhost:4180?token=t0p", "give http://localhost:4180/ alone"),
            ("https://example.org/lap#top", "give https://example.org/lap alone"),
            ("a b", "https://"),
        ] {
            let error = parse(given).unwrap_err();
            assert!(matches!(error, ClientError::Invalid { what: "the address", .. }), "{given}: {error}");
            assert!(error.to_string().contains(says), "{given}: {error}");
            assert!(!error.to_string().contains("t0p"), "{error}");
        }
    }
}
