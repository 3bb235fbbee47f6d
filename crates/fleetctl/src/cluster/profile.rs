//! What the account on a member may do.

use fleet_api::{ManagedCluster, names};
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};

use super::rights::Right;
use crate::args::{JoinArgs, ProfileName};
use crate::exit::{Failure, Outcome};

/// What the engine does to objects: it reads, watches, applies on the server (which creates) and deletes.
pub(crate) const DELIVER: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];
/// What it does to see what became of them.
const SEE: [&str; 3] = ["get", "list", "watch"];
/// Roles and bindings.
pub(crate) const RBAC: &str = "rbac.authorization.k8s.io";
/// Its UID tells a cluster from any other.
pub(crate) const SYSTEM: &str = "kube-system";

/// What an account may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Deliver any kind to any namespace.
    Cluster {
        /// Also Roles and bindings that grant more than it has itself.
        rbac: bool,
    },
    /// Deliver to these namespaces.
    Namespaced(Vec<String>),
    /// Act as these service accounts (namespace and name, `*` for all of a namespace), and see what is there.
    Impersonating(Vec<(String, String)>),
}

/// Rights within one scope, and what they are good for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grant {
    /// The namespace; `None` for the whole cluster.
    pub(crate) namespace: Option<String>,
    /// `rules` of a Role.
    pub(crate) rules: Vec<Value>,
    /// In words.
    pub(crate) said: Vec<String>,
}

impl Profile {
    /// What the command line asks for.
    ///
    /// # Errors
    /// Where its parts don't fit each other.
    pub(crate) fn wanted(arguments: &JoinArgs) -> Outcome<Self> {
        let (namespaces, accounts) = (sorted(&arguments.namespaces), sorted(&arguments.impersonate));
        let profile = arguments.profile;
        let only = |flag: &str, of: &str| Failure::usage(format!("{flag} goes with --profile {of} only"));
        if !namespaces.is_empty() && profile != ProfileName::Namespaced {
            return Err(only("--namespaces", "namespaced"));
        }
        if !accounts.is_empty() && profile != ProfileName::Impersonating {
            return Err(only("--impersonate", "impersonating"));
        }
        if arguments.allow_rbac && profile != ProfileName::Cluster {
            return Err(only("--allow-rbac", "cluster"));
        }
        match profile {
            ProfileName::Cluster => Ok(Self::Cluster { rbac: arguments.allow_rbac }),
            ProfileName::Namespaced if namespaces.is_empty() => Err(Failure::usage(
                "--profile namespaced needs the namespaces that are delivered to: --namespaces web,shop",
            )),
            ProfileName::Namespaced => Ok(Self::Namespaced(namespaces)),
            ProfileName::Impersonating if accounts.is_empty() => Err(Failure::usage(
                "--profile impersonating needs the service accounts that are acted as: --impersonate web/deployer,shop/*",
            )),
            ProfileName::Impersonating => Ok(Self::Impersonating(accounts)),
        }
    }

