//! `local user`: kubeconfigs for people who aren't the administrator.
//!
//! A user is nothing but a certificate that the local authority has signed: name and groups stand in it, and the
//! cluster's RBAC objects say what they may do. The API server keeps no list of users, and can't take one back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_apiserver::pki::{Authority, ClientFacts};
use serde_json::{Value, json};

use super::folder::Folder;
use crate::args::{UserAddArgs, UserArgs, UserCommand, UserNameArgs};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::table::Table;

/// Behind the name of a user's file.
const SUFFIX: &str = ".kubeconfig";
/// The longest name that a certificate takes (X.520).
const LONGEST: usize = 64;

pub(super) fn run(environment: &Environment, arguments: &UserArgs) -> Outcome {
    match &arguments.command {
        UserCommand::Add(add) => self::add(environment, add),
        UserCommand::List(data) => list(environment, &existing(environment, &data.data)?),
        UserCommand::Remove(remove) => self::remove(environment, remove),
    }
}

fn add(environment: &Environment, arguments: &UserAddArgs) -> Outcome {
    let (name, groups) = (arguments.name.as_str(), &arguments.groups);
    check_name(name)?;
    groups.iter().try_for_each(|group| check_group(group))?;
    let folder = existing(environment, &arguments.data.data)?;
    let file = file_of(name);
    let path = folder.path().join(&file);
    if let Some(text) = folder.read(&file)? {
        let until = user_in(&text).map(|(_, facts)| format!(" (good until {})", facts.expires));
        return Err(Failure::refused(format!(
            "{} exists already{}; use it, or remove it first: {} local user remove {name}",
            path.display(),
            until.unwrap_or_default(),
            environment.called.as_str(),
        )));
    }
    let failed = |error: fleet_apiserver::pki::PkiError| Failure::failed(error.to_string());
    let admin = administrators(environment, &folder)?;
    let authority = Authority::open(&folder.pki(), environment.now()).map_err(failed)?;
    let issued =
        authority.issue_client_for(name, groups, arguments.expires, environment.now()).map_err(failed)?;
    let credentials = json!({
        "client-certificate-data": STANDARD.encode(&issued.certificate_pem),
        "client-key-data": STANDARD.encode(&issued.key_pem),
    });
    write(&folder, name, &credentials, &admin, None)?;
    let ends = ClientFacts::read(&issued.certificate_pem).map(|facts| facts.expires.to_string());
    let ends = ends.unwrap_or_default();
    let of = if groups.is_empty() { String::new() } else { format!(" of {}", groups.join(", ")) };
    let whom = match groups.first() {
        Some(group) => format!("--group={group}"),
        None => format!("--user={name}"),
    };
    let text = format!(
        "{path}: user {name}{of}, good until {ends}; it can't be taken back before\n\n\
        {name} may ask what there is, and nothing else. As the administrator, give rights, for example:\n  \
        kubectl create rolebinding {name}-views    -n demo --clusterrole=view {whom}\n  \
        kubectl create rolebinding {name}-edits    -n demo --clusterrole=edit {whom}\n  \
        kubectl create rolebinding {name}-approves -n demo --clusterrole=fleetctl-approver {whom}  # the verb approve on applications\n  \
        kubectl create clusterrolebinding {name}-sees-members --clusterrole=fleetctl-fleet-viewer {whom}\n\
        and look at them: kubectl auth can-i --list -n demo --as={name}\n",
        path = path.display(),
    );
    environment.streams.print(&text)
}

fn list(environment: &Environment, folder: &Folder) -> Outcome {
    let mut table = Table::new(["NAME", "GROUPS", "EXPIRES", "KUBECONFIG"]);
    for file in files(folder)? {
        let Some(text) = folder.read(&file)? else { continue };
        let path = folder.path().join(&file).display().to_string();
        match user_in(&text) {
            Some((_, facts)) => {
                let own = |group: &&String| *group != "system:authenticated";
                let groups: Vec<&str> =
                    facts.identity.groups.iter().filter(own).map(String::as_str).collect();
                let over = if facts.expires <= environment.now() { " (expired)" } else { "" };
                let expires = format!("{}{over}", facts.expires);
                table.row([facts.identity.user.as_str(), &groups.join(","), &expires, &path]);
            }
            None => {
                table.row([file.strip_suffix(SUFFIX).unwrap_or(&file), "", "no certificate in it", &path])
            }
        }
    }
    environment.streams.print(&table.to_string())
}

