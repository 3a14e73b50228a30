//! Runs every target on mutated seeds for a bounded time. The same flags give the same inputs, so a finding is its
//! target, seed and iteration.
// They panic when nobody reads what they print.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use squad_fuzz::mutate::{Rng, mutate};
use squad_fuzz::{seeds, targets};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Tries every decoder on mutated examples of what it decodes.
#[derive(Parser)]
struct Args {
    /// How long to run, all targets together.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// At most this many inputs a target.
    #[arg(long, default_value_t = u64::MAX)]
    iterations: u64,
    /// The seed of the mutations.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only targets whose name contains this.
    #[arg(long, default_value = "")]
    target: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let chosen: Vec<_> = targets::ALL.iter().filter(|target| target.name.contains(&args.target)).collect();
    anyhow::ensure!(!chosen.is_empty(), "no target is named '{}'", args.target);
    let share = Duration::from_secs(args.seconds) / u32::try_from(chosen.len())?;
    let (mut total, mut out) = (0, std::io::stdout());
    for target in chosen {
        let inputs = seeds::of(target.seeds);
        // Printed before the run: after a panic the last line names the target.
        write!(out, "{:24} {:3} seeds", target.name, inputs.len())?;
        out.flush()?;
        let done = try_out(target, &inputs, share, &args);
        writeln!(out, " {done:9} inputs")?;
        total += done;
    }
    writeln!(out, "{total} inputs, no panic")?;
    Ok(())
}

fn try_out(target: &targets::Target, inputs: &[&[u8]], share: Duration, args: &Args) -> u64 {
    let end = Instant::now() + share;
    let mut done = 0;
    for input in inputs {
        (target.run)(input);
        done += 1;
    }
    let mut iteration = 0;
    while iteration < args.iterations && Instant::now() < end {
        let mut rng = Rng::new(args.seed ^ (iteration << 16));
        let other = inputs.get(rng.below(inputs.len())).copied().unwrap_or_default();
        let mut bytes = inputs.get(rng.below(inputs.len())).copied().unwrap_or_default().to_vec();
        mutate(&mut bytes, other, &mut rng);
        let outcome = std::panic::catch_unwind(|| (target.run)(&bytes));
        if outcome.is_err() {
            let found =
                format!("{}: seed {}, iteration {iteration}, input {}", target.name, args.seed, hex::encode(&bytes));
            let _ = writeln!(std::io::stderr(), "\n{found}");
            std::process::exit(1);
        }
        iteration += 1;
        done += 1;
    }
    done
}
