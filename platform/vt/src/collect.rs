//! What state costs, and how what is no longer referred to is forgotten.

use crate::cell::Cell;
use crate::model::{Model, Tables};
use crate::style::Pen;

/// What every row of scrollback counts beside its cells, in bytes.
pub(crate) const ROW_BYTES: usize = 32;
/// What a run of cells of one style counts: the style may be in the table for this row alone.
const STYLE_BYTES: usize = 64;
/// What a cell with combining characters counts, for the same reason: its text, twice, and the table's own.
const CLUSTER_BYTES: usize = 192;
/// What a link counts beside twice its text.
const LINK_BYTES: usize = 128;

impl Tables {
    /// What a row counts in scrollback: its cells and, at most, what the tables hold for it. With this a byte of
    /// limit is a byte of memory even when no two cells look the same.
    pub(crate) fn cost(&self, cells: &[Cell]) -> usize {
        let mut cost = ROW_BYTES + size_of_val(cells);
        if Cell::all_plain(cells) {
            return cost;
        }
        let (mut style, mut link) = (0, 0);
        for cell in cells {
            if cell.cluster().is_some() {
                cost += CLUSTER_BYTES;
            }
            if cell.style() != style {
                style = cell.style();
                if style != 0 {
                    cost += STYLE_BYTES;
                    let now = self.pen(*cell).link;
                    if now != link && now != 0 {
                        let link = self.links.get(now);
                        cost += LINK_BYTES + 2 * (link.id.len() + link.uri.len());
                    }
                    link = now;
                }
            }
        }
        cost
    }

    fn memory(&self) -> usize {
        self.pens.memory() + self.clusters.memory() + self.links.memory()
    }
}

impl Model {
    /// Forgets the styles, clusters and links nothing refers to.
    pub(crate) fn collect(&mut self) {
        let mut pens = self.tables.pens.marks();
        let mut clusters = self.tables.clusters.marks();
        let mut links = self.tables.links.marks();
        let rows = self.main.rows.iter().chain(&self.alternate.rows);
        for cell in rows.flat_map(|row| &row.cells).chain(self.scrollback.cells()) {
            pens.insert(cell.style());
            if let Some(cluster) = cell.cluster() {
                clusters.insert(cluster);
            }
        }
        self.brush.numbers().for_each(|number| pens.insert(number));
        self.tables.pens.keep(&pens);
        links.insert(self.brush.pen().link);
        self.tables.pens.entries().for_each(|(_, Pen { link, .. })| links.insert(*link));
        self.tables.clusters.keep(&clusters);
        self.tables.links.keep(&links);
    }

    /// Bytes held, by what was reserved for them.
    pub(crate) fn memory(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        size_of::<Model>()
            + self.main.memory()
            + self.alternate.memory()
            + self.scrollback.memory()
            + self.tables.memory()
            + self.host.events.bytes()
            + self.tabs.capacity()
            + text(&self.directory)
            + self
                .saved_titles
                .iter()
                .chain([&self.titles])
                .map(|titles| text(&titles.window) + text(&titles.icon))
                .sum::<usize>()
    }
}
