//! What workloads need beside them (`propagateDeps`), and which workloads need an object. No I/O.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use fleet_api::ObjectId;
use fleet_plan::Dependent;
use serde_json::Value;

use super::sources::{GroupKind, Sources};

/// The kinds that follow workloads: group, version and kind.
const KINDS: [(&str, &str, &str); 6] = [
    ("", "v1", "ConfigMap"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "Secret"),
    ("", "v1", "Service"),
    ("", "v1", "ServiceAccount"),
    ("networking.k8s.io", "v1", "Ingress"),
];

/// Whether objects of a kind follow workloads.
pub(super) fn follows(group: &str, kind: &str) -> bool {
    KINDS.iter().any(|known| known.0 == group && known.2 == kind)
}

/// Whether what there is of a kind in a namespace decides which others are needed there: they are found by labels and by
/// what they point to, not by name.
pub(super) fn is_found_by_content(id: &ObjectId) -> bool {
    matches!((id.group(), id.kind.as_str()), ("", "Service") | ("networking.k8s.io", "Ingress"))
}

/// Something that a workload needs, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) need: Dependent,
    /// The clusters on which overrides name it; nothing where the workload needs it wherever it is.
    pub(super) on: Option<BTreeSet<String>>,
}

impl Need {
    pub(super) fn everywhere(need: Dependent) -> Self {
        Self { need, on: None }
    }

    /// Whether it is needed on a cluster where the workload is.
    pub(super) fn is_on(&self, cluster: &str) -> bool {
        self.on.as_ref().is_none_or(|on| on.contains(cluster))
    }

    /// Whether another is needed everywhere where this one is.
    fn is_covered_by(&self, other: &Self) -> bool {
        match (&self.on, &other.on) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(on), Some(others)) => on.is_subset(others),
        }
    }
}

/// What workloads need.
#[derive(Default)]
pub(super) struct Dependents {
    /// By workload, what it needs.
    workloads: BTreeMap<ObjectId, BTreeMap<ObjectId, Need>>,
    /// By object, the workloads that need it.
    needed_by: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    /// By object, the workloads that needed it: they may still run with it.
    before: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    /// Objects that are on record as dependents: who needed them before this process began isn't known.
    unexplained: BTreeSet<ObjectId>,
    /// Objects that stay only until workloads of their namespace have gone on.
    lingering: BTreeSet<ObjectId>,
    by_namespace: BTreeMap<String, BTreeSet<ObjectId>>,
    /// Workloads that are to be read anew, before anything is settled.
    stale: BTreeSet<ObjectId>,
    /// Where each workload was when what it needs was told last.
    told: BTreeMap<ObjectId, BTreeSet<String>>,
}

/// The hub's objects, as workloads find what they need.
pub(super) struct OnHub<'a>(pub(super) &'a Sources);

impl fleet_plan::Index for OnHub<'_> {
    fn get(&self, id: &ObjectId) -> Option<Cow<'_, Value>> {
        let source = self.0.get(id).filter(|source| !source.deleting)?;
        Some(source.tree())
    }

    fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<Cow<'_, Value>> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let of = (group.to_owned(), kind.to_owned());
        let all = self.0.within(&of, namespace).filter(|source| !source.deleting);
        all.map(|source| source.tree()).collect()
    }
}

impl Dependents {
    /// An object that was recorded as one that goes along.
    pub(super) fn on_record(&mut self, id: &ObjectId) {
        self.unexplained.insert(id.clone());
    }

    /// Whether no policy takes dependents, and none is on record.
    pub(super) fn is_empty(&self) -> bool {
        self.workloads.is_empty()
            && self.before.is_empty()
            && self.stale.is_empty()
            && self.unexplained.is_empty()
    }

    /// What a workload needs is to be found anew.
    pub(super) fn stale(&mut self, workload: &ObjectId) {
        self.stale.insert(workload.clone());
    }

