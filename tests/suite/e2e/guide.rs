//! docs/rollups.md, typed word by word: every marked command runs, and what the page says is printed is printed.
//!
//! A fenced block's first line says what it is: `bash run` runs to its end and must succeed; `bash background="TEXT"` goes
//! on until the end, once it has printed TEXT; `bash restart="TEXT"` kills the one before and takes its place. `text expect`
//! must be printed by the last that ran, `text appears` by the last in the background. A `…` stands for anything.

use super::devnet::alone;
use super::process::{Guarded, PROGRAM, squad};
use super::wait::wait_for;
use rustix::process::{Pid, Signal, kill_process_group};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What stands for the programs that the page builds: these, which cargo has built for this test.
const PRELUDE: &str = r#"
set -euo pipefail
squad() { "$GUIDE_PROGRAM" "$@"; }
cargo() {
    if [ "$1" = build ]; then return; fi
    while [ "$1" != --example ]; do shift; done
    local example="GUIDE_$2"
    while [ "$1" != -- ]; do shift; done
    shift
    "${!example}" "$@"
}
if [ -f "$GUIDE_EXPORTS" ]; then source "$GUIDE_EXPORTS"; fi
"#;

/// A fenced block that the page marks.
#[derive(Debug, PartialEq)]
enum Step {
    Run(String),
    Background { text: String, until: String, restart: bool },
    Expect(String),
    Appears(String),
}

/// The marked blocks of a page, in order.
fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut lines) = (Vec::new(), page.lines());
    while let Some(line) = lines.next() {
        let Some(mark) = line.strip_prefix("```") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = body.join("\n");
        let until = |kind: &str| Some(mark.strip_prefix(kind)?.strip_suffix('"')?.to_owned());
        if let Some(until) = until("bash background=\"") {
            steps.push(Step::Background { text, until, restart: false });
        } else if let Some(until) = until("bash restart=\"") {
            steps.push(Step::Background { text, until, restart: true });
        } else {
            steps.push(match mark {
                "bash run" => Step::Run(text),
                "text expect" => Step::Expect(text),
                "text appears" => Step::Appears(text),
                mark if mark.starts_with("bash") || mark.starts_with("text ") => panic!("unknown mark: {mark}"),
                _ => continue,
            });
        }
    }
    steps
}

/// Whether a printed line has a pattern's parts, in order.
fn has(printed: &str, pattern: &str) -> bool {
    printed.lines().any(|line| {
        pattern.split('…').try_fold(line, |rest, part| Some(&rest[rest.find(part)? + part.len()..])).is_some()
    })
}

/// A command in the background, with all that it started.
struct Background {
    process: Guarded,
    log: PathBuf,
}

impl Background {
    fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until it has printed a line with this pattern.
    fn wait_for(&mut self, pattern: &str) {
        wait_for(&format!("{pattern:?} in {}", self.log.display()), || {
            if has(&self.printed(), pattern) {
                return Some(());
            }
            let ended = self.process.0.try_wait().unwrap();
            assert!(ended.is_none(), "it ended ({ended:?}) before it printed {pattern:?}:\n{}", self.printed());
            None
        });
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.process.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A reader of the page at work.
struct Reader {
    dir: PathBuf,
    /// What stands for `77` in the page's ports: others may use those.
    ports: String,
    printed: String,
    background: Vec<Background>,
}

impl Reader {
    fn new(dir: &Path) -> Self {
        // A hundred ports from a round number on, of which the page uses the first.
        let free = |base: &u16| (*base..base + 18).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        let base = (110..310).map(|hundreds| hundreds * 100).find(free).expect("there are free ports");
        Self { dir: dir.to_owned(), ports: (base / 100).to_string(), printed: String::new(), background: Vec::new() }
    }

    fn bash(&self, text: &str) -> Command {
        let text = text.replace("--base-port 7700", &format!("--base-port {}00", self.ports));
        let text = text.replace("127.0.0.1:77", &format!("127.0.0.1:{}", self.ports));
        // Without this process's settings, as the program under test gets none elsewhere.
        let clean = squad::<&str>([]);
        let mut bash = Command::new("bash");
        for (name, _) in clean.get_envs().filter(|(_, value)| value.is_none()) {
            bash.env_remove(name);
        }
        bash.arg("-c").arg(format!("{PRELUDE}\n{text}\nexport -p > \"$GUIDE_EXPORTS\"")).current_dir(&self.dir);
        bash.env("GUIDE_PROGRAM", PROGRAM)
            .env("GUIDE_counter", env!("CARGO_BIN_EXE_counter"))
            .env("GUIDE_submitter", env!("CARGO_BIN_EXE_submitter"))
            .env("GUIDE_bridge_watcher", env!("CARGO_BIN_EXE_bridge_watcher"))
            .env("GUIDE_EXPORTS", self.dir.join("exports"))
            .env("SQUAD_RPC", format!("http://127.0.0.1:{}01", self.ports))
            .stdin(Stdio::null());
        bash
    }

    fn run(&mut self, text: &str) {
        let output = self.bash(text).output().unwrap();
        self.printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\nfails ({}):\n{}{errors}", output.status, self.printed);
    }

    fn start(&mut self, text: &str, until: &str) {
        let log = self.dir.join(format!("background-{}.log", self.background.len()));
        let file = std::fs::File::create(&log).unwrap();
        let mut bash = self.bash(text);
        bash.stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
        let mut background = Background { process: Guarded(bash.spawn().unwrap()), log };
        background.wait_for(until);
        self.background.push(background);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Run(text) => self.run(&text),
            Step::Background { text, until, restart } => {
                if restart {
                    drop(self.background.pop());
                }
                self.start(&text, &until);
            }
            Step::Expect(pattern) => {
                assert!(has(&self.printed, &pattern), "{pattern:?} is not in what was printed:\n{}", self.printed);
            }
            Step::Appears(pattern) => self.background.last_mut().unwrap().wait_for(&pattern),
        }
    }
}

#[test]
fn the_way_from_nothing_to_a_running_rollup_works_as_it_is_written() {
    let _alone = alone();
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rollups.md")).unwrap();
    let steps = steps(&page);
    assert!(steps.len() > 20, "only {} marked blocks: does the page still mark them?", steps.len());
    let dir = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(dir.path());
    steps.into_iter().for_each(|step| reader.take(step));
    // In reverse, so that followers do not see their network go first.
    while let Some(background) = reader.background.pop() {
        drop(background);
    }
}

#[test]
fn patterns_match_within_a_line_and_in_order() {
    assert!(has("a\nordered  0x12  height 3, place 0\n", "ordered  0x…  height …, place …"));
    assert!(!has("ordered\nheight 3", "ordered…height"));
    assert!(!has("height 3 ordered", "ordered…height"));
    let page = "x\n```bash run\na\nb\n```\n```bash background=\"up\"\nc\n```\n```toml\nd\n```\n";
    let up = Step::Background { text: "c".to_owned(), until: "up".to_owned(), restart: false };
    assert_eq!(steps(page), [Step::Run("a\nb".to_owned()), up]);
}
