//! What is known of one object and of each place where it is, or is to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::{ObjectId, Remembered};
use fleet_json::{Compact, ContentHash};
use fleet_placement::{Hold, Placed};
use fleet_propagation::PolicyId;
use fleet_render::OverriderProblem;
use jiff::Timestamp;
use tokio::time::Instant;

use super::full::NoRoom;
use super::policies::recorded;

/// An object that is distributed, or was.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// What goes on record beside where it may be, which its places tell.
    pub(super) remembered: Remembered,
    /// What was last put on record of it, or is about to be.
    pub(super) on_record: OnRecord,
    /// Its policy is gone, and the definition of that kind stood after that: somebody deleted the policy.
    pub(super) policy_deleted: bool,
    /// No policy had it when all were read, after its own let it go.
    pub(super) untaken: bool,
    /// The Application that carries it, as recorded.
    pub(super) recorded_stage: Option<String>,
    /// Its places.
    pub(super) places: BTreeMap<String, Box<Place>>,
    /// Why it isn't placed as it should be: code and words.
    pub(super) shortfall: Option<(String, String)>,
    /// Override policies that change it, or can't: by policy, the clusters, and what is to be told.
    pub(super) overridden: BTreeMap<String, Overridden>,
    /// Nothing that its places show changes what is decided: no move is under way, and nothing was left out.
    pub(super) at_rest: bool,
    /// As it stands on clusters that no override policy is about.
    pub(super) plain: Plain,
    /// Replicas for which clusters have no room.
    pub(super) no_room: BTreeMap<String, NoRoom>,
    /// When to decide again even if nothing happens.
    pub(super) wake_at: Option<Timestamp>,
}

/// Hashes of what is on record of an object; of nothing where that can't be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OnRecord {
    all: Option<ContentHash>,
    /// What nothing else tells after a restart: what held places have, and what is to stay on members.
    pub(super) stays: Option<ContentHash>,
}

impl OnRecord {
    pub(super) fn of(remembered: &Remembered) -> Self {
        let stays = (&remembered.held, remembered.kept, remembered.preserved);
        Self { all: ContentHash::of(remembered).ok(), stays: ContentHash::of(&stays).ok() }
    }
}

impl Item {
    /// The clusters on which it may be, on record or about to be.
    pub(super) fn at(&self) -> impl Iterator<Item = &String> {
        self.places.iter().filter(|(_, place)| place.may_have()).map(|(cluster, _)| cluster)
    }

    pub(super) fn is_at(&self, cluster: &str) -> bool {
        self.places.get(cluster).is_some_and(|place| place.may_have())
    }

    /// A policy has it from now on.
    pub(super) fn is_had_by(&mut self, policy: &PolicyId) {
        self.remembered.policy = Some(recorded(policy));
        self.remembered.orphaned = false;
        self.policy_deleted = false;
    }

    pub(super) fn is_nowhere(&self) -> bool {
        self.at().next().is_none()
    }

    /// These override policies changed it on a cluster, with these warnings.
    pub(super) fn was_overridden(
        &mut self,
        cluster: &str,
        changed_by: Vec<String>,
        warnings: &[OverriderProblem],
    ) {
        for policy in changed_by {
            self.overridden.entry(policy).or_default().clusters.insert(cluster.to_owned());
        }
        for warning in warnings {
            self.overridden.entry(warning.policy.clone()).or_default().warns(warning);
        }
    }

    /// What was to leave stays for now; what a request under way takes away is on its way out, whatever is decided.
    pub(super) fn leaves_not_yet(&mut self) {
        for place in self.places.values_mut() {
            let goes = matches!(place.under_way, Some(Goal::Leave { .. }));
            if matches!(place.goal, Goal::Leave { .. }) && !goes {
                place.goal = Goal::Stay;
            }
        }
    }

    /// Whether everything is on record of where it may be.
    pub(super) fn is_recorded(&self) -> bool {
        self.places.values().all(|place| place.listed != Listed::Soon)
    }
}

/// Where an object was placed, as it is remembered.
pub(super) fn placed(remembered: &Remembered) -> Placed {
    Placed {
        group: remembered.group.clone(),
        shares: remembered.shares.clone(),
        ceilings: remembered.ceilings.clone(),
    }
}

/// An object is placed so from now on.
pub(super) fn remember(remembered: &mut Remembered, placed: Placed) {
    remembered.group = placed.group;
    remembered.shares = placed.shares;
    remembered.ceilings = placed.ceilings;
}

/// An object as it stands where no override policy is about it: the same for all clusters with as many replicas.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// What it was made from.
    pub(super) from: Option<Compact>,
    /// With the replicas that it has there, where they are divided.
    pub(super) made: Vec<Arc<Standing>>,
}

/// What an override policy does to an object.
#[derive(Debug, Default, Clone)]
pub(super) struct Overridden {
    pub(super) clusters: BTreeSet<String>,
    told: BTreeSet<Remark>,
}

/// What is told of an override. In order: what can't be made, then what was made and isn't as it seems to say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Remark {
    made: bool,
    message: String,
    code: String,
}

