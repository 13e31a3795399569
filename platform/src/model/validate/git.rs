//! Whether a repository's address and a branch are ones.

use super::limits::{BRANCH_CHARS, REPO_URL_CHARS};
use super::{Faults, INVALID, TOO_BIG, TOO_SMALL};

/// A repository: `https://host/path`, `ssh://[user@]host/path`, `user@host:path` or `file:///path`.
pub(super) fn repo_url(faults: &mut Faults, url: &str) {
    let path = ["repo_url"];
    if url.chars().count() > REPO_URL_CHARS {
        faults.add(TOO_BIG, &path, format!("is longer than {REPO_URL_CHARS} characters"));
    } else if url.bytes().any(|b| !b.is_ascii_graphic()) {
        faults.add(INVALID, &path, "has a space, a control character or a letter beyond ASCII in it");
    } else if has_credential(url) {
        faults.add(
            INVALID,
            &path,
            "carries a user name or password, which may be a token; put the credential into env_vars, which are kept \
             encrypted, and leave it out here",
        );
    } else if !is_repo_url(url) {
        faults.add(
            INVALID,
            &path,
            "is no git address: https://host/path, ssh://host/path, user@host:path or file:///path",
        );
    }
}

/// Over ssh a user is part of the address and proves nothing; anywhere else it may be a token.
fn has_credential(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| scheme != "ssh" || user.contains(':'))
}

fn is_repo_url(url: &str) -> bool {
    if let Some(rest) = url.strip_prefix("https://") {
        return rest.split_once('/').is_some_and(|(host, path)| is_host_and_port(host) && !path.is_empty());
    }
    if let Some(rest) = url.strip_prefix("ssh://") {
        let Some((authority, path)) = rest.split_once('/') else { return false };
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        return user.is_none_or(is_user) && is_host_and_port(host) && !path.is_empty();
    }
    if let Some(path) = url.strip_prefix("file:///") {
        return !path.is_empty();
    }
    url.split_once(':').is_some_and(|(place, path)| {
        place.split_once('@').is_some_and(|(user, host)| is_user(user) && is_host(host))
            && !path.is_empty()
            && !path.starts_with('-')
    })
}

fn is_user(user: &str) -> bool {
    !user.is_empty()
        && !user.starts_with('-')
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Not beginning with `-`: ssh would take it for an option.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && !host.starts_with('-')
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

fn is_host_and_port(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    match host.split_once(':') {
        Some((host, port)) => is_host(host) && is_port(port),
        None => is_host(host),
    }
}

fn is_port(port: &str) -> bool {
    port.starts_with(|c: char| matches!(c, '1'..='9')) && port.parse::<u16>().is_ok()
}

/// A branch, by the rules of `git check-ref-format --branch`.
pub(super) fn branch(faults: &mut Faults, name: &str) {
    let path = ["branch"];
    if name.is_empty() {
        faults.add(TOO_SMALL, &path, "is empty");
    } else if name.chars().count() > BRANCH_CHARS {
        faults.add(TOO_BIG, &path, format!("is longer than {BRANCH_CHARS} characters"));
    } else if !is_branch(name) {
        faults.add(INVALID, &path, "is no name git allows for a branch");
    }
}

fn is_branch(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    !name.starts_with('-')
        && name != "@"
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(forbidden)
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_git_can_clone_are_taken() {
        for url in [
            "https://github.com/a/b.git",
            "https://host:8443/a@b",
            "ssh://git@host:2222/a",
            "https://[::1]:8443/a",
            "ssh://git@host/a/b",
            "ssh://host:2222/a",
            "git@github.com:a/b.git",
            "file:///srv/git/a.git",
        ] {
            assert!(is_repo_url(url) && !has_credential(url), "{url}");
        }
    }

    #[test]
    fn addresses_that_could_do_harm_or_nothing_are_not() {
        for url in [
            "",
            "http://host/a",
            "https://host",
            "https://host/",
            "https:///a",
            "https://host:99999/a",
            "https://host:080/a",
            "ext::sh -c id",
            "ssh://-oProxyCommand=id/a",
            "git@-oProxyCommand=id:a",
            "-u@host:a",
            "git@host:-a",
            "file://host/a",
            "/srv/git",
            "https://[::zz]/a",
        ] {
            assert!(!is_repo_url(url), "{url}");
        }
        for url in [
            "https://me:secret@host/a",
            "https://ghp_0123456789abcdef@github.com/a/b",
            "https://x-access-token@host/a",
            "https://@host/a",
            "https://token@host?a",
            "ssh://git:secret@host/a",
        ] {
            assert!(has_credential(url), "{url}");
        }
    }

    #[test]
    fn branches_are_what_git_takes_for_one() {
        for name in ["main", "feature/ünïcode", "a+b#c", "v1.2", "a@b"] {
            assert!(is_branch(name), "{name}");
        }
        for name in
            ["-x", "@", "a..b", "a.lock", "a.lock/b", "/a", "a/", "a//b", ".a", "a/.b", "a b", "a~1", "a@{1}"]
        {
            assert!(!is_branch(name), "{name}");
        }
    }
}
