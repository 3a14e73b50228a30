//! Runs an executor as a process of its own. The only place of this crate that knows the executor.

use crate::cli::{EngineModeArg, ExecutorArgs, WalletLimits};
use anyhow::{Context, bail};
use squad_executor::{
    EngineConfig, EngineMode, ExecutorConfig, Genesis, JwtSecret, RollupConfig, RpcLimits, StateConfig,
};
use squad_types::NamespaceKind;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The rollup's genesis; that of the development rollup if there is no file.
fn rollup_genesis(file: Option<&Path>, chain_id: u64) -> anyhow::Result<Genesis> {
    let Some(file) = file else { return Ok(Genesis::devnet_for(chain_id)) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Genesis::from_json(&text).with_context(|| format!("{} is no genesis of a rollup", file.display()))
}

/// What clients may do.
fn limits(args: &WalletLimits) -> anyhow::Result<RpcLimits> {
    let memory = (args.rpc_memory_mib as usize) << 20;
    let largest = args.rpc_request_bytes as usize + args.rpc_response_bytes as usize;
    if memory < largest {
        bail!(
            "--rpc-memory-mib {} does not hold one request and one answer of the largest size ({largest} bytes); give it at \
             least {}, or lower --rpc-request-bytes or --rpc-response-bytes",
            args.rpc_memory_mib,
            largest.div_ceil(1 << 20),
        );
    }
    Ok(RpcLimits {
        request_bytes: args.rpc_request_bytes,
        response_bytes: args.rpc_response_bytes,
        batch: args.rpc_batch,
        connections: args.rpc_connections,
        under_way: args.rpc_under_way,
        subscriptions: args.rpc_subscriptions,
        memory,
        idle: Duration::from_millis(args.rpc_idle_ms.into()),
        calls: args.rpc_calls as usize,
        reads: args.rpc_reads as usize,
        log_blocks: args.rpc_log_blocks,
        logs: args.rpc_logs as usize,
        filters: args.rpc_filters as usize,
        sync_timeout: Duration::from_millis(args.rpc_sync_ms.into()),
    })
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
        limits: limits(&args.limits)?,
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
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn limits_of(options: &[&str]) -> anyhow::Result<RpcLimits> {
        let must =
            ["squad", "executor", "--operators", "http://x:1", "--genesis", "genesis.json", "--data-dir", "data"];
        match Cli::try_parse_from(must.iter().chain(options))?.command {
            Command::Executor(args) => limits(&args.limits),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn limits_are_the_executors_own_until_an_option_says_otherwise() {
        assert_eq!(limits_of(&[]).unwrap(), RpcLimits::default());
        let names = [
            "request-bytes",
            "response-bytes",
            "batch",
            "connections",
            "under-way",
            "subscriptions",
            "memory-mib",
            "idle-ms",
            "calls",
            "reads",
            "log-blocks",
            "logs",
            "filters",
            "sync-ms",
        ];
        let values = [400_000, 2 << 20, 3, 5, 6, 7, 8, 9_000, 10, 11, 12, 13, 14, 15_000];
        let options: Vec<String> =
            names.iter().zip(values).map(|(name, value)| format!("--rpc-{name}={value}")).collect();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let wanted = RpcLimits {
            request_bytes: 400_000,
            response_bytes: 2 << 20,
            batch: 3,
            connections: 5,
            under_way: 6,
            subscriptions: 7,
            memory: 8 << 20,
            idle: Duration::from_secs(9),
            calls: 10,
            reads: 11,
            log_blocks: 12,
            logs: 13,
            filters: 14,
            sync_timeout: Duration::from_secs(15),
        };
        assert_eq!(limits_of(&options).unwrap(), wanted);
    }

    #[test]
    fn limits_out_of_range_or_that_do_not_go_together_are_refused_with_what_to_do() {
        let range = limits_of(&["--rpc-idle-ms=5"]).unwrap_err().to_string();
        assert!(range.contains("--rpc-idle-ms") && range.contains("1000..=3600000"), "{range}");
        let memory = limits_of(&["--rpc-memory-mib=10"]).unwrap_err().to_string();
        assert!(memory.contains("--rpc-memory-mib 10") && memory.contains("at least 18"), "{memory}");
    }

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
