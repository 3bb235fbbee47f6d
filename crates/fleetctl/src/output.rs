//! The way to stdout and stderr.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::exit::{Exit, Failure, Outcome};

type Sink = Arc<Mutex<Box<dyn Write + Send>>>;

/// Standard output and standard error, locked for each write. Clones share them.
#[derive(Clone)]
pub struct Streams {
    out: Sink,
    err: Sink,
    /// Whether a person reads stdout: lines may be redrawn.
    pub out_is_terminal: bool,
    /// Whether a person reads stderr.
    pub err_is_terminal: bool,
    /// Whether a person can answer a question.
    pub in_is_terminal: bool,
}

/// What was written to captured streams.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Everything so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Streams {
    /// Those of the process. Colours are left out where nobody sees them (no terminal, `NO_COLOR`).
    pub fn standard() -> Self {
        use std::io::IsTerminal as _;
        Self {
            out: Arc::new(Mutex::new(Box::new(anstream::stdout()))),
            err: Arc::new(Mutex::new(Box::new(anstream::stderr()))),
            out_is_terminal: std::io::stdout().is_terminal(),
            err_is_terminal: std::io::stderr().is_terminal(),
            in_is_terminal: std::io::stdin().is_terminal(),
        }
    }

    /// Streams that keep what is written, without a terminal; stdout and stderr in this order.
    pub fn captured() -> (Self, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let plain = |captured: &Captured| -> Sink {
            Arc::new(Mutex::new(Box::new(anstream::StripStream::new(
                Box::new(captured.clone()) as Box<dyn Write + Send>
            ))))
        };
        let streams = Self {
            out: plain(&out),
            err: plain(&err),
            out_is_terminal: false,
            err_is_terminal: false,
            in_is_terminal: false,
        };
        (streams, out, err)
    }

    /// Writes text to stdout as it is.
    ///
    /// # Errors
    /// A silent failure with code 0 where nobody reads any more (`| head`), which ends the command.
    pub fn print(&self, text: &str) -> Outcome {
        let mut sink = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        match sink.write_all(text.as_bytes()).and_then(|()| sink.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::silent(Exit::Done)),
            Err(error) => Err(Failure::failed(format!("standard output: {error}"))),
        }
    }

    /// Writes a line to stdout.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn line(&self, text: &str) -> Outcome {
        self.print(&format!("{text}\n"))
    }

    /// Writes a line to stderr. Where that fails there is nobody left to tell.
    pub fn note(&self, text: &str) {
        let mut sink = self.err.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = sink.write_all(format!("{text}\n").as_bytes()).and_then(|()| sink.flush());
    }
}

/// Styles, used sparingly; stripped where nobody sees them.
pub mod style {
    use anstyle::{AnsiColor, Style};

    /// Done and healthy.
    pub const GOOD: Style = AnsiColor::Green.on_default();
    /// Waiting.
    pub const WAITING: Style = AnsiColor::Yellow.on_default();
    /// Failed.
    pub const BAD: Style = AnsiColor::Red.on_default();
    /// Less important.
    pub const FAINT: Style = Style::new().dimmed();
    /// What the eye should find first.
    pub const STRONG: Style = Style::new().bold();

    /// The text in a style.
    pub fn paint(style: Style, text: &str) -> String {
        format!("{style}{text}{style:#}")
    }
}
