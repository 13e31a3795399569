//! The state of a terminal. What changes it is spread over the modules named after what is changed: `print`,
//! `cursor`, `edit`, `switch`, and the dispatchers `esc`, `csi`, `sgr`, `osc`, `dcs`.

use crate::cell::Cell;
use crate::charset::Charsets;
use crate::colors::{Colors, DefaultColors};
use crate::events::Events;
use crate::limits::{Limits, Size};
use crate::modes::{Active, Passive};
use crate::screen::{Row, Saved, Screen};
use crate::scrollback::Scrollback;
use crate::style::{Color, Pen, Style};
use crate::table::{Entry, Table};

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) cols: usize,
    pub(crate) rows: usize,
    pub(crate) main: Screen,
    pub(crate) alternate: Screen,
    pub(crate) scrollback: Scrollback,
    pub(crate) tables: Tables,

    pub(crate) x: usize,
    pub(crate) y: usize,
    /// The last column was printed on; the next character goes to the next row first. Implies a printed cell
    /// there, autowrap on, and the row not wrapped yet.
    pub(crate) pending_wrap: bool,
    pub(crate) brush: Brush,
    pub(crate) charsets: Charsets,
    /// The set for the next character only (SS2, SS3); 0 is none.
    pub(crate) shift: u8,
    /// First and last row of the scroll region.
    pub(crate) top: usize,
    pub(crate) bottom: usize,
    /// The scroll region when the alternate screen was entered, where it was not all. It means nothing to this
    /// model, which has one region; other terminals have one for each screen, and a snapshot tells them.
    pub(crate) main_region: Option<(usize, usize)>,
    pub(crate) tabs: Vec<bool>,

    pub(crate) modes: Active,
    pub(crate) passive: Passive,
    /// DECSCUSR, 0 to 6.
    pub(crate) cursor_style: u8,
    /// XTMODKEYS by resource, 0 to 7.
    pub(crate) modify_keys: [Option<u16>; 8],
    pub(crate) titles: Titles,
    pub(crate) saved_titles: Vec<Titles>,
    pub(crate) directory: Option<String>,
    pub(crate) colors: Colors,

    pub(crate) printed: Printed,
    /// Nothing has been done since `printed`.
    pub(crate) follows_print: bool,
    /// The device control string being received: which one, and its text.
    pub(crate) dcs: crate::dcs::Dcs,

    /// Not state of the terminal: what it has to tell, and how it answers.
    pub(crate) host: Host,
}

/// The last character printed, as it came: REP repeats it, combining characters join it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Printed {
    /// Before mapping by the character set, with what was combined with it.
    pub(crate) raw: String,
    pub(crate) width: usize,
    pub(crate) x: usize,
    pub(crate) y: usize,
    /// In insert mode.
    pub(crate) inserted: bool,
    /// By a single shift.
    pub(crate) shift: u8,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Titles {
    pub(crate) window: Option<String>,
    pub(crate) icon: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) pens: Table<Pen>,
    pub(crate) clusters: Table<String>,
    pub(crate) links: Table<Link>,
}

/// A hyperlink (OSC 8).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Link {
    /// Cells with the same id and address are one link. Empty where the program gave none.
    pub id: String,
    /// The address, unchecked.
    pub uri: String,
}

impl Entry for Link {
    fn owned(&self) -> usize {
        self.id.len() + self.uri.len()
    }
}

impl Entry for Pen {}

/// What cells are written with, and its numbers in the table of pens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Brush {
    pen: Pen,
    /// The pen's number, and that of what it erases with; unknown since the pen was changed.
    number: Option<u32>,
    erasing: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) events: Events,
    pub(crate) replies: bool,
    pub(crate) default_colors: DefaultColors,
}

impl Brush {
    pub(crate) fn pen(&self) -> Pen {
        self.pen
    }

    pub(crate) fn style(&self) -> Style {
        self.pen.style
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Pen)) {
        change(&mut self.pen);
        self.number = None;
        self.erasing = None;
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.number.into_iter().chain(self.erasing)
    }
}

