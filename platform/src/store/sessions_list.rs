//! Lists of sessions: filtered, sorted, paged.

use super::cursor::{Cursor, Key, List, beyond, containing, page_limit};
use super::sql::Sql;
use super::{SessionRecord, Sessions, StoreError};
use crate::model::{AgentId, AgentsSort, Order, Page, SessionStatus};

/// Which sessions, in which order, from where on. They are sorted by when they were asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SessionsQuery {
    /// Rows per page; clamped to 1 to 200.
    pub limit: Option<u32>,
    /// Rows to pass over; not looked at with a cursor.
    pub offset: u64,
    /// `next_cursor` of the page before, with the same order.
    pub cursor: Option<String>,
    /// Newest first, unless told otherwise.
    pub order: Order,
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Only those that stand there.
    pub status: Option<SessionStatus>,
    /// Text found anywhere in id, title or the beginning of the prompt, in whatever case.
    pub search: Option<String>,
}

impl Sessions<'_> {
    /// A page of sessions.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a cursor of another list.
    pub async fn list(&self, query: &SessionsQuery) -> Result<Page<SessionRecord>, StoreError> {
        let limit = page_limit(query.limit);
        let by_time = AgentsSort::CreatedAt;
        let cursor = query
            .cursor
            .as_deref()
            .map(|text| Cursor::decode(text, list(query), by_time, query.order))
            .transpose()?;
        let offset = if cursor.is_some() { 0 } else { query.offset };
        let mut tx = self.store.read().await?;
        let total = filtered(Sql::new("SELECT COUNT(*) AS total FROM sessions"), query);
        let total = tx.row(total).await?.map_or(Ok(0), |row| row.count("total"))?;

        let mut sql = filtered(Sql::new("SELECT * FROM sessions"), query);
        if let Some(cursor) = cursor {
            sql = sql.push(" AND (created_at, id)").push(beyond(query.order));
            sql = sql.bind(cursor.key).push(", ").bind(cursor.id).push(")");
        }
        let sql = sql.push(match query.order {
            Order::Asc => " ORDER BY created_at, id LIMIT ",
            Order::Desc => " ORDER BY created_at DESC, id DESC LIMIT ",
        });
        // One more than asked for tells whether there is another page.
        let mut rows = tx.rows(sql.bind(limit + 1).push(" OFFSET ").bind(offset)).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let data = rows.iter().map(SessionRecord::read).collect::<Result<Vec<_>, _>>()?;
        let next_cursor = match data.last() {
            Some(last) if more => {
                let key = Key::Whole(last.created_at.as_microsecond());
                let id = last.id.to_string();
                Some(Cursor { list: list(query), sort: by_time, order: query.order, key, id }.encode()?)
            }
            _ => None,
        };
        Ok(Page { data, total, limit, offset, next_cursor })
    }
}

fn list(query: &SessionsQuery) -> List {
    let agent = query.agent_id.map(|id| id.to_string());
    let search = query.search.as_deref().filter(|search| !search.is_empty());
    List::of("sessions", &[agent.as_deref(), query.status.map(SessionStatus::as_str), search])
}

fn filtered(sql: Sql, query: &SessionsQuery) -> Sql {
    let mut sql = sql.push(" WHERE erased_at IS NULL");
    if let Some(agent_id) = query.agent_id {
        sql = sql.push(" AND agent_id = ").bind(agent_id.to_string());
    }
    if let Some(status) = query.status {
        sql = sql.push(" AND status = ").bind(status.as_str());
    }
    if let Some(search) = query.search.as_deref().filter(|search| !search.is_empty()) {
        sql = sql.push(" AND search_text LIKE ").bind(containing(search)).push(" ESCAPE '\\'");
    }
    sql
}
