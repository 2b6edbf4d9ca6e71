//! What the demo shows in a terminal, and the keys it takes.

use std::io::Write;
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{event, execute, queue};

use super::charts::{Charts, sparkline};
use super::status::Status;

/// Characters of a sparkline.
const CHART_WIDTH: usize = 40;

/// What a person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Kill,
    Quit,
}

/// The terminal in raw mode; dropping it gives the terminal back.
pub(crate) struct Screen;

impl Screen {
    /// # Errors
    /// When the terminal cannot be switched to raw mode.
    pub(crate) fn open() -> std::io::Result<Self> {
        terminal::enable_raw_mode()?;
        let screen = Self;
        execute!(std::io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Draws all lines, cut to the terminal's size.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn draw(&self, lines: &[String]) -> std::io::Result<()> {
        let (width, height) = terminal::size()?;
        let mut out = std::io::stdout().lock();
        for (row, line) in (0..height).zip(lines) {
            let cut: String = line.chars().take(width.into()).collect();
            queue!(out, MoveTo(0, row), Clear(ClearType::CurrentLine))?;
            out.write_all(cut.as_bytes())?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }

    /// Waits at most `at_most` for a key that means something.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn key(&self, at_most: Duration) -> std::io::Result<Option<Key>> {
        if !event::poll(at_most)? {
            return Ok(None);
        }
        let Event::Key(key) = event::read()? else { return Ok(None) };
        if key.kind != KeyEventKind::Press {
            return Ok(None);
        }
        Ok(match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
            KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
            KeyCode::Char('k') => Some(Key::Kill),
            _ => None,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = execute!(std::io::stdout(), Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// Everything that stays the same while the demo runs.
pub(crate) struct Frame {
    /// The node's page.
    pub(crate) console: String,
    /// `host:port` of the Kafka endpoint.
    pub(crate) kafka: String,
    /// Where the node keeps its data.
    pub(crate) data_dir: String,
    /// The line to type on one's own machine, when this one is reached over SSH.
    pub(crate) tunnel: Option<String>,
}

impl Frame {
    /// Addresses, and the tunnel line if there is one.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let mut lines = vec![
            format!("console  {}", self.console),
            format!("kafka    {}", self.kafka),
            format!("data     {}", self.data_dir),
        ];
        if let Some(tunnel) = &self.tunnel {
            lines.push(format!("over SSH, first on your own machine:  {tunnel}"));
        }
        lines
    }

    /// Three things to try.
    pub(crate) fn things_to_try(&self) -> [String; 3] {
        [
            format!("open {} and watch the chart of the same table move", self.console),
            "press k: the node gets kill -9 and comes back; watch lost and doubled".to_owned(),
            format!(
                "kcat -b {} -t fleet -C -o -3 -e    or    curl '{}/v1/tables/vehicle_health?limit=3'",
                self.kafka, self.console
            ),
        ]
    }

    /// The whole screen.
    pub(crate) fn lines(&self, status: &Status, charts: &Charts) -> Vec<String> {
        let mut lines =
            vec!["Highwater demo: a simulated vehicle fleet and this machine's own load".to_owned()];
        lines.extend(self.addresses());
        lines.push(String::new());
        lines.push("events per second by region, of event time (table region_rates)".to_owned());
        for (name, points) in charts.regions() {
            let last = points.back().cloned().unwrap_or_default();
            let chart = sparkline(points.iter().map(|point| point.height), CHART_WIDTH);
            let (events, speed, hottest) = (last.height, last.second, last.third);
            lines.push(format!(
                "{name:>7} {chart} {events:5.0}   {speed:5.1} km/h   hottest {hottest:5.1} °C"
            ));
        }
        let host = charts.host();
        let last = host.back().cloned().unwrap_or_default();
        let chart = sparkline(host.iter().map(|point| point.height), CHART_WIDTH);
        lines.push(format!(
            "{:>7} {chart} {:5.1} % CPU   {:5.1} % memory   {:5.1} MB/s disk",
            "host", last.height, last.second, last.third
        ));
        lines.push(String::new());
        lines.extend(status.lines());
        lines.push(String::new());
        lines.push("to try:".to_owned());
        for (number, thing) in self.things_to_try().iter().enumerate() {
            lines.push(format!("  {}. {thing}", number + 1));
        }
        lines.push(String::new());
        lines.push("k  kill -9 the node      q  quit".to_owned());
        lines
    }
}

/// `ssh -L ...` for one's own machine, when `ssh_connection` (the environment variable) is set:
/// "client-address client-port server-address server-port".
pub(crate) fn tunnel(ssh_connection: Option<&str>, user: Option<&str>, ports: &[u16]) -> Option<String> {
    let server = ssh_connection?.split_whitespace().nth(2)?;
    let forwards: Vec<String> = ports.iter().map(|port| format!("-L {port}:127.0.0.1:{port}")).collect();
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    Some(format!("ssh {} {user}{server}", forwards.join(" ")))
}

#[cfg(test)]
mod tests;