    /// What `join` has recorded on a member; `None` where it joined otherwise.
    pub(crate) fn recorded(cluster: &ManagedCluster) -> Option<Self> {
        let annotations = cluster.annotations();
        let list = |name: &str| -> Vec<String> {
            let text = annotations.get(name).map(String::as_str).unwrap_or_default();
            text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        match annotations.get(names::MEMBER_PROFILE)?.as_str() {
            "cluster" => Some(Self::Cluster { rbac: false }),
            "cluster+rbac" => Some(Self::Cluster { rbac: true }),
            "namespaced" => Some(Self::Namespaced(list(names::MEMBER_NAMESPACES))),
            "impersonating" => {
                let accounts = list(names::MEMBER_IMPERSONATES);
                let parts = accounts.iter().filter_map(|account| account.split_once('/'));
                Some(Self::Impersonating(parts.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()))
            }
            _ => None,
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Cluster { rbac: false } => "cluster",
            Self::Cluster { rbac: true } => "cluster+rbac",
            Self::Namespaced(_) => "namespaced",
            Self::Impersonating(_) => "impersonating",
        }
    }

    /// The annotations by which [`Self::recorded`] finds it again; those of other profiles are taken away.
    pub(crate) fn annotations(&self) -> Map<String, Value> {
        let mut all = Map::new();
        all.insert(names::MEMBER_PROFILE.to_owned(), json!(self.name()));
        all.insert(names::MEMBER_NAMESPACES.to_owned(), Value::Null);
        all.insert(names::MEMBER_IMPERSONATES.to_owned(), Value::Null);
        let namespaces = self.namespaces();
        if !namespaces.is_empty() {
            all.insert(names::MEMBER_NAMESPACES.to_owned(), json!(namespaces.join(",")));
        }
        if let Self::Impersonating(accounts) = self {
            let text: Vec<String> =
                accounts.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
            all.insert(names::MEMBER_IMPERSONATES.to_owned(), json!(text.join(",")));
        }
        all
    }

    /// The only namespaces that it reaches; none where it reaches all.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        match self {
            Self::Cluster { .. } => Vec::new(),
            Self::Namespaced(namespaces) => namespaces.clone(),
            Self::Impersonating(accounts) => {
                let mut all: Vec<String> = accounts.iter().map(|(namespace, _)| namespace.clone()).collect();
                all.dedup();
                all
            }
        }
    }

    /// What is granted, what counts on the whole cluster first. `role` is what the Role there is called.
    pub(crate) fn grants(&self, role: &str) -> Vec<Grant> {
        let everything = |verbs: &[&str]| json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": verbs });
        let mut grants = Vec::new();
        match self {
            Self::Cluster { rbac } => {
                let mut rules = vec![everything(&DELIVER)];
                let mut said = vec![format!(
                    "{} objects of every kind in every namespace, Secrets included",
                    DELIVER.join(", ")
                )];
                if *rbac {
                    rules.push(json!({
                        "apiGroups": [RBAC], "resources": ["roles", "clusterroles"], "verbs": ["bind", "escalate"],
                    }));
                    said.push(
                        "deliver Roles and bindings that grant anything: as good as cluster-admin".to_owned(),
                    );
                } else {
                    said.push(
                        "deliver Roles and bindings only that grant no more than this (more: --allow-rbac)"
                            .to_owned(),
                    );
                }
                grants.push(Grant { namespace: None, rules, said });
            }
            Self::Namespaced(namespaces) => {
                grants.push(identity(namespaces, role));
                for namespace in namespaces {
                    grants.push(Grant {
                        namespace: Some(namespace.clone()),
                        rules: vec![everything(&DELIVER)],
                        said: vec![format!("{} objects of every kind, Secrets included", DELIVER.join(", "))],
                    });
                }
            }
            Self::Impersonating(accounts) => {
                let namespaces = self.namespaces();
                grants.push(identity(&namespaces, role));
                for namespace in &namespaces {
                    let within =
                        accounts.iter().filter(|(of, _)| of == namespace).map(|(_, name)| name.as_str());
                    let named: Vec<&str> = within.collect();
                    let mut act = json!({ "apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"] });
                    let whom = if named.contains(&"*") {
                        "any service account".to_owned()
                    } else {
                        if let Some(rule) = act.as_object_mut() {
                            rule.insert("resourceNames".to_owned(), json!(named));
                        }
                        format!("service account {}", named.join(", "))
                    };
                    grants.push(Grant {
                        namespace: Some(namespace.clone()),
                        rules: vec![act, everything(&SEE)],
                        said: vec![
                            format!("act as {whom}; whatever is written, is written so"),
                            format!(
                                "{} objects of every kind, Secrets included: Kubernetes knows no right to watch metadata alone",
                                SEE.join(", ")
                            ),
                        ],
                    });
                }
            }
        }
        grants
    }

    /// The rights that the account must turn out to have.
    pub(crate) fn needs(&self, role: &str) -> Vec<Right> {
        let mut needs = vec![
            Right::new("get", "", "namespaces").named(SYSTEM),
            Right::new("delete", RBAC, "clusterroles").named(role),
        ];
        let all = |verbs: &[&'static str], namespace: &str| -> Vec<Right> {
            verbs.iter().map(|verb| Right::new(verb, "*", "*").within(namespace)).collect()
        };
        match self {
            Self::Cluster { rbac } => {
                needs.extend(all(&DELIVER, ""));
                if *rbac {
                    for verb in ["bind", "escalate"] {
                        needs.push(Right::new(verb, RBAC, "clusterroles"));
                        needs.push(Right::new(verb, RBAC, "roles"));
                    }
                }
            }
            Self::Namespaced(namespaces) => {
                for namespace in namespaces {
                    needs.extend(all(&DELIVER, namespace));
                }
            }
            Self::Impersonating(accounts) => {
                for (namespace, name) in accounts {
                    let right = Right::new("impersonate", "", "serviceaccounts").within(namespace);
                    needs.push(if name == "*" { right } else { right.named(name) });
                }
                for namespace in self.namespaces() {
                    needs.extend(all(&SEE, &namespace));
                }
            }
        }
        needs
    }
}

