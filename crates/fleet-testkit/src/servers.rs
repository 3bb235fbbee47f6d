//! Small servers on loopback, for steps that ask or tell: one for HTTP, one for SMTP. They keep what they were sent, and
//! end when they are dropped.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Method and path.
    pub line: String,
    /// Headers by name in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Received {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a server does with a request.
pub enum Reply {
    /// Answers with a status and a body.
    Answer(u16, String),
    /// Takes it and never answers.
    Silence,
}

type Replies = dyn Fn(usize, &Received) -> Reply + Send + Sync;

/// A server.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    count: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

#[expect(clippy::disallowed_methods, reason = "the handle is kept, and aborts the task when it is dropped")]
fn run(work: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(work))
}

impl Server {
    /// Answers each request by its number, from 0.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn http(
        replies: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let replies: Arc<Replies> = Arc::new(replies);
        Self::serve(move |stream, kept, count| {
            let replies = Arc::clone(&replies);
            async move {
                let _ = answer(stream, &kept, &count, &*replies).await;
            }
        })
        .await
    }

    /// Takes mail without TLS.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn smtp() -> anyhow::Result<Self> {
        Self::serve(|stream, kept, count| async move {
            let _ = take_mail(stream, &kept, &count).await;
        })
        .await
    }

    async fn serve<F, Served>(talk: F) -> anyhow::Result<Self>
    where
        F: Fn(TcpStream, Arc<Mutex<Vec<Received>>>, watch::Sender<usize>) -> Served + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (sender, count) = watch::channel(0);
        let kept = Arc::clone(&received);
        let task = run(async move {
            let mut talks = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                talks.push(run(talk(stream, Arc::clone(&kept), sender.clone())));
            }
        });
        Ok(Self { address, received, count, _task: task })
    }

    /// Its address as a URL.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything it was sent so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it was sent so much.
    ///
    /// # Errors
    /// Where the server has ended.
    pub async fn wait_for(&self, count: usize) -> anyhow::Result<()> {
        let mut counts = self.count.clone();
        counts.wait_for(|seen| *seen >= count).await?;
        Ok(())
    }
}

/// Keeps a request; says its number.
fn keep(kept: &Mutex<Vec<Received>>, count: &watch::Sender<usize>, received: Received) -> usize {
    let mut all = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let number = all.len();
    all.push(received);
    count.send_replace(all.len());
    number
}

async fn answer(
    stream: TcpStream,
    kept: &Mutex<Vec<Received>>,
    count: &watch::Sender<usize>,
    replies: &Replies,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut received = Received::default();
    stream.read_line(&mut received.line).await?;
    received.line.truncate(received.line.trim_end().len());
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse()?;
        }
        received.headers.push((name, value));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    received.body = String::from_utf8_lossy(&body).into_owned();
    let number = keep(kept, count, received.clone());
    match replies(number, &received) {
        Reply::Answer(status, body) => {
            let head = format!(
                "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body.as_bytes()).await?;
            stream.flush().await?;
        }
        Reply::Silence => std::future::pending::<()>().await,
    }
    Ok(())
}

async fn take_mail(
    stream: TcpStream,
    kept: &Mutex<Vec<Received>>,
    count: &watch::Sender<usize>,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 here\r\n").await?;
    let mut received = Received::default();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end().to_owned();
        let said: &[u8] = match command.get(..4).unwrap_or_default().to_uppercase().as_str() {
            "EHLO" => b"250-here\r\n250 8BITMIME\r\n",
            "MAIL" | "RCPT" => {
                received.headers.push(("command".to_owned(), command.clone()));
                b"250 ok\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await?;
                    if line == ".\r\n" || line.is_empty() {
                        break;
                    }
                    received.body.push_str(&line);
                }
                keep(kept, count, std::mem::take(&mut received));
                b"250 taken\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"500 what?\r\n",
        };
        stream.write_all(said).await?;
        if command.eq_ignore_ascii_case("QUIT") {
            return Ok(());
        }
    }
}
