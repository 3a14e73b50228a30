//! A node that cannot start says why, and what to do.

use super::devnet::{Devnet, alone};
use super::process::{run, squad};
use super::wait::wait_for;
use std::path::Path;
use std::process::Stdio;

/// Starts a node that must end by itself; what it says.
pub(super) fn fails(config: &Path, options: &[&str]) -> String {
    let log = config.with_file_name("failed.log");
    let file = std::fs::File::create(&log).unwrap();
    let mut command = squad(["node", "--insecure-plaintext-key", "--config"]);
    command.arg(config).args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let mut node = super::process::Guarded(command.spawn().unwrap());
    let status = node.end("the node refuses to start");
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    text
}

pub(super) fn says(text: &str, all: &[&str]) {
    for part in all {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

/// Rewrites a configuration.
fn edit(config: &Path, change: impl FnOnce(String) -> String) {
    let text = change(std::fs::read_to_string(config).unwrap());
    std::fs::write(config, text).unwrap();
}

/// The value of a `listen` line in the section.
fn listen(text: &str, section: &str) -> String {
    let (_, rest) = text.split_once(&format!("[{section}]\nlisten = \"")).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

fn network(dir: &Path) {
    Devnet::start(dir, &["--operators", "1", "--executors", "0"]).stop();
}

#[test]
fn a_node_that_cannot_start_names_what_is_wrong_and_what_to_do() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let (home, other) = (dir.path().join("home"), dir.path().join("other"));
    network(&home);
    network(&other);
    let config = home.join("operator-1/node.toml");
    let good = std::fs::read_to_string(&config).unwrap();

    edit(&config, |text| text.replace("[rpc]\nlisten = \"127.0.0.1:", "[rpc]\nlisten = \"nowhere:"));
    says(&fails(&config, &[]), &["node.toml", "listen", "nowhere:"]);

    edit(&config, |_| format!("{good}\n[limits]\nwait_ms = 1\n"));
    says(&fails(&config, &[]), &["limits.wait_ms", "1 is out of range", "use 100 to 600000"]);

    edit(&config, |_| format!("colour = \"red\"\n{good}"));
    says(&fails(&config, &[]), &["node.toml", "colour"]);

    edit(&config, |_| good.replace("../genesis.json", "../no-such-genesis.json"));
    says(&fails(&config, &[]), &["no-such-genesis.json"]);

    a_wrong_password(&home, &config, &good);
    a_port_in_use(&config, &good);

    edit(&config, |_| good.replace("data_dir = \"data\"", "data_dir = \"../../other/operator-1/data\""));
    let text = fails(&config, &[]);
    says(&text, &["other/operator-1/data", "network"]);
}

fn a_wrong_password(home: &Path, config: &Path, good: &str) {
    let (keystore, right, wrong) = (home.join("key.json"), home.join("right.txt"), home.join("wrong.txt"));
    std::fs::write(&right, "correct horse\n").unwrap();
    std::fs::write(&wrong, "battery staple\n").unwrap();
    let mut made = squad(["keys", "new", "--light", "--out"]);
    made.arg(&keystore).arg("--password-file").arg(&right).stdin(Stdio::null());
    assert!(made.output().unwrap().status.success());
    let key = |password: &Path| format!("keystore = {keystore:?}\npassword_file = {password:?}");
    edit(config, |_| good.replace("plaintext = \"key.hex\"", &key(&wrong)));
    says(&fails(config, &[]), &["key.json", "password"]);
    let shown = run([
        "keys".as_ref(),
        "show".as_ref(),
        keystore.as_os_str(),
        "--check".as_ref(),
        "--password-file".as_ref(),
        right.as_os_str(),
    ]);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
}

fn a_port_in_use(config: &Path, good: &str) {
    for section in ["rpc", "grpc", "metrics"] {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        edit(config, |_| good.replace(&listen(good, section), &address));
        says(&fails(config, &[]), &[section, &address, "use"]);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let p2p = good.split_once("[p2p]\nlisten = [\"").unwrap().1.split_once('"').unwrap().0;
    edit(config, |_| good.replace(p2p, &format!("/ip4/127.0.0.1/tcp/{port}")));
    says(&fails(config, &[]), &[&port.to_string()]);

    // Two nodes of one data directory: the first keeps it.
    edit(config, |_| good.to_owned());
    let mut first = super::process::start_node(config);
    let mut rpc = super::rpc::Rpc::new(&format!("http://{}", listen(good, "rpc")));
    wait_for("the first node answers", || super::devnet::status(&mut rpc));
    let second = config.with_file_name("second.toml");
    let free = |text: String| {
        let p2p = text.split_once("[p2p]\nlisten = [\"").unwrap().1.split_once('"').unwrap().0.to_owned();
        let mut text = text.replace(&p2p, "/ip4/127.0.0.1/tcp/0");
        for section in ["rpc", "grpc", "metrics"] {
            text = text.replace(&listen(&text, section), "127.0.0.1:0");
        }
        text
    };
    std::fs::write(&second, free(good.to_owned())).unwrap();
    says(&fails(&second, &[]), &["operator-1/data"]);
    super::process::signal(first.pid(), rustix::process::Signal::TERM);
    assert!(first.end("the first node stops").success());
}
