//! `squad operator`: what an operator does on the settlement layer, from its first allocation until its stake is free again.

mod allocate;
mod args;
mod layer;
mod leave;
mod register;
mod rotate;
mod sending;
mod status;
#[cfg(test)]
pub(super) mod tests;

pub(super) use args::{AccountArgs, ChainArgs};
pub(super) use layer::{Layer, decimal, ether, percent, span, tokens};
pub(super) use sending::{SendArgs, ask, cost, sent};

use super::Output;
use clap::Subcommand;
use std::process::ExitCode;

/// `squad operator`
#[derive(Clone, Debug, Subcommand)]
pub enum OperatorCommand {
    /// Put what is delegated to the operator at stake for the network, or take it back
    Allocate(allocate::AllocateArgs),
    /// Enter the network's operator set with a consensus key
    Register(register::RegisterArgs),
    /// Show what the operator has at stake, its keys, and whether it counts
    Status(status::StatusArgs),
    /// Replace the consensus key
    RotateKey(rotate::RotateArgs),
    /// Say where the node is now
    SetContact(rotate::ContactArgs),
    /// Leave the operator set
    Deregister(leave::DeregisterArgs),
    /// Show until when stake can be slashed, and when it is free
    ExitStatus(status::StatusArgs),
}

pub(super) async fn run(command: OperatorCommand, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        OperatorCommand::Allocate(args) => Box::pin(allocate::run(args, output)).await?,
        OperatorCommand::Register(args) => Box::pin(register::run(args, output)).await?,
        OperatorCommand::Status(args) => Box::pin(status::run(args, output)).await?,
        OperatorCommand::RotateKey(args) => Box::pin(rotate::run(args, output)).await?,
        OperatorCommand::SetContact(args) => Box::pin(rotate::set_contact(args, output)).await?,
        OperatorCommand::Deregister(args) => Box::pin(leave::run(args, output)).await?,
        OperatorCommand::ExitStatus(args) => Box::pin(leave::exit_status(args, output)).await?,
    }
    Ok(ExitCode::SUCCESS)
}
