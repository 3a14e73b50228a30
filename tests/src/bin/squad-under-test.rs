//! The `squad` program itself, built by this package so that its tests have it as a process.

fn main() -> std::process::ExitCode {
    squad_node::cli::main()
}
