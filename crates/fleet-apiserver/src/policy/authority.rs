//! The authorizer that policies ask: the one that requests are judged by.

use fleet_cel::{Authorizer, Decision, Question};

use crate::authorization::{Attributes, authorize};
use crate::cluster::Cluster;
use crate::dispatch::Call;
use crate::identity::Identity;

/// Answers for the user of a request, or for the service account that a question names.
pub(super) struct Authority<'a> {
    call: &'a Call<'a>,
    cluster: &'a Cluster,
}

impl<'a> Authority<'a> {
    pub(super) fn new(call: &'a Call<'_>, cluster: &'a Cluster) -> Self {
        Self { call, cluster }
    }
}

impl Authorizer for Authority<'_> {
    fn decide(&self, question: &Question) -> Decision {
        let account =
            question.service_account.as_ref().map(|(namespace, name)| Identity::account(namespace, name));
        let identity = account.as_ref().unwrap_or(&self.call.identity);
        let wanted = Attributes {
            verb: &question.verb,
            group: &question.group,
            resource: &question.resource,
            subresource: &question.subresource,
            namespace: &question.namespace,
            name: &question.name,
            path: &question.path,
        };
        let decision = authorize(self.call.server, Some(self.cluster), identity, &wanted);
        Decision { allowed: decision.allowed, reason: decision.reason, error: None }
    }
}
