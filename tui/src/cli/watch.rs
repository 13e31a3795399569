//! `--watch`: a list that goes on, fed by the change feed.

use std::collections::HashMap;
use std::pin::pin;

use lap_platform::client::{Client, Feed, FeedEvent};
use lap_platform::model::{Change, ChangeKind, Resource};

use super::args::Format;
use super::fault::Fault;
use super::print::{Printer, nobody_reads, note};
use super::table::{self, Column};

/// A kind of rows that can be watched.
pub(super) trait Watched {
    /// One row.
    type Row: serde::Serialize + Clone;

    /// The list as it is now.
    async fn list(&self, client: &Client) -> Result<Vec<Self::Row>, Fault>;
    /// The row a change is about, where it is of this kind and of the list.
    fn row_of(&self, resource: Resource) -> Option<Self::Row>;
    /// What tells two rows apart.
    fn id(row: &Self::Row) -> uuid::Uuid;
    /// The table's columns.
    fn columns(&self) -> &'static [Column];
    /// A row's cells. With `deleted` set it says so.
    fn cells(&self, row: &Self::Row, deleted: bool) -> Vec<String>;
    /// A row's name.
    fn name(row: &Self::Row) -> String;
}

/// Prints the list, and from then on every row as it changes, until it is interrupted or nobody reads it any more.
pub(super) async fn watch<W: Watched>(
    client: &Client,
    what: &W,
    printer: &Printer,
    format: Format,
) -> Result<(), Fault> {
    let mut feed = Feed::new(client.clone(), None);
    let mut shown = Shown { what, printer, format, last: HashMap::new(), begun: false };
    let mut lost = false;
    let mut nobody_reads = pin!(nobody_reads());
    loop {
        let event = tokio::select! {
            event = feed.next() => event,
            () = &mut nobody_reads => return Ok(()),
        };
        match event {
            // The list is read once the feed is open: a change in between is then told by both, and missed by none.
            FeedEvent::Connected { resumed } => {
                if std::mem::take(&mut lost) {
                    note("connected again")?;
                }
                if !resumed {
                    shown.all(client).await?;
                }
            }
            FeedEvent::Reset => shown.all(client).await?,
            FeedEvent::Change(change) => shown.change(*change)?,
            // At the beginning somebody should hear that there is nothing; later it comes back by itself.
            FeedEvent::Lost { reason, .. } if !shown.begun => return Err(reason.into()),
            FeedEvent::Lost { reason, .. } if !lost => {
                lost = true;
                note(&format!("{reason}; waiting for it"))?;
            }
            FeedEvent::Lost { .. } => {}
        }
    }
}

struct Shown<'a, W: Watched> {
    what: &'a W,
    printer: &'a Printer,
    format: Format,
    /// What was last printed of each row, to pass over changes nobody would see.
    last: HashMap<uuid::Uuid, String>,
    begun: bool,
}

impl<W: Watched> Shown<'_, W> {
    async fn all(&mut self, client: &Client) -> Result<(), Fault> {
        let rows = self.what.list(client).await?;
        if !std::mem::replace(&mut self.begun, true) && self.format == Format::Table {
            let cells: Vec<_> = rows.iter().map(|row| self.what.cells(row, false)).collect();
            for (row, cells) in rows.iter().zip(&cells) {
                self.last.insert(W::id(row), cells.join("\0"));
            }
            return self.printer.table(self.what.columns(), &cells, "none yet; waiting");
        }
        rows.iter().try_for_each(|row| self.row(row, false))
    }

    fn change(&mut self, change: Change) -> Result<(), Fault> {
        let deleted = change.kind == ChangeKind::Deleted;
        match self.what.row_of(change.resource) {
            Some(row) => self.row(&row, deleted),
            None => Ok(()),
        }
    }

    fn row(&mut self, row: &W::Row, deleted: bool) -> Result<(), Fault> {
        let cells = self.what.cells(row, deleted);
        let seen = if self.format == Format::Table {
            cells.join("\0")
        } else {
            serde_json::to_string(row).unwrap_or_default()
        };
        if self.last.get(&W::id(row)) == Some(&seen) && !deleted {
            return Ok(());
        }
        if deleted {
            self.last.remove(&W::id(row));
        } else {
            self.last.insert(W::id(row), seen);
        }
        match self.format {
            // The header stands above the first rows; later ones follow without it.
            Format::Table => {
                let lines = table::lines(self.what.columns(), &[cells], None);
                lines.get(1).map_or(Ok(()), |line| self.printer.line(line))
            }
            Format::Name => self.printer.line(&W::name(row)),
            format => self.printer.value_of_many(row, format),
        }
    }
}
