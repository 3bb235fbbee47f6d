//! How steps come by a connection to a server, where it isn't the network's.

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to a server.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects to servers that steps name. For whoever runs a controller without a network: a simulation, a rehearsal.
pub trait Dial: Send + Sync {
    /// A connection to a host's port.
    ///
    /// # Errors
    /// In words: why there is none.
    fn dial(&self, host: &str, port: u16) -> BoxFuture<'static, Result<Box<dyn Connection>, String>>;
}
