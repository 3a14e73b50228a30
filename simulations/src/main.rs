//! The `squad-sim` binary. Everything is in the library, so that tests can reach it.

fn main() -> std::process::ExitCode {
    squad_simulations::cli::main()
}
