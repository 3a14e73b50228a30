//! Puts file, environment and flags together.

use super::{
    ConfigError, FileConfig, FileKey, FileL1, FileListen, KeySource, L1Config, LogConfig, NodeConfig, Overrides,
    PasswordSource,
};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The port that peers are listened for on, unless one is given.
const P2P_LISTEN: &str = "/ip4/127.0.0.1/tcp/7700";
const RPC_PORT: u16 = 7701;
const GRPC_PORT: u16 = 7702;
const METRICS_PORT: u16 = 7703;
/// Room for the log to go on for long, so that the node can vote while its operator frees some.
const MIN_FREE_BYTES: u64 = 512 << 20;

/// How long an endpoint of the settlement layer has, and how often it is looked at: half of Ethereum's slots.
const L1_TIMEOUT_MS: u64 = 5_000;
const L1_POLL_MS: u64 = 6_000;

/// The variable that names the configuration file, if no flag does.
const CONFIG_VARIABLE: &str = "SQUAD_CONFIG";
/// The usual variable for a keystore's password. Never a setting itself.
const PASSWORD_VARIABLE: &str = "SQUAD_PASSWORD";
/// The variable that tells commands such as `squad status` which operator to ask.
const REMOTE_VARIABLE: &str = "SQUAD_RPC";

/// Puts a node's configuration together: defaults < file < environment < flags.
///
/// `environment` is the whole environment; variables that begin with `SQUAD_` and mean nothing are refused.
///
/// # Errors
/// The file, line, variable or setting at fault, its value, and what to do.
pub fn load(
    file: Option<&Path>,
    environment: &[(String, String)],
    flags: Overrides,
    insecure_plaintext_key: bool,
) -> Result<NodeConfig, ConfigError> {
    let lookup = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let overrides = flags.over(Overrides::from_environment(lookup)?);
    let path = file.map(Path::to_owned).or_else(|| lookup(CONFIG_VARIABLE).map(PathBuf::from));
    let file = path.as_deref().map_or_else(|| Ok(FileConfig::default()), read)?;
    let password_env = overrides.password_env.as_ref().or(file.key.password_env.as_ref());
    refuse_unknown(environment, &[password_env, file.l1.account.password_env.as_ref()])?;
    assemble(file, overrides, insecure_plaintext_key)
}

fn read(path: &Path) -> Result<FileConfig, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let mut file: FileConfig =
        toml::from_str(&text).map_err(|error| ConfigError::Parse { path: path.to_owned(), what: error.to_string() })?;
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    let keys = [&mut file.key, &mut file.l1.account];
    let of_keys = keys.into_iter().flat_map(|key| [&mut key.keystore, &mut key.password_file, &mut key.plaintext]);
    for inner in [&mut file.data_dir, &mut file.genesis].into_iter().chain(of_keys).flatten() {
        *inner = base.join(&*inner);
    }
    Ok(file)
}

fn refuse_unknown(environment: &[(String, String)], passwords: &[Option<&String>]) -> Result<(), ConfigError> {
    let known = |name: &str| {
        Overrides::VARIABLES.contains(&name)
            || [CONFIG_VARIABLE, PASSWORD_VARIABLE, REMOTE_VARIABLE].contains(&name)
            || passwords.iter().flatten().any(|variable| *variable == name)
    };
    match environment.iter().find(|(name, _)| name.starts_with("SQUAD_") && !known(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let near = Overrides::VARIABLES.iter().min_by_key(|variable| distance(variable, name));
            let near = near.filter(|variable| distance(variable, name) <= 3).map(|variable| (*variable).to_owned());
            Err(ConfigError::UnknownVariable { name: name.clone(), near })
        }
    }
}

