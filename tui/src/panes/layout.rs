//! How panes share the screen: a tree of splits.

use ratatui::layout::{Position, Rect};

/// Names a pane for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct PaneId(pub(super) u32);

/// How a split divides its room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Axis {
    /// Side by side, a column between.
    Columns,
    /// One above the other; the lower one's title stands between.
    Rows,
}

/// A way to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Left,
    Right,
    Up,
    Down,
}

impl Direction {
    fn axis(self) -> Axis {
        match self {
            Direction::Left | Direction::Right => Axis::Columns,
            Direction::Up | Direction::Down => Axis::Rows,
        }
    }
}

/// The first part's share of a split, in this many parts of the whole.
const WHOLE: u32 = 10_000;
/// No pane is made smaller than this many cells by resizing; a small screen can.
const LEAST: u16 = 4;

#[derive(Clone, Debug)]
enum Node {
    Leaf(PaneId),
    Split { axis: Axis, share: u32, parts: Box<[Node; 2]> },
}

/// A line between two panes that the mouse can move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Separator {
    /// Where it is: a column wide, or a row (of the lower pane's title) high.
    pub(super) area: Rect,
    pub(super) axis: Axis,
    /// The split's whole room.
    room: Rect,
    /// Which split, in the order of a walk through the tree.
    index: usize,
}

/// The tree. Never empty: who has no pane has no layout.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: Node,
}

impl Layout {
    pub(super) fn new(pane: PaneId) -> Layout {
        Layout { root: Node::Leaf(pane) }
    }

    /// All panes, from the top left.
    pub(super) fn panes(&self) -> Vec<PaneId> {
        let mut found = Vec::new();
        self.root.walk(&mut |pane| found.push(pane));
        found
    }

    /// Divides the room of `at`: the new pane gets the half to the right or below.
    pub(super) fn split(&mut self, at: PaneId, axis: Axis, new: PaneId) {
        self.root.replace(at, &|old| Node::Split {
            axis,
            share: WHOLE / 2,
            parts: Box::new([old, Node::Leaf(new)]),
        });
    }

    /// Puts `new` in the place of `old`.
    pub(super) fn replace(&mut self, old: PaneId, new: PaneId) {
        self.root.replace(old, &|_| Node::Leaf(new));
    }

    /// Takes a pane out; its neighbour gets the room. Says which pane is there now; nothing if it was the only one,
    /// which stays.
    pub(super) fn remove(&mut self, pane: PaneId) -> Option<PaneId> {
        self.root.remove(pane)
    }

    /// Exchanges two panes' places.
    pub(super) fn swap(&mut self, a: PaneId, b: PaneId) {
        self.root.rename(&|pane| match pane {
            pane if pane == a => b,
            pane if pane == b => a,
            pane => pane,
        });
    }

    /// Where each pane is.
    pub(super) fn places(&self, area: Rect) -> Vec<(PaneId, Rect)> {
        let (mut places, mut separators) = (Vec::new(), Vec::new());
        self.root.place(area, &mut places, &mut separators);
        places
    }

    /// The lines between them.
    pub(super) fn separators(&self, area: Rect) -> Vec<Separator> {
        let (mut places, mut separators) = (Vec::new(), Vec::new());
        self.root.place(area, &mut places, &mut separators);
        separators
    }

    /// The pane next to `from` in a direction: of several, the one beside its middle.
    pub(super) fn neighbour(&self, area: Rect, from: PaneId, direction: Direction) -> Option<PaneId> {
        let places = self.places(area);
        let here = places.iter().find(|(pane, _)| *pane == from)?.1;
        let (middle_x, middle_y) = (here.x + here.width / 2, here.y + here.height / 2);
        let beside = |r: &Rect| match direction.axis() {
            Axis::Columns => (r.y..r.y.saturating_add(r.height)).contains(&middle_y),
            Axis::Rows => (r.x..=r.x.saturating_add(r.width)).contains(&middle_x),
        };
        let distance = |r: &Rect| {
            let (from, to) = match direction {
                Direction::Left => (r.right(), here.x),
                Direction::Right => (here.right(), r.x),
                Direction::Up => (r.bottom(), here.y),
                Direction::Down => (here.bottom(), r.y),
            };
            to.checked_sub(from)
        };
        places
            .iter()
            .filter(|(pane, r)| *pane != from && !r.is_empty() && beside(r))
            .filter_map(|(pane, r)| Some((distance(r)?, *pane)))
            .min()
            .map(|(_, pane)| pane)
    }

