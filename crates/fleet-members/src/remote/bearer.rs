//! The token that goes with each request.

use std::sync::Arc;

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::LinkError;
use super::plugin::Plugin;

/// Where the token comes from.
pub(super) enum Bearer {
    /// There is none: the connection says who we are.
    None,
    /// Written in the credentials.
    Fixed(HeaderValue),
    /// Fetched by a credential plugin.
    Plugin(Arc<Plugin>),
}

impl Bearer {
    pub(super) fn is_fetched(&self) -> bool {
        matches!(self, Self::Plugin(_))
    }

    /// The header's value.
    ///
    /// # Errors
    /// Where a plugin gives none.
    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, LinkError> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(value) => Ok(Some(value.clone())),
            Self::Plugin(plugin) => plugin.token().await.map(Some),
        }
    }

    /// The header's value after the member has refused one.
    ///
    /// # Errors
    /// Where a plugin gives none.
    pub(super) async fn after_refusal(
        &self,
        refused: &HeaderValue,
    ) -> Result<Option<HeaderValue>, LinkError> {
        if let Self::Plugin(plugin) = self {
            plugin.forget(refused);
        }
        self.header().await
    }
}

/// `Authorization` for a token; `None` where it holds what no header can.
pub(super) fn header(token: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