/// So much is told of what one policy does to one object.
const REMARKS: usize = 10;

impl Overridden {
    /// It can't be made on a cluster.
    pub(super) fn fails(&mut self, cluster: &str, code: &str, message: String) {
        self.clusters.insert(cluster.to_owned());
        self.told.insert(Remark { made: false, message, code: code.to_owned() });
    }

    /// It isn't as it seems to say.
    fn warns(&mut self, warning: &OverriderProblem) {
        let message = format!("{}: {}", warning.place, warning.message);
        self.told.insert(Remark { made: true, message, code: warning.code.to_owned() });
    }

    /// All that is to be told, each once whatever the clusters: the code of the first, and the words. What has another code
    /// says it in its words.
    pub(super) fn told(&self) -> Option<(String, String)> {
        let first = self.told.first()?;
        let one = |remark: &Remark| match remark.code == first.code {
            true => remark.message.clone(),
            false => format!("{}: {}", remark.code, remark.message),
        };
        let mut said: Vec<String> = self.told.iter().take(REMARKS).map(one).collect();
        let more = self.told.len().saturating_sub(REMARKS);
        said.extend((more > 0).then(|| format!("and {more} more")));
        Some((first.code.clone(), said.join("; ")))
    }
}

/// What a place is to do.
#[derive(Debug, Clone, Default)]
pub(super) enum Goal {
    /// Nothing: what is there stays.
    #[default]
    Stay,
    /// The object stands there so.
    Stand(Arc<Standing>),
    /// An Application carries it: it stands there so once that has rolled out; nothing where it leaves.
    Carried(Option<Arc<Standing>>),
    /// It leaves: deleted, or released as nobody's.
    Leave { released: bool },
}

/// An object as it is to stand somewhere.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// Without our labels unless it is from a record, so that what nothing changes is the hub's own copy.
    pub(super) object: Compact,
    /// Hash of that, as it stands in a label of ours.
    pub(super) content: String,
    /// What is there already and nobody's is taken over.
    pub(super) takes_over: bool,
    /// The replicas that it has there, where they are divided.
    pub(super) replicas: Option<u64>,
}

/// What is the matter with a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matter {
    /// A code in CamelCase.
    pub(super) reason: String,
    /// Place, cause, next step.
    pub(super) message: String,
    /// It doesn't go away by itself.
    pub(super) lasts: bool,
}

impl Matter {
    pub(super) fn lasting(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into(), lasts: true }
    }

    pub(super) fn passing(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into(), lasts: false }
    }
}

/// Whether the inventory lists an object on a cluster: only there it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Listed {
    #[default]
    No,
    /// It is about to: nothing is sent before it does.
    Soon,
    Yes,
}

/// An object on a cluster.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) listed: Listed,
    pub(super) goal: Goal,
    /// The mask or suspension keeps it as it is.
    pub(super) held: Option<Hold>,
    /// Why it isn't to change, where something of the policies is wrong.
    pub(super) kept: Option<Matter>,
    /// What hindered the last request.
    pub(super) matter: Option<Matter>,
    /// What is told of its health.
    pub(super) unwell: Option<Matter>,
    /// The autoscaler there to which its replicas are left, as of the last delivery.
    pub(super) scaled_by: Option<String>,
    /// What a move waits for.
    pub(super) waits: Option<String>,
    /// It is as it is to be, as far as is seen.
    pub(super) met: bool,
    /// What a request that is under way is to do there.
    pub(super) under_way: Option<Goal>,
    /// A request waits for its turn.
    pub(super) queued: bool,
    /// Hash over the fields that were ours after the last delivery.
    pub(super) left: Option<u64>,
    /// What was delivered last, where that is known.
    pub(super) last: Option<Arc<Standing>>,
    /// What the Application delivered there last that carried it, until something else is delivered.
    pub(super) carried: Option<Arc<Standing>>,
    /// It is a namespace that leaves, and something is in it: since when.
    pub(super) leaves_since: Option<Instant>,
    /// How often a request failed in a row.
    pub(super) tries: u32,
    /// Nothing is sent before.
    pub(super) not_before: Option<Instant>,
    /// How often it was put right shortly after another time, and when last.
    pub(super) repairs: (u32, Option<Instant>),
}

impl Place {
    /// Whether it is to be there no more.
    pub(super) fn leaves(&self) -> bool {
        match &self.goal {
            Goal::Leave { .. } => true,
            Goal::Carried(standing) => standing.is_none() && self.kept.is_none(),
            Goal::Stay | Goal::Stand(_) => false,
        }
    }

    /// Whether the object may be there.
    pub(super) fn may_have(&self) -> bool {
        self.listed != Listed::No
    }

    /// The object may be there from now on.
    pub(super) fn list(&mut self) {
        if self.listed == Listed::No {
            self.listed = Listed::Soon;
        }
    }

    /// What hindered it says nothing about a new goal.
    pub(super) fn begin_anew(&mut self) {
        self.matter = None;
        self.leaves_since = None;
        self.tries = 0;
        self.not_before = None;
    }
}

/// The objects.
pub(super) type Items = BTreeMap<ObjectId, Box<Item>>;
