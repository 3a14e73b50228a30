use super::*;
use crate::api::tests::Served;
use crate::config::{Limits, Overrides};

fn find<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap()
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        let key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        std::fs::write(place.at("key"), key).unwrap();
        let address = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266".parse().unwrap();
        let genesis = crate::genesis::devnet_genesis(&[address], squad_types::Timestamp(1)).unwrap();
        std::fs::write(place.at("genesis.json"), serde_json::to_string(&genesis).unwrap()).unwrap();
        place
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn args(&self) -> DoctorArgs {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = Overrides {
            data_dir: Some(self.at("data")),
            genesis: Some(self.at("genesis.json")),
            plaintext_key: Some(self.at("key")),
            p2p_listen: Some(format!("/ip4/127.0.0.1/tcp/{}", free().port()).parse().unwrap()),
            rpc_listen: Some(free()),
            grpc_listen: Some(free()),
            metrics_listen: Some(free()),
            ..Default::default()
        };
        let node = NodeArgs {
            config: None,
            insecure_plaintext_key: true,
            exit_with_stdin: false,
            insecure_clock_offset_ms: None,
            insecure_unguarded: false,
            settings,
        };
        DoctorArgs { node: Box::new(node), compare: Vec::new() }
    }
}

#[tokio::test]
async fn a_sound_node_gets_no_failure() {
    let served = Served::new(Limits::default()).await;
    let place = Place::new();
    let mut args = place.args();
    args.compare.push(served.url(""));
    let checks = examine(args).await;
    for name in ["config", "genesis", "committee", "data", "port", "clock"] {
        assert_eq!(find(&checks, name).verdict, Verdict::Ok, "{:?}", find(&checks, name));
    }
    assert_eq!(find(&checks, "key").verdict, Verdict::Warn);
    assert!(checks.iter().filter(|check| check.name == "port").count() == 4);
}

#[tokio::test]
async fn each_trouble_is_named_with_what_to_do() {
    let place = Place::new();
    let mut args = place.args();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    args.node.settings.rpc_listen = Some(held.local_addr().unwrap());
    std::fs::create_dir(place.at("data")).unwrap();
    std::fs::write(place.at("data/identity"), "squad data directory\nnetwork 0x12\noperator 0x34\n").unwrap();
    let checks = examine(args).await;
    let port = checks.iter().find(|check| check.name == "port" && check.verdict == Verdict::Fail).unwrap();
    assert!(port.detail.contains("--rpc-listen"), "{}", port.detail);
    let data = find(&checks, "data");
    assert!(data.verdict == Verdict::Fail && data.detail.contains("network 0x12"), "{}", data.detail);

    let mut args = place.args();
    std::fs::write(place.at("genesis.json"), "{}").unwrap();
    std::fs::write(place.at("key"), "nonsense").unwrap();
    args.compare.push("http://127.0.0.1:1".into());
    let checks = examine(args).await;
    assert_eq!(find(&checks, "genesis").verdict, Verdict::Fail);
    assert_eq!(find(&checks, "key").verdict, Verdict::Fail);
    assert_eq!(find(&checks, "clock").verdict, Verdict::Warn);
}

#[tokio::test]
async fn a_directory_in_use_is_said_to_be() {
    let place = Place::new();
    std::fs::create_dir(place.at("data")).unwrap();
    let _held = squad_storage::Disk::lock(&squad_storage::RealDisk, &place.at("data/lock")).unwrap();
    let checks = examine(place.args()).await;
    let data = find(&checks, "data");
    assert!(
        data.detail.contains("running node") && data.detail.contains(&std::process::id().to_string()),
        "{}",
        data.detail
    );
}

#[test]
fn addresses_are_read_from_multiaddrs() {
    assert_eq!(node::socket_of("/ip4/127.0.0.1/tcp/77/p2p/Qm"), Some("127.0.0.1:77".parse().unwrap()));
    assert_eq!(node::socket_of("/ip6/::1/tcp/77"), Some("[::1]:77".parse().unwrap()));
    for other in ["/dns4/x/tcp/1", "/ip4/127.0.0.1/udp/1", "nonsense", ""] {
        assert_eq!(node::socket_of(other), None);
    }
}

#[tokio::test]
async fn the_settlement_layer_is_looked_at_where_the_genesis_names_one() {
    use crate::cli::operator::tests::{Place as Layer, me};
    let layer = Layer::new().await;
    let mut args = Place::new().args();
    let key = squad_l1::Account::from_secret(&[8; 32]).unwrap().address();
    args.node.settings.genesis = Some(layer.at("genesis.json"));
    args.node.settings.plaintext_key = Some(layer.at("key"));
    let of = async |args: &DoctorArgs| {
        let checks = examine(args.clone()).await;
        let words = checks.into_iter().filter(|check| check.name == "settlement");
        words.map(|check| (check.verdict, check.detail)).collect::<Vec<_>>()
    };
    let said = |checks: &[(Verdict, String)], verdict: Verdict, words: &str| {
        let found = checks.iter().any(|(found, detail)| *found == verdict && detail.contains(words));
        assert!(found, "{words}: {checks:?}");
    };
    said(&of(&args).await, Verdict::Fail, "stake is on chain 31337: set l1.endpoints");
    args.node.settings.l1_endpoints = Some(layer.endpoints.parse().unwrap());
    let checks = of(&args).await;
    said(&checks, Verdict::Ok, "is on chain 31337, at block 102");
    said(&checks, Verdict::Warn, "there is one endpoint");
    said(&checks, Verdict::Ok, "the newest final block is 100, 2 behind (24 s)");
    said(&checks, Verdict::Warn, "nobody registered this node's key");
    assert!(checks.iter().all(|(_, detail)| !detail.contains("some-key")), "{checks:?}");
    layer.restaked(|restaked| restaked.join(me(), key, [40, 0]));
    said(&of(&args).await, Verdict::Ok, "is registered with this node's key, with 40 tokens' weight");
    layer.restaked(|restaked| restaked.operators.get_mut(&me()).unwrap().shares = [31, 0]);
    said(&of(&args).await, Verdict::Warn, "has 31 tokens' weight at stake, and 32 is the least");
    layer.restaked(|restaked| restaked.operators.get_mut(&me()).unwrap().key = me());
    said(&of(&args).await, Verdict::Warn, "is an old one of its");
    layer.restaked(|restaked| restaked.operators.get_mut(&me()).unwrap().tombstoned = true);
    said(&of(&args).await, Verdict::Fail, "barred for good");
    layer.change(|chain| chain.id = 1);
    said(&of(&args).await, Verdict::Fail, "is on chain 1, expected 31337");
}
