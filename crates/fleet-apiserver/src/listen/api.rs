//! The API server as the listener's handler.

use http::{Request, Response};
use http_body_util::Full;

use super::{Handler, RequestBody};
use crate::encode::{self, Body};
use crate::identity::Identity;
use crate::server::ApiServer;
use crate::status::ApiError;

impl Handler for ApiServer {
    type Body = Body;

    async fn handle(
        &self,
        cluster: String,
        identity: Identity,
        request: Request<RequestBody>,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        // Read here, where size and time are bounded and the refusal for either is known.
        match body.read().await {
            Ok(bytes) => {
                let request = Request::from_parts(parts, Full::new(bytes));
                ApiServer::handle(self, &cluster, identity, request).await
            }
            Err(error) => encode::refusal(&ApiError::from(error)),
        }
    }
}
