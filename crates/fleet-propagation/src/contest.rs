//! Which of several policies takes an object.
//!
//! 1. The policy that has it keeps it, as long as it selects it. Another takes it only with `preemption: Always` and a
//!    higher rank; precision and name don't count for that.
//! 2. Of those that may take an object that nobody has, the first is the one that is namespaced, then of higher
//!    priority, then the more precise one, then the one whose name comes first.
//!
//! Source: Karmada's `pkg/detector` (rules of `PropagationPolicy`), so that manifests mean the same here.

use std::cmp::{Ordering, Reverse};

use fleet_api::propagation::GROUPS;

use crate::policy::{Policy, PolicyId};
use crate::selector::Precision;

/// A policy that selects an object.
#[derive(Debug, Clone, Copy)]
pub struct Contender<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// How precisely it selects the object.
    pub precision: Precision,
}

/// Why a policy that selects an object doesn't take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// An Application refers to the object and delivers it.
    OwnedByApplication(String),
    /// The policy has errors and takes nothing new.
    NotActing,
    /// A namespaced policy goes first.
    ClusterScoped,
    /// The winner's priority is higher.
    LowerPriority {
        /// Its own.
        own: i32,
        /// The winner's.
        theirs: i32,
    },
    /// The winner selects more precisely.
    LessPrecise,
    /// The winner's name comes first.
    LaterName,
    /// It would win, but the other had the object before. Whether a `preemption: Always` would be enough.
    AlreadyClaimed {
        /// It outranks the other, and only has to say that it preempts.
        outranks: bool,
    },
}

impl Lost {
    /// A code that a script can match.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OwnedByApplication(_) => "OwnedByApplication",
            Self::NotActing => "PolicyInvalid",
            Self::ClusterScoped => "ClusterScoped",
            Self::LowerPriority { .. } => "LowerPriority",
            Self::LessPrecise => "LessPrecise",
            Self::LaterName => "LaterName",
            Self::AlreadyClaimed { .. } => "AlreadyClaimed",
        }
    }

    /// Why, and the way out. `winner` is who takes the object.
    #[must_use]
    pub fn message(&self, winner: Option<&PolicyId>) -> String {
        let winner = winner.map_or_else(|| "nobody".to_owned(), ToString::to_string);
        match self {
            Self::OwnedByApplication(application) => format!(
                "Application {application} refers to it and delivers it; take it out of the one or the other"
            ),
            Self::NotActing => "the policy has errors and takes nothing new; see its problems".to_owned(),
            Self::ClusterScoped => format!(
                "{winner} is namespaced and goes first, whatever the priorities; narrow its selectors to let it go"
            ),
            Self::LowerPriority { own, theirs } => {
                format!(
                    "{winner} has priority {theirs}, this one {own}; raise it above, with preemption: Always"
                )
            }
            Self::LessPrecise => format!(
                "{winner} has the same priority and selects more precisely; raise the priority, with preemption: Always"
            ),
            Self::LaterName => format!(
                "{winner} has the same priority and precision, and a name that comes first; raise the priority, with \
                 preemption: Always"
            ),
            Self::AlreadyClaimed { outranks: true } => {
                format!("{winner} had it before; set preemption: Always to take it over")
            }
            Self::AlreadyClaimed { outranks: false } => {
                format!(
                    "{winner} had it before; raise the priority and set preemption: Always to take it over"
                )
            }
        }
    }
}

/// What one policy is before another by, when an object is taken away: scope and priority.
fn rank(policy: &Policy) -> (bool, i32) {
    (policy.id.kind.namespaced(), policy.priority)
}

impl Contender<'_> {
    /// Greater is better.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let group = |contender: &Self| GROUPS.iter().position(|group| *group == contender.policy.id.group);
        let names = |contender: &Self| (contender.policy.id.name.clone(), group(contender));
        rank(self.policy)
            .cmp(&rank(other.policy))
            .then(self.precision.cmp(&other.precision))
            .then_with(|| Reverse(names(self)).cmp(&Reverse(names(other))))
    }
}

/// The policy that takes an object. `holder` has it; a holder that isn't acted on keeps it whatever it selects.
/// `application` delivers it, where there is one: it goes before policies, but takes nothing away.
#[must_use]
pub fn winner<'a>(
    contenders: &[Contender<'a>],
    holder: Option<&'a Policy>,
    application: Option<&str>,
) -> Option<&'a Policy> {
    let acting = || contenders.iter().filter(|contender| contender.policy.acts);
    let best = |some: &mut dyn Iterator<Item = &Contender<'a>>| {
        some.max_by(|a, b| a.order(b)).map(|contender| contender.policy)
    };
    let holds = holder
        .filter(|holder| !holder.acts || contenders.iter().any(|contender| contender.policy.id == holder.id));
    match holds {
        Some(holder) => {
            let above = |contender: &&Contender<'a>| {
                contender.policy.preempts && rank(contender.policy) > rank(holder)
            };
            Some(best(&mut acting().filter(above)).unwrap_or(holder))
        }
        None if application.is_some() => None,
        None => best(&mut acting()),
    }
}

/// Why a contender lost.
#[must_use]
pub fn why_lost(
    contender: &Contender<'_>,
    winner: Option<(&Policy, Option<Precision>)>,
    application: Option<&str>,
) -> Lost {
    if !contender.policy.acts {
        return Lost::NotActing;
    }
    let Some((winner, precision)) = winner else {
        return application
            .map_or(Lost::NotActing, |application| Lost::OwnedByApplication(application.to_owned()));
    };
    let (own, theirs) = (rank(contender.policy), rank(winner));
    // A holder that isn't acted on may not select the object at all any more.
    let other = precision.map(|precision| Contender { policy: winner, precision });
    if other.is_none_or(|other| contender.order(&other) == Ordering::Greater) {
        return Lost::AlreadyClaimed { outranks: own > theirs };
    }
    if own.0 != theirs.0 {
        Lost::ClusterScoped
    } else if own.1 != theirs.1 {
        Lost::LowerPriority { own: own.1, theirs: theirs.1 }
    } else if Some(contender.precision) != precision {
        Lost::LessPrecise
    } else {
        Lost::LaterName
    }
}
