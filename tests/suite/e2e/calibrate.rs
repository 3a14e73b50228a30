//! The simulator held against real processes, briefly: both order everything, and both distributions are written.

use super::devnet::alone;
use super::process::PROGRAM;
use squad_simulations::calibrate::{Calibration, TIERS, Workload};

#[test]
fn a_calibration_orders_everything_on_both_sides_and_writes_both_distributions() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let calibration = Calibration {
        squad: PROGRAM.into(),
        workload: Workload {
            operators: 4,
            regions: vec!["us-4".to_owned()],
            rate: 40,
            bytes: 256,
            duration: 4,
            warmup: 1,
        },
        cores: None,
        seed: 1,
        out: dir.path().to_owned(),
    };
    let found = calibration.run().unwrap();
    // An operator that falls behind on a busy machine refuses some; what is not refused is ordered.
    assert_eq!((found.offered, found.accepted + found.refused), (160, 160), "{}", found.text());
    assert_eq!((found.simulated, found.simulated_ordered + found.simulated_refused), (160, 160), "{}", found.text());
    for (row, tier) in found.comparison.rows.iter().zip(TIERS) {
        assert_eq!(row.tier, tier);
        assert!(row.measured > 0 && row.simulated > 0 && row.ratio.iter().all(|ratio| *ratio > 0.0), "{row:?}");
        for times in [row.processes_ms, row.simulator_ms] {
            assert!(times.is_sorted() && times[0] > 0.0, "{row:?}");
        }
    }
    // A quorum of these regions is tens of milliseconds away, in both.
    let secured = &found.comparison.rows[1];
    assert!(secured.processes_ms[0] > 10.0 && secured.simulator_ms[0] > 10.0, "{secured:?}");
    for name in ["calibration.json", "bench.json", "scenario.toml", "simulated.csv", "report.html"] {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
    let quantiles = std::fs::read_to_string(dir.path().join("calibration.csv")).unwrap();
    assert_eq!(quantiles.lines().count(), 1 + TIERS.len() * 100);
    for tier in TIERS {
        for ending in ["svg", "png"] {
            assert!(dir.path().join(format!("calibration-{tier}.{ending}")).is_file(), "{tier}.{ending}");
        }
    }

    // What an earlier one left is not taken for a fresh network.
    let again = calibration.run().unwrap_err().to_string();
    assert!(again.contains("devnet") && again.contains("--out"), "{again}");
}
