//! Content negotiation: which form of an answer the client takes.

use crate::status::ApiError;

/// The form in which objects are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object itself.
    Object,
    /// `as=Table`
    Table,
    /// `as=PartialObjectMetadata` or `as=PartialObjectMetadataList`
    Partial,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Json,
    Yaml,
}

/// What the client's `Accept` header was resolved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) form: Form,
    /// The `meta.k8s.io` version of a table or metadata (`v1`, `v1beta1`).
    pub(crate) meta_version: &'static str,
    pub(crate) syntax: Syntax,
}

/// Which aggregated discovery document the client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiscoveryForm {
    V2,
    V2Beta1,
    Plain,
}

const ACCEPTED: &str = "application/json, application/yaml";

struct Clause<'a> {
    media: &'a str,
    params: &'a str,
}

impl<'a> Clause<'a> {
    fn param(&self, wanted: &str) -> Option<&'a str> {
        self.params.split(';').find_map(|param| {
            let (key, value) = param.split_once('=')?;
            (key.trim() == wanted).then(|| value.trim().trim_matches('"'))
        })
    }
}

fn clauses(header: &str) -> impl Iterator<Item = Clause<'_>> {
    header.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
        let (media, params) = part.split_once(';').unwrap_or((part, ""));
        Clause { media: media.trim(), params }
    })
}

impl Accept {
    pub(crate) const JSON: Self = Self { form: Form::Object, meta_version: "v1", syntax: Syntax::Json };

    /// Takes the first clause that can be served.
    ///
    /// # Errors
    /// 406 where none can: protobuf alone, or an unknown transformation alone.
    pub(crate) fn parse(header: Option<&str>) -> Result<Self, ApiError> {
        let Some(header) = header.filter(|header| !header.trim().is_empty()) else {
            return Ok(Self::JSON);
        };
        for clause in clauses(header) {
            let syntax = match clause.media {
                "application/json" | "*/*" | "application/*" => Syntax::Json,
                "application/yaml" | "application/x-yaml" => Syntax::Yaml,
                _ => continue,
            };
            let meta_version = match (clause.param("g"), clause.param("v")) {
                (None, None) => "v1",
                (Some("meta.k8s.io"), None | Some("v1")) => "v1",
                (Some("meta.k8s.io"), Some("v1beta1")) => "v1beta1",
                _ if clause.param("as").is_none() => "v1",
                _ => continue,
            };
            let form = match clause.param("as") {
                None => Form::Object,
                Some("Table") => Form::Table,
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Form::Partial,
                Some(_) => continue,
            };
            return Ok(Self { form, meta_version, syntax });
        }
        Err(ApiError::not_acceptable(ACCEPTED))
    }
}

impl DiscoveryForm {
    /// Which form of `/api` and `/apis` the client takes.
    pub(crate) fn parse(header: Option<&str>) -> Self {
        for clause in clauses(header.unwrap_or_default()) {
            if clause.media != "application/json" {
                continue;
            }
            match (clause.param("as"), clause.param("g"), clause.param("v")) {
                (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => return Self::V2,
                (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
                    return Self::V2Beta1;
                }
                (None, _, _) => return Self::Plain,
                _ => {}
            }
        }
        Self::Plain
    }

    /// The media type of the answer. Clients decide by it what they got.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
            Self::Plain => "application/json",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_gets_tables_and_go_clients_get_json_after_protobuf() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(Accept::parse(Some(kubectl)).unwrap().form, Form::Table);
        let go = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(Accept::parse(Some(go)).unwrap(), Accept::JSON);
        let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(Accept::parse(Some(partial)).unwrap().form, Form::Partial);
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for header in [
            "application/vnd.kubernetes.protobuf",
            "application/json;as=Table;g=meta.k8s.io;v=v9",
            "text/html",
        ] {
            assert_eq!(Accept::parse(Some(header)).unwrap_err().code(), 406, "{header}");
        }
    }

    #[test]
    fn the_newest_discovery_form_wins() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(DiscoveryForm::parse(Some(kubectl)), DiscoveryForm::V2);
        assert_eq!(DiscoveryForm::parse(Some("application/json")), DiscoveryForm::Plain);
        assert_eq!(DiscoveryForm::parse(None), DiscoveryForm::Plain);
    }
}
