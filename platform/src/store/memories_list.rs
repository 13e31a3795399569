//! Lists of memories: the newest first, or by words, best first.

use super::StoreError;
use super::cursor::{Cursor, Key, List, beyond, page_limit};
use super::memories::{Memories, memory, of_live_agent, words};
use super::sql::{Sql, Tx};
use crate::model::{AgentId, AgentsSort, Memory, MemoryType, Order, Page};

/// The most words of a search that count.
const MAX_WORDS: usize = 16;

/// Which memories of an agent, from where on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoriesQuery {
    /// Rows per page; clamped to 1 to 200.
    pub limit: Option<u32>,
    /// Rows to pass over; not looked at with a cursor.
    pub offset: u64,
    /// `next_cursor` of the page before, of the same list.
    pub cursor: Option<String>,
    /// Which end comes first, where nothing is searched for.
    pub order: Order,
    /// Words, all of which the text or the tags have, each at the beginning of one of theirs. What fits best comes first.
    pub q: Option<String>,
    /// Only with this tag, in whatever case.
    pub tag: Option<String>,
    /// Only of this kind.
    pub kind: Option<MemoryType>,
    /// Disabled ones too.
    pub include_disabled: bool,
}

impl Memories<'_> {
    /// A page of an agent's memories.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such agent; [`StoreError::Invalid`] for a cursor of another list.
    pub async fn list(&self, agent: AgentId, query: &MemoriesQuery) -> Result<Page<Memory>, StoreError> {
        let limit = page_limit(query.limit);
        let list = list(agent, query);
        let cursor = query
            .cursor
            .as_deref()
            .map(|text| Cursor::decode(text, list, AgentsSort::CreatedAt, query.order))
            .transpose()?;
        let mut tx = self.store.read().await?;
        of_live_agent(&mut tx, agent).await?;
        let words = query.q.as_deref().map(|q| words(q).take(MAX_WORDS).collect::<Vec<_>>());
        if words.as_ref().is_some_and(Vec::is_empty) && query.q.as_deref().is_some_and(|q| !q.is_empty()) {
            // Nothing that could be found by: signs alone.
            return Ok(Page { data: Vec::new(), total: 0, limit, offset: query.offset, next_cursor: None });
        }
        let words = words.filter(|words| !words.is_empty());
        let filtered = |tx: &Tx, select| {
            let sql = match &words {
                Some(words) => tx.memories_by_words(select, &agent.to_string(), words),
                None => Sql::new(select).push(" FROM memories WHERE agent_id = ").bind(agent.to_string()),
            };
            filtered(sql, query)
        };
        let total = filtered(&tx, "SELECT COUNT(*) AS total");
        let total = tx.row(total).await?.map_or(Ok(0), |row| row.count("total"))?;

        let mut sql = filtered(&tx, "SELECT memories.*");
        let mut offset = if cursor.is_some() { 0 } else { query.offset };
        if words.is_some() {
            // Which fits best is known only when all are looked at: the cursor of a search counts them.
            if let Some(Cursor { key: Key::Whole(passed), .. }) = &cursor {
                offset = passed.unsigned_abs();
            }
            sql = sql.push(tx.best_words_first());
        } else {
            if let Some(Cursor { key, id, .. }) = cursor.clone() {
                sql = sql.push(" AND (created_at, id)").push(beyond(query.order));
                sql = sql.bind(key).push(", ").bind(id).push(")");
            }
            sql = sql.push(match query.order {
                Order::Asc => " ORDER BY created_at, id",
                Order::Desc => " ORDER BY created_at DESC, id DESC",
            });
        }
        // One more than asked for tells whether there is another page.
        let sql = sql.push(" LIMIT ").bind(limit + 1).push(" OFFSET ").bind(offset);
        let mut rows = tx.rows(sql).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let data = rows.iter().map(memory).collect::<Result<Vec<_>, _>>()?;
        let next_cursor = match data.last() {
            Some(last) if more => {
                let passed = i64::try_from(offset).unwrap_or(i64::MAX).saturating_add(i64::from(limit));
                let by_time = last.created_at.as_microsecond();
                let key = Key::Whole(if words.is_some() { passed } else { by_time });
                let (sort, order, id) = (AgentsSort::CreatedAt, query.order, last.id.to_string());
                Some(Cursor { list, sort, order, key, id }.encode()?)
            }
            _ => None,
        };
        let offset = if cursor.is_some() { 0 } else { offset };
        Ok(Page { data, total, limit, offset, next_cursor })
    }
}

fn filtered(sql: Sql, query: &MemoriesQuery) -> Sql {
    let mut sql = sql.push(" AND deleted_at IS NULL");
    if !query.include_disabled {
        sql = sql.push(" AND disabled = ").bind(false);
    }
    if let Some(kind) = query.kind {
        sql = sql.push(" AND type = ").bind(kind.as_str());
    }
    if let Some(tag) = &query.tag {
        // The tags are a JSON list: one of them is a text in quotes there, and no tag has a quote in it.
        let quoted = serde_json::Value::from(tag.to_ascii_lowercase()).to_string();
        let pattern: String = quoted
            .chars()
            .flat_map(|c| matches!(c, '%' | '_' | '\\').then_some('\\').into_iter().chain([c]))
            .collect();
        sql = sql.push(" AND lower(tags) LIKE ").bind(format!("%{pattern}%")).push(" ESCAPE '\\'");
    }
    sql
}

fn list(agent: AgentId, query: &MemoriesQuery) -> List {
    let agent = agent.to_string();
    let disabled = query.include_disabled.then_some("with disabled");
    let filters = [
        Some(agent.as_str()),
        query.q.as_deref(),
        query.tag.as_deref(),
        query.kind.map(MemoryType::as_str),
        disabled,
    ];
    List::of("memories", &filters)
}
