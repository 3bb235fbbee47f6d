//! The token by which a list goes on: the moment it shows and the object it stopped at.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleet_store::Page;
use serde::{Deserialize, Serialize};

use crate::status::ApiError;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Token {
    /// The revision that all pages show; 0 for whatever is now.
    rv: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    cluster: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    name: String,
}

impl Token {
    pub(super) fn after(page: &Page, revision: u64) -> Self {
        let (namespace, name) = page.after.clone().unwrap_or_default();
        Self {
            rv: revision,
            cluster: page.after_cluster.as_deref().unwrap_or_default().to_owned(),
            namespace: namespace.as_ref().to_owned(),
            name: name.as_ref().to_owned(),
        }
    }

    pub(super) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn decode(text: &str) -> Result<Self, ApiError> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| ApiError::bad_request("continue key is not valid: it was not made by this server"))
    }

    /// The page, and whether its moment has been given up.
    pub(super) fn page(self) -> Result<(Page, bool), ApiError> {
        let page = Page {
            limit: None,
            after: Some((self.namespace.into(), self.name.into())),
            after_cluster: Some(self.cluster.into()),
            at: (self.rv > 0).then_some(self.rv),
        };
        Ok((page, self.rv == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_place_and_the_moment() {
        let page = Page { after: Some(("ns".into(), "b".into())), ..Page::default() };
        let text = Token::after(&page, 7).encode();
        let (again, inconsistent) = Token::decode(&text).unwrap().page().unwrap();
        assert_eq!((again.at, again.after, inconsistent), (Some(7), page.after, false));
        assert!(Token::decode("no such token").is_err());
    }
}
