//! `local user`

use std::time::Duration;

use clap::{Args, Subcommand};

use super::DataArgs;

/// The longest time that a certificate is asked for: that of the authority.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);
const SHORTEST: Duration = Duration::from_secs(60);

/// `local user`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl local user add ann")]
pub struct UserArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: UserCommand,
}

/// `local user …`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a kubeconfig for a person: NAME.kubeconfig in the data folder, with the contexts of the fleet
    Add(UserAddArgs),
    /// Show who has a kubeconfig in the data folder
    #[command(visible_alias = "ls", after_help = "Example:\n  fleetctl local user list")]
    List(DataArgs),
    /// Remove a kubeconfig from the data folder; copies stay good until their certificate ends
    #[command(after_help = "Example:\n  fleetctl local user remove ann\n\n\
        Certificates can't be taken back: take the rights away (kubectl delete rolebinding …), which counts at once.")]
    Remove(UserNameArgs),
}

/// `local user add`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    fleetctl local user add ann\n  \
    fleetctl local user add ben --groups team-web,approvers --expires 30d\n\n\
    A new user may ask what there is, and nothing else. Rights come from role bindings, by the user or a group:\n  \
    kubectl create rolebinding ann-edits    -n demo --clusterrole=edit --user=ann\n  \
    kubectl create rolebinding ann-approves -n demo --clusterrole=fleetctl-approver --user=ann\n  \
    kubectl create rolebinding team-views   -n demo --clusterrole=view --group=team-web\n\n\
    Groups stand in the certificate and change only with a new one, as does its end.")]
pub struct UserAddArgs {
    /// The user: letters, digits and . _ @ + -
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Groups that the user is in
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub groups: Vec<String>,
    /// How long the certificate is good, such as 8h or 90d; it can't be taken back before
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = lasts)]
    pub expires: Duration,
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
}

/// A user.
#[derive(Debug, Clone, Args)]
pub struct UserNameArgs {
    /// The user
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
}

/// As other times, and in days.
fn lasts(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let time = match days {
        Some(days) => Duration::from_secs(days.saturating_mul(86_400)),
        None if text.parse::<u64>().is_ok() => {
            return Err(format!("{text:?} has no unit; write it as {text}d or {text}h"));
        }
        None => {
            super::duration(text).map_err(|_| format!("{text:?} is no time; write it as 30d, 8h or 90m"))?
        }
    };
    if (SHORTEST..=LONGEST).contains(&time) {
        Ok(time)
    } else {
        Err(format!("{text:?} is not between 1m and 3650d"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_bounds() {
        assert_eq!(lasts("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(lasts("8h"), Ok(Duration::from_secs(8 * 3600)));
        for bad in [
            "0",
            "30",
            "0d",
            "1s",
            "4000d",
            "99999999999999999999d",
            "0s",
            "0m",
            "0h",
            "0ms",
            "soon",
            "-1d",
            "",
        ] {
            assert!(lasts(bad).is_err(), "{bad}");
        }
    }
}
