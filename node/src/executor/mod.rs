//! Runs an executor as a process of its own. The only place of this crate that knows the executor.

use crate::cli::{EngineModeArg, ExecutorArgs};
use anyhow::{Context, bail};
use squad_executor::{
    EngineConfig, EngineMode, ExecutorConfig, Genesis, JwtSecret, RollupConfig, RpcLimits, StateConfig,
};
use squad_types::NamespaceKind;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The rollup's genesis; that of the development rollup if there is no file.
fn rollup_genesis(file: Option<&Path>, chain_id: u64) -> anyhow::Result<Genesis> {
    let Some(file) = file else { return Ok(Genesis::devnet_for(chain_id)) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Genesis::from_json(&text).with_context(|| format!("{} is no genesis of a rollup", file.display()))
}

/// Runs the reference executor until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting or going on; a forged block that every operator serves is one.
pub async fn run(args: ExecutorArgs) -> anyhow::Result<()> {
    let log = crate::config::LogConfig { filter: args.log.clone(), ..Default::default() };
    crate::logging::start(&log)?;
    let network = crate::cli::read_genesis(&args.genesis)?;
    let found = network.namespaces.iter().find(|spec| spec.name == args.namespace);
    let Some(spec) = found else {
        let known: Vec<&str> = network.namespaces.iter().map(|spec| spec.name.as_str()).collect();
        bail!(
            "there is no namespace '{}' in {}; there are {}",
            args.namespace,
            args.genesis.display(),
            known.join(", ")
        );
    };
    let NamespaceKind::Evm { chain_id } = spec.kind else {
        bail!("namespace '{}' is opaque: only an EVM namespace can be executed", args.namespace);
    };
    let engine = match (args.engine, args.engine_jwt) {
        (Some(url), Some(file)) => {
            let mode = engine_mode(args.engine_mode, args.engine_rpc)?;
            Some(EngineConfig { url, secret: JwtSecret::from_file(&file)?, mode })
        }
        _ => None,
    };
    let rollup = RollupConfig {
        dir: args.data_dir,
        genesis: rollup_genesis(args.genesis_file.as_deref(), chain_id)?,
        rpc: args.rpc_listen,
        limits: RpcLimits::default(),
        state: StateConfig { cache_bytes: (args.cache_mib as usize) << 20, history: args.state_history },
        engine,
    };
    let config = ExecutorConfig { rollup, namespace: spec.id, operators: args.operators, network };
    let (stop, stopped) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // Nobody listens any more only if the executor has ended by itself.
        let _ = stop.send(true);
    });
    squad_executor::run(config, None, stopped).await.context("the executor stopped")
}

fn engine_mode(mode: EngineModeArg, rpc: Option<String>) -> anyhow::Result<EngineMode> {
    match (mode, rpc) {
        (EngineModeArg::Payload, None) => Ok(EngineMode::Payload),
        (EngineModeArg::OpAttributes, None) => Ok(EngineMode::OpAttributes),
        (EngineModeArg::TestingBuildBlock, Some(rpc)) => Ok(EngineMode::TestingBuildBlock { rpc }),
        (EngineModeArg::TestingBuildBlock, None) => bail!("--engine-mode testing-build-block needs --engine-rpc"),
        (_, Some(_)) => bail!("--engine-rpc is only used by --engine-mode testing-build-block; leave one of them out"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_block_is_built_is_named_if_it_is_used_and_not_else() {
        let rpc = || Some("http://127.0.0.1:8645".to_owned());
        assert_eq!(engine_mode(EngineModeArg::Payload, None).unwrap(), EngineMode::Payload);
        assert_eq!(engine_mode(EngineModeArg::OpAttributes, None).unwrap(), EngineMode::OpAttributes);
        let testing = EngineMode::TestingBuildBlock { rpc: rpc().unwrap() };
        assert_eq!(engine_mode(EngineModeArg::TestingBuildBlock, rpc()).unwrap(), testing);
        assert!(engine_mode(EngineModeArg::TestingBuildBlock, None).is_err());
        assert!(engine_mode(EngineModeArg::Payload, rpc()).unwrap_err().to_string().contains("--engine-rpc"));
    }

    #[test]
    fn a_genesis_file_takes_the_place_of_the_development_genesis() {
        assert_eq!(rollup_genesis(None, 7).unwrap(), Genesis::devnet_for(7));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("genesis.json");
        let error = format!("{:#}", rollup_genesis(Some(&file), 7).unwrap_err());
        assert!(error.contains("cannot read") && error.contains("genesis.json"), "{error}");
        let text = r#"{"config": {"chainId": 9, "cancunTime": 0}, "gasLimit": "0x1c9c380", "alloc": {}}"#;
        std::fs::write(&file, text).unwrap();
        assert_eq!(rollup_genesis(Some(&file), 7).unwrap().chain_id, 9);
        std::fs::write(&file, text.replace("0x1c9c380", "0x1")).unwrap();
        let error = format!("{:#}", rollup_genesis(Some(&file), 7).unwrap_err());
        assert!(error.contains("gasLimit is 1"), "{error}");
    }
}
