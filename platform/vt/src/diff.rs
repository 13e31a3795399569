//! Comparing two terminals in full state. Numbers in tables differ between instances; what they stand for must
//! not.

use std::collections::HashMap;

use crate::cell::Cell;
use crate::model::{Link, Model};
use crate::scrollback::Stored;
use crate::style::Style;

/// Cells known to stand for the same: most have been seen before, and describing them takes long.
#[derive(Default)]
struct Same(HashMap<Cell, Cell>);

impl Model {
    pub(crate) fn diff(&self, other: &Model) -> Option<String> {
        macro_rules! compare {
            ($($field:ident).+) => {
                let (a, b) = (&self.$($field).+, &other.$($field).+);
                if a != b {
                    return Some(format!("{}: {a:?} != {b:?}", stringify!($($field).+)));
                }
            };
        }
        compare!(cols);
        compare!(rows);
        compare!(modes);
        let mut same = Same::default();
        for (name, a, b) in
            [("main", &self.main, &other.main), ("alternate", &self.alternate, &other.alternate)]
        {
            for (y, (a, b)) in a.rows.iter().zip(&b.rows).enumerate() {
                if let Some(diff) = self.row_diff(other, a.into(), b.into(), &mut same) {
                    return Some(format!("{name} row {y} {diff}"));
                }
            }
            if a.saved != b.saved {
                return Some(format!("{name} saved: {:?} != {:?}", a.saved, b.saved));
            }
            if a.keyboard != b.keyboard {
                return Some(format!("{name} keyboard: {:?} != {:?}", a.keyboard, b.keyboard));
            }
        }
        if self.scrollback.len() != other.scrollback.len() {
            return Some(format!("scrollback rows: {} != {}", self.scrollback.len(), other.scrollback.len()));
        }
        for (index, (a, b)) in self.scrollback.iter().zip(other.scrollback.iter()).enumerate() {
            if let Some(diff) = self.row_diff(other, a, b, &mut same) {
                return Some(format!("scrollback row {index} {diff}"));
            }
        }
        if self.scrollback.cost() != other.scrollback.cost() {
            let (a, b) = (self.scrollback.cost(), other.scrollback.cost());
            return Some(format!("scrollback cost: {a} != {b}"));
        }
        let (a, b) = (self.look(self.brush.pen()), other.look(other.brush.pen()));
        if a != b {
            return Some(format!("pen: {a:?} != {b:?}"));
        }
        compare!(x);
        compare!(y);
        compare!(pending_wrap);
        compare!(charsets);
        compare!(shift);
        compare!(top);
        compare!(bottom);
        compare!(main_region);
        compare!(tabs);
        compare!(passive);
        compare!(cursor_style);
        compare!(modify_keys);
        compare!(titles);
        compare!(saved_titles);
        compare!(directory);
        compare!(colors);
        compare!(follows_print);
        if self.follows_print {
            compare!(printed);
        }
        None
    }

    fn look(&self, pen: crate::style::Pen) -> (Style, &Link) {
        (pen.style, self.tables.links.get(pen.link))
    }

    fn row_diff(&self, other: &Model, a: Stored<'_>, b: Stored<'_>, same: &mut Same) -> Option<String> {
        if a.wrapped != b.wrapped {
            return Some(format!("wrapped: {} != {}", a.wrapped, b.wrapped));
        }
        (0..a.len().max(b.len())).find_map(|x| {
            let (a, b) = (a.cell(x), b.cell(x));
            if same.0.get(&a) == Some(&b) {
                return None;
            }
            let (c, d) = (self.described(a), other.described(b));
            if c == d {
                same.0.insert(a, b);
                return None;
            }
            Some(format!("column {x}: {c:?} != {d:?}"))
        })
    }

    fn described(&self, cell: Cell) -> (String, bool, bool, (Style, &Link)) {
        let mut text = String::new();
        self.tables.push_text(cell, &mut text);
        (text, cell.is_wide(), cell.is_spacer(), self.look(*self.tables.pen(cell)))
    }
}
