//! Credentials from a kubeconfig.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Kubeconfig};
use secrecy::ExposeSecret as _;

use super::credentials::{Credentials, Identity};

/// Reads a context: the named one, the current one, or the only one.
pub(super) fn read(config: &Kubeconfig, context: Option<&str>) -> Result<Credentials, String> {
    let context = match context.or(config.current_context.as_deref()).filter(|name| !name.is_empty()) {
        Some(name) => config
            .contexts
            .iter()
            .find(|known| known.name == name)
            .ok_or_else(|| format!("the kubeconfig has no context {name:?}; it has {}", names(config)))?,
        None => match config.contexts.as_slice() {
            [only] => only,
            [] => return Err("the kubeconfig has no context".to_owned()),
            _ => {
                return Err(format!(
                    "the kubeconfig has the contexts {} and names none as current-context",
                    names(config)
                ));
            }
        },
    };
    let named = &context.name;
    let context = context.context.as_ref().ok_or_else(|| format!("context {named:?} is empty"))?;
    let cluster = config.clusters.iter().find(|known| known.name == context.cluster);
    let cluster = cluster.and_then(|known| known.cluster.as_ref());
    let cluster = cluster.ok_or_else(|| format!("the kubeconfig has no cluster {:?}", context.cluster))?;
    let server =
        cluster.server.as_deref().ok_or_else(|| format!("cluster {:?} has no server", context.cluster))?;
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err("insecure-skip-tls-verify isn't supported; give certificate-authority-data".to_owned());
    }
    let authority = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (Some(data), _) => Some(decoded("certificate-authority-data", data)?),
        (None, Some(_)) => return Err(file("certificate-authority", "certificate-authority-data")),
        (None, None) => None,
    };
    let user = context.user.as_deref().unwrap_or_default();
    let user = config.auth_infos.iter().find(|known| known.name == user);
    let user = user.and_then(|known| known.auth_info.as_ref());
    let user = user.ok_or_else(|| format!("context {named:?} has no user that the kubeconfig knows"))?;
    let read = Credentials::new(server, authority, identity(user)?).map_err(|error| error.to_string())?;
    let read = read.named(cluster.tls_server_name.clone());
    match &cluster.proxy_url {
        Some(proxy) => read.through_proxy(proxy).map_err(|error| error.to_string()),
        None => Ok(read),
    }
}

fn identity(user: &AuthInfo) -> Result<Identity, String> {
    if user.impersonate.is_some() || user.impersonate_groups.is_some() {
        return Err("impersonation in a kubeconfig isn't supported; give the account itself".to_owned());
    }
    if let (Some(certificate), Some(key)) = (&user.client_certificate_data, &user.client_key_data) {
        let certificate = decoded("client-certificate-data", certificate)?;
        let key = decoded("client-key-data", key.expose_secret())?;
        return Ok(Identity::Certificate { certificate, key: key.into() });
    }
    if let Some(token) = &user.token {
        return Ok(Identity::Token(token.clone()));
    }
    if let Some(exec) = &user.exec {
        return Ok(Identity::Plugin(Box::new(exec.clone())));
    }
    if user.client_certificate.is_some() {
        return Err(file("client-certificate", "client-certificate-data"));
    }
    if user.token_file.is_some() {
        return Err(file("tokenFile", "token"));
    }
    Err("its user has neither a client certificate, a token nor an exec plugin".to_owned())
}

fn names(config: &Kubeconfig) -> String {
    let names: Vec<String> = config.contexts.iter().map(|context| format!("{:?}", context.name)).collect();
    names.join(", ")
}

fn file(key: &str, instead: &str) -> String {
    format!(
        "it has {key}, a file that isn't there where it is used; give {instead} (kubectl config view --raw --flatten)"
    )
}

fn decoded(key: &str, base64: &str) -> Result<String, String> {
    let bytes = STANDARD.decode(base64.trim()).map_err(|_| format!("{key} is no base64"))?;
    String::from_utf8(bytes).map_err(|_| format!("{key} is no PEM"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str, user: &str, more: &str) -> Kubeconfig {
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {cluster}}}]\n\
             users: [{{name: u, user: {user}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}{more}]\n"
        );
        Kubeconfig::from_yaml(&text).unwrap()
    }

    /// Each kind of kubeconfig that people have is either read or refused with what to do; no value shows.
    #[test]
    fn kubeconfigs_are_read_or_refused_in_words() {
        let good = "{server: 'https://a:6443', certificate-authority-data: Q0E=}";
        for (cluster, user, more, refused) in [
            (good, "{token: hush}", "", None),
            (good, "{client-certificate-data: Q0E=, client-key-data: aHVzaA==}", "", None),
            (good, "{exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}}", "", None),
            (good, "{token: hush}", ", {name: y, context: {cluster: c, user: u}}", Some("\"x\", \"y\"")),
            (good, "{username: me, password: hush}", "", Some("neither a client certificate")),
            (good, "{tokenFile: /var/run/token}", "", Some("--flatten")),
            ("{server: 'http://a'}", "{token: hush}", "", Some("https://")),
            ("{server: 'https://a', insecure-skip-tls-verify: true}", "{token: hush}", "", Some("insecure")),
            (
                "{server: 'https://a', certificate-authority-data: '%'}",
                "{token: hush}",
                "",
                Some("no base64"),
            ),
        ] {
            match (read(&kubeconfig(cluster, user, more), None), refused) {
                (Ok(read), None) => assert!(!format!("{read:?}").contains("hush")),
                (Err(why), Some(said)) => assert!(why.contains(said) && !why.contains("hush"), "{why}"),
                (other, _) => panic!("{cluster} {user}: {other:?}"),
            }
        }
    }
}
