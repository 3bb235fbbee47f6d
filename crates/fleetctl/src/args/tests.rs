use super::*;

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    let words: Vec<std::ffi::OsString> = line.split(' ').map(Into::into).collect();
    parse(Called::Fleetctl, &words)
}

/// A mistake in an attribute shows only when the command is built.
#[test]
fn the_command_is_consistent() {
    command(Called::Fleetctl).debug_assert();
}

/// Every command explains itself, with an example where it takes arguments.
#[test]
fn every_help_renders() {
    fn walk(command: &mut clap::Command, seen: &mut Vec<String>) {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Usage:"), "{help}");
        assert!(help.contains("Example") || help.contains("Exit codes"), "no example: {help}");
        seen.push(command.get_name().to_owned());
        for sub in command.get_subcommands_mut() {
            walk(sub, seen);
        }
    }
    let mut seen = Vec::new();
    let mut whole = command(Called::KubectlAmc);
    whole.build();
    walk(&mut whole, &mut seen);
    for name in ["demo", "up", "stop", "get", "plan", "resume", "restart", "completion", "controller"] {
        assert!(seen.iter().any(|s| s.ends_with(name)), "{name} is missing in {seen:?}");
    }
}

/// Scripts are written by this list.
#[test]
fn every_exit_code_is_in_the_help() {
    for (exit, _) in crate::exit::Exit::ALL {
        assert!(EXIT_CODES.contains(&format!(" {} ", exit.code())), "{exit:?}");
    }
}

/// Taken for each other, a member would be joined to itself.
#[test]
fn the_hubs_and_a_members_kubeconfig_are_two() {
    for line in [
        "fleetctl --kubeconfig hub cluster join member --name m",
        "fleetctl cluster rotate m member --keep-credentials --kubeconfig hub",
        "fleetctl cluster rejoin m member --kubeconfig hub",
    ] {
        let cli = parsed(line).unwrap();
        assert_eq!(cli.global.kubeconfig.as_deref(), Some(std::path::Path::new("hub")), "{line}");
        let Command::Cluster(cluster) = cli.command else { panic!("{line}") };
        let member = match cluster.command {
            ClusterCommand::Join(join) => Some(join.kubeconfig),
            ClusterCommand::Rotate(rotate) => rotate.admin.kubeconfig,
            ClusterCommand::Rejoin(rejoin) => rejoin.admin.kubeconfig,
            other => panic!("{other:?}"),
        };
        assert_eq!(member.as_deref(), Some(std::path::Path::new("member")), "{line}");
    }
}

/// The lines of the manual.
#[test]
fn the_documented_lines_parse() {
    for line in [
        "fleetctl demo --yes",
        "fleetctl local up --members mc-bj1=cluster1-beijing,mc-bj2=cluster2-beijing --data ./fleet --detach",
        "fleetctl get managedcluster",
        "fleetctl get deployment web-demo -n demo -m all",
        "fleetctl get deploy,svc -A -m mc-hz1,mc-bj1 -o wide",
        "fleetctl plan web-demo -n demo",
        "fleetctl plan -f app.yaml -f policies -R -n demo --exit-code",
        "fleetctl plan -f - --offline -o json",
        "fleetctl plan web-demo --dry-run",
        "fleetctl plan web-demo --dry-run=server --step s",
        "fleetctl why deploy/web-demo -n demo -m mc-hz1 spec.replicas -o json",
        "fleetctl workflow resume web-demo -n demo",
        "fleetctl workflow approve web-demo -n demo --plan 8c1f4e --step s --reason r",
        "fleetctl -n demo workflow list --waiting",
        "fleetctl status web-demo --tree -w",
        "fleetctl workflow rollback web-demo -n demo --to 8c1f4e --reason r --without-missing",
        "fleetctl history web-demo -n demo --at 2h -o json",
        "fleetctl diff web-demo 2 3 -n demo",
        "fleetctl diff web-demo 2 -o yaml",
        "fleetctl delete web-demo --orphan --force",
        "fleetctl local down",
        "fleetctl completion bash",
        "fleetctl cluster join ./a.kubeconfig --name mc-bj1 --alias cluster1-beijing --labels region=cn-north",
        "fleetctl cluster join - --member-context a --profile namespaced --namespaces web,shop --dry-run",
        "fleetctl cluster join ./a --profile impersonating --impersonate web/*,shop/deployer -o json",
        "fleetctl cluster list -o wide -l region=cn-north",
        "fleetctl cluster probe mc-bj1",
        "fleetctl cluster label mc-bj1 region=cn-north tier-",
        "fleetctl cluster cordon mc-bj1 --reason racks",
        "fleetctl cluster detach mc-bj1 --delete-objects",
    ] {
        let cli = parsed(line);
        assert!(cli.is_ok(), "{line}: {}", cli.unwrap_err());
    }
}

