//! The `squad` binary. Everything is in the library, so that tests can reach it.

fn main() -> std::process::ExitCode {
    squad_node::cli::main()
}