fn remove(environment: &Environment, arguments: &UserNameArgs) -> Outcome {
    let folder = existing(environment, &arguments.data.data)?;
    let name = arguments.name.as_str();
    check_name(name)?;
    let file = file_of(name);
    let Some(text) = folder.read(&file)? else {
        let all = files(&folder)?;
        let known: Vec<&str> = all.iter().filter_map(|file| file.strip_suffix(SUFFIX)).collect();
        let advice = crate::nearest::advice(name, &known, "users");
        return Err(Failure::not_found(format!("no user {name:?} in {}{advice}", folder.path().display())));
    };
    let path = folder.path().join(&file);
    std::fs::remove_file(&path).map_err(|error| Failure::file(&path, &error))?;
    environment.streams.line(&format!("removed {}", path.display()))?;
    if let Some((_, facts)) = user_in(&text).filter(|(_, facts)| facts.expires > environment.now()) {
        environment.streams.line(&format!(
            "a certificate can't be taken back: whoever has a copy is {name} until {}; take the rights away, which counts at once: kubectl get rolebindings,clusterrolebindings -A -o wide | grep {name}",
            facts.expires
        ))?;
    }
    Ok(())
}

/// Gives the users' kubeconfigs the contexts that the administrator's has now: after a change of the port, or of
/// who is a member. What can't be read is left as it is.
pub(super) fn refresh(folder: &Folder) -> Outcome {
    let Some(admin) = folder.read("kubeconfig")?.and_then(|text| parse(&text)) else { return Ok(()) };
    for file in files(folder)? {
        let Some(text) = folder.read(&file)? else { continue };
        let (Some((credentials, facts)), before) = (user_in(&text), parse(&text)) else { continue };
        if file_of(&facts.identity.user) == file {
            write(folder, &facts.identity.user, &credentials, &admin, before.as_ref())?;
        }
    }
    Ok(())
}

/// The data folder, if a fleet was ever started in it.
fn existing(environment: &Environment, path: &std::path::Path) -> Outcome<Folder> {
    let folder = Folder::at(path)?;
    if folder.exists()? {
        return Ok(folder);
    }
    let (called, shown) = (environment.called.as_str(), folder.path().display());
    Err(Failure::not_found(format!(
        "{shown} is no data folder of a fleet; name another one with --data, or start one: {called} local up --detach --data {shown}"
    )))
}

/// The administrator's kubeconfig, which is there once the authority is.
fn administrators(environment: &Environment, folder: &Folder) -> Outcome<Value> {
    let config = folder.read("kubeconfig")?.and_then(|text| parse(&text));
    match config.filter(|_| folder.pki().join("ca.crt").exists()) {
        Some(config) => Ok(config),
        None => {
            let (called, shown) = (environment.called.as_str(), folder.path().display());
            Err(Failure::refused(format!(
                "{shown} has no certificate authority yet; start the fleet once: {called} local up --detach --data {shown}"
            )))
        }
    }
}

fn file_of(name: &str) -> String {
    format!("{name}{SUFFIX}")
}

fn files(folder: &Folder) -> Outcome<Vec<String>> {
    let entries = std::fs::read_dir(folder.path()).map_err(|error| Failure::file(folder.path(), &error))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(SUFFIX)).collect();
    names.sort();
    Ok(names)
}

fn check_name(name: &str) -> Outcome {
    let refuse = |why: &str| Err(Failure::usage(format!("{name:?} can't be a user's name: {why}")));
    if name.starts_with("system:") {
        return refuse("names with system: are Kubernetes' own; choose another one, such as ann");
    }
    if name.starts_with("fleetctl-") {
        return refuse("names with fleetctl- are this program's own; choose another one, such as ann");
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '+' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(fits) {
        return refuse(
            "use letters, digits and . _ @ + -, a letter or digit first, as in ann or ann@example.org",
        );
    }
    if name.len() > LONGEST {
        return refuse("a certificate takes 64 characters at most");
    }
    Ok(())
}

fn check_group(group: &str) -> Outcome {
    let refuse = |why: &str| Err(Failure::usage(format!("--groups: {group:?} can't be a group: {why}")));
    if group == fleet_apiserver::Identity::MASTERS {
        return refuse(
            "who is in it may do everything until the certificate ends, whatever the rules say; bind the role instead: kubectl create clusterrolebinding … --clusterrole=cluster-admin",
        );
    }
    if group.starts_with("system:") {
        return refuse("groups with system: are Kubernetes' own; choose another one, such as team-web");
    }
    if group.is_empty()
        || group.len() > LONGEST
        || group.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return refuse("a group has 1 to 64 characters without blanks, as in team-web or team:web");
    }
    Ok(())
}