    /// Moves the edge of `pane` by `cells` in a direction: its right or lower one, else its left or upper one.
    pub(super) fn resize(&mut self, area: Rect, pane: PaneId, direction: Direction, cells: u16) {
        let forward = matches!(direction, Direction::Right | Direction::Down);
        let by = if forward { i32::from(cells) } else { -i32::from(cells) };
        // The edge after it, if there is one to move, else the edge before it.
        let moved = self.root.resize(area, pane, direction.axis(), 0, by);
        if moved != Moved::Done {
            self.root.resize(area, pane, direction.axis(), 1, by);
        }
    }

    /// Moves a separator to where the mouse is.
    pub(super) fn drag(&mut self, separator: &Separator, to: Position) {
        let (length, at) = match separator.axis {
            Axis::Columns => (separator.room.width, to.x.saturating_sub(separator.room.x)),
            Axis::Rows => (separator.room.height, to.y.saturating_sub(separator.room.y)),
        };
        let mut index = separator.index;
        self.root.nth_split(&mut index, &mut |share| *share = share_of(at, length));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// The pane is not in here.
    Absent,
    /// It is, and no split here has an edge to move.
    Present,
    Done,
}

/// The share that makes a first part of `cells`, leaving both parts something.
fn share_of(cells: u16, whole: u16) -> u32 {
    let least = LEAST.min(whole / 2);
    let cells = cells.clamp(least, whole.saturating_sub(least).max(least));
    // Rounded up, so that dividing again gives the same number of cells.
    (u32::from(cells) * WHOLE).div_ceil(u32::from(whole.max(1))).min(WHOLE)
}

/// Cells of the first part.
fn first_part(whole: u16, share: u32) -> u16 {
    let cells = (u32::from(whole) * share / WHOLE) as u16;
    // Something is left for both, where there is something.
    cells.clamp(whole.min(1), whole.saturating_sub(2).max(whole.min(1)))
}

/// The two parts of a room, and the line between.
fn divide(area: Rect, axis: Axis, share: u32) -> ([Rect; 2], Rect) {
    match axis {
        Axis::Columns => {
            let first = first_part(area.width, share);
            let line = Rect { x: area.x + first, width: 1.min(area.width - first), ..area };
            let second = area.width - first - line.width;
            let parts = [Rect { width: first, ..area }, Rect { x: line.right(), width: second, ..area }];
            (parts, line)
        }
        Axis::Rows => {
            let first = first_part(area.height, share);
            let lower = Rect { y: area.y + first, height: area.height - first, ..area };
            ([Rect { height: first, ..area }, lower], Rect { height: 1.min(lower.height), ..lower })
        }
    }
}

impl Node {
    fn walk(&self, each: &mut impl FnMut(PaneId)) {
        match self {
            Node::Leaf(pane) => each(*pane),
            Node::Split { parts, .. } => {
                for part in parts.iter() {
                    part.walk(each);
                }
            }
        }
    }

    fn rename(&mut self, to: &impl Fn(PaneId) -> PaneId) {
        match self {
            Node::Leaf(pane) => *pane = to(*pane),
            Node::Split { parts, .. } => parts.iter_mut().for_each(|part| part.rename(to)),
        }
    }

    fn replace(&mut self, at: PaneId, with: &dyn Fn(Node) -> Node) {
        match self {
            Node::Leaf(pane) if *pane == at => *self = with(Node::Leaf(at)),
            Node::Leaf(_) => {}
            Node::Split { parts, .. } => parts.iter_mut().for_each(|part| part.replace(at, with)),
        }
    }

