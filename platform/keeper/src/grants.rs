//! Clients that a server has let in at the keeper's own socket: each for one program, with a token that it says in its
//! `hello`. Pure: which connection came with which grant, and until when one may come.

use std::rc::Rc;
use std::time::{Duration, Instant};

use lap_wire::control::{ErrorCode, Mode, WireError, is_plain};
use lap_wire::keeper::Grant;
use lap_wire::limits::MAX_SEAT;

use crate::connection::ConnectionId;
use crate::limits::{MAX_GRANT_MS, MAX_GRANTS, MAX_TOKEN, MIN_TOKEN};
use crate::program::ProgramKey;
use crate::viewers::clean_name;

/// What a connection that came with a grant may do.
#[derive(Debug)]
pub(crate) struct Allowed {
    pub(crate) program: ProgramKey,
    /// At most.
    pub(crate) mode: Mode,
    pub(crate) name: String,
    pub(crate) person: String,
}

#[derive(Debug)]
struct Granted {
    token: String,
    allowed: Rc<Allowed>,
    /// Nobody may come with it after this.
    until: Instant,
    /// Who has come with it and is still there.
    user: Option<ConnectionId>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    all: Vec<Granted>,
}

impl Grants {
    /// Lets a client in that comes with this token. The same token again is the same grant, its time begun anew.
    pub(crate) fn add(&mut self, grant: &Grant, program: ProgramKey, now: Instant) -> Result<(), WireError> {
        check(grant)?;
        let until = now + Duration::from_millis(grant.within_ms.min(MAX_GRANT_MS));
        let (mode, name, person) = (grant.mode, clean_name(&grant.name), grant.person.clone());
        if let Some(at) = self.find(&grant.token) {
            let old = &mut self.all[at];
            let same = (program, mode) == (old.allowed.program, old.allowed.mode)
                && (&name, &person) == (&old.allowed.name, &old.allowed.person);
            if !same {
                return Err(WireError::new(ErrorCode::Invalid, "that token stands for another grant"));
            }
            old.until = until;
            return Ok(());
        }
        self.all.retain(|granted| granted.user.is_some() || granted.until > now);
        if self.all.len() >= MAX_GRANTS {
            let message = format!("there are {MAX_GRANTS} grants already");
            return Err(WireError::new(ErrorCode::Overloaded, message).retryable());
        }
        let allowed = Rc::new(Allowed { program, mode, name, person });
        self.all.push(Granted { token: grant.token.clone(), allowed, until, user: None });
        Ok(())
    }

    /// A connection comes with a token. Gives what it may do, and the connection that came with the token before it.
    pub(crate) fn claim(
        &mut self,
        token: &str,
        connection: ConnectionId,
        now: Instant,
    ) -> Result<(Rc<Allowed>, Option<ConnectionId>), WireError> {
        let granted = self.find(token).map(|at| &mut self.all[at]).filter(|granted| now < granted.until);
        let Some(granted) = granted else {
            return Err(WireError::new(ErrorCode::NotAllowed, "nobody is let in with that token (any more)"));
        };
        Ok((granted.allowed.clone(), granted.user.replace(connection)))
    }

    /// A connection has ended.
    pub(crate) fn left(&mut self, connection: ConnectionId) {
        for granted in &mut self.all {
            granted.user = granted.user.filter(|user| *user != connection);
        }
    }

    /// A grant is no more; gives the connection that came with it.
    pub(crate) fn revoke(&mut self, token: &str) -> Option<ConnectionId> {
        let at = self.find(token)?;
        self.all.swap_remove(at).user
    }

    /// A program has been removed, and its grants with it.
    pub(crate) fn forget(&mut self, program: ProgramKey) {
        self.all.retain(|granted| granted.allowed.program != program);
    }

    /// Looks at every token as long as at any other, so that the time it takes says nothing of them.
    fn find(&self, token: &str) -> Option<usize> {
        let mut found = None;
        for (at, granted) in self.all.iter().enumerate() {
            if same(granted.token.as_bytes(), token.as_bytes()) {
                found = Some(at);
            }
        }
        found
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn check(grant: &Grant) -> Result<(), WireError> {
    let invalid = |message: String| Err(WireError::new(ErrorCode::Invalid, message));
    if !is_plain(&grant.token, MAX_TOKEN) || grant.token.len() < MIN_TOKEN {
        return invalid(format!("a token has {MIN_TOKEN} to {MAX_TOKEN} printable ASCII characters"));
    }
    if !is_plain(&grant.person, MAX_SEAT) {
        return invalid(format!("a person is 1 to {MAX_SEAT} printable ASCII characters"));
    }
    if grant.mode == Mode::Input {
        return invalid("a grant is for mode view or interact".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(token: &str) -> Grant {
        Grant {
            token: token.into(),
            program: "main".into(),
            mode: Mode::Interact,
            name: "ana".into(),
            person: "p".into(),
            within_ms: 1000,
        }
    }

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn a_token_lets_in_within_its_time_and_until_it_is_revoked() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let after = |ms| now + Duration::from_millis(ms);
        assert!(grants.claim(TOKEN, 1, now).is_err());
        grants.add(&grant(TOKEN), 7, now).unwrap();
        let (allowed, before) = grants.claim(TOKEN, 1, after(999)).unwrap();
        assert_eq!((allowed.program, before), (7, None));
        assert_eq!(grants.claim(TOKEN, 2, after(999)).unwrap().1, Some(1), "a second one ends the first");
        grants.left(1);
        assert_eq!(grants.claim(TOKEN, 3, after(1000)).unwrap_err().code, ErrorCode::NotAllowed);
        grants.add(&grant(TOKEN), 7, after(1000)).unwrap();
        assert_eq!(grants.revoke(TOKEN), Some(2));
        assert!(grants.claim(TOKEN, 4, after(1000)).is_err());
        assert_eq!(grants.revoke(TOKEN), None, "once more is no harm");
    }

    #[test]
    fn grants_that_make_no_sense_are_refused_and_there_are_only_so_many() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        for bad in [
            grant("short"),
            grant(&"x".repeat(129)),
            grant("0123456789abcde\n"),
            Grant { person: String::new(), ..grant(TOKEN) },
            Grant { person: "a\"b".into(), ..grant(TOKEN) },
            Grant { mode: Mode::Input, ..grant(TOKEN) },
        ] {
            assert_eq!(grants.add(&bad, 1, now).unwrap_err().code, ErrorCode::Invalid, "{bad:?}");
        }
        grants.add(&grant(TOKEN), 1, now).unwrap();
        let other = Grant { mode: Mode::View, ..grant(TOKEN) };
        assert_eq!(grants.add(&other, 1, now).unwrap_err().code, ErrorCode::Invalid);
        for i in 1..MAX_GRANTS {
            grants.add(&grant(&format!("{i:016}")), 1, now).unwrap();
        }
        assert_eq!(
            grants.add(&grant("one-more-than-there-may-be"), 1, now).unwrap_err().code,
            ErrorCode::Overloaded
        );
        // Those that nobody came with in time make room, one that is used does not.
        grants.claim(TOKEN, 9, now).unwrap();
        let later = now + Duration::from_secs(2);
        grants.add(&grant("one-more-than-there-may-be"), 1, later).unwrap();
        assert_eq!((grants.all.len(), grants.revoke(TOKEN)), (2, Some(9)));
        grants.forget(1);
        assert!(grants.all.is_empty());
    }
}
