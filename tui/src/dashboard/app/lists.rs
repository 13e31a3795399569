//! Reads the lists a dashboard begins with: over a slow line page after page, each shown as it comes, what lives before what
//! has ended.

use lap_platform::client::{AgentsQuery, Client, ClientError, SessionsQuery};
use lap_platform::model::{AgentRow, Page, Session, SessionStatus};
use tokio::sync::mpsc;

use crate::dashboard::event::Lists;

/// Rows of a page that somebody waits for: a second or two over a line of a few KB/s.
const FIRST_ROWS: u32 = 25;
/// Pages that wait to be shown; more are waited for.
pub(super) const SHOWN: usize = 4;
/// Pages read before a list is taken to have no end.
const MAX_PAGES: usize = 500;

/// Reads everything. The first time each page is shown before the next is asked for; later the lists are there already,
/// and are replaced as a whole.
pub(super) async fn read(client: &Client, shown: Option<mpsc::Sender<Lists>>) -> Result<Lists, ClientError> {
    if let Some(shown) = &shown {
        for status in [SessionStatus::Ready, SessionStatus::Creating] {
            let query = SessionsQuery { limit: Some(FIRST_ROWS), status: Some(status), ..Default::default() };
            let sessions = client.sessions(&query).await?.data;
            // Whoever shows them may have gone.
            let _ = shown.send(Lists { sessions, ..Lists::default() }).await;
        }
    }
    let (agents, sessions) = tokio::join!(agents(client, shown.as_ref()), sessions(client, shown.as_ref()));
    Ok(Lists { agents: agents?, sessions: sessions?, harnesses: Vec::new() })
}

async fn agents(client: &Client, shown: Option<&mpsc::Sender<Lists>>) -> Result<Vec<AgentRow>, ClientError> {
    let Some(shown) = shown else { return client.all_agents(&AgentsQuery::default()).await };
    let mut rows = Vec::new();
    let mut query = AgentsQuery { limit: Some(FIRST_ROWS), ..AgentsQuery::default() };
    for _ in 0..MAX_PAGES {
        let page = client.agents(&query).await?;
        let _ = shown.send(Lists { agents: page.data.clone(), ..Lists::default() }).await;
        rows.extend(page.data);
        if page.next_cursor.is_none() {
            break;
        }
        query = AgentsQuery { limit: Some(Page::<AgentRow>::MAX_LIMIT), cursor: page.next_cursor, ..query };
    }
    Ok(rows)
}

async fn sessions(client: &Client, shown: Option<&mpsc::Sender<Lists>>) -> Result<Vec<Session>, ClientError> {
    let Some(shown) = shown else { return client.all_sessions(&SessionsQuery::default()).await };
    let mut rows = Vec::new();
    let mut query = SessionsQuery { limit: Some(FIRST_ROWS), ..SessionsQuery::default() };
    for _ in 0..MAX_PAGES {
        let page = client.sessions(&query).await?;
        let _ = shown.send(Lists { sessions: page.data.clone(), ..Lists::default() }).await;
        rows.extend(page.data);
        if page.next_cursor.is_none() {
            break;
        }
        query = SessionsQuery { limit: Some(Page::<Session>::MAX_LIMIT), cursor: page.next_cursor, ..query };
    }
    Ok(rows)
}