    fn first(&self) -> PaneId {
        match self {
            Node::Leaf(pane) => *pane,
            Node::Split { parts, .. } => parts[0].first(),
        }
    }

    fn remove(&mut self, pane: PaneId) -> Option<PaneId> {
        let Node::Split { parts, .. } = self else { return None };
        let gone = parts.iter().position(|part| matches!(part, Node::Leaf(leaf) if *leaf == pane));
        if let Some(gone) = gone {
            let left = parts[1 - gone].clone();
            let heir = left.first();
            *self = left;
            return Some(heir);
        }
        parts.iter_mut().find_map(|part| part.remove(pane))
    }

    fn place(&self, area: Rect, places: &mut Vec<(PaneId, Rect)>, separators: &mut Vec<Separator>) {
        match self {
            Node::Leaf(pane) => places.push((*pane, area)),
            Node::Split { axis, share, parts } => {
                let (rooms, line) = divide(area, *axis, *share);
                separators.push(Separator { area: line, axis: *axis, room: area, index: separators.len() });
                parts[0].place(rooms[0], places, separators);
                parts[1].place(rooms[1], places, separators);
            }
        }
    }

    fn nth_split(&mut self, index: &mut usize, act: &mut dyn FnMut(&mut u32)) {
        let Node::Split { share, parts, .. } = self else { return };
        if *index == 0 {
            act(share);
        }
        *index = index.wrapping_sub(1);
        parts.iter_mut().for_each(|part| part.nth_split(index, act));
    }

