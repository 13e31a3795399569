//! Pages of lists.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Rows in the whole list.
    pub total: u64,
    /// The most rows this page could have had.
    pub limit: u32,
    /// Rows before this page; 0 when a cursor was given.
    pub offset: u64,
    /// Asks for the page after this one, at a cost that does not grow with its depth; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Rows in a page when the request does not say.
    pub const DEFAULT_LIMIT: u32 = 50;
    /// The most rows a page has: what fits a screenful of a large list and a few hundred kilobytes.
    pub const MAX_LIMIT: u32 = 200;
}

/// Which end of a list comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Smallest, oldest, A.
    Asc,
    /// Largest, newest, Z.
    #[default]
    Desc,
}
