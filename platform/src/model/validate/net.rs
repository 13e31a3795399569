//! Host patterns: what a sandbox may reach.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::limits::EGRESS_CHARS;

/// An entry of an egress list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EgressPattern {
    /// This name, lower case.
    Domain(String),
    /// Every name below this one, lower case, and not it itself.
    Below(String),
    /// Addresses whose first bits are these.
    Network {
        /// Any address of it.
        address: IpAddr,
        /// How many leading bits count.
        prefix: u8,
    },
}

/// Why text is no [`EgressPattern`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    /// Over the limit of domain names.
    #[error("is longer than {EGRESS_CHARS} characters")]
    TooLong,
    /// None of the forms.
    #[error("is neither a domain, *.domain, an IP address nor a network like 10.0.0.0/8")]
    Form,
}

impl FromStr for EgressPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<EgressPattern, PatternError> {
        if text.len() > EGRESS_CHARS {
            return Err(PatternError::TooLong);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(EgressPattern::Network { address, prefix: bits(address) });
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address = address.parse::<IpAddr>().map_err(|_| PatternError::Form)?;
            // One way to write each: no sign, no leading zero.
            let plain = prefix == "0" || prefix.starts_with(|c: char| matches!(c, '1'..='9'));
            return match prefix.parse::<u8>() {
                Ok(prefix) if plain && prefix <= bits(address) => {
                    Ok(EgressPattern::Network { address, prefix })
                }
                _ => Err(PatternError::Form),
            };
        }
        let (domain, below) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        if !is_domain(domain) {
            return Err(PatternError::Form);
        }
        let domain = domain.to_ascii_lowercase();
        Ok(if below { EgressPattern::Below(domain) } else { EgressPattern::Domain(domain) })
    }
}

impl EgressPattern {
    /// Whether every host the other one matches is matched by this one too.
    #[must_use]
    pub fn covers(&self, other: &EgressPattern) -> bool {
        use EgressPattern::{Below, Domain, Network};
        match (self, other) {
            (Domain(a), Domain(b)) => a == b,
            (Below(a), Domain(b)) => is_below(b, a),
            (Below(a), Below(b)) => a == b || is_below(b, a),
            (Network { address, prefix }, Network { address: other, prefix: narrower }) => {
                prefix <= narrower && same_network(*address, *other, *prefix)
            }
            _ => false,
        }
    }
}

impl fmt::Display for EgressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EgressPattern::Domain(name) => f.write_str(name),
            EgressPattern::Below(name) => write!(f, "*.{name}"),
            EgressPattern::Network { address, prefix } if *prefix == bits(*address) => address.fmt(f),
            EgressPattern::Network { address, prefix } => write!(f, "{address}/{prefix}"),
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
}

fn same_network(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= u32::from(prefix),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= u32::from(prefix),
        _ => false,
    }
}

/// Labels of letters, digits, `-` and `_`; the last not a number, which would make it a malformed address.
fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.split('.').all(label)
        && name.rsplit('.').next().is_some_and(|last| !last.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> EgressPattern {
        text.parse().unwrap_or_else(|error| panic!("{text} {error}"))
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        for text in
            ["localhost", "api.github.com", "*.github.com", "10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"]
        {
            assert_eq!(pattern(text).to_string(), text);
        }
        assert_eq!(pattern("API.GitHub.com").to_string(), "api.github.com");
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "*",
            "*.*.com",
            "a..b",
            "-a.com",
            "a-.com",
            "http://a.com",
            "a.com:443",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "1.2.3",
            "a b",
        ] {
            assert_eq!(text.parse::<EgressPattern>(), Err(PatternError::Form), "{text}");
        }
        assert_eq!("a.".repeat(127).parse::<EgressPattern>(), Err(PatternError::TooLong));
    }

    #[test]
    fn a_pattern_covers_what_lies_within_it() {
        for (wide, narrow) in [
            ("a.com", "A.com"),
            ("*.a.com", "x.a.com"),
            ("*.a.com", "*.a.com"),
            ("*.a.com", "*.x.a.com"),
            ("10.0.0.0/8", "10.1.2.3"),
            ("10.0.0.0/8", "10.1.0.0/16"),
            ("0.0.0.0/0", "1.1.1.1"),
            ("::/0", "::1"),
        ] {
            assert!(pattern(wide).covers(&pattern(narrow)), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            ("*.a.com", "a.com"),
            ("*.a.com", "xa.com"),
            ("a.com", "*.a.com"),
            ("10.0.0.0/16", "10.0.0.0/8"),
            ("0.0.0.0/0", "::1"),
            ("10.0.0.0/8", "a.com"),
        ] {
            assert!(!pattern(wide).covers(&pattern(narrow)), "{wide} {narrow}");
        }
    }
}
