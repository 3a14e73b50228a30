use super::*;
use std::path::Path;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

const BASE: &str =
    "data_dir = 'data'\ngenesis = 'genesis.json'\n[key]\nkeystore = 'key.json'\n[rpc]\nlisten = '127.0.0.1:1'\n";

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn error(text: &str, variables: &[(&str, &str)]) -> String {
    let (_dir, path) = file(text);
    load(Some(&path), &environment(variables), Overrides::default(), false).unwrap_err().to_string()
}

#[test]
fn flags_override_the_environment_and_that_overrides_the_file() {
    let (dir, path) = file(BASE);
    let from_file = load(Some(&path), &[], Overrides::default(), false).unwrap();
    assert_eq!(from_file.rpc_listen, Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(from_file.data_dir, dir.path().join("data"));

    let variables =
        environment(&[("SQUAD_RPC_LISTEN", "127.0.0.1:2"), ("SQUAD_DATA_DIR", "/elsewhere"), ("HOME", "/")]);
    let from_environment = load(Some(&path), &variables, Overrides::default(), false).unwrap();
    assert_eq!(from_environment.rpc_listen, Some("127.0.0.1:2".parse().unwrap()));
    assert_eq!(from_environment.data_dir, Path::new("/elsewhere"));

    let flags = Overrides { rpc_listen: Some("127.0.0.1:3".parse().unwrap()), ..Default::default() };
    let from_flags = load(Some(&path), &variables, flags, false).unwrap();
    assert_eq!(from_flags.rpc_listen, Some("127.0.0.1:3".parse().unwrap()));
    assert_eq!(from_flags.data_dir, Path::new("/elsewhere"));
}

#[test]
fn defaults_stay_on_this_machine() {
    let (_dir, path) = file("data_dir = 'd'\ngenesis = 'g'\nkey.keystore = 'k'");
    let config = load(Some(&path), &[], Overrides::default(), false).unwrap();
    for address in [config.rpc_listen, config.grpc_listen, config.metrics_listen] {
        assert!(address.unwrap().ip().is_loopback());
    }
    assert_eq!(config.p2p_listen, ["/ip4/127.0.0.1/tcp/7700"]);
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn the_sample_loads_and_its_comments_state_the_defaults() {
    let (_dir, path) = file(SAMPLE);
    let sample = load(Some(&path), &[], Overrides::default(), false).unwrap();
    let uncommented: String = SAMPLE
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| rest.contains(" = ") && !rest.contains("evm =") && !rest.contains("password_"))
                .unwrap_or(line)
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let (_dir, other) = file(&uncommented);
    let spelled_out = load(Some(&other), &[], Overrides::default(), false).unwrap();
    assert_eq!(spelled_out.limits, sample.limits);
    assert_eq!(spelled_out.log, sample.log);
    assert_eq!((spelled_out.l1.agree, spelled_out.l1.endpoints.len(), sample.l1.endpoints.len()), (2, 3, 0));
    assert_eq!((spelled_out.l1.timeout_ms, spelled_out.l1.poll_ms), (sample.l1.timeout_ms, sample.l1.poll_ms));
    assert_eq!(
        (spelled_out.rpc_listen, spelled_out.grpc_listen, spelled_out.metrics_listen, spelled_out.p2p_listen),
        (sample.rpc_listen, sample.grpc_listen, sample.metrics_listen, sample.p2p_listen)
    );
}

#[test]
fn endpoints_of_a_settlement_layer_have_to_agree_by_more_than_half() {
    let four = "[l1]\nendpoints = ['http://a', 'http://b', 'http://c', 'http://d']\n";
    let (_dir, path) = file(&format!("{BASE}{four}"));
    assert_eq!(load(Some(&path), &[], Overrides::default(), false).unwrap().l1.agree, 3);
    let text = error(&format!("{BASE}{four}agree = 2\n"), &[]);
    assert!(text.contains("l1.agree: 2 of 4 endpoints"), "{text}");
    let text = error(&format!("{BASE}{four}poll_ms = 1\n"), &[]);
    assert!(text.contains("l1.poll_ms: 1 is out of range"), "{text}");
}

#[test]
fn an_account_is_named_like_a_key_and_evidence_is_sent_only_from_one() {
    let (dir, path) =
        file(&format!("{BASE}[l1]\naccount = {{ keystore = 'a.json', password_env = 'SQUAD_ACCOUNT_PASSWORD' }}"));
    let variables = environment(&[("SQUAD_ACCOUNT_PASSWORD", "secret")]);
    let l1 = load(Some(&path), &variables, Overrides::default(), false).unwrap().l1;
    let password = PasswordSource::Env("SQUAD_ACCOUNT_PASSWORD".into());
    assert_eq!(l1.account, Some(KeySource::Keystore { path: dir.path().join("a.json"), password }));
    assert!(!l1.submit_evidence);
    let text = error(&format!("{BASE}[l1]\nsubmit_evidence = true"), &[]);
    assert!(text.contains("l1.submit_evidence") && text.contains("set l1.account"), "{text}");
    let text = error(&format!("{BASE}[l1.account]\nplaintext = 'a'"), &[]);
    assert!(text.contains("l1.account.plaintext") && text.contains("--insecure-plaintext-key"), "{text}");
    let text = error(&format!("{BASE}[l1.account]\nkeystore = 'a'\nplaintext = 'a'"), &[]);
    assert!(text.contains("l1.account: both"), "{text}");
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let text = error("data_dir = 'data'\ngenesis = 'g'\nlisten_address = 'x'\n", &[]);
    assert!(text.contains("node.toml") && text.contains("line 3") && text.contains("listen_address"), "{text}");
    let nested = error("[rpc]\nport = 5\n", &[]);
    assert!(nested.contains("line 2") && nested.contains("port"), "{nested}");
}

#[test]
fn a_value_of_the_wrong_form_is_named() {
    let in_file = error("[rpc]\nlisten = 'localhost'\n", &[]);
    assert!(in_file.contains("line 2") && in_file.contains("localhost"), "{in_file}");
    let in_environment = error(BASE, &[("SQUAD_GRPC_LISTEN", "7702")]);
    assert!(in_environment.contains("SQUAD_GRPC_LISTEN = '7702'"), "{in_environment}");
    let out_of_range = error(&format!("{BASE}[limits]\nwait_ms = 5\n"), &[]);
    assert!(out_of_range.contains("limits.wait_ms") && out_of_range.contains("100 to 600000"), "{out_of_range}");
    let too_little = error(&format!("{BASE}[limits]\nrpc_memory_mib = 60\n"), &[]);
    assert!(too_little.contains("limits.rpc_memory_mib") && too_little.contains("at least 66"), "{too_little}");
}

#[test]
fn an_unknown_variable_is_refused_and_the_near_one_named() {
    let text = error(BASE, &[("SQUAD_RPC_LISTN", "127.0.0.1:2")]);
    assert!(text.contains("SQUAD_RPC_LISTN") && text.contains("did you mean SQUAD_RPC_LISTEN"), "{text}");
    let (_dir, path) = file(&BASE.replace("[rpc]", "password_env = 'SQUAD_SECRET_WORD'\n[rpc]"));
    let config = load(Some(&path), &environment(&[("SQUAD_SECRET_WORD", "x")]), Overrides::default(), false).unwrap();
    assert!(
        matches!(config.key, KeySource::Keystore { password: PasswordSource::Env(name), .. } if name == "SQUAD_SECRET_WORD")
    );
}

#[test]
fn a_plaintext_key_needs_its_flag() {
    let text = BASE.replace("keystore", "plaintext");
    let refused = error(&text, &[]);
    assert!(refused.contains("--insecure-plaintext-key"), "{refused}");
    let (_dir, path) = file(&text);
    let config = load(Some(&path), &[], Overrides::default(), true).unwrap();
    assert!(matches!(config.key, KeySource::PlaintextDev { .. }));
}

#[test]
fn what_is_missing_is_named_with_all_three_ways_to_give_it() {
    let text = error("[key]\nkeystore = 'k'\n", &[]);
    assert!(text.contains("--data-dir") && text.contains("SQUAD_DATA_DIR") && text.contains("data_dir ="), "{text}");
    let absent = load(Some(Path::new("/nowhere/node.toml")), &[], Overrides::default(), false).unwrap_err().to_string();
    assert!(absent.contains("/nowhere/node.toml"), "{absent}");
}

#[test]
fn one_port_for_two_interfaces_is_refused() {
    let text = error(&format!("{BASE}[grpc]\nlisten = '127.0.0.1:1'\n"), &[]);
    assert!(text.contains("grpc.listen") && text.contains("127.0.0.1:1"), "{text}");
}

#[test]
fn executors_are_read_from_file_and_list() {
    let (_dir, path) = file(&format!("{BASE}[executors]\nevm = 'http://127.0.0.1:8545'\n"));
    let config = load(Some(&path), &[], Overrides::default(), false).unwrap();
    assert_eq!(config.executors, [("evm".to_owned(), "http://127.0.0.1:8545".to_owned())]);
    let list = environment(&[("SQUAD_EXECUTORS", "a=http://x:1, b=http://y:2")]);
    assert_eq!(load(Some(&path), &list, Overrides::default(), false).unwrap().executors.len(), 2);
    assert!(error(BASE, &[("SQUAD_EXECUTORS", "nonsense")]).contains("NAMESPACE=URL"));
}
