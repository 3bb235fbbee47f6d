//! Servers that steps ask (`check-metrics`, `request`), without a network: what they say is up to the script, and what
//! they said is written down.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_controller::{Connection, Dial};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::wanted::app_of;

/// What servers say of an application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Says {
    /// All is well.
    #[default]
    Good,
    /// It isn't.
    Bad,
    /// Nobody can say.
    Nothing,
    /// The server is out of order.
    Broken,
    /// It takes the question and doesn't answer.
    Silent,
}

/// Where such servers are.
pub(crate) const HOST: &str = "says.example";

/// The servers. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    says: BTreeMap<usize, Says>,
    /// How often a step of a run was told that all is well.
    good: BTreeMap<(String, String), u32>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Asked {
    /// From now on they say this.
    pub(crate) fn say(&self, app: usize, says: Says) {
        lock(&self.0).says.insert(app, says);
    }

    /// How often steps of runs were told that all is well.
    pub(crate) fn good(&self) -> BTreeMap<(String, String), u32> {
        lock(&self.0).good.clone()
    }

    async fn serve(self, mut stream: DuplexStream) -> io::Result<()> {
        let Some(asked) = read(&mut stream).await? else { return Ok(()) };
        let Some((run, step)) = about(&asked) else { return Ok(()) };
        let app = app_of(&run).and_then(|app| app.strip_prefix('a')?.parse().ok()).unwrap_or_default();
        let says = lock(&self.0).says.get(&app).copied().unwrap_or_default();
        let queried = asked.starts_with("POST");
        let vector = |values: &[&str]| {
            let result: Vec<_> =
                values.iter().map(|value| json!({"metric": {}, "value": [0, value]})).collect();
            json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string()
        };
        let (code, body) = match (says, queried) {
            (Says::Good, true) => ("200 OK", vector(&["1"])),
            (Says::Bad, true) => ("200 OK", vector(&["0"])),
            (Says::Nothing, true) => ("200 OK", vector(&[])),
            (Says::Good, false) => ("200 OK", "{}".to_owned()),
            (Says::Bad | Says::Nothing, false) => ("409 Conflict", "{}".to_owned()),
            (Says::Broken, _) => ("503 Service Unavailable", "later".to_owned()),
            (Says::Silent, _) => return std::future::pending().await,
        };
        if says == Says::Good {
            *lock(&self.0).good.entry((run, step)).or_default() += 1;
        }
        let head = format!("HTTP/1.1 {code}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        stream.shutdown().await
    }
}

impl Dial for Asked {
    fn dial(&self, host: &str, _port: u16) -> BoxFuture<'static, Result<Box<dyn Connection>, String>> {
        if host != HOST {
            return futures::future::ready(Err(format!("{host} has no address"))).boxed();
        }
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let served = self.clone().serve(theirs);
        #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the play")]
        tokio::spawn(served);
        futures::future::ready(Ok(Box::new(ours) as Box<dyn Connection>)).boxed()
    }
}

/// One whole request; nothing where the connection ends before.
async fn read(stream: &mut DuplexStream) -> io::Result<Option<String>> {
    let mut text = Vec::new();
    loop {
        let said = String::from_utf8_lossy(&text);
        if let Some((head, body)) = said.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or_default() {
                return Ok(Some(said.into_owned()));
            }
        }
        if stream.read_buf(&mut text).await? == 0 {
            return Ok(None);
        }
    }
}

/// The run and the step that a request is about: `…?ask=RUN/STEP`, or a query `RUN/STEP`.
fn about(request: &str) -> Option<(String, String)> {
    let request = request.replace("%2F", "/");
    let (_, asked) = request.rsplit_once("query=").or_else(|| request.split_once("/ask/"))?;
    let asked = asked.split_whitespace().next()?;
    let (run, step) = asked.split_once('/')?;
    Some((run.to_owned(), step.to_owned()))
}
