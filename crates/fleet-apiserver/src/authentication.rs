//! Who a request comes from, beyond what the connection tells.
//!
//! ```text
//!  client certificate (listener) ─┐
//!  Authorization: Bearer ─► token ┴─► Identity ─► impersonation (--as) ─► Identity that is asked about
//!                             ▲
//!  TokenRequest ─► key, claims ┘      TokenReview asks the same
//! ```

mod claims;
pub(crate) mod impersonation;
mod key;
pub(crate) mod token;

use http::{HeaderMap, header};

pub use key::{KeyError, TokenKey};

use crate::cluster::Cluster;
use crate::identity::Identity;
use crate::server::Inner;
use crate::status::ApiError;

/// Who sends a request: whom the connection has proved, else whom the bearer token names, else nobody.
///
/// # Errors
/// A 401 that says what is wrong with the credentials.
pub(crate) fn authenticate(
    server: &Inner,
    cluster: Option<&Cluster>,
    connection: Identity,
    headers: &HeaderMap,
) -> Result<Identity, ApiError> {
    let Some(header) = headers.get(header::AUTHORIZATION).filter(|_| connection.is_anonymous()) else {
        return Ok(connection);
    };
    let unauthorized = |why: &str| ApiError::new(401, "Unauthorized", format!("Unauthorized: {why}"));
    let credentials = header.to_str().unwrap_or_default();
    let token = match credentials.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => {
            let why = "only client certificates and bearer tokens of ServiceAccounts are known here";
            return Err(unauthorized(why));
        }
    };
    let Some(cluster) = cluster else { return Err(unauthorized("tokens are good for one cluster only")) };
    match token::identify(server, cluster, token, &[token::issuer(cluster)]) {
        Ok(known) => Ok(known.identity),
        Err(refused) => Err(unauthorized(&refused.to_string())),
    }
}
