//! Signals that end the program.

use tokio::signal;

use crate::exit::{Failure, Outcome};

/// Waits for Ctrl-C, and for the system's request to end.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: signal::unix::Signal,
    #[cfg(unix)]
    terminate: signal::unix::Signal,
    #[cfg(unix)]
    hang_up: signal::unix::Signal,
    in_background: bool,
}

impl Signals {
    /// Takes the signals over from now on. In the background the end of the terminal isn't one.
    ///
    /// # Errors
    /// Where the system doesn't hand them out.
    pub(crate) fn new(in_background: bool) -> Outcome<Self> {
        #[cfg(unix)]
        {
            let take =
                |kind| signal::unix::signal(kind).map_err(|e| Failure::failed(format!("signals: {e}")));
            let interrupt = take(signal::unix::SignalKind::interrupt())?;
            let terminate = take(signal::unix::SignalKind::terminate())?;
            let hang_up = take(signal::unix::SignalKind::hangup())?;
            Ok(Self { interrupt, terminate, hang_up, in_background })
        }
        #[cfg(not(unix))]
        Ok(Self { in_background })
    }

    /// Resolves at the first one.
    pub(crate) async fn wait(&mut self) {
        #[cfg(unix)]
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hang_up.recv() => if !self.in_background { return },
            }
        }
        #[cfg(not(unix))]
        {
            let _ = self.in_background;
            let _ = signal::ctrl_c().await;
        }
    }
}
