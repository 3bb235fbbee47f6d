//! etcd, without syncing to disk.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::process::Process;
use crate::{Room, eventually, ports, tools};

/// An etcd of one node.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    data: PathBuf,
    port: u16,
}

impl Etcd {
    /// Starts one, and returns when it answers. `quota` is how many bytes it holds before it refuses more.
    ///
    /// # Errors
    /// Where it doesn't come up.
    pub async fn start(room: &Room, name: &str, quota: Option<u64>) -> Result<Self> {
        let program = tools::program("etcd", "server")?;
        let mut refused = None;
        for attempt in 0..3 {
            let (port, peers) = (ports::free()?, ports::free()?);
            let data = room.path().join(format!("{name}-{attempt}"));
            let (clients, peers) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
            let mut arguments: Vec<std::ffi::OsString> = vec!["--data-dir".into(), data.clone().into()];
            arguments.extend(
                [
                    "--unsafe-no-fsync",
                    "--name=only",
                    "--log-level=warn",
                    &format!("--listen-client-urls={clients}"),
                    &format!("--advertise-client-urls={clients}"),
                    &format!("--listen-peer-urls={peers}"),
                    &format!("--initial-advertise-peer-urls={peers}"),
                    &format!("--initial-cluster=only={peers}"),
                ]
                .map(Into::into),
            );
            arguments.extend(quota.map(|bytes| format!("--quota-backend-bytes={bytes}").into()));
            let process = Process::new(name, &program, arguments, room.log(name));
            let mut etcd = Self { process, data, port };
            etcd.process.start()?;
            match etcd.ready().await {
                Ok(()) => return Ok(etcd),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) => Err(error),
            None => bail!("{name} was never started"),
        }
    }

    /// Where clients reach it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn ready(&mut self) -> Result<()> {
        let address = ("127.0.0.1", self.port);
        let process = std::cell::RefCell::new(&mut self.process);
        let asked = eventually("etcd", || {
            let alive = process.borrow_mut().must_run();
            async move {
                // What has ended needs no second question.
                match alive {
                    Err(error) => Ok(Err(error)),
                    Ok(()) => Ok(Ok(tokio::net::TcpStream::connect(address).await.map(drop)?)),
                }
            }
        });
        asked.await?
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the data that it had, and returns when it answers.
    ///
    /// # Errors
    /// Where it doesn't come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process.start()?;
        self.ready().await
    }

    /// Frees what was deleted and lifts the alarm of a full one, as its administrator does: compaction,
    /// defragmentation, `etcdctl alarm disarm`.
    ///
    /// # Errors
    /// Where it refuses.
    pub async fn make_room(&self) -> Result<()> {
        let range = self.post("kv/range", &json!({ "key": "AA==" })).await?;
        let revision = range.pointer("/header/revision").context("a revision")?;
        self.post("kv/compaction", &json!({ "revision": revision, "physical": true })).await?;
        self.post("maintenance/defragment", &json!({})).await?;
        let raised = self.post("maintenance/alarm", &json!({ "action": "GET" })).await?;
        for alarm in raised.get("alarms").and_then(Value::as_array).into_iter().flatten() {
            let (member, kind) = (alarm.get("memberID"), alarm.get("alarm"));
            let disarm = json!({ "action": "DEACTIVATE", "memberID": member, "alarm": kind });
            self.post("maintenance/alarm", &disarm).await?;
        }
        Ok(())
    }

    /// Its gRPC API as JSON: <https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/>.
    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::post(format!("{}/v3/{path}", self.url())).body(body.to_string().into())?;
        let answer = client.request(request).await?;
        let status = answer.status();
        let said = answer.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "etcd, {path}: {status} {}", String::from_utf8_lossy(&said));
        Ok(serde_json::from_slice(&said)?)
    }

    /// Copies its data folder while it is stopped, and starts it again.
    ///
    /// # Errors
    /// Where it can't be copied or doesn't come up again.
    pub async fn back_up(&mut self, room: &Room, name: &str) -> Result<PathBuf> {
        let copy = room.path().join(name);
        self.process.stop().await?;
        copy_folder(&self.data, &copy)?;
        self.restart().await?;
        Ok(copy)
    }

    /// Puts a copy back in place of what it has; `None` leaves it empty. Returns when it answers.
    ///
    /// # Errors
    /// Where it can't be copied or doesn't come up again.
    pub async fn restore(&mut self, copy: Option<&Path>) -> Result<()> {
        self.process.kill();
        std::fs::remove_dir_all(&self.data)?;
        if let Some(copy) = copy {
            copy_folder(copy, &self.data)?;
        }
        self.restart().await
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
