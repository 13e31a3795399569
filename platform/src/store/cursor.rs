//! Places in sorted lists, and the text that searches look into.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::sql::Arg;
use crate::model::{AgentsSort, Order, Page};

/// The longest search text, in characters: longer than anything that is looked into.
const MAX_SEARCH_CHARS: usize = 1_000;
/// The longest cursor that is looked at; ours are shorter.
const MAX_CURSOR: usize = 2_048;

/// A place in a sorted list: the sort key and the id of the last row that was given. Opaque to clients.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The list: which rows, by which filters.
    #[serde(rename = "l")]
    pub(super) list: List,
    #[serde(rename = "s")]
    pub(super) sort: AgentsSort,
    #[serde(rename = "o")]
    pub(super) order: Order,
    #[serde(rename = "k")]
    pub(super) key: Key,
    #[serde(rename = "i")]
    pub(super) id: String,
}

/// Which list a cursor is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct List(u64);

impl List {
    /// The list of `kind` with these filters, each by its place.
    pub(super) fn of(kind: &str, filters: &[Option<&str>]) -> List {
        // FNV-1a: the same in every version of the program, and nothing hangs on its being hard to guess.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut take = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        take(kind.as_bytes());
        for filter in filters {
            // No text has these bytes: what is absent is not what is empty, and no filter runs into the next.
            take(if filter.is_some() { &[0xff] } else { &[0xfe] });
            take(filter.unwrap_or_default().as_bytes());
        }
        List(hash)
    }
}

/// The value a list is sorted by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Key {
    Whole(i64),
    Text(String),
}

impl From<Key> for Arg {
    fn from(key: Key) -> Arg {
        match key {
            Key::Whole(number) => number.into(),
            Key::Text(text) => text.into(),
        }
    }
}

impl Cursor {
    pub(super) fn encode(&self) -> Result<String, StoreError> {
        Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).map_err(StoreError::internal)?))
    }

    /// The cursor of a list in this order; one of another list is refused.
    pub(super) fn decode(
        text: &str,
        list: List,
        sort: AgentsSort,
        order: Order,
    ) -> Result<Cursor, StoreError> {
        let refused = || {
            StoreError::Invalid(
                "cursor is not one of this list: leave it out to begin at the first page".to_owned(),
            )
        };
        if text.len() > MAX_CURSOR {
            return Err(refused());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|_| refused())?;
        let numeric = matches!(sort, AgentsSort::CreatedAt | AgentsSort::Sessions);
        let fits = matches!(cursor.key, Key::Whole(_)) == numeric;
        let same = cursor.list == list && cursor.sort == sort && cursor.order == order;
        if same && fits { Ok(cursor) } else { Err(refused()) }
    }
}

/// How many rows a page may have.
pub(super) fn page_limit(asked: Option<u32>) -> u32 {
    asked.unwrap_or(Page::<()>::DEFAULT_LIMIT).clamp(1, Page::<()>::MAX_LIMIT)
}

/// The comparison that continues after a cursor.
pub(super) fn beyond(order: Order) -> &'static str {
    match order {
        Order::Asc => " > (",
        Order::Desc => " < (",
    }
}

/// A pattern for `LIKE … ESCAPE '\'` that finds the text anywhere, in whatever case.
pub(super) fn containing(search: &str) -> String {
    let mut pattern = String::from("%");
    for c in search.chars().take(MAX_SEARCH_CHARS).flat_map(char::to_lowercase) {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// What [`containing`] looks into: these, in lower case.
pub(super) fn search_text(parts: &[&str]) -> String {
    parts.join("\n").to_lowercase()
}
