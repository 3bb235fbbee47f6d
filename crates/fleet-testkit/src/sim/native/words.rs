//! How scripts about policies are printed.

use std::collections::BTreeSet;
use std::fmt;

use super::{Act, Places, Selects, object_name, override_kind, policy_kind};
use crate::sim::wanted::member_name;

fn objects(objects: &BTreeSet<usize>) -> String {
    let names: Vec<String> = objects.iter().map(|object| object_name(*object)).collect();
    names.join("+")
}

fn members(members: &BTreeSet<usize>) -> String {
    let names: Vec<String> = members.iter().map(|member| member_name(*member)).collect();
    if names.is_empty() { "nowhere".to_owned() } else { names.join("+") }
}

impl fmt::Display for Selects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(names) => f.write_str(&objects(names)),
            Self::Deployments => f.write_str("all Deployments"),
            Self::Marked => f.write_str("what is marked"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object, None) => write!(f, "{} is deleted from the hub", object_name(*object)),
            Self::Object(object, Some(source)) => {
                write!(f, "{} is applied: value {}, ", object_name(*object), source.value)?;
                write!(f, "{} replicas{}", source.replicas, if source.marked { ", marked" } else { "" })
            }
            Self::Policy(policy, None) => write!(f, "pol{policy} is deleted"),
            Self::Policy(policy, Some(wanted)) => {
                let (_, kind, _) = policy_kind(*policy);
                write!(f, "pol{policy} ({kind}) is applied: {} to ", wanted.selects)?;
                match &wanted.places {
                    Places::Names(names) => f.write_str(&members(names))?,
                    Places::Near => f.write_str("what is near")?,
                    Places::All => f.write_str("all")?,
                }
                if let Some(weights) = wanted.weights {
                    write!(f, ", divided {weights:?}")?;
                }
                if let Some(mask) = &wanted.mask {
                    write!(f, ", mask {}", members(mask))?;
                }
                write!(f, ", priority {}", wanted.priority)?;
                for (says, what) in [
                    (wanted.preempts, "preempts"),
                    (!wanted.prunes, "doesn't prune"),
                    (wanted.preserves, "preserves"),
                    (wanted.overwrites, "overwrites"),
                ] {
                    if says {
                        write!(f, ", {what}")?;
                    }
                }
                Ok(())
            }
            Self::Override(policy, None) => write!(f, "ov{policy} is deleted"),
            Self::Override(policy, Some(wanted)) => {
                let (_, kind, _) = override_kind(*policy);
                let (selects, clusters) = (&wanted.selects, members(&wanted.clusters));
                write!(f, "ov{policy} ({kind}) is applied: {selects} on {clusters} says {}", wanted.value)
            }
            Self::Label(member, near) => {
                write!(f, "{} is {}", member_name(*member), if *near { "near" } else { "far" })
            }
            Self::Change { object, member, deletes } => {
                let what = if *deletes { "deletes" } else { "changes" };
                write!(f, "somebody {what} {} on {}", object_name(*object), member_name(*member))
            }
        }
    }
}
