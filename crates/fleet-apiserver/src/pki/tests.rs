use jiff::{SignedDuration, Timestamp};

use super::{Authority, PkiError, certificate, identity_of};

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn days(count: i64) -> Timestamp {
    now() + SignedDuration::from_hours(24 * count)
}

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A lost group would take rights away, an invented one would give some.
#[test]
fn user_and_every_group_survive_the_certificate() {
    let authority = Authority::in_memory(now()).unwrap();
    for wanted in [groups(&[]), groups(&["system:masters"]), groups(&["a", "zß", "b", "c"])] {
        let issued = authority.issue_client("Zoë, of the hub", &wanted, now()).unwrap();
        let der = certificate::der_of(&issued.certificate_pem).unwrap();
        let identity = identity_of(&der).unwrap();
        assert_eq!(identity.user, "Zoë, of the hub");
        let mut expected = wanted.clone();
        expected.push("system:authenticated".into());
        assert_eq!(identity.groups, expected);
        assert!(authority.client_lasts(&der, now()), "the changed subject must be signed again");
        assert!(issued.belongs_together());
    }
}

/// If the authority changed at a restart, every kubeconfig handed out before would stop working.
#[test]
fn everything_is_kept_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pki");
    let first = Authority::open(&path, now()).unwrap();
    let (server, client) = (
        first.server(&[], now()).unwrap(),
        first.client("hub", "admin", &groups(&["system:masters"]), now()).unwrap(),
    );
    let second = Authority::open(&path, days(300)).unwrap();
    assert_eq!(first.certificate_pem(), second.certificate_pem());
    assert_eq!(second.server(&[], days(300)).unwrap(), server);
    assert_eq!(second.client("hub", "admin", &groups(&["system:masters"]), days(300)).unwrap(), client);
}

#[test]
fn what_is_about_to_end_or_no_longer_fits_is_issued_again() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::open(directory.path(), now()).unwrap();
    let server = authority.server(&[], now()).unwrap();
    let client = authority.client("hub", "admin", &[], now()).unwrap();
    assert_ne!(authority.server(&[], days(340)).unwrap(), server, "25 days left");
    assert_ne!(authority.client("hub", "admin", &[], days(340)).unwrap(), client, "25 days left");
    let client = authority.client("hub", "admin", &[], now()).unwrap();
    assert_ne!(authority.client("hub", "admin", &groups(&["more"]), now()).unwrap(), client);
    let named = authority.server(&["hub.example.org".into(), "10.0.0.5".into()], now()).unwrap();
    assert_eq!(authority.server(&["hub.example.org".into()], now()).unwrap(), named, "fewer names still fit");
    std::fs::write(directory.path().join("server.key"), "scrambled").unwrap();
    assert_ne!(authority.server(&[], now()).unwrap(), named);
    authority.server_config(&authority.server(&[], now()).unwrap()).unwrap();
}

/// The authority's own renewal must not lock out the clients it has signed.
#[test]
fn an_authority_about_to_end_is_renewed_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let first = Authority::open(directory.path(), now()).unwrap();
    let late = days(3640);
    let client = first.issue_client("admin", &[], late).unwrap();
    let second = Authority::open(directory.path(), late).unwrap();
    assert_ne!(first.certificate_pem(), second.certificate_pem());
    assert!(second.client_lasts(&certificate::der_of(&client.certificate_pem).unwrap(), late));
}

#[test]
fn a_damaged_authority_is_refused_with_its_path_and_never_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    Authority::open(directory.path(), now()).unwrap();
    Authority::open(other.path(), now()).unwrap();
    let (key, certificate) = (directory.path().join("ca.key"), directory.path().join("ca.crt"));
    let good = std::fs::read(&key).unwrap();
    let foreign = std::fs::read(other.path().join("ca.key")).unwrap();
    for damage in [Some(b"nonsense".to_vec()), Some(foreign), None] {
        match damage {
            Some(bytes) => std::fs::write(&key, bytes).unwrap(),
            None => std::fs::remove_file(&key).unwrap(),
        }
        let kept = std::fs::read(&certificate).unwrap();
        let error = Authority::open(directory.path(), now()).unwrap_err();
        assert!(matches!(error, PkiError::Authority { .. }), "{error}");
        assert!(error.to_string().contains("ca.") && error.to_string().contains("kubeconfig"), "{error}");
        assert_eq!(std::fs::read(&certificate).unwrap(), kept);
    }
    // A first start that was killed between the two files goes on.
    std::fs::write(&key, good).unwrap();
    std::fs::remove_file(&certificate).unwrap();
    Authority::open(directory.path(), now()).unwrap();
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("hub.unfinished"), "left over").unwrap();
    let authority = Authority::open(directory.path(), now()).unwrap();
    authority.server(&[], now()).unwrap();
    authority.client("hub", "admin", &[], now()).unwrap();
    for name in ["ca.key", "server.key", "hub.key"] {
        let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_name_that_no_certificate_can_carry_is_named() {
    let authority = Authority::in_memory(now()).unwrap();
    for name in ["", "two words", "ünïcode", "a..b"] {
        let error = authority.issue_server(&[name.to_owned()], now()).unwrap_err();
        assert!(matches!(&error, PkiError::Name { name: told } if told == name), "{error}");
    }
}