fn parse(text: &str) -> Option<Value> {
    serde_saphyr::from_str::<Value>(text).ok().filter(Value::is_object)
}

/// The credentials in a user's kubeconfig, and what their certificate says.
fn user_in(text: &str) -> Option<(Value, ClientFacts)> {
    let config = parse(text)?;
    let credentials = config.pointer("/users/0/user")?;
    let certificate = credentials.get("client-certificate-data")?.as_str()?;
    let certificate = String::from_utf8(STANDARD.decode(certificate).ok()?).ok()?;
    Some((credentials.clone(), ClientFacts::read(&certificate)?))
}

/// Writes a user's kubeconfig: the clusters and contexts of the fleet as the administrator's has them, with other
/// credentials. What the user has set in `before` stays: the current context, and namespaces.
fn write(folder: &Folder, name: &str, credentials: &Value, admin: &Value, before: Option<&Value>) -> Outcome {
    let list = |config: &Value, key: &str| -> Vec<Value> {
        config.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let text =
        |value: &Value, at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    // Others that a person has put into the administrator's file are no part of the fleet.
    let ours =
        |context: &&Value| text(context, "/context/user") == format!("{}-admin", text(context, "/name"));
    let mut contexts: Vec<Value> = Vec::new();
    for context in list(admin, "contexts").iter().filter(ours) {
        let context_name = text(context, "/name");
        let own = before.map(|before| list(before, "contexts")).unwrap_or_default();
        let own = own
            .iter()
            .find(|own| text(own, "/name") == context_name)
            .map(|own| text(own, "/context/namespace"));
        let namespace =
            own.filter(|own| !own.is_empty()).unwrap_or_else(|| text(context, "/context/namespace"));
        contexts.push(json!({
            "name": context_name,
            "context": {"cluster": text(context, "/context/cluster"), "user": name, "namespace": namespace},
        }));
    }
    let has = |key: &str, wanted: &str| contexts.iter().any(|context| text(context, key) == wanted);
    let clusters: Vec<Value> = list(admin, "clusters")
        .into_iter()
        .filter(|cluster| has("/context/cluster", &text(cluster, "/name")))
        .collect();
    let current = before.map(|before| text(before, "/current-context")).unwrap_or_default();
    let current = if has("/name", &current) { current.as_str() } else { fleet_apiserver::ApiServer::HUB };
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": current,
        "clusters": clusters, "contexts": contexts, "users": [{"name": name, "user": credentials}],
    });
    let config = crate::yaml::write(&config).map_err(Failure::failed)?;
    folder.write(&file_of(name), &config)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody would pass for the system, or a file would land outside the folder.
    #[test]
    fn names_that_mean_something_else_are_refused() {
        for good in ["ann", "Ann.B", "ann@example.org", "a-b_c+d", "7"] {
            check_name(good).unwrap();
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            "system:masters",
            "system:serviceaccount:a:b",
            "fleetctl-admin",
            "../x",
            ".x",
            "a/b",
            "a b",
            "-a",
            "ä",
            &long,
        ] {
            let failure = check_name(bad).unwrap_err();
            assert_eq!(failure.exit.code(), 2, "{bad}");
        }
        for good in ["team", "team:web", "Ä"] {
            check_group(good).unwrap();
        }
        for bad in ["", "system:masters", "system:nodes", "a b", "a\nb", &long] {
            assert_eq!(check_group(bad).unwrap_err().exit.code(), 2, "{bad}");
        }
        assert!(check_group("system:masters").unwrap_err().message.contains("cluster-admin"));
    }
}
