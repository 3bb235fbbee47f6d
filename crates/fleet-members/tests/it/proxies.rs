//! Members behind a proxy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{Fake, answer, config_map};

/// What clients said to a proxy before the tunnel was there.
type Heard = Arc<Mutex<Vec<String>>>;

struct Proxy {
    address: SocketAddr,
    heard: Heard,
    _tasks: JoinSet<()>,
}

impl Proxy {
    async fn start<F>(greet: impl Fn(BufReader<TcpStream>, Heard) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Option<(BufReader<TcpStream>, String)>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Heard::default();
        let mut tasks = JoinSet::new();
        let kept = Arc::clone(&heard);
        tasks.spawn(async move {
            let mut tunnels = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let greeting = greet(BufReader::new(stream), Arc::clone(&kept));
                tunnels.spawn(async move {
                    let Some((mut stream, to)) = greeting.await else { return };
                    let mut there = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
                });
            }
        });
        Self { address, heard, _tasks: tasks }
    }

    /// HTTP CONNECT (RFC 9110 9.3.6) that wants a user and a password.
    async fn http() -> Self {
        Self::start(|mut stream, heard| async move {
            let (mut first, mut authorized) = (String::new(), false);
            stream.read_line(&mut first).await.unwrap();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                authorized |= line.trim().eq_ignore_ascii_case("proxy-authorization: basic bWU6cEBzcw==");
                if line.trim().is_empty() {
                    break;
                }
            }
            heard.lock().unwrap().push(first.trim().to_owned());
            if !authorized {
                stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
                return None;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let to = first.split_whitespace().nth(1).unwrap().to_owned();
            Some((stream, to))
        })
        .await
    }

    /// SOCKS 5 (RFC 1928) without authentication.
    async fn socks() -> Self {
        Self::start(|mut stream, heard| async move {
            let mut greeting = [0_u8; 2];
            stream.read_exact(&mut greeting).await.unwrap();
            let mut methods = vec![0_u8; greeting[1].into()];
            stream.read_exact(&mut methods).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            let mut head = [0_u8; 4];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(head[3], 1, "an IPv4 address");
            let mut address = [0_u8; 6];
            stream.read_exact(&mut address).await.unwrap();
            let port = u16::from_be_bytes([address[4], address[5]]);
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            heard.lock().unwrap().push(format!("socks {port}"));
            Some((stream, format!("{}.{}.{}.{}:{port}", address[0], address[1], address[2], address[3])))
        })
        .await
    }
}

async fn asked_through(fake: &Fake, proxy: &str) -> Result<ConfigMap, kube::Error> {
    let credentials = fake.credentials().through_proxy(proxy).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(credentials.client().unwrap(), "demo");
    maps.get("settings").await
}

/// TLS ends at the member, so a proxy sees its address and nothing else.
#[tokio::test]
async fn members_are_reached_through_http_and_socks_proxies() {
    let fake = Fake::answering(|_| answer(200, &config_map("settings"))).await;
    let (http, socks) = (Proxy::http().await, Proxy::socks().await);
    asked_through(&fake, &format!("http://me:p%40ss@{}", http.address)).await.unwrap();
    assert_eq!(*http.heard.lock().unwrap(), [format!("CONNECT 127.0.0.1:{} HTTP/1.1", fake.address.port())]);
    asked_through(&fake, &format!("socks5://{}", socks.address)).await.unwrap();
    assert_eq!(*socks.heard.lock().unwrap(), [format!("socks {}", fake.address.port())]);
}

/// A proxy that refuses is told apart from a member that does, and its password shows nowhere.
#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let fake = Fake::answering(|_| answer(200, &config_map("settings"))).await;
    let http = Proxy::http().await;
    let error = asked_through(&fake, &format!("http://me:hush@{}", http.address)).await.unwrap_err();
    let said = format!("{error:?}");
    assert!(said.contains("proxy authorization required") && !said.contains("hush"), "{said}");
    assert_eq!(fake.accepted(), 0);
}
