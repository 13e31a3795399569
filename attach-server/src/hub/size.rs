//! Whose size a terminal has.

use lap_wire::control::Size;

/// Who decides a terminal's size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SizePolicy {
    /// The viewer that typed, resized or came to look last.
    #[default]
    Latest,
    /// The viewer that has been there longest.
    Owner,
    /// The smallest of all, so that everybody sees everything.
    Smallest,
    /// Nobody: it keeps the size it has.
    Fixed,
}

/// A viewer that counts for the size: it may type, is being looked at, and has told its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    /// Its size.
    pub size: Size,
    /// Rises with every act of any viewer; the highest acted last.
    pub acted: u64,
}

/// The size the terminal should have. `None`: as it is. Candidates stand in the order in which they came.
#[must_use]
pub(super) fn decide(policy: SizePolicy, candidates: &[Candidate]) -> Option<Size> {
    match policy {
        SizePolicy::Latest => candidates.iter().max_by_key(|c| c.acted).map(|c| c.size),
        SizePolicy::Owner => candidates.first().map(|c| c.size),
        SizePolicy::Smallest => {
            let cols = candidates.iter().map(|c| c.size.cols).min()?;
            let rows = candidates.iter().map(|c| c.size.rows).min()?;
            Some(Size { cols, rows })
        }
        SizePolicy::Fixed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_picks_its_viewer() {
        let of = |cols, rows, acted| Candidate { size: Size { cols, rows }, acted };
        let viewers = [of(80, 50, 1), of(200, 40, 3), of(100, 60, 2)];
        assert_eq!(decide(SizePolicy::Latest, &viewers), Some(Size { cols: 200, rows: 40 }));
        assert_eq!(decide(SizePolicy::Owner, &viewers), Some(Size { cols: 80, rows: 50 }));
        assert_eq!(decide(SizePolicy::Smallest, &viewers), Some(Size { cols: 80, rows: 40 }));
        assert_eq!(decide(SizePolicy::Fixed, &viewers), None);
        assert_eq!(decide(SizePolicy::Smallest, &[]), None);
    }
}
