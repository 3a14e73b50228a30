//! The `squad` binary. Everything is in the library, so that tests can reach it.

/// Much of what a node allocates is as long as a frame or a batch, made on one thread and dropped on another. Without huge
/// pages (`no_thp`): a node's memory comes and goes in pieces far below two megabytes, and each would be zeroed whole.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    squad_node::cli::main()
}
