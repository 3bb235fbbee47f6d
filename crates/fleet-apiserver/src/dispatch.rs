//! From a request to the verb that answers it.

use std::sync::Arc;

use bytes::Bytes;
use fleet_json::FieldSelector;
use http::{HeaderMap, Method, Request, Response, header};

use crate::authentication::authenticate;
use crate::authentication::impersonation::impersonated;
use crate::authorization::{Attributes, demand};
use crate::cluster::Cluster;
use crate::encode::{self, Body};
use crate::identity::Identity;
use crate::registry::{Kind, Registry};
use crate::request::accept::DiscoveryForm;
use crate::request::{Accept, Query, ResourcePath, Route, body};
use crate::server::{ApiServer, Inner};
use crate::status::ApiError;
use crate::{discovery, openapi, subresource, verbs};

/// What every verb needs of its request.
pub(crate) struct Call<'a> {
    pub(crate) server: &'a Arc<Inner>,
    /// `None` for the wildcard cluster.
    pub(crate) cluster: Option<&'a Arc<Cluster>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) kind: Arc<Kind>,
    pub(crate) path: ResourcePath,
    pub(crate) query: Query,
    pub(crate) accept: Accept,
    pub(crate) identity: Identity,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Told to the client in `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

impl Call<'_> {
    /// The cluster, for what the wildcard doesn't do.
    pub(crate) fn one_cluster(&self) -> Result<&Arc<Cluster>, ApiError> {
        self.cluster.ok_or_else(|| ApiError::method_not_allowed(self.kind.group(), &self.kind.plural))
    }

    pub(crate) fn field_manager(&self) -> Result<String, ApiError> {
        let agent = self.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        self.query.field_manager(agent)
    }

    pub(crate) fn not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(self.kind.group(), &self.kind.plural, name)
    }

    pub(crate) fn modified(&self, name: &str) -> ApiError {
        ApiError::modified(self.kind.group(), &self.kind.plural, name)
    }
}

/// Answers a request, waiting for as long as the cluster doesn't.
pub(crate) async fn answer<B>(
    server: &Arc<Inner>,
    cluster: &str,
    identity: Identity,
    request: Request<B>,
) -> Result<Response<Body>, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if cluster == ApiServer::WILDCARD {
        return route(server, None, identity, request).await;
    }
    let Some(cluster) = server.cluster(cluster) else {
        return Err(ApiError::new(
            404,
            "NotFound",
            format!("there is no cluster {cluster:?} on this server"),
        )
        .about("", "clusters", cluster));
    };
    let mut pulse = cluster.pulse();
    let gone = || ApiError::unavailable(format!("cluster {:?} was not reachable", cluster.name));
    if !pulse.is_steady() {
        pulse.back().await;
        return Err(gone());
    }
    let answer = route(server, Some(&cluster), identity, request).await;
    if !pulse.is_steady() {
        // The request may have been carried out; its answer is lost all the same.
        pulse.back().await;
        return Err(gone());
    }
    answer
}

async fn route<B>(
    server: &Arc<Inner>,
    cluster: Option<&Arc<Cluster>>,
    identity: Identity,
    request: Request<B>,
) -> Result<Response<Body>, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let here = cluster.map(Arc::as_ref);
    let identity = authenticate(server, here, identity, &parts.headers)?;
    let identity = impersonated(server, here, identity, &parts.headers)?;
    let route = Route::parse(parts.uri.path());
    let registry = match cluster {
        Some(cluster) => cluster.registry(),
        None => server.definitions.builtin(),
    };
    let path = match route {
        Route::Resource(path) => path,
        other => {
            let path = match parts.uri.path().trim_end_matches('/') {
                "" => "/",
                path => path,
            };
            let verb = parts.method.as_str().to_ascii_lowercase();
            let wanted = Attributes { verb: &verb, path, ..Attributes::default() };
            demand(server, here, &identity, &wanted)?;
            if parts.method != Method::GET && parts.method != Method::HEAD {
                return Err(ApiError::method_not_allowed("", ""));
            }
            return document(server, &fresh(server, cluster), &other, &parts.headers, parts.uri.query());
        }
    };
    let query = Query::parse(parts.uri.query());
    let verb = verb(&parts.method, &path, &query)?;
    // Before anything is told of what there is.
    may(server, here, &identity, verb, &path, &query)?;
    let mut registry = registry;
    let find = |registry: &Registry| registry.find(&path.group, &path.version, &path.resource).cloned();
    let mut found = find(&registry);
    if found.is_none() {
        registry = fresh(server, cluster);
        found = find(&registry);
    }
    let kind = match found {
        Some(kind) => kind,
        None if path.group == discovery::METRICS => return Err(subresource::pod::no_metrics()),
        None => return Err(ApiError::no_such_path()),
    };
    if !kind.namespaced && !path.namespace.is_empty() {
        return Err(ApiError::no_such_path());
    }
    if kind.namespaced && path.namespace.is_empty() && (verb != "list" && verb != "watch") {
        return Err(match verb {
            "create" | "deletecollection" => ApiError::method_not_allowed(&path.group, &path.resource),
            _ => ApiError::no_such_path(),
        });
    }
    let body = match parts.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => body::read(body).await?,
    };
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let mut call = Call {
        server,
        cluster,
        registry: Arc::clone(&registry),
        kind,
        path,
        query,
        accept: Accept::parse(accept)?,
        identity,
        headers: parts.headers,
        body,
        warnings: Vec::new(),
    };
    if let Some(warning) = &call.kind.deprecation {
        call.warnings.push(warning.clone());
    }
    let answer = if call.path.subresource.is_empty() {
        if !call.kind.allows(verb) {
            return Err(ApiError::method_not_allowed(call.kind.group(), &call.kind.plural));
        }
        resource(&mut call, verb).await?
    } else {
        subresource::answer(&mut call, verb).await?
    };
    Ok(encode::with_warnings(encode::in_syntax(answer, call.accept.syntax), &call.warnings))
}

/// Asks for the right to make a request for a resource.
fn may(
    server: &Inner,
    cluster: Option<&Cluster>,
    identity: &Identity,
    verb: &str,
    path: &ResourcePath,
    query: &Query,
) -> Result<(), ApiError> {
    if identity.is_master() {
        return Ok(());
    }
    // A request for a collection that is narrowed down to one name is one for that name.
    let narrowed = match verb {
        "list" | "watch" | "deletecollection" if path.name.is_empty() => query.get("fieldSelector"),
        _ => None,
    };
    let narrowed = narrowed.and_then(|text| FieldSelector::parse(text).ok());
    let one = narrowed.as_ref().and_then(|selector| selector.required_value("metadata.name"));
    // A Namespace counts as being in itself, so that a RoleBinding there can show it.
    let is_namespace = path.group.is_empty() && path.resource == "namespaces";
    let wanted = Attributes {
        verb,
        group: &path.group,
        resource: &path.resource,
        subresource: &path.subresource,
        namespace: if is_namespace { &path.name } else { &path.namespace },
        name: one.unwrap_or(&path.name),
        path: "",
    };
    demand(server, cluster, identity, &wanted)
}

/// The registry as the store has it. It is brought there after every change of a definition, too; but a client that
/// goes away in the middle of a request may take that step with it.
fn fresh(server: &Inner, cluster: Option<&Arc<Cluster>>) -> Arc<Registry> {
    match cluster {
        Some(cluster) => {
            server.definitions.refresh(&server.store, cluster);
            cluster.registry()
        }
        None => server.definitions.builtin(),
    }
}

async fn resource(call: &mut Call<'_>, verb: &str) -> Result<Response<Body>, ApiError> {
    match verb {
        "get" => verbs::get::get(call),
        "list" => verbs::list::list(call),
        "watch" => verbs::watch::watch(call),
        "create" => Box::pin(verbs::create::create(call)).await,
        "update" => Box::pin(verbs::update::update(call)).await,
        "patch" => Box::pin(verbs::patch::patch(call)).await,
        "delete" => Box::pin(verbs::delete::delete(call)).await,
        "deletecollection" => Box::pin(verbs::delete::delete_collection(call)).await,
        _ => Err(ApiError::method_not_allowed(call.kind.group(), &call.kind.plural)),
    }
}

fn verb(method: &Method, path: &ResourcePath, query: &Query) -> Result<&'static str, ApiError> {
    let collection = path.name.is_empty();
    Ok(match *method {
        Method::GET | Method::HEAD if path.watch => "watch",
        Method::GET | Method::HEAD if !collection => "get",
        Method::GET | Method::HEAD if query.watch() => "watch",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT if !collection => "update",
        Method::PATCH if !collection => "patch",
        Method::DELETE if !collection => "delete",
        Method::DELETE => "deletecollection",
        _ => return Err(ApiError::method_not_allowed(&path.group, &path.resource)),
    })
}

fn document(
    server: &Arc<Inner>,
    registry: &Arc<Registry>,
    route: &Route,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Response<Body>, ApiError> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let form = DiscoveryForm::parse(accept);
    match route {
        Route::Root => Ok(encode::json(200, &discovery::paths(registry))),
        Route::Version => Ok(encode::json(200, &discovery::version(&server.options.version))),
        Route::Health => Ok(encode::response(200, "text/plain; charset=utf-8", Body::whole("ok"))),
        Route::CoreVersions => Ok(discovery::core(registry, form, headers)),
        Route::Groups => Ok(discovery::groups(registry, form, headers)),
        Route::Group(name) => discovery::group(registry, name),
        Route::Resources { group, version } => discovery::resources(registry, group, version),
        Route::OpenApiV2 => openapi::v2(registry, accept, headers),
        Route::OpenApiIndex => Ok(openapi::index(registry, headers)),
        Route::OpenApi(path) => openapi::document(registry, path, query, accept, headers),
        Route::Resource(_) | Route::Unknown => Err(ApiError::no_such_path()),
    }
}
