//! An admission webhook that refuses, hangs or allows.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::pki::Pki;

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Everything is allowed.
    Allow,
    /// Everything is refused.
    Refuse,
    /// Nothing is answered.
    Hang,
}

/// A running webhook. Dropped, it answers no more.
pub struct Webhook {
    mood: Arc<Mutex<Mood>>,
    ended: Arc<AtomicBool>,
    port: u16,
    authority: String,
}

impl Webhook {
    /// Starts one.
    ///
    /// # Errors
    /// Where the authority's files can't be read.
    pub fn start(pki: &Pki, mood: Mood) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificate = CertificateDer::from_pem_file(pki.file("server.crt"))?;
        let key = PrivateKeyDer::from_pem_file(pki.file("server.key"))?;
        let config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let (mood, ended) = (Arc::new(Mutex::new(mood)), Arc::new(AtomicBool::new(false)));
        let (config, now, over) = (Arc::new(config), Arc::clone(&mood), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), config, now) = (stream, Arc::clone(&config), Arc::clone(&now)) else {
                    continue;
                };
                std::thread::spawn(move || answer(stream, config, &now));
            }
        });
        Ok(Self { mood, ended, port, authority: pki.authority() })
    }

    /// What it answers from now on. Requests that hang stay so.
    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// The configuration that makes a cluster ask it about writes of ConfigMaps in one namespace.
    pub fn configuration(&self, namespace: &str) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": "house-rules" },
            "webhooks": [{
                "name": "rules.house.example",
                "clientConfig": {
                    "url": format!("https://127.0.0.1:{}/", self.port),
                    "caBundle": STANDARD.encode(&self.authority),
                },
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "scope": "Namespaced",
                    "operations": ["CREATE", "UPDATE"],
                }],
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 3,
            }],
        })
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the listener, so that it sees the end.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>, mood: &Mutex<Mood>) {
    let mood = *mood.lock().unwrap_or_else(PoisonError::into_inner);
    if mood == Mood::Hang {
        // Longer than any deadline that an API server grants.
        std::thread::sleep(Duration::from_secs(31));
        return;
    }
    let _ = respond(stream, config, mood == Mood::Allow);
}

/// Reads one request and writes one answer; HTTP/1.1, since nothing else is offered.
fn respond(stream: TcpStream, config: Arc<ServerConfig>, allowed: bool) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(said) = line.strip_prefix("content-length:") {
            length = said.trim().parse()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let review: Value = serde_json::from_slice(&body)?;
    let uid = review.pointer("/request/uid").context("a uid")?;
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": { "uid": uid, "allowed": allowed, "status": { "message": "the house forbids it", "code": 403 } },
    })
    .to_string();
    let stream = stream.get_mut();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    )?;
    stream.flush()?;
    stream.conn.send_close_notify();
    stream.flush()?;
    stream.sock.shutdown(Shutdown::Write)?;
    Ok(())
}
