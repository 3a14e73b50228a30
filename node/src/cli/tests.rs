use super::*;
use clap::CommandFactory;
use squad_types::Tier;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn devnet_has_its_defaults_and_takes_every_flag() {
    let Command::Devnet(args) = parse("squad devnet").unwrap().command else { panic!("devnet") };
    assert_eq!((args.operators, args.executors, args.base_port, args.exit_after), (4, 2, None, None));
    let line = "squad devnet --operators 7 --executors 0 --dir d --base-port 9000 --exit-after 5 --json";
    let cli = parse(line).unwrap();
    assert!(cli.json);
    let Command::Devnet(args) = cli.command else { panic!("devnet") };
    assert_eq!((args.operators, args.executors, args.base_port, args.exit_after), (7, 0, Some(9000), Some(5)));
    assert!(parse("squad devnet --operators 0").is_err());
}

#[test]
fn bench_takes_targets_with_commas_and_a_tier() {
    let line =
        "squad bench --targets http://a:1,http://b:2 --namespace bytes --rate 5 --size 600 --duration 7 --tier secured";
    let Command::Bench(args) = parse(line).unwrap().command else { panic!("bench") };
    assert_eq!(args.targets.len(), 2);
    assert_eq!((args.rate, args.size, args.duration, args.tier), (5, 600, 7, Tier::Secured));
    assert!(parse("squad bench --namespace x").is_err());
    let wrong = parse("squad bench --targets a --namespace x --tier confirmed").unwrap_err().to_string();
    assert!(wrong.contains("batched, secured or ordered"), "{wrong}");
}

#[test]
fn node_settings_come_from_flags() {
    let line = "squad node --config n.toml --rpc-listen 127.0.0.1:1 --bootstrap /ip4/1.2.3.4/tcp/1,/dns4/x/tcp/2";
    let Command::Node(args) = parse(line).unwrap().command else { panic!("node") };
    assert_eq!(args.settings.bootstrap.unwrap().0.len(), 2);
    assert!(!args.insecure_plaintext_key);
    assert!(parse("squad node --rpc-listen localhost").is_err());
}

#[test]
fn a_pretended_clock_is_for_plaintext_keys_only() {
    assert!(parse("squad node --insecure-clock-offset-ms -5").is_err());
    let Command::Node(args) =
        parse("squad node --insecure-plaintext-key --insecure-clock-offset-ms -5").unwrap().command
    else {
        panic!("node")
    };
    assert_eq!(args.insecure_clock_offset_ms, Some(-5));
}

#[test]
fn a_genesis_is_made_of_validators_and_namespaces() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("genesis.json");
    let line = format!(
        "squad genesis new --name net --validator 0x{}:5 --validator 0x{}:6 --namespace evm:evm:10 --namespace raw:opaque:shuffled --out {}",
        "22".repeat(20),
        "11".repeat(20),
        out.display()
    );
    assert_eq!(run(parse(&line).unwrap()).unwrap(), ExitCode::SUCCESS);
    let genesis = read_genesis(&out).unwrap();
    assert_eq!(genesis.validators.len(), 2);
    assert_eq!(genesis.namespaces[1].name, "raw");
    // A second run overwrites nothing.
    assert!(run(parse(&line).unwrap()).is_err());
    std::fs::write(&out, "{ \"name\": 5 }").unwrap();
    let error = format!("{:#}", read_genesis(&out).unwrap_err());
    assert!(error.contains("genesis.json") && error.contains("line 1"), "{error}");
}

#[test]
fn keys_are_made_imported_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("word"), "word\n").unwrap();
    std::fs::write(at("secret"), "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80\n").unwrap();
    let go = |line: String| run(parse(&line).unwrap());
    go(format!("squad keys new --light --out {} --password-file {}", at("new.json"), at("word"))).unwrap();
    let import = format!("squad keys import --light --secret-file {} --out {}", at("secret"), at("old.json"));
    go(format!("{import} --password-file {}", at("word"))).unwrap();
    go(format!("squad keys show {} --check --password-file {}", at("old.json"), at("word"))).unwrap();
    let found = crate::keystore::list(dir.path()).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].1.unwrap().to_string(), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
}

mod remote {
    use super::*;
    use crate::api::tests::{FakeBackend, Served};
    use crate::api::{Backend, Readiness};
    use crate::config::Limits;

    async fn go(line: String) -> anyhow::Result<ExitCode> {
        let cli = parse(&line).unwrap();
        let output = Output { json: cli.json };
        asynchronous(cli.command, output).await
    }

    fn write_genesis(node: &FakeBackend, dir: &tempfile::TempDir) -> String {
        let path = dir.path().join("genesis.json");
        std::fs::write(&path, serde_json::to_string(&*node.genesis()).unwrap()).unwrap();
        path.display().to_string()
    }

    #[tokio::test]
    async fn what_is_submitted_can_be_verified_and_a_change_is_refused() {
        let served = Served::new(Limits::default()).await;
        let dir = tempfile::tempdir().unwrap();
        let (genesis, out) = (write_genesis(&served.node, &dir), dir.path().join("c.json").display().to_string());
        let at = served.node.genesis().time.plus(1_000);
        for tier in ["batched", "secured", "ordered"] {
            let submit = format!(
                "squad submit --rpc {} --namespace bytes --text {tier} --wait {tier} --out {out}",
                served.url("")
            );
            assert_eq!(go(submit).await.unwrap(), ExitCode::SUCCESS);
            let verify = format!("squad verify {out} --genesis {genesis} --at {at}");
            assert_eq!(go(verify.clone()).await.unwrap(), ExitCode::SUCCESS);
            let text = std::fs::read_to_string(&out).unwrap();
            let mut confirmation = squad_client::json::confirmation(serde_json::from_str(&text).unwrap()).unwrap();
            confirmation.transaction.data_hash.0[0] ^= 1;
            std::fs::write(&out, serde_json::to_string(&confirmation).unwrap()).unwrap();
            assert_eq!(go(verify).await.unwrap(), ExitCode::FAILURE);
        }
    }

