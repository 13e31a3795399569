//! What the queries of all lists have in common.

use lap_platform::model::Page;

/// Rows of a page: what was asked for, within what a page can have.
pub(super) fn limit(asked: Option<i64>) -> u32 {
    let most = i64::from(Page::<()>::MAX_LIMIT);
    let rows = asked.unwrap_or(Page::<()>::DEFAULT_LIMIT.into()).clamp(1, most);
    u32::try_from(rows).unwrap_or(Page::<()>::DEFAULT_LIMIT)
}

/// The most rows passed over: more than any list has.
const MAX_OFFSET: i64 = 1_000_000_000;

/// Rows passed over: what was asked for, within reason.
pub(super) fn offset(asked: Option<i64>) -> u64 {
    asked.unwrap_or(0).clamp(0, MAX_OFFSET).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::{limit, offset};

    #[test]
    fn a_limit_is_clamped_to_what_a_page_can_have() {
        let asked = [None, Some(0), Some(-5), Some(1), Some(200), Some(201), Some(i64::MAX)];
        assert_eq!(asked.map(limit), [50, 1, 1, 1, 200, 200, 200]);
        assert_eq!([None, Some(-1), Some(7), Some(i64::MAX)].map(offset), [0, 0, 7, 1_000_000_000]);
    }
}