/// The edits from one name to another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn assemble(file: FileConfig, set: Overrides, insecure_plaintext_key: bool) -> Result<NodeConfig, ConfigError> {
    let missing = |setting, flag, variable| ConfigError::Missing { setting, flag, variable };
    for (name, value, range) in file.limits.ranges() {
        if !range.contains(&value) {
            let what = format!("{value} is out of range: use {} to {}", range.start(), range.end());
            return Err(ConfigError::Invalid { setting: format!("limits.{name}"), what });
        }
    }
    file.limits.check_memory()?;
    let key = key(&file, &set, insecure_plaintext_key)?;
    let list = |flag: Option<super::List>, file: Option<Vec<String>>| flag.map(|list| list.0).or(file);
    let rpc_listen = listen(set.rpc_listen, &file.rpc, RPC_PORT);
    let grpc_listen = listen(set.grpc_listen, &file.grpc, GRPC_PORT);
    let metrics_listen = listen(set.metrics_listen, &file.metrics, METRICS_PORT);
    refuse_shared_ports(&[
        ("rpc.listen", rpc_listen),
        ("grpc.listen", grpc_listen),
        ("metrics.listen", metrics_listen),
    ])?;
    Ok(NodeConfig {
        data_dir: set.data_dir.or(file.data_dir).ok_or_else(|| missing("data_dir", "data-dir", "SQUAD_DATA_DIR"))?,
        genesis: set.genesis.or(file.genesis).ok_or_else(|| missing("genesis", "genesis", "SQUAD_GENESIS"))?,
        key,
        p2p_listen: list(set.p2p_listen, file.p2p.listen).unwrap_or_else(|| vec![P2P_LISTEN.to_owned()]),
        p2p_announce: list(set.p2p_announce, file.p2p.announce).unwrap_or_default(),
        bootstrap: list(set.bootstrap, file.p2p.bootstrap).unwrap_or_default(),
        rpc_listen,
        grpc_listen,
        metrics_listen,
        executors: executors(set.executors, file.executors)?,
        l1: l1(set.l1_endpoints, file.l1, insecure_plaintext_key)?,
        limits: file.limits,
        min_free_bytes: set.min_free_bytes.or(file.storage.min_free_bytes).unwrap_or(MIN_FREE_BYTES),
        log: LogConfig {
            format: set.log_format.or(file.log.format).unwrap_or_default(),
            filter: set.log_filter.or(file.log.filter).unwrap_or_else(|| LogConfig::default().filter),
        },
    })
}

fn l1(set: Option<super::List>, file: FileL1, insecure_plaintext_key: bool) -> Result<L1Config, ConfigError> {
    let endpoints = set.map(|list| list.0).or(file.endpoints).unwrap_or_default();
    let most = endpoints.len();
    let agree = file.agree.unwrap_or(most / 2 + 1);
    let invalid = |setting: &str, what: String| Err(ConfigError::Invalid { setting: setting.into(), what });
    if most > 0 && !(most / 2 + 1..=most).contains(&agree) {
        let what = format!("{agree} of {most} endpoints: over half of them have to agree, and no more than there are");
        return invalid("l1.agree", what);
    }
    let times = [("l1.timeout_ms", file.timeout_ms, L1_TIMEOUT_MS), ("l1.poll_ms", file.poll_ms, L1_POLL_MS)];
    for (setting, value, default) in times {
        let value = value.unwrap_or(default);
        if !(10..=600_000).contains(&value) {
            return invalid(setting, format!("{value} is out of range: use 10 to 600000"));
        }
    }
    let [timeout_ms, poll_ms] = times.map(|(_, value, default)| value.unwrap_or(default));
    let submit_evidence = file.submit_evidence.unwrap_or(false);
    let given = file.account.keystore.is_some() || file.account.plaintext.is_some();
    if submit_evidence && !given {
        return invalid("l1.submit_evidence", "nobody pays for what is sent: set l1.account, too".to_owned());
    }
    let account = given.then(|| source("l1.account", &file.account, insecure_plaintext_key)).transpose()?;
    Ok(L1Config { endpoints, agree, timeout_ms, poll_ms, account, submit_evidence })
}

