//! `fleetctl controller` as a process of its own, as operators run it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{CommandLine, apply_example, eventually, fleet, in_phase};

/// Ended when it goes out of scope.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Status line and body.
async fn ask(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

/// Probes and scrapers see the controller, from the first moment; its lines are JSON with the fields to look for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_is_probed_scraped_and_logs() {
    let fleet = fleet().await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    let child = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .args(["controller", "--listen", "127.0.0.1:0", "--kept-runs", "3"])
        .env("KUBECONFIG", &line.kubeconfig)
        .env("FLEETCTL_LOG_FORMAT", "json")
        .env_remove("FLEETCTL_LOG")
        .stderr(Stdio::piped())
        .spawn();
    let mut controller = Controller(child.unwrap());
    let mut lines = BufReader::new(controller.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    let address = first.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap().to_owned();

    eventually("ready", async || ask(&address, "GET /readyz").await.0.starts_with("HTTP/1.1 200")).await;
    assert_eq!(ask(&address, "GET /healthz").await.1, "ok\n");
    let (head, metrics) = ask(&address, "GET /metrics").await;
    assert!(head.to_lowercase().contains("content-type: application/openmetrics-text"), "{head}");
    assert!(metrics.contains("fleetctl_build_info{version=") && metrics.contains("# EOF"), "{metrics}");
    assert!(ask(&address, "POST /metrics").await.0.starts_with("HTTP/1.1 405"));
    assert!(ask(&address, "GET /").await.0.starts_with("HTTP/1.1 404"));

    apply_example(&hub).await;
    // The members have no credentials here, so its first step waits.
    in_phase(&hub, fleet_api::Phase::RunningWorkflow).await;
    let told = lines.find(|line| line.contains("WorkflowStarted")).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["namespace"], &told["application"]), (&"demo".into(), &"web-demo".into()), "{told}");
    assert!(told["run"].as_str().unwrap().starts_with("web-demo-"), "{told}");

    // A hub that is gone: alive, not ready, and it says so.
    fleet.shutdown().await;
    eventually("not ready", async || {
        let (head, body) = ask(&address, "GET /readyz").await;
        head.starts_with("HTTP/1.1 503") && body.starts_with("waits for: the hub: ")
    })
    .await;
    assert_eq!(ask(&address, "GET /healthz").await.1, "ok\n");
}
