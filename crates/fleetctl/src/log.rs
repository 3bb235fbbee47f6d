//! Logs on stderr: what is written, how, and how often.
//!
//! Lines carry fields (`namespace`, `application`, `run`, `step`, `cluster`) rather than sentences to be taken apart.
//! Nothing writes a Secret's value: what fields carry are names, hashes, counts and what servers say.

#[cfg(feature = "otlp")]
mod otlp;
mod repetition;

use std::ffi::OsString;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::args::{self, Command, LogFormat};
use crate::environment::Called;

pub use repetition::Repetition;

/// What commands log: warnings.
pub const COMMAND: &str = "warn,kube_client=off";
/// What the controller logs: what a run did, and warnings of what is below.
pub const CONTROLLER: &str = "info,kube_client=off,kube_runtime=error,hyper=warn,rustls=warn";

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What, as `tracing_subscriber::EnvFilter` reads it.
    pub filter: String,
    /// How.
    pub format: LogFormat,
    /// Where traces go.
    #[cfg(feature = "otlp")]
    pub collector: Option<String>,
}

impl Settings {
    /// Of a command line and `$FLEETCTL_LOG`. What can't be read is refused later, by whoever runs the command.
    pub fn of(called: Called, arguments: &[OsString], variable: Option<String>) -> Self {
        if let Ok(args::Cli { command: Command::Controller(controller), .. }) = args::parse(called, arguments)
        {
            return Self {
                #[cfg(feature = "otlp")]
                collector: controller.tell.otlp_endpoint.clone(),
                ..Self::new(&controller.tell.log_level, controller.tell.log_format)
            };
        }
        Self::new(&variable.unwrap_or_else(|| COMMAND.to_owned()), LogFormat::Text)
    }

    /// Lines only.
    pub fn new(filter: &str, format: LogFormat) -> Self {
        Self {
            filter: filter.to_owned(),
            format,
            #[cfg(feature = "otlp")]
            collector: None,
        }
    }
}

/// What is written and sent, until it is ended.
#[derive(Default)]
pub struct Logging {
    #[cfg(feature = "otlp")]
    traces: Option<otlp::Traces>,
}

impl Logging {
    /// Sends what is left; may block for a moment.
    pub fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(traces) = self.traces {
            traces.end();
        }
    }
}

/// Logs to stderr from now on, in the whole process. To be called within the runtime.
///
/// # Errors
/// In words, where traces can't be sent.
#[cfg(not(feature = "otlp"))]
pub fn start(settings: &Settings) -> Result<Logging, String> {
    let _ = Registry::default().with(layer(settings, std::io::stderr)).try_init();
    Ok(Logging::default())
}

/// Logs to stderr, and sends traces where that is asked for, from now on, in the whole process. To be called within
/// the runtime.
///
/// # Errors
/// In words, where traces can't be sent.
#[cfg(feature = "otlp")]
pub fn start(settings: &Settings) -> Result<Logging, String> {
    let (spans, traces) = match &settings.collector {
        Some(endpoint) => otlp::traces(endpoint).map(|(spans, traces)| (Some(spans), Some(traces)))?,
        None => (None, None),
    };
    let _ = Registry::default().with(layer(settings, std::io::stderr)).with(spans).try_init();
    Ok(Logging { traces })
}

/// What writes log lines.
pub fn layer<S, W>(settings: &Settings, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&settings.filter).unwrap_or_else(|_| EnvFilter::new(COMMAND));
    // A log that can't be written (the disk is full) must not end whoever writes to it.
    let lines = tracing_subscriber::fmt::layer().log_internal_errors(false).with_writer(writer);
    match settings.format {
        LogFormat::Text => {
            lines.with_target(false).with_filter(Repetition::default()).with_filter(filter).boxed()
        }
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_filter(Repetition::default())
            .with_filter(filter)
            .boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Captured;
    use std::io::Write as _;
    use std::sync::Mutex;

    fn logged(settings: &Settings, log: impl FnOnce()) -> String {
        let written = Captured::default();
        let sink = Mutex::new(written.clone());
        let subscriber = Registry::default().with(layer(settings, sink));
        tracing::subscriber::with_default(subscriber, log);
        written.clone().flush().unwrap();
        written.text()
    }

    /// A log pipeline reads fields; if they were only in the text, nobody could ask for one Application's lines.
    #[test]
    fn json_lines_have_their_fields_at_the_top() {
        let settings = Settings::new(CONTROLLER, LogFormat::Json);
        let text = logged(&settings, || {
            tracing::info!(namespace = "demo", application = "web", run = "web-1", "the run has started");
            tracing::debug!("chatter");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "the run has started");
        assert_eq!((&line["namespace"], &line["application"]), (&"demo".into(), &"web".into()));
        assert_eq!(text.lines().count(), 1);
    }

    /// What somebody sets must reach the log, and other commands must stay silent.
    #[test]
    fn settings_come_from_the_command_line() {
        let of = |line: &str, variable: Option<&str>| {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            Settings::of(Called::Fleetctl, &words, variable.map(str::to_owned))
        };
        let json = of("fleetctl controller --log-format json --log-level debug", None);
        assert_eq!(json, Settings::new("debug", LogFormat::Json));
        assert_eq!(of("fleetctl demo", None).filter, COMMAND);
        assert_eq!(of("fleetctl demo", Some("debug")).filter, "debug");
        assert_eq!(of("fleetctl nonsense", None).filter, COMMAND);
    }
}
