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