    /// The innermost split along `axis` that has `pane` in its part `side` gets its line moved.
    fn resize(&mut self, area: Rect, pane: PaneId, axis: Axis, side: usize, by: i32) -> Moved {
        match self {
            Node::Leaf(leaf) => {
                if *leaf == pane {
                    Moved::Present
                } else {
                    Moved::Absent
                }
            }
            Node::Split { axis: own, share, parts } => {
                let (rooms, _) = divide(area, *own, *share);
                for (i, part) in parts.iter_mut().enumerate() {
                    match part.resize(rooms[i], pane, axis, side, by) {
                        Moved::Absent => {}
                        Moved::Done => return Moved::Done,
                        Moved::Present if *own != axis || i != side => return Moved::Present,
                        Moved::Present => {
                            let (whole, first) = match axis {
                                Axis::Columns => (area.width, rooms[0].width),
                                Axis::Rows => (area.height, rooms[0].height),
                            };
                            let cells = (i32::from(first) + by).clamp(0, i32::from(whole)) as u16;
                            *share = share_of(cells, whole);
                            return Moved::Done;
                        }
                    }
                }
                Moved::Absent
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AREA: Rect = Rect { x: 2, y: 1, width: 81, height: 40 };

    fn grid() -> Layout {
        // 1 | 2 over 3
        let mut layout = Layout::new(PaneId(1));
        layout.split(PaneId(1), Axis::Columns, PaneId(2));
        layout.split(PaneId(2), Axis::Rows, PaneId(3));
        layout
    }

    fn place(layout: &Layout, pane: u32) -> Rect {
        layout.places(AREA).iter().find(|(id, _)| *id == PaneId(pane)).unwrap().1
    }

    #[test]
    fn a_split_halves_the_room_and_leaves_a_line() {
        let layout = grid();
        assert_eq!(place(&layout, 1), Rect { x: 2, y: 1, width: 40, height: 40 });
        assert_eq!(place(&layout, 2), Rect { x: 43, y: 1, width: 40, height: 20 });
        assert_eq!(place(&layout, 3), Rect { x: 43, y: 21, width: 40, height: 20 });
    }

    #[test]
    fn the_neighbour_is_the_one_beside_the_middle() {
        let layout = grid();
        let go = |from, direction| layout.neighbour(AREA, PaneId(from), direction).map(|pane| pane.0);
        assert_eq!(go(1, Direction::Right), Some(3));
        assert_eq!(go(2, Direction::Left), Some(1));
        assert_eq!(go(2, Direction::Down), Some(3));
        assert_eq!(go(3, Direction::Up), Some(2));
        assert_eq!(go(1, Direction::Left), None);
        assert_eq!(go(3, Direction::Right), None);
    }

    #[test]
    fn an_edge_moves_by_cells_and_stops_before_nothing_is_left() {
        let mut layout = grid();
        layout.resize(AREA, PaneId(1), Direction::Right, 5);
        assert_eq!(place(&layout, 1).width, 45);
        layout.resize(AREA, PaneId(2), Direction::Left, 5);
        assert_eq!(place(&layout, 1).width, 40, "the last pane's left edge moves");
        layout.resize(AREA, PaneId(3), Direction::Up, 2);
        assert_eq!(place(&layout, 3).height, 22);
        layout.resize(AREA, PaneId(1), Direction::Right, 500);
        assert!(place(&layout, 2).width >= 2);
    }

    #[test]
    fn a_closed_pane_leaves_its_room_to_its_neighbour() {
        let mut layout = grid();
        assert_eq!(layout.remove(PaneId(2)), Some(PaneId(3)));
        assert_eq!(place(&layout, 3), Rect { x: 43, y: 1, width: 40, height: 40 });
        assert_eq!(layout.remove(PaneId(1)), Some(PaneId(3)));
        assert_eq!(layout.remove(PaneId(3)), None);
        assert_eq!(place(&layout, 3), AREA);
    }

    #[test]
    fn panes_change_places_and_the_mouse_moves_lines() {
        let mut layout = grid();
        layout.swap(PaneId(1), PaneId(3));
        assert_eq!(layout.panes(), [PaneId(3), PaneId(2), PaneId(1)]);
        let line = layout.separators(AREA)[0];
        assert_eq!(line.area, Rect { x: 42, y: 1, width: 1, height: 40 });
        layout.drag(&line, Position { x: 22, y: 9 });
        assert_eq!(place(&layout, 3).width, 20);
        let lower = layout.separators(AREA)[1];
        layout.drag(&lower, Position { x: 0, y: 11 });
        assert_eq!(place(&layout, 2).height, 10);
    }

    proptest! {
        /// Whatever is done, panes and lines cover the area, each cell once.
        #[test]
        fn no_cell_is_lost_or_shared(
            ops in prop::collection::vec((0..5u8, 0..12u32, any::<bool>(), 0..60u16), 0..30),
            width in 0..90u16, height in 0..50u16,
        ) {
            let area = Rect { x: 3, y: 2, width, height };
            let mut layout = Layout::new(PaneId(0));
            for (i, (op, pane, flag, n)) in ops.into_iter().enumerate() {
                let panes = layout.panes();
                let pane = panes[pane as usize % panes.len()];
                let axis = if flag { Axis::Columns } else { Axis::Rows };
                let direction = match (flag, n % 2) {
                    (true, 0) => Direction::Left,
                    (true, _) => Direction::Right,
                    (false, 0) => Direction::Up,
                    (false, _) => Direction::Down,
                };
                match op {
                    0 | 1 => layout.split(pane, axis, PaneId(100 + i as u32)),
                    2 => { layout.remove(pane); }
                    3 => layout.resize(area, pane, direction, n),
                    _ => {
                        let lines = layout.separators(area);
                        if let Some(line) = lines.get(n as usize % lines.len().max(1)) {
                            layout.drag(line, Position { x: n, y: n });
                        }
                    }
                }
            }
            let mut covered = vec![0u8; usize::from(width) * usize::from(height)];
            let columns = layout.separators(area).into_iter().filter(|s| s.axis == Axis::Columns).map(|s| s.area);
            for room in layout.places(area).into_iter().map(|(_, room)| room).chain(columns) {
                for position in room.positions() {
                    prop_assert!(area.contains(position));
                    covered[usize::from(position.y - 2) * usize::from(width) + usize::from(position.x - 3)] += 1;
                }
            }
            prop_assert!(covered.iter().all(|times| *times == 1));
        }
    }
}