/// What makes no sense ends with clap's code 2, before anything is done.
#[test]
fn nonsense_is_refused() {
    for line in [
        "fleetctl plan",
        "fleetctl plan web-demo --offline",
        "fleetctl plan -f a.yaml --offline --dry-run",
        "fleetctl plan web-demo --dry-run=client",
        "fleetctl why deploy/web-demo",
        "fleetctl local up --members Not_A_Name=x",
        "fleetctl local up --members a=",
        "fleetctl get",
        "fleetctl get pods -m all --timeout soon",
        "fleetctl resume",
        "fleetctl workflow resume web --plan 8c1f4",
        "fleetctl workflow rollback",
        "fleetctl diff web-demo",
        "fleetctl history",
    ] {
        assert_eq!(parsed(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

/// Each setting of the controller says what it takes; a value that makes no sense ends nothing half started.
#[test]
fn settings_of_the_controller_are_checked() {
    for (setting, said) in [
        ("--concurrency 0", "0 is not in 1..=1024"),
        ("--member-requests 5000", "5000 is not in 1..=1024"),
        ("--member-timeout 5ms", "between 100ms and 10m"),
        ("--member-timeout 0", "between 100ms and 10m"),
        ("--cache-sync-timeout soon", "is no time"),
        ("--deletion-deadline 90d", "is no time"),
        ("--deletion-deadline 400h", "between 1s and 168h"),
        ("--kept-runs 0", "0 is not in 1..=1000"),
        ("--kept-revisions -1", "unexpected argument"),
        ("--drift ignore", "repair, report"),
        ("--max-runs 20000", "20000 is not in 0..=10000"),
        ("--one-run-per-cluster=perhaps", "true, false"),
        ("--watch-namespaces a,B_c", "\"B_c\" is no namespace"),
        ("--watch-namespaces a,,b", "\"\" is no namespace"),
        ("--listen localhost", "127.0.0.1:8080"),
        ("--listen 127.0.0.1:99999", "127.0.0.1:8080"),
        ("--log-format xml", "text, json"),
        ("--log-level info,fleet=loud", "parts as in"),
    ] {
        let error = parsed(&format!("fleetctl controller {setting}")).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{setting}");
        assert!(error.to_string().contains(said), "{setting}: {error}");
    }
    let cli = parsed("fleetctl controller --watch-namespaces shop,billing --listen [::]:8080 --drift report");
    let Command::Controller(arguments) = cli.unwrap().command else { panic!() };
    assert_eq!(arguments.work.watch_namespaces, ["shop", "billing"]);
    assert_eq!(arguments.tell.listen.unwrap().port(), 8080);
    assert!(!arguments.work.allow_local_addresses, "in a pod these are the controller's own ports");
    assert!(!arguments.work.turns.limits().is_any(), "nobody waits unless somebody says so");
    let cli = parsed("fleetctl controller --one-run-per-cluster --max-runs 5 --allow-local-addresses");
    let Command::Controller(arguments) = cli.unwrap().command else { panic!() };
    assert!(arguments.work.allow_local_addresses);
    let limits = arguments.work.turns.limits();
    assert_eq!((limits.runs, limits.one_per_cluster), (Some(5), true));
}

/// Usage names the program as it was called.
#[test]
fn plugins_name_themselves() {
    let help = command(Called::KubectlAmc).render_help().to_string();
    assert!(help.contains("Usage: kubectl amc"), "{help}");
}

#[test]
fn times() {
    assert_eq!(duration("10s").unwrap().as_secs(), 10);
    assert_eq!(duration("1m30s").unwrap().as_secs(), 90);
    assert_eq!(duration("500ms").unwrap().as_millis(), 500);
    assert_eq!(duration("7").unwrap().as_secs(), 7);
    assert!(duration("0s").unwrap().is_zero());
    assert!(duration("-5s").is_err() && duration("soon").is_err());
}

/// Broken: a step is let begin outside its windows without its name or a reason on record.
#[test]
fn a_window_is_overridden_for_a_named_step_and_reason() {
    let line = "fleetctl workflow resume web -n demo --override-window";
    for lacking in ["", " --step go", " --reason fix", " --step go --reason fix --plan 8c1f4e09"] {
        assert!(parsed(&format!("{line}{lacking}")).is_err(), "{lacking:?}");
    }
    assert!(parsed(&format!("{line} --step go --reason fix")).is_ok());
}

/// Zero isn't "not given": it waits for ever where the help says so, and is refused where something lasts.
#[test]
fn zero_is_never_taken_for_the_default() {
    for (zero, unlimited) in [("0", true), ("0s", true), ("0ms", true), ("1s", false)] {
        assert_eq!(limit(zero).unwrap().as_secs() > 1_000_000, unlimited, "{zero}");
        assert_eq!(lasting(zero).is_err(), unlimited, "{zero}");
    }
    for line in [
        "fleetctl drift hold web -n demo -m all --reason x --for",
        "fleetctl simulate -f files --until",
        "fleetctl local user add ann --expires",
        "fleetctl controller --member-timeout",
        "fleetctl controller --cache-sync-timeout",
        "fleetctl controller --deletion-deadline",
    ] {
        for zero in ["0s", "0ms", "0m"] {
            let refused = parsed(&format!("{line} {zero}")).unwrap_err();
            assert_eq!(refused.kind(), clap::error::ErrorKind::ValueValidation, "{line} {zero}: {refused}");
        }
        assert!(parsed(&format!("{line} 5m")).is_ok(), "{line}");
    }
    let help = command(Called::Fleetctl).render_long_help().to_string();
    assert!(help.contains("0 waits for ever"), "{help}");
    for words in [&["delete"][..], &["get"], &["install"], &["uninstall"]] {
        let mut whole = command(Called::Fleetctl);
        whole.build();
        let found = words.iter().try_fold(&mut whole, |command, word| command.find_subcommand_mut(word));
        let help = found.unwrap().render_long_help().to_string();
        let timeout = help.split("--timeout").nth(1).unwrap();
        assert!(timeout.contains("0 waits for ever"), "{words:?}: {help}");
    }
}
