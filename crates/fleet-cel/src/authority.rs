//! Kubernetes' `authorizer` library: expressions that ask what the requesting user may do.
//!
//! `authorizer.group('apps').resource('deployments').namespace('prod').check('delete').allowed()`. Who answers is the
//! caller's, behind [`Authorizer`].

use std::rc::Rc;

use crate::functions::text;
use crate::meter::{Fault, Meter, Outcome};
use crate::value::Val;

/// What one question costs. Kubernetes' own figure: two questions fit into one expression.
pub const CHECK_COST: usize = 350_000;

/// What is asked of an [`Authorizer`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The service account it is about, by namespace and name; `None` for the user who makes the request.
    pub service_account: Option<(String, String)>,
    /// The verb.
    pub verb: String,
    /// A path outside the resources; empty for a question about a resource.
    pub path: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource in plural form.
    pub resource: String,
    /// The subresource; empty for the resource itself.
    pub subresource: String,
    /// The namespace; empty for cluster scope or all namespaces.
    pub namespace: String,
    /// The object's name; empty for all.
    pub name: String,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, where there is something to say.
    pub reason: String,
    /// Why the question couldn't be answered; it isn't allowed then.
    pub error: Option<String>,
}

/// Says who may do what.
pub trait Authorizer {
    /// Answers a question.
    fn decide(&self, question: &Question) -> Decision;
}

/// A question on its way, or its answer: what the functions of the library take and give.
#[derive(Debug, Clone)]
pub(crate) enum Asking {
    Authorizer(Question),
    Path(Question),
    Group(Question),
    Resource(Question),
    Decided(Decision),
}

impl Asking {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Self::Path(_) => "kubernetes.authorization.PathCheck",
            Self::Group(_) => "kubernetes.authorization.GroupCheck",
            Self::Resource(_) => "kubernetes.authorization.ResourceCheck",
            Self::Decided(_) => "kubernetes.authorization.Decision",
        }
    }
}

/// The library's functions: name, fewest and most arguments, the receiver counted.
pub(crate) const TABLE: &[(&str, usize, usize)] = &[
    ("path", 2, 2),
    ("group", 2, 2),
    ("serviceAccount", 3, 3),
    ("resource", 2, 2),
    ("subresource", 2, 2),
    ("namespace", 2, 2),
    ("name", 2, 2),
    ("fieldSelector", 2, 2),
    ("labelSelector", 2, 2),
    ("check", 2, 2),
    ("allowed", 1, 1),
    ("reason", 1, 1),
    ("errored", 1, 1),
    ("error", 1, 1),
];

/// Calls a function of the library; `None`: no such function for this.
pub(crate) fn call<'a>(
    name: &str,
    asking: &Asking,
    rest: &[Val<'a>],
    meter: &mut Meter,
    authorizer: Option<&dyn Authorizer>,
) -> Option<Outcome<Val<'a>>> {
    Some(match (asking, name, rest) {
        (Asking::Authorizer(asked), "path", [path]) => {
            argument(path, name).map(|path| value(Asking::Path(Question { path, ..asked.clone() })))
        }
        (Asking::Authorizer(asked), "group", [group]) => {
            argument(group, name).map(|group| value(Asking::Group(Question { group, ..asked.clone() })))
        }
        (Asking::Authorizer(asked), "serviceAccount", [namespace, account]) => {
            let both = argument(namespace, name).and_then(|ns| Ok((ns, argument(account, name)?)));
            both.and_then(|(namespace, account)| {
                if namespace.is_empty() || account.is_empty() {
                    return Err(Fault::new("a service account has a namespace and a name"));
                }
                let service_account = Some((namespace, account));
                Ok(value(Asking::Authorizer(Question { service_account, ..asked.clone() })))
            })
        }
        (Asking::Group(asked), "resource", [resource]) => argument(resource, name)
            .map(|resource| value(Asking::Resource(Question { resource, ..asked.clone() }))),
        (Asking::Resource(asked), "subresource", [subresource]) => argument(subresource, name)
            .map(|subresource| value(Asking::Resource(Question { subresource, ..asked.clone() }))),
        (Asking::Resource(asked), "namespace", [namespace]) => argument(namespace, name)
            .map(|namespace| value(Asking::Resource(Question { namespace, ..asked.clone() }))),
        (Asking::Resource(asked), "name", [object]) => {
            argument(object, name).map(|name| value(Asking::Resource(Question { name, ..asked.clone() })))
        }
        // Selectors narrow a question for authorizers that know them; one that doesn't answers for the whole.
        (Asking::Resource(asked), "fieldSelector" | "labelSelector", [selector]) => {
            argument(selector, name).map(|_| value(Asking::Resource(asked.clone())))
        }
        (Asking::Path(asked) | Asking::Resource(asked), "check", [verb]) => argument(verb, name)
            .and_then(|verb| decide(&Question { verb, ..asked.clone() }, meter, authorizer)),
        (Asking::Decided(decision), "allowed", []) => Ok(Val::Bool(decision.allowed)),
        (Asking::Decided(decision), "reason", []) => Ok(Val::text(decision.reason.clone())),
        (Asking::Decided(decision), "errored", []) => Ok(Val::Bool(decision.error.is_some())),
        (Asking::Decided(decision), "error", []) => Ok(Val::text(decision.error.clone().unwrap_or_default())),
        _ => return None,
    })
}

fn value<'a>(asking: Asking) -> Val<'a> {
    Val::Asking(Rc::new(asking))
}

fn argument(value: &Val<'_>, name: &str) -> Outcome<String> {
    text(value, name).map(str::to_owned)
}

fn decide<'a>(
    question: &Question,
    meter: &mut Meter,
    authorizer: Option<&dyn Authorizer>,
) -> Outcome<Val<'a>> {
    meter.charge(CHECK_COST)?;
    let authorizer = authorizer.ok_or_else(|| Fault::new("nobody is there to ask"))?;
    Ok(value(Asking::Decided(authorizer.decide(question))))
}
