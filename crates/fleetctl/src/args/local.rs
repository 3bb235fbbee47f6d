//! `local`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::UserArgs;
use crate::embedded::MemberSpec;
use crate::exit::{Failure, Outcome};

/// Words that mean every member, or the hub.
const RESERVED: [&str; 3] = ["all", "hub", "local"];

/// `local`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl local up --detach")]
pub struct LocalArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LocalCommand,
}

/// `local …`
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Start hub and members, and listen on this machine
    Up(UpArgs),
    /// End them; what they hold stays in the data folder
    #[command(after_help = "Example:\n  fleetctl local down")]
    Down(DataArgs),
    /// Show whether they run
    #[command(after_help = "Example:\n  fleetctl local status")]
    Status(DataArgs),
    /// Make and show kubeconfigs for people
    User(UserArgs),
    /// Stop a member: it doesn't answer any more, as a machine that is down
    #[command(after_help = "Example:\n  fleetctl local stop cluster2-beijing")]
    Stop(MemberArgs),
    /// Let a stopped member answer again
    #[command(after_help = "Example:\n  fleetctl local start cluster2-beijing")]
    Start(MemberArgs),
}

/// Where the data is.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// The data folder
    #[arg(long, value_name = "FOLDER", default_value = "./fleet")]
    pub data: PathBuf,
}

/// `local up`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    fleetctl local up --members mc-bj1=cluster1-beijing,mc-hz1=cluster1-hangzhou --data ./fleet --detach\n  \
    eval \"$(fleetctl local up --detach)\"      # sets KUBECONFIG\n\n\
    Its members run in the hub's process: `cluster detach` refuses them, `cluster cordon` holds one")]
pub struct UpArgs {
    /// Members as NAME or NAME=ALIAS, in the order of joining; else those that the data folder knows, else three
    #[arg(long, value_name = "NAME=ALIAS,…", value_delimiter = ',', value_parser = member)]
    pub members: Vec<MemberSpec>,
    /// Go on in the background once everything is ready
    #[arg(long)]
    pub detach: bool,
    /// The port to listen on; else the one of last time, else a free one
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Keep objects in memory only
    #[arg(long)]
    pub memory: bool,
    /// Sign the end of every record (fleetctl audit) with this key (PEM); made with: openssl genpkey -algorithm ed25519
    #[arg(long, env = "FLEETCTL_AUDIT_KEY", value_name = "FILE", hide_env_values = true)]
    pub audit_key: Option<String>,
    /// How many runs act at once.
    #[command(flatten)]
    pub turns: super::turns::TurnArgs,
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
    /// Say on stdout when it is ready, for the process that started this one.
    #[arg(long, hide = true)]
    pub notify: bool,
}

/// A member.
#[derive(Debug, Clone, Args)]
pub struct MemberArgs {
    /// Its name or alias
    #[arg(value_name = "MEMBER")]
    pub member: String,
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
}

impl UpArgs {
    /// Whether every word that `--members` gives means one member.
    ///
    /// # Errors
    /// The member and the word, in the order of the command line.
    pub(crate) fn check_members(&self) -> Outcome {
        let refuse = |place: usize, member: &MemberSpec, why: String| {
            let alias = member.alias.as_ref().map(|alias| format!("={alias}")).unwrap_or_default();
            let (place, name) = (place + 1, &member.name);
            Err(Failure::usage(format!(
                "--members, entry {place} ({name}{alias}): {why}; choose another one"
            )))
        };
        let mut seen = std::collections::BTreeMap::new();
        for (place, member) in self.members.iter().enumerate() {
            let alias = member.alias.as_ref().filter(|alias| **alias != member.name);
            for (what, word) in
                std::iter::once(("name", &member.name)).chain(alias.map(|alias| ("alias", alias)))
            {
                if RESERVED.contains(&word.as_str()) {
                    return refuse(place, member, format!("the {what} {word:?} has a meaning of its own"));
                }
                if let Some(other) = seen.insert(word, place) {
                    let other = other + 1;
                    let why = format!("the {what} {word:?} is a name or an alias of entry {other} already");
                    return refuse(place, member, why);
                }
            }
        }
        Ok(())
    }
}

fn member(text: &str) -> Result<MemberSpec, String> {
    let (name, alias) = match text.split_once('=') {
        Some((name, alias)) => (name.trim(), Some(alias.trim())),
        None => (text.trim(), None),
    };
    let dns = |name: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !name.is_empty()
            && name.len() <= 63
            && name.chars().all(fits)
            && !name.starts_with('-')
            && !name.ends_with('-')
    };
    if !dns(name) {
        return Err(format!(
            "{name:?} can't name a member; use lower-case letters, digits and '-', as in mc-bj1=cluster1-beijing"
        ));
    }
    if alias.is_some_and(|alias| alias.is_empty() || alias.contains(['=', ' '])) {
        return Err(format!(
            "the alias of {name:?} is empty or has a '=' or blank in it; write NAME=ALIAS,NAME=ALIAS"
        ));
    }
    Ok(MemberSpec { name: name.to_owned(), alias: alias.map(str::to_owned) })
}
