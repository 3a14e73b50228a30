//! The command line.

mod args;
mod clock;
mod doctor;
mod evidence;
mod genesis;
mod keys;
mod operator;
mod output;
mod remote;
mod status;
mod submit;
mod verify;
mod wallets;
mod watch;

pub use args::{Cli, Command, DevnetArgs, EngineModeArg, ExecutorArgs, NodeArgs};
pub use clock::now;
pub use genesis::read_genesis;
pub use output::{Output, line, note, print};
pub use wallets::WalletLimits;

use clap::Parser;
use std::process::ExitCode;

/// Runs the program; its exit status is 0 for success, 1 for a failure that was printed, 2 for a wrong command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output { json: cli.json };
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            output.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let output = Output { json: cli.json };
    match cli.command {
        Command::Keys(command) => keys::run(command, output).map(|()| ExitCode::SUCCESS),
        Command::Genesis(command) => genesis::run(command, output).map(|()| ExitCode::SUCCESS),
        Command::Config => {
            print(crate::config::SAMPLE)?;
            Ok(ExitCode::SUCCESS)
        }
        other => runtime()?.block_on(asynchronous(other, output)),
    }
}

/// Asks this process to stop, as SIGTERM does, once standard input ends: whoever started it is gone then.
fn end_with_stdin() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
    });
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context as _;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime does not start")
}

/// The long ones are boxed, so that the largest of them is not part of every caller's future.
async fn asynchronous(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Node(args) => {
            if args.exit_with_stdin {
                end_with_stdin();
            }
            let offset = args.insecure_clock_offset_ms;
            let guarded = !args.insecure_unguarded;
            let config = args.load()?;
            crate::logging::start(&config.log)?;
            if !guarded {
                tracing::warn!("this node signs without asking what its key signed before, for a test");
            }
            if let Some(offset_ms) = offset {
                clock::pretend(offset_ms);
                tracing::warn!(offset_ms, "this node pretends that its clock is off, for a test");
            }
            Box::pin(crate::driver::run(config, guarded)).await?;
        }
        Command::Devnet(mut args) => {
            args.json |= output.json;
            Box::pin(crate::devnet::run(args)).await?;
        }
        Command::Bench(mut args) => {
            args.json |= output.json;
            Box::pin(crate::bench::run(*args)).await?;
        }
        Command::Submit(args) => submit::run(args, output).await?,
        Command::Watch(args) => watch::run(args, output).await?,
        Command::Verify(args) => return verify::run(args, output).await,
        Command::Evidence(command) => return Box::pin(evidence::run(command, output)).await,
        Command::Operator(command) => return Box::pin(operator::run(*command, output)).await,
        Command::Status(args) => status::run(args, output).await?,
        Command::Doctor(args) => return Box::pin(doctor::run(args, output)).await,
        Command::Executor(args) => {
            if args.exit_with_stdin {
                end_with_stdin();
            }
            Box::pin(crate::executor::run(*args)).await?;
        }
        Command::DevnetChain { program, arguments } => {
            end_with_stdin();
            crate::devnet::chain(&program, &arguments).await?;
        }
        Command::Keys(_) | Command::Genesis(_) | Command::Config => {}
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