/// Whoever has no rights on the whole cluster must still know which cluster it is, whether a namespace is there, and be
/// able to go: everything that was made for a hub hangs on one ClusterRole.
fn identity(namespaces: &[String], role: &str) -> Grant {
    let mut names = vec![SYSTEM];
    names.extend(namespaces.iter().map(String::as_str).filter(|name| *name != SYSTEM));
    Grant {
        namespace: None,
        said: vec![format!("get the namespaces {}", names.join(", ")), "take itself away".to_owned()],
        rules: vec![
            json!({ "apiGroups": [""], "resources": ["namespaces"], "resourceNames": names, "verbs": ["get"] }),
            json!({ "apiGroups": [RBAC], "resources": ["clusterroles"], "resourceNames": [role], "verbs": ["delete"] }),
        ],
    }
}

fn sorted<T: Ord + Clone>(list: &[T]) -> Vec<T> {
    let mut list = list.to_vec();
    list.sort();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_api::ManagedClusterSpec;

    fn all() -> Vec<Profile> {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        vec![
            Profile::Cluster { rbac: false },
            Profile::Cluster { rbac: true },
            Profile::Namespaced(vec!["shop".to_owned(), "web".to_owned()]),
            Profile::Impersonating(vec![pair("shop", "*"), pair("web", "ci"), pair("web", "ops")]),
        ]
    }

    /// `probe` and `rejoin` judge by what `join` has recorded.
    #[test]
    fn a_recorded_profile_is_read_again() {
        for profile in all() {
            let mut cluster = ManagedCluster::new("a", ManagedClusterSpec::default());
            for (key, value) in profile.annotations() {
                if let Some(value) = value.as_str() {
                    cluster.annotations_mut().insert(key, value.to_owned());
                }
            }
            assert_eq!(Profile::recorded(&cluster), Some(profile));
        }
        assert_eq!(Profile::recorded(&ManagedCluster::new("a", ManagedClusterSpec::default())), None);
    }

    /// Outside its namespaces an account must have no right but to know the cluster.
    #[test]
    fn narrow_profiles_grant_nothing_wide() {
        for profile in all().into_iter().skip(2) {
            let wide: Vec<Grant> =
                profile.grants("us").into_iter().filter(|grant| grant.namespace.is_none()).collect();
            assert_eq!(wide.len(), 1, "{profile:?}");
            let rules = &wide[0].rules;
            assert_eq!(rules.len(), 2);
            assert_eq!(
                (&rules[1]["verbs"], &rules[1]["resourceNames"]),
                (&json!(["delete"]), &json!(["us"]))
            );
            assert_eq!(rules[0]["verbs"], json!(["get"]));
            assert_eq!(rules[0]["resources"], json!(["namespaces"]));
            assert_eq!(rules[0]["resourceNames"], json!(["kube-system", "shop", "web"]));
        }
        let acting = &all()[3].grants("us");
        assert_eq!(acting[1].rules[0].get("resourceNames"), None);
        assert_eq!(acting[2].rules[0]["resourceNames"], json!(["ci", "ops"]));
        for grant in acting.iter().skip(1) {
            let verbs = serde_json::to_string(&grant.rules).unwrap();
            assert!(
                !verbs.contains("patch") && !verbs.contains("create") && !verbs.contains("delete"),
                "{verbs}"
            );
        }
    }
}
