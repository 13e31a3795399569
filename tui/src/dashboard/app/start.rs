//! The dashboard on a person's terminal.

use std::task::{Context, Poll, ready};

use jiff::Timestamp;
use lap_platform::client::ClientError;
use lap_platform::config::Config;
use lap_platform::model::SessionId;
use ratatui::layout::Size;
use tokio_stream::StreamExt;

use super::{App, Input, LiveServer, Locate, Options, Outer, TerminalCommand, run};
use crate::dashboard::key;
use crate::dashboard::keymap::Keymap;
use crate::dashboard::theme::{Background, ColorDepth, ColorEnvironment, Themes};
use crate::own;
use crate::panes::{self, HostColors, PanesConfig};
use crate::term_input;
use crate::terminal::{Clipboard, Inputs, Reports, Screen, TermInput, TerminalError, host_colors, stop_job};

/// The theme that is chosen by the terminal's background.
const AUTO: &str = "auto";

/// Why the dashboard ended otherwise than by being left.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// It cannot have the terminal.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
    /// The terminal is gone.
    #[error("the terminal is gone: {0}")]
    Lost(#[from] std::io::Error),
    /// There is no server it could talk to.
    #[error(transparent)]
    Server(#[from] ClientError),
}

/// Which server's dashboard.
pub struct Start {
    /// The server's name in the configuration.
    pub context: String,
    /// Finds it.
    pub locate: Locate,
    /// A session to open as soon as it can be.
    pub open: Option<SessionId>,
    /// The command that shows this dashboard again, where `lap` alone may not.
    pub again: Option<String>,
    /// Without colours, whatever the environment says.
    pub no_color: bool,
}

/// Takes the terminal over and runs the dashboard on it until it is left. What keeps running is the last it says.
///
/// # Errors
/// [`DashboardError`]; the terminal is given back before.
pub async fn start(config: &Config, start: Start) -> Result<(), DashboardError> {
    let mut server = LiveServer::new(start.locate.clone()).await?;
    // Asked before the screen is taken: the answer comes where keys do.
    let colors = host_colors();
    let options = options(config, start, server.address(), colors);
    let screen = {
        let reports = Reports::around(config.environment.filled("STY"));
        Screen::enter(reports, Clipboard::of(&config.environment))?
    };
    let mut terminal = screen.terminal()?;
    let size = terminal.size()?;
    let inputs = Inputs::new(screen.tty())?.map(|input| match input {
        TermInput::Event(event) => Input::Event(event),
        TermInput::Resize(size) => Input::Resize(Size::new(size.cols, size.rows)),
        TermInput::Stop => Input::Stop,
    });
    let mut app = App::new(options, size, Box::new(Timestamp::now));
    let mut lost = None;
    let outer = OnScreen { screen: &screen, lost: &mut lost };
    let farewell = run(&mut app, &mut terminal, &mut server, inputs, outer).await?;
    screen.last_words(&farewell.to_string());
    // A terminal that takes no commands takes no frames either: the loop has ended by then.
    lost.map_or(Ok(()), |error| Err(error.into()))
}

struct OnScreen<'a> {
    screen: &'a Screen,
    lost: &'a mut Option<std::io::Error>,
}

impl Outer for OnScreen<'_> {
    fn command(&mut self, command: TerminalCommand) {
        if let Err(error) = obey(self.screen, command) {
            self.lost.get_or_insert(error);
        }
    }

    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        match ready!(self.screen.poll_copied(cx)) {
            Ok(notice) => Poll::Ready(notice),
            Err(error) => {
                self.lost.get_or_insert(error);
                Poll::Pending
            }
        }
    }

    fn is_behind(&self) -> bool {
        self.lost.is_none() && self.screen.outlet().is_behind()
    }

    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.screen.outlet().poll_taken(cx).map(|taken| {
            if let Err(error) = taken {
                self.lost.get_or_insert(error);
            }
        })
    }
}

fn obey(screen: &Screen, command: TerminalCommand) -> std::io::Result<()> {
    match command {
        TerminalCommand::Copy(text, by) => {
            screen.copy(text, by);
            Ok(())
        }
        TerminalCommand::Bell => screen.bell(),
        TerminalCommand::Keyboard(keys) => screen.keyboard(keys),
        TerminalCommand::MouseMotion(on) => screen.mouse_motion(on),
        TerminalCommand::CursorShape(shape) => screen.cursor_style(shape),
        TerminalCommand::StopJob => {
            stop_job();
            Ok(())
        }
        TerminalCommand::Suspend => screen.suspend(),
        // The loop's own.
        TerminalCommand::Redraw => Ok(()),
    }
}

fn options(config: &Config, start: Start, address: String, colors: HostColors) -> Options {
    let Start { context, open, no_color, again, .. } = start;
    let (keymap, mut warnings) = Keymap::configured(&config.interface.keys);
    let depth = if no_color { ColorDepth::None } else { colors_there_are(config) };
    let name = match config.interface.theme.as_str() {
        "" | AUTO => Background::of(&colors, config.environment.filled("COLORFGBG")).theme(),
        name => name,
    };
    let (directory, name) = (config.dirs.config.join("themes"), name.to_owned());
    let theme = Box::new(move || {
        let (themes, mut faults) = Themes::in_directory(&directory);
        let (theme, more) = themes.theme(&name, depth);
        faults.extend(more);
        (theme, faults)
    });
    let mut panes = PanesConfig { colors, ..PanesConfig::default() };
    panes.depth = match depth {
        _ if theme().0.mono => panes::ColorDepth::Mono,
        ColorDepth::True => panes::ColorDepth::True,
        _ => panes::ColorDepth::Palette,
    };
    match key::prefix(&config.interface.prefix) {
        Ok(key) => panes.prefix = term_input::Key::from(key),
        Err(error) => warnings.push(format!("ui.prefix: {error}")),
    }
    let own = own::session(&config.environment);
    Options { context, address, keymap, theme, panes, warnings, open, own, again }
}

fn colors_there_are(config: &Config) -> ColorDepth {
    let variable = |name| config.environment.filled(name).map(str::to_owned);
    let environment = ColorEnvironment {
        no_color: variable("NO_COLOR"),
        colorterm: variable("COLORTERM"),
        term: variable("TERM"),
    };
    environment.depth()
}