impl Model {
    pub(crate) fn new(size: Size, limits: &Limits) -> Model {
        let (cols, rows) = (usize::from(size.cols), usize::from(size.rows));
        Model {
            cols,
            rows,
            main: Screen::new(cols, rows),
            alternate: Screen::new(cols, rows),
            scrollback: Scrollback::new(limits.scrollback_bytes),
            tables: Tables::new(limits.scrollback_bytes),
            x: 0,
            y: 0,
            pending_wrap: false,
            brush: Brush::default(),
            charsets: Charsets::default(),
            shift: 0,
            top: 0,
            bottom: rows - 1,
            main_region: None,
            tabs: default_tabs(cols),
            modes: Active::default(),
            passive: Passive::default(),
            cursor_style: 0,
            modify_keys: [None; 8],
            titles: Titles::default(),
            saved_titles: Vec::new(),
            directory: None,
            colors: Colors::default(),
            printed: Printed::default(),
            follows_print: false,
            dcs: crate::dcs::Dcs::default(),
            host: Host { events: Events::default(), replies: true, default_colors: DefaultColors::default() },
        }
    }

    /// RIS: everything but the size, the limits and the host.
    pub(crate) fn reset(&mut self) {
        let size = Size { cols: self.cols as u16, rows: self.rows as u16 };
        let limits = Limits { scrollback_bytes: self.scrollback.limit() };
        let fresh = Model::new(size, &limits);
        let host = std::mem::replace(self, fresh).host;
        self.host = host;
    }

    /// DECSTR, as xterm has it; the remembered modes, tab stops and titles stay.
    pub(crate) fn soft_reset(&mut self) {
        self.modes = Active { alternate: self.modes.alternate, ..Active::default() };
        self.brush.change(|pen| *pen = Pen::default());
        self.charsets = Charsets::default();
        self.reset_region();
        self.screen_mut().saved = Saved::default();
        self.pending_wrap = false;
    }

    pub(crate) fn reset_region(&mut self) {
        self.top = 0;
        self.bottom = self.rows - 1;
    }

    /// The screen shown.
    pub(crate) fn screen(&self) -> &Screen {
        if self.modes.alternate { &self.alternate } else { &self.main }
    }

    pub(crate) fn screen_mut(&mut self) -> &mut Screen {
        if self.modes.alternate { &mut self.alternate } else { &mut self.main }
    }

    pub(crate) fn row_mut(&mut self, y: usize) -> &mut Row {
        &mut self.screen_mut().rows[y]
    }

    /// The pen's number, for cells about to be printed.
    pub(crate) fn pen_number(&mut self) -> u32 {
        if let Some(number) = self.brush.number {
            return number;
        }
        let number = self.number_of(self.brush.pen);
        self.brush.number = Some(number);
        number
    }

    /// What erasing leaves in a cell.
    pub(crate) fn erased(&mut self) -> Cell {
        let number = match self.brush.erasing {
            Some(number) => number,
            None if self.brush.pen.style.background == Color::Default => 0,
            None => self.number_of(self.brush.pen.erasing()),
        };
        self.brush.erasing = Some(number);
        Cell::blank(number)
    }

    /// Numbers that are neither in a cell nor the brush's do not outlive the next call of this.
    fn number_of(&mut self, pen: Pen) -> u32 {
        if self.tables.pens.is_full() {
            self.collect();
        }
        self.tables.pens.number(&pen)
    }
}

pub(crate) fn default_tabs(cols: usize) -> Vec<bool> {
    (0..cols).map(|x| x % 8 == 0).collect()
}

impl Tables {
    fn new(scrollback_bytes: usize) -> Tables {
        Tables {
            pens: Table::new(scrollback_bytes),
            clusters: Table::new(scrollback_bytes),
            links: Table::new(scrollback_bytes),
        }
    }

    pub(crate) fn pen(&self, cell: Cell) -> &Pen {
        self.pens.get(cell.style())
    }

    pub(crate) fn push_text(&self, cell: Cell, text: &mut String) {
        match (cell.cluster(), cell.character()) {
            (Some(cluster), _) => text.push_str(self.clusters.get(cluster)),
            (None, Some(c)) => text.push(c),
            (None, None) => {}
        }
    }
}