    /// An object of the hub has come, changed or gone: the workloads that may need others now.
    pub(super) fn object_changed(&mut self, id: &ObjectId) {
        if self.workloads.is_empty() || !follows(id.group(), &id.kind) {
            return;
        }
        if is_found_by_content(id) {
            let all = self.by_namespace.get(&id.namespace).into_iter().flatten().cloned();
            self.stale.extend(all);
        }
        let needing = self.needed_by.get(id).into_iter().flatten().cloned();
        self.stale.extend(needing);
    }

    /// Takes a workload that is to be read anew.
    pub(super) fn next_stale(&mut self) -> Option<ObjectId> {
        self.stale.pop_first()
    }

    /// Whether any is to be read anew.
    pub(super) fn any_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// What a workload needs from now on; `None` where it takes nothing along. True where that is news.
    pub(super) fn set(&mut self, workload: &ObjectId, needs: Option<Vec<Need>>) -> bool {
        let known = self.workloads.contains_key(workload);
        if !known && needs.is_none() {
            return false;
        }
        let now: Option<BTreeMap<ObjectId, Need>> =
            needs.map(|all| all.into_iter().map(|one| (one.need.id.clone(), one)).collect());
        let before = self.workloads.remove(workload).unwrap_or_default();
        let same = known && now.as_ref() == Some(&before);
        for (id, need) in &before {
            let still = now.as_ref().and_then(|now| now.get(id));
            if still.is_some_and(|still| need.is_covered_by(still)) {
                continue;
            }
            if still.is_none()
                && let Some(by) = self.needed_by.get_mut(id)
            {
                by.remove(workload);
                if by.is_empty() {
                    self.needed_by.remove(id);
                }
            }
            self.before.entry(id.clone()).or_default().insert(workload.clone());
            self.lingering.insert(id.clone());
        }
        match now {
            Some(now) => {
                for id in now.keys() {
                    self.needed_by.entry(id.clone()).or_default().insert(workload.clone());
                }
                let of = self.by_namespace.entry(workload.namespace.clone()).or_default();
                of.insert(workload.clone());
                self.workloads.insert(workload.clone(), now);
            }
            None => {
                if let Some(of) = self.by_namespace.get_mut(&workload.namespace) {
                    of.remove(workload);
                    if of.is_empty() {
                        self.by_namespace.remove(&workload.namespace);
                    }
                }
                self.told.remove(workload);
            }
        }
        !same
    }

    /// What a workload needs; nothing where it takes nothing along.
    pub(super) fn needs(&self, workload: &ObjectId) -> Option<&BTreeMap<ObjectId, Need>> {
        self.workloads.get(workload)
    }

    /// How a workload needs an object.
    pub(super) fn need(&self, workload: &ObjectId, id: &ObjectId) -> Option<&Need> {
        self.workloads.get(workload)?.get(id)
    }

    /// Everything that may need others.
    pub(super) fn workloads(&self) -> impl Iterator<Item = &ObjectId> {
        self.workloads.keys()
    }

    /// The workloads that need an object.
    pub(super) fn needed_by(&self, id: &ObjectId) -> impl Iterator<Item = &ObjectId> {
        self.needed_by.get(id).into_iter().flatten()
    }

    /// Whether a workload needs an object.
    pub(super) fn is_needed(&self, id: &ObjectId) -> bool {
        self.needed_by.contains_key(id)
    }

    /// Everything that workloads need.
    pub(super) fn all(&self) -> impl Iterator<Item = &ObjectId> {
        self.needed_by.keys()
    }

    /// The workloads that needed an object and may still run with it; `None` where that isn't known, which means any of its
    /// namespace.
    pub(super) fn used_by(&self, id: &ObjectId) -> Option<&BTreeSet<ObjectId>> {
        static NOBODY: BTreeSet<ObjectId> = BTreeSet::new();
        (!self.unexplained.contains(id)).then(|| self.before.get(id).unwrap_or(&NOBODY))
    }

