//! Lists of the skills in the library: filtered, paged, without their texts.

use super::StoreError;
use super::cursor::{Cursor, Key, List, beyond, containing, page_limit};
use super::skills::{Skills, attached, skill};
use super::sql::Sql;
use crate::model::{AgentsSort, Order, Page, Skill};

/// Which skills, from where on. They are sorted by when they were made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SkillsQuery {
    /// Rows per page; clamped to 1 to 200.
    pub limit: Option<u32>,
    /// Rows to pass over; not looked at with a cursor.
    pub offset: u64,
    /// `next_cursor` of the page before, of the same list.
    pub cursor: Option<String>,
    /// Which end comes first.
    pub order: Order,
    /// Text found anywhere in name or description, in whatever case.
    pub search: Option<String>,
    /// Only of exactly this name.
    pub name: Option<String>,
}

impl Skills<'_> {
    /// A page of the library.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a cursor of another list.
    pub async fn list(&self, query: &SkillsQuery) -> Result<Page<Skill>, StoreError> {
        let limit = page_limit(query.limit);
        let by_time = AgentsSort::CreatedAt;
        let search = query.search.as_deref().filter(|search| !search.is_empty());
        let list = List::of("skills", &[search, query.name.as_deref()]);
        let cursor = query
            .cursor
            .as_deref()
            .map(|text| Cursor::decode(text, list, by_time, query.order))
            .transpose()?;
        let offset = if cursor.is_some() { 0 } else { query.offset };
        let mut tx = self.store.read().await?;
        let filtered = |select| {
            let mut sql = Sql::new(select).push(" FROM skills WHERE in_library = ").bind(true);
            if let Some(search) = search {
                sql = sql.push(" AND search_text LIKE ").bind(containing(search)).push(" ESCAPE '\\'");
            }
            if let Some(name) = &query.name {
                sql = sql.push(" AND name = ").bind(name.as_str());
            }
            sql
        };
        let total = tx.row(filtered("SELECT COUNT(*) AS total")).await?;
        let total = total.map_or(Ok(0), |row| row.count("total"))?;
        let mut sql = filtered("SELECT *");
        if let Some(Cursor { key, id, .. }) = cursor {
            sql = sql.push(" AND (created_at, id)").push(beyond(query.order));
            sql = sql.bind(key).push(", ").bind(id).push(")");
        }
        let sql = sql.push(match query.order {
            Order::Asc => " ORDER BY created_at, id LIMIT ",
            Order::Desc => " ORDER BY created_at DESC, id DESC LIMIT ",
        });
        // One more than asked for tells whether there is another page.
        let mut rows = tx.rows(sql.bind(limit + 1).push(" OFFSET ").bind(offset)).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let mut data = Vec::with_capacity(rows.len());
        for row in &rows {
            let agents = attached(&mut tx, row.word("id")?).await?;
            data.push(skill(row, None, agents)?);
        }
        let next_cursor = match data.last() {
            Some(last) if more => {
                let key = Key::Whole(last.created_at.as_microsecond());
                let (sort, order, id) = (by_time, query.order, last.id.to_string());
                Some(Cursor { list, sort, order, key, id }.encode()?)
            }
            _ => None,
        };
        Ok(Page { data, total, limit, offset, next_cursor })
    }
}