    #[tokio::test]
    async fn a_saved_committee_verifies_as_the_genesis_does() {
        let served = Served::new(Limits::default()).await;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (genesis, now) = (write_genesis(&served.node, &dir), served.node.genesis().time.plus(1_000));
        go(format!("squad submit --rpc {} --namespace 2 --data 0x01 --out {}", served.url(""), at("c"))).await.unwrap();
        let save = format!("squad verify {} --genesis {genesis} --at {now} --save-committee {}", at("c"), at("k"));
        assert_eq!(go(save).await.unwrap(), ExitCode::SUCCESS);
        let again = format!("squad verify {} --committee {} --at {now} --json", at("c"), at("k"));
        assert_eq!(go(again).await.unwrap(), ExitCode::SUCCESS);
        // Long after, nobody's stake answers any more.
        let late = format!("squad verify {} --committee {} --at {}", at("c"), at("k"), now.plus(30 * 86_400_000));
        assert!(go(late).await.is_err());
        let pin = format!("squad verify {} --genesis {genesis} --at {now} --save-pin {}", at("c"), at("p"));
        assert_eq!(go(pin).await.unwrap(), ExitCode::SUCCESS);
        let pinned = format!("squad verify {} --genesis {genesis} --pin {} --at {now}", at("c"), at("p"));
        assert_eq!(go(pinned.clone()).await.unwrap(), ExitCode::SUCCESS);
        // The first committee stands in the genesis alone.
        let alone = format!("squad verify {} --pin {} --at {now} --rpc {}", at("c"), at("p"), served.url(""));
        assert!(format!("{:#}", go(alone).await.unwrap_err()).contains("--genesis"));
        let mut other: serde_json::Value = serde_json::from_slice(&std::fs::read(at("p")).unwrap()).unwrap();
        other["committee_hash"] = serde_json::json!(squad_types::Digest([7; 32]));
        std::fs::write(at("p"), other.to_string()).unwrap();
        assert!(format!("{:#}", go(pinned).await.unwrap_err()).contains("do not use it"));
        assert!(go(format!("squad verify {} --genesis {genesis}", at("nothing"))).await.is_err());
    }

    #[tokio::test]
    async fn what_a_contract_takes_are_the_bytes_of_confirmation_and_committee() {
        let served = Served::new(Limits::default()).await;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (genesis, now) = (write_genesis(&served.node, &dir), served.node.genesis().time.plus(1_000));
        let submit = |tier: &str| {
            let url = served.url("");
            format!("squad submit --rpc {url} --namespace bytes --text {tier} --wait {tier} --out {}", at(tier))
        };
        let save =
            |tier: &str| format!("squad verify {} --genesis {genesis} --at {now} --save-bytes {}", at(tier), at("b"));
        go(submit("secured")).await.unwrap();
        assert!(format!("{:#}", go(save("secured")).await.unwrap_err()).contains("secured: wait for it"));
        go(submit("ordered")).await.unwrap();
        assert_eq!(go(save("ordered")).await.unwrap(), ExitCode::SUCCESS);
        let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(at("b")).unwrap()).unwrap();
        let bytes = |name: &str| bytes::Bytes::from(hex::decode(&saved[name].as_str().unwrap()[2..]).unwrap());
        let text = std::fs::read_to_string(at("ordered")).unwrap();
        let confirmation = squad_client::json::confirmation(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(squad_types::Decode::from_bytes(bytes("confirmation")), Ok(confirmation));
        assert_eq!(squad_types::Decode::from_bytes(bytes("committee")), Ok(served.node.genesis().committee().unwrap()));
    }

    #[tokio::test]
    async fn watching_prints_verified_blocks_and_ends_at_its_count() {
        let served = Served::new(Limits::default()).await;
        let dir = tempfile::tempdir().unwrap();
        let genesis = write_genesis(&served.node, &dir);
        served.node.order(b"one");
        served.node.order(b"two");
        let watch =
            format!("squad watch --rpc {} --namespace bytes --from 1 --count 2 --genesis {genesis}", served.url(""));
        assert_eq!(go(watch).await.unwrap(), ExitCode::SUCCESS);
        assert!(go(format!("squad watch --rpc {} --namespace nowhere", served.url(""))).await.is_err());
    }

    #[tokio::test]
    async fn status_is_printed_and_a_silent_node_is_explained() {
        let served = Served::new(Limits::default()).await;
        served.node.set_readiness(Readiness::Refusing { reason: "the disk is full".into() });
        for flags in ["", " --json"] {
            assert_eq!(go(format!("squad status --rpc {}{flags}", served.url(""))).await.unwrap(), ExitCode::SUCCESS);
        }
        let error = format!("{:#}", go("squad status --rpc http://127.0.0.1:1".into()).await.unwrap_err());
        assert!(error.contains("is the node running"), "{error}");
    }

    #[tokio::test]
    async fn a_refusal_is_printed_with_its_code() {
        let served = Served::new(Limits::default()).await;
        let line = format!("squad submit --rpc {} --namespace evm --data 0x03", served.url(""));
        let error = format!("{:#}", go(line).await.unwrap_err());
        assert!(error.contains("blob_unsupported"), "{error}");
    }
}