    /// Whether an object stays somewhere only as long as workloads there haven't gone on.
    pub(super) fn lingers(&mut self, id: &ObjectId, somewhere: bool) {
        if somewhere {
            self.lingering.insert(id.clone());
        } else {
            self.lingering.remove(id);
            self.before.remove(id);
            self.unexplained.remove(id);
        }
    }

    /// Objects that may be there without being needed.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = &ObjectId> {
        self.unexplained.union(&self.lingering)
    }

    /// What may have to be told that a workload was settled: all that it needs where it is somewhere else than when they were
    /// told last, and what stays only as long as it may still run with it.
    pub(super) fn followers(&mut self, workload: &ObjectId, at: BTreeSet<String>) -> Vec<ObjectId> {
        let waits = |id: &&ObjectId| {
            id.namespace == workload.namespace
                && match self.used_by(id) {
                    None => !follows(workload.group(), &workload.kind),
                    Some(users) => users.contains(workload),
                }
        };
        let mut tell: Vec<ObjectId> = self.lingering.iter().filter(waits).cloned().collect();
        if let Some(needs) = self.workloads.get(workload)
            && self.told.get(workload) != Some(&at)
        {
            tell.extend(needs.keys().cloned());
            self.told.insert(workload.clone(), at);
        }
        tell
    }

    /// What a workload needs is told anew when it is settled.
    pub(super) fn tell_again(&mut self, workload: &ObjectId) {
        self.told.remove(workload);
    }

    /// The kinds of which objects are, or may be, needed, with the version that is asked for.
    pub(super) fn kinds(&self) -> BTreeMap<GroupKind, String> {
        let needed = |(group, version, kind): &(&str, &str, &str)| {
            let api_version =
                if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
            let first = ObjectId::new(api_version, *kind, "", "");
            let any = self.needed_by.range(first.clone()..).next();
            let named =
                any.is_some_and(|(id, _)| id.kind == first.kind && id.api_version == first.api_version);
            named || (is_found_by_content(&first) && !self.workloads.is_empty())
        };
        let kinds = KINDS.iter().filter(|kind| needed(kind));
        kinds
            .map(|(group, version, kind)| (((*group).to_owned(), (*kind).to_owned()), (*version).to_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(api_version: &str, kind: &str, name: &str) -> ObjectId {
        let (api_version, kind, name) = (api_version.to_owned(), kind.to_owned(), name.to_owned());
        ObjectId::new(api_version, kind, "demo", name)
    }

    fn need(id: &ObjectId, by: &ObjectId) -> Need {
        let (id, named_by) = (id.clone(), by.clone());
        Need::everywhere(Dependent { id, named_by, place: String::new(), optional: false, found: true })
    }

    /// Broken: two ConfigMaps that stay only until a workload has gone on wake each other for ever, and nothing else of their
    /// namespace is looked at.
    #[test]
    fn what_stays_for_a_while_is_told_by_those_who_used_it_only() {
        let web = id("apps/v1", "Deployment", "web");
        let (first, second) = (id("v1", "ConfigMap", "first"), id("v1", "ConfigMap", "second"));
        let mut dependents = Dependents::default();
        dependents.set(&web, Some(vec![need(&first, &web), need(&second, &web)]));
        dependents.set(&web, Some(Vec::new()));
        dependents.lingers(&first, true);
        dependents.lingers(&second, true);
        assert_eq!(dependents.followers(&web, BTreeSet::new()), [first.clone(), second.clone()]);
        assert!(dependents.followers(&first, BTreeSet::new()).is_empty());
        // Who used it before this process began isn't known.
        let third = id("v1", "Secret", "third");
        dependents.on_record(&third);
        dependents.lingers(&third, true);
        let other = id("apps/v1", "Deployment", "other");
        assert_eq!(dependents.followers(&other, BTreeSet::new()), [third]);
        assert!(dependents.followers(&second, BTreeSet::new()).is_empty());
    }
}
