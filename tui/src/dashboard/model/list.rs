//! A list of rows: order, selection, and which of them are on the screen.

use super::form::Input;

/// How rows are listed: in which order, which is selected, and from which one on they are shown. The selection stays on
/// its row when rows come, go, or change their order.
#[derive(Clone, Debug)]
pub struct List<Id, Sort> {
    /// The rows that are shown, in order.
    pub order: Vec<Id>,
    /// The selected row.
    pub selected: Option<Id>,
    /// The first row on the screen.
    pub top: usize,
    /// What they are sorted by.
    pub sort: Sort,
    /// The other way round.
    pub reverse: bool,
    /// Shows only rows that match.
    pub filter: Input,
    /// Where the selection was, for when its row is gone.
    at: usize,
}

impl<Id: Copy + PartialEq, Sort> List<Id, Sort> {
    pub(super) fn new(sort: Sort) -> List<Id, Sort> {
        List {
            order: Vec::new(),
            selected: None,
            top: 0,
            sort,
            reverse: false,
            filter: Input::default(),
            at: 0,
        }
    }

    /// Takes a new order. A selection that is gone goes to the row that is now where it was. A list that is not on
    /// the screen, with a height of 0, stays scrolled as it was.
    pub fn settle(&mut self, order: Vec<Id>, height: usize) {
        self.order = order;
        let position = self.selected.and_then(|id| self.order.iter().position(|row| *row == id));
        self.at = position.unwrap_or(self.at).min(self.order.len().saturating_sub(1));
        self.selected = self.order.get(self.at).copied();
        if height == 0 {
            return;
        }
        let last_top = self.order.len().saturating_sub(height);
        self.top = self.top.min(last_top).min(self.at).max((self.at + 1).saturating_sub(height));
    }

    /// Where the selection is.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Moves the selection by that many rows, as far as there are rows.
    pub fn step(&mut self, by: isize) {
        self.select(self.at.saturating_add_signed(by));
    }

    /// Selects the row at that place, or the last one.
    pub fn select(&mut self, at: usize) {
        self.at = at.min(self.order.len().saturating_sub(1));
        self.selected = self.order.get(self.at).copied();
    }

    /// Selects that row, now or as soon as it is there.
    pub fn select_id(&mut self, id: Id) {
        self.selected = Some(id);
        if let Some(at) = self.order.iter().position(|row| *row == id) {
            self.at = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rows: &[u32], height: usize) -> List<u32, ()> {
        let mut list = List::new(());
        list.settle(rows.to_vec(), height);
        list
    }

    #[test]
    fn the_selection_stays_on_its_row() {
        let mut list = list(&[1, 2, 3], 10);
        list.step(1);
        list.settle(vec![9, 8, 1, 2, 3], 10);
        assert_eq!((list.selected, list.position()), (Some(2), 3));
    }

    #[test]
    fn a_row_that_is_gone_gives_its_place_to_the_next() {
        let mut list = list(&[1, 2, 3], 10);
        list.step(1);
        list.settle(vec![1, 3], 10);
        assert_eq!(list.selected, Some(3));
        list.settle(vec![1], 10);
        assert_eq!(list.selected, Some(1));
        list.settle(vec![], 10);
        assert_eq!(list.selected, None);
    }

    #[test]
    fn the_selection_is_always_on_the_screen() {
        let rows: Vec<u32> = (0..100).collect();
        let mut list = list(&rows, 10);
        list.step(50);
        list.settle(rows.clone(), 10);
        assert_eq!(list.top, 41);
        list.step(-20);
        list.settle(rows.clone(), 10);
        assert_eq!(list.top, 30);
        list.settle(rows.clone(), 0);
        assert_eq!(list.top, 30, "what is not on the screen is not scrolled");
        list.select(usize::MAX);
        list.settle(rows, 200);
        assert_eq!((list.top, list.position()), (0, 99));
    }
}
