//! Lists of agents: filtered, sorted, paged.

use super::StoreError;
use super::agents::{Agents, SELECT, agent_row};
use super::cursor::{Cursor, Key, List, beyond, containing, page_limit, search_text};
use super::sql::Sql;
use crate::model::{AgentRow, AgentsSort, Order, Page};

/// Which agents, in which order, from where on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentsQuery {
    /// Rows per page; clamped to 1 to 200.
    pub limit: Option<u32>,
    /// Rows to pass over; not looked at with a cursor.
    pub offset: u64,
    /// `next_cursor` of the page before, with the same sort and order.
    pub cursor: Option<String>,
    /// What they are sorted by; ties by id.
    pub sort: AgentsSort,
    /// Which end comes first.
    pub order: Order,
    /// Text found anywhere in name, id or harness id, in whatever case.
    pub search: Option<String>,
    /// Only of this harness.
    pub harness_id: Option<String>,
    /// Only of exactly this name.
    pub name: Option<String>,
}

impl Agents<'_> {
    /// A page of the agents that are not deleted.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a cursor of another list.
    pub async fn list(&self, query: &AgentsQuery) -> Result<Page<AgentRow>, StoreError> {
        let limit = page_limit(query.limit);
        let cursor = query
            .cursor
            .as_deref()
            .map(|text| Cursor::decode(text, list(query), query.sort, query.order))
            .transpose()?;
        let offset = if cursor.is_some() { 0 } else { query.offset };
        let mut tx = self.store.read().await?;
        let total = filtered(Sql::new("SELECT COUNT(*) AS total FROM agents"), query);
        let total = tx.row(total).await?.map_or(Ok(0), |row| row.count("total"))?;

        let mut sql = filtered(Sql::new(SELECT), query);
        if let Some(cursor) = cursor {
            sql = sql.push(" AND (").push(column(query.sort)).push(", agents.id)").push(beyond(query.order));
            sql = sql.bind(cursor.key).push(", ").bind(cursor.id).push(")");
        }
        // One more than asked for tells whether there is another page.
        let sql = sql.push(ordering(query.sort, query.order)).push(" LIMIT ").bind(limit + 1);
        let sql = sql.push(" OFFSET ").bind(offset);
        let mut rows = tx.rows(sql).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let data = rows.iter().map(|row| agent_row(self.store, row)).collect::<Result<Vec<_>, _>>()?;
        let next_cursor = match data.last() {
            Some(last) if more => Some(after(last, query).encode()?),
            _ => None,
        };
        Ok(Page { data, total, limit, offset, next_cursor })
    }
}

fn filtered(sql: Sql, query: &AgentsQuery) -> Sql {
    let mut sql = sql.push(" WHERE agents.deleted_at IS NULL");
    if let Some(search) = query.search.as_deref().filter(|search| !search.is_empty()) {
        sql = sql.push(" AND search_text LIKE ").bind(containing(search)).push(" ESCAPE '\\'");
    }
    if let Some(harness_id) = &query.harness_id {
        sql = sql.push(" AND harness_id = ").bind(harness_id.as_str());
    }
    if let Some(name) = &query.name {
        sql = sql.push(" AND name = ").bind(name.as_str());
    }
    sql
}

fn list(query: &AgentsQuery) -> List {
    let search = query.search.as_deref().filter(|search| !search.is_empty());
    List::of("agents", &[search, query.harness_id.as_deref(), query.name.as_deref()])
}

fn column(sort: AgentsSort) -> &'static str {
    match sort {
        AgentsSort::CreatedAt => "agents.created_at",
        // Begins with the name in lower case; the id comes next.
        AgentsSort::Name => "agents.search_text",
        AgentsSort::HarnessId => "agents.harness_id",
        AgentsSort::Sessions => "agents.session_count",
    }
}

fn ordering(sort: AgentsSort, order: Order) -> &'static str {
    match (sort, order) {
        (AgentsSort::CreatedAt, Order::Asc) => " ORDER BY agents.created_at, agents.id",
        (AgentsSort::CreatedAt, Order::Desc) => " ORDER BY agents.created_at DESC, agents.id DESC",
        (AgentsSort::Name, Order::Asc) => " ORDER BY agents.search_text, agents.id",
        (AgentsSort::Name, Order::Desc) => " ORDER BY agents.search_text DESC, agents.id DESC",
        (AgentsSort::HarnessId, Order::Asc) => " ORDER BY agents.harness_id, agents.id",
        (AgentsSort::HarnessId, Order::Desc) => " ORDER BY agents.harness_id DESC, agents.id DESC",
        (AgentsSort::Sessions, Order::Asc) => " ORDER BY agents.session_count, agents.id",
        (AgentsSort::Sessions, Order::Desc) => " ORDER BY agents.session_count DESC, agents.id DESC",
    }
}

fn after(last: &AgentRow, query: &AgentsQuery) -> Cursor {
    let agent = &last.agent;
    let key = match query.sort {
        AgentsSort::CreatedAt => Key::Whole(agent.created_at.as_microsecond()),
        AgentsSort::Name => Key::Text(search_text(&[&agent.name, &agent.id.to_string(), &agent.harness_id])),
        AgentsSort::HarnessId => Key::Text(agent.harness_id.clone()),
        AgentsSort::Sessions => Key::Whole(i64::try_from(last.session_count).unwrap_or(i64::MAX)),
    };
    Cursor { list: list(query), sort: query.sort, order: query.order, key, id: agent.id.to_string() }
}
