//! A cluster as a tower service, for clients in the same process.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};

use crate::encode::Body;
use crate::identity::Identity;
use crate::server::ApiServer;

/// One cluster, called as one user, without a socket.
///
/// `kube::Client::new(service, "default")` takes it as it is.
#[derive(Clone, Debug)]
pub struct ClusterService {
    server: ApiServer,
    cluster: Arc<str>,
    identity: Arc<Identity>,
}

impl ClusterService {
    pub(crate) fn new(server: ApiServer, cluster: &str, identity: Identity) -> Self {
        Self { server, cluster: cluster.into(), identity: Arc::new(identity) }
    }
}

impl<B> tower::Service<Request<B>> for ClusterService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { server, cluster, identity } = self.clone();
        // A typed extension on the request wins: one service can carry the calls of many users.
        let identity = match request.extensions().get::<Identity>() {
            Some(own) => own.clone(),
            None => Identity::clone(&identity),
        };
        Box::pin(async move { Ok(server.handle(&cluster, identity, request).await) })
    }
}