fn key(file: &FileConfig, set: &Overrides, insecure_plaintext_key: bool) -> Result<KeySource, ConfigError> {
    let mut key = file.key.clone();
    // A flag for one kind of key or password overrides the other kind in the file.
    if set.keystore.is_some() || set.plaintext_key.is_some() {
        (key.keystore, key.plaintext) = (set.keystore.clone(), set.plaintext_key.clone());
    }
    if set.password_file.is_some() || set.password_env.is_some() {
        (key.password_file, key.password_env) = (set.password_file.clone(), set.password_env.clone());
    }
    if key.keystore.is_none() && key.plaintext.is_none() {
        return Err(ConfigError::Missing { setting: "key.keystore", flag: "keystore", variable: "SQUAD_KEYSTORE" });
    }
    source("key", &key, insecure_plaintext_key)
}

/// Where a key comes from that is given.
fn source(setting: &str, key: &FileKey, insecure_plaintext_key: bool) -> Result<KeySource, ConfigError> {
    let invalid = |setting: String, what: &str| Err(ConfigError::Invalid { setting, what: what.into() });
    match (&key.keystore, &key.plaintext) {
        (Some(_), Some(_)) => invalid(setting.into(), "both a keystore and a plaintext key are given: remove one"),
        (None, None) => invalid(setting.into(), "neither a keystore nor a plaintext key is given: give one"),
        (None, Some(_)) if !insecure_plaintext_key => invalid(
            format!("{setting}.plaintext"),
            "a plaintext key can be read by every program that runs as you, and whoever has it can get the operator \
             slashed: use a keystore (`squad keys import`), or, for development only, add --insecure-plaintext-key",
        ),
        (None, Some(path)) => Ok(KeySource::PlaintextDev { path: path.clone() }),
        (Some(path), None) => {
            let password = match (&key.password_file, &key.password_env) {
                (Some(_), Some(_)) => {
                    return invalid(setting.into(), "both password_file and password_env are given: remove one");
                }
                (Some(file), None) => PasswordSource::File(file.clone()),
                (None, Some(variable)) => PasswordSource::Env(variable.clone()),
                (None, None) => PasswordSource::Prompt,
            };
            Ok(KeySource::Keystore { path: path.clone(), password })
        }
    }
}

fn listen(set: Option<SocketAddr>, file: &FileListen, port: u16) -> Option<SocketAddr> {
    // Naming an address on the command line asks for the interface, whatever the file says.
    let wanted = set.is_some() || file.enabled.unwrap_or(true);
    wanted.then(|| set.or(file.listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port))))
}

fn refuse_shared_ports(listens: &[(&str, Option<SocketAddr>)]) -> Result<(), ConfigError> {
    for (at, (name, address)) in listens.iter().enumerate() {
        let Some(address) = address.filter(|address| address.port() != 0) else { continue };
        if let Some((other, _)) = listens[..at].iter().find(|(_, earlier)| *earlier == Some(address)) {
            let what = format!("{address} is also {other}: give each its own port");
            return Err(ConfigError::Invalid { setting: (*name).into(), what });
        }
    }
    Ok(())
}

fn executors(
    set: Option<super::List>,
    file: std::collections::BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let invalid = |what: String| ConfigError::Invalid { setting: "executors".into(), what };
    let pairs: Vec<(String, String)> = match set {
        None => file.into_iter().collect(),
        Some(list) => {
            let split = |item: String| match item.split_once('=') {
                Some((namespace, url)) => Ok((namespace.to_owned(), url.to_owned())),
                None => Err(invalid(format!("'{item}' is not NAMESPACE=URL, such as evm=http://127.0.0.1:8545"))),
            };
            list.0.into_iter().map(split).collect::<Result<_, _>>()?
        }
    };
    match pairs.iter().find(|(_, url)| !url.starts_with("http://")) {
        Some((namespace, url)) => {
            Err(invalid(format!("{namespace} = '{url}' is not a URL that begins with http://: TLS is a proxy's task")))
        }
        None => Ok(pairs),
    }
}
