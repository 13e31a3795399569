//! Reading what is on the screen.

use lap_vt::{Attributes, CellText, Color, Limits, Point, Size, Terminal, Underline};

fn terminal(stream: &str) -> Terminal {
    let mut terminal = Terminal::new(Size { cols: 10, rows: 3 }, Limits::default());
    terminal.feed(stream.as_bytes());
    terminal
}

#[test]
fn a_row_is_read_cell_by_cell() {
    let terminal =
        terminal("\x1b[1;31mA\x1b[0;4:3;48;5;9m漢\x1b[0m\x1b]8;id=x;http://a\x1b\\e\u{301}\x1b]8;;\x1b\\");
    let row = terminal.row(0).expect("the first row");
    let cells: Vec<_> = row.cells().collect();
    assert_eq!(cells.len(), 10);
    assert_eq!((cells[0].text, cells[0].width), (CellText::Char('A'), 1));
    assert_eq!(cells[0].style.foreground, Color::Ansi(1));
    assert!(cells[0].style.attributes.contains(Attributes::BOLD));
    assert_eq!((cells[1].text, cells[1].width, cells[2].width), (CellText::Char('漢'), 2, 0));
    assert_eq!((cells[1].style.underline, cells[1].style.background), (Underline::Curly, Color::Indexed(9)));
    assert_eq!(cells[3].text, CellText::Cluster("e\u{301}"));
    assert_eq!(cells[3].link.map(|link| (link.id.as_str(), link.uri.as_str())), Some(("x", "http://a")));
    assert_eq!((cells[4].text, cells[4].link), (CellText::Blank, None));
    assert_eq!(row.text(), "A漢e\u{301}");
}

#[test]
fn lines_count_from_the_screen_back_into_the_scrollback() {
    let mut terminal = terminal("1\r\n2\r\n3\r\n4\r\n5");
    let text = |terminal: &Terminal, line| terminal.row(line).map(|row| row.text());
    assert_eq!(terminal.scrollback_len(), 2);
    assert_eq!(text(&terminal, 2).as_deref(), Some("5"));
    assert_eq!(text(&terminal, -1).as_deref(), Some("2"));
    assert_eq!(text(&terminal, -2).as_deref(), Some("1"));
    assert_eq!((text(&terminal, -3), text(&terminal, 3), text(&terminal, i32::MIN)), (None, None, None));
    terminal.feed(b"\x1b[?1049h");
    assert_eq!((terminal.scrollback_len(), text(&terminal, -1)), (0, None), "the alternate screen has none");
}

#[test]
fn text_is_copied_as_lines_not_as_rows() {
    let terminal = terminal("long line that wraps\r\nnext  \r\n");
    let from = Point { line: -(terminal.scrollback_len() as i32), x: 5 };
    assert_eq!(terminal.text(from, Point { line: 1, x: 1 }), "line that wraps\nne");
    assert_eq!(terminal.text(from, Point { line: 1, x: 9 }), "line that wraps\nnext");
    let (first, last) = (Point { line: i32::MIN, x: 0 }, Point { line: i32::MAX, x: 0 });
    assert_eq!(terminal.text(first, last), "long line that wraps\nnext\n\n", "as much as there is");
}

#[test]
fn protected_cells_survive_selective_erase_only() {
    let mut terminal = terminal("ab\x1b[1\"qcd\x1b[0\"qef\x1b[?2K");
    assert_eq!(terminal.row(0).map(|row| row.text()).as_deref(), Some("  cd"));
    terminal.feed(b"\x1b[2J");
    assert_eq!(terminal.used_rows(), 0);
}

#[test]
fn the_generation_changes_with_output_and_size() {
    let mut terminal = terminal("");
    let before = terminal.generation();
    terminal.feed(b"");
    assert_eq!(terminal.generation(), before);
    terminal.feed(b"x");
    assert_ne!(terminal.generation(), before);
    let before = terminal.generation();
    terminal.resize(Size { cols: 10, rows: 3 });
    assert_eq!(terminal.generation(), before, "the same size");
    terminal.resize(Size { cols: 11, rows: 3 });
    assert_ne!(terminal.generation(), before);
}

#[test]
fn rows_relative_to_the_cursor_go_past_the_scroll_region_as_in_xterm() {
    let y = |stream: &str| terminal(stream).cursor().y;
    let rows = terminal("").size().rows;
    assert_eq!(y("\x1b[1;2r\x1b[1;1H\x1b[9B"), 1, "CUD stops at its edge");
    assert_eq!(y("\x1b[1;2r\x1b[1;1H\x1b[99e"), rows - 1);
    assert_eq!(y("\x1b[1;2r\x1b[?6h\x1b[1;1H\x1b[99e"), 1, "in origin mode it is the screen");
    assert_eq!(y("\x1b[2;1H\x1b[e"), 2);
}

#[test]
fn an_alternate_screen_that_is_asked_for_again_is_cleared_and_the_main_one_is_left_alone() {
    let again = terminal("main\x1b[2;2H\x1b[?1049hold\x1b[?1049h");
    assert_eq!(again.row(0).map(|row| row.text()).as_deref(), Some(""));
    let back = terminal("main\x1b[2;2H\x1b[?1049hold\x1b[1;4H\x1b[?1049h\x1b[?1049l");
    assert_eq!(back.row(0).map(|row| row.text()).as_deref(), Some("main"));
    assert_eq!((back.cursor().x, back.cursor().y), (1, 1), "where it was before the first");
}
