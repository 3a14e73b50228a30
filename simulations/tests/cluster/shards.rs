//! Shards of a campaign or a sweep, merged into one report.

use squad_simulations::campaign::Campaign;
use squad_simulations::report::{Lenience, merge, report};
use squad_simulations::scenario::Profile;
use squad_simulations::sweep::Sweep;
use std::path::{Path, PathBuf};

fn fresh(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("squad-shards-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

const SCENARIO: &str =
    "duration_ms = 200\n[committee]\nmembers = 2\n[network]\ndelay_ms = 1.0\n[[load]]\nrate = 50.0\nbytes = 100\n";

fn sweep(text: &str, shard: (u64, u64), out: &Path) {
    let sweep = Sweep::new(text, &["network.delay_ms=1,4,16".to_owned()], 1..4, shard).unwrap();
    assert!(sweep.run(1, out, &|_, _| {}).unwrap());
}

fn refused(directories: &[PathBuf], out: &Path, lenience: Lenience) -> String {
    format!("{:#}", merge(directories, out, lenience).unwrap_err())
}

#[test]
fn shards_of_a_sweep_merge_into_what_one_run_would_have_left() {
    let root = fresh("sweep");
    let part = |name: &str| root.join(name);
    (0..2).for_each(|shard| sweep(SCENARIO, (shard, 2), &part(&format!("{shard}"))));
    sweep(SCENARIO, (0, 1), &part("all"));
    let parts = [part("0"), part("1")];
    merge(&parts, &part("merged"), Lenience::default()).unwrap();
    let runs = |name: &str| {
        let text = std::fs::read_to_string(part(name).join("sweep.csv")).unwrap();
        // The last column is the time that the run took.
        let mut rows: Vec<String> = text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect();
        rows[1..].sort();
        rows
    };
    assert_eq!(runs("merged"), runs("all"));
    assert_eq!(runs("merged").len(), 10);

    let page = std::fs::read_to_string(report(&part("merged")).unwrap()).unwrap();
    assert!(page.contains("<polygon") && page.contains("network.delay_ms"), "no band against the swept value");
    let png = std::fs::read(part("merged").join("sweep-ordered_p50_ms.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));

    let missing = refused(&parts[..1], &part("x"), Lenience::default());
    assert!(missing.contains("4 of 9 runs are missing") && missing.contains("--missing"), "{missing}");
    merge(&parts[..1], &part("some"), Lenience { missing: true, doubled: false }).unwrap();
    assert_eq!(runs("some").len(), 6);
    let all = [part("all"), part("1")];
    let doubled = refused(&all, &part("x"), Lenience::default());
    assert!(doubled.contains("4 runs are there twice") && doubled.contains("--doubled"), "{doubled}");
    merge(&all, &part("once"), Lenience { missing: false, doubled: true }).unwrap();
    assert_eq!(runs("once"), runs("all"));
    let itself = refused(&parts, &parts[0], Lenience::default());
    assert!(itself.contains("is one of the directories to merge"), "{itself}");

    sweep(&SCENARIO.replace("members = 2", "members = 3"), (1, 2), &part("other"));
    let other = refused(&[part("0"), part("other")], &part("x"), Lenience::default());
    assert!(other.contains("do not belong together: a sweep of another scenario"), "{other}");
    let changed = std::fs::read_to_string(part("1").join("sweep.csv")).unwrap();
    let trace = changed.lines().nth(1).unwrap().split(',').nth(15).unwrap().to_owned();
    std::fs::write(part("1").join("sweep.csv"), changed.replace(&trace, "0123456789abcdef")).unwrap();
    let code = refused(&all, &part("x"), Lenience { missing: false, doubled: true });
    assert!(code.contains("not of the same code") && code.contains("0123456789abcdef"), "{code}");
    assert!(!part("x").exists(), "a refused merge leaves something");
    std::fs::remove_dir_all(&root).unwrap();
}

fn campaign(profile: Profile, shard: (u64, u64), out: PathBuf) -> std::io::Result<squad_simulations::campaign::Found> {
    Campaign { seeds: 1..5, profile, shard, jobs: 1, out, twice: 0, stop_at_first: false }.run(&|_, _| {})
}

#[test]
fn shards_of_a_campaign_merge_and_other_profiles_do_not_mix() {
    let root = fresh("campaign");
    let parts = [root.join("0"), root.join("1")];
    for (shard, out) in (0..).zip(&parts) {
        campaign(Profile::Quick, (shard, 2), out.clone()).unwrap();
    }
    merge(&parts, &root.join("merged"), Lenience::default()).unwrap();
    let lines = squad_simulations::campaign::read_results(&root.join("merged/results.jsonl")).unwrap();
    assert_eq!(lines.iter().map(|line| line.seed).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let page = std::fs::read_to_string(report(&root.join("merged")).unwrap()).unwrap();
    assert!(page.contains("<td>runs</td><td>4</td>"), "{page}");
    let mixed = campaign(Profile::Full, (0, 2), parts[0].clone()).unwrap_err().to_string();
    assert!(mixed.contains("a campaign of profile quick, not full") && mixed.contains("another directory"), "{mixed}");
    std::fs::remove_file(parts[1].join("whole.json")).unwrap();
    let unknown = refused(&parts, &root.join("x"), Lenience::default());
    assert!(unknown.contains("whole.json"), "{unknown}");
    std::fs::remove_dir_all(&root).unwrap();
}
