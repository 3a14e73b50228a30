#!/usr/bin/env python3
"""Counts the instructions that the sequencer spends on each message that it is handed, and refuses more than were agreed on.

Runs scenarios of the simulator, which drives the code of the operators, under valgrind's callgrind, and counts within
`Sequencer::handle` only: no simulator, no encryption, no disk. Signatures are keyed hashes. The same program on the same processor
gives the same count; what libraries choose by processor (copying, hashing) makes some percent of difference between machines, so
the bound is wider than that. Fewer by more than the bound is news as well: bless it, so that it stays.

    check.py [--install] [--bless] [--program target/release/squad-sim]

--install gets valgrind on Debian, --bless writes expected.json anew.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
EXPECTED = HERE / "expected.json"
SCENARIOS = ["few", "many"]
# Part by which a count may differ from what was agreed on.
BOUND = 0.05


def instructions(program: pathlib.Path, scenario: str) -> tuple[int, int]:
    """Instructions within `handle`, and messages delivered."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind.out"
        command = ["valgrind", "--quiet", "--tool=callgrind", "--toggle-collect=*Sequencer*handle", f"--callgrind-out-file={out}"]
        command += [str(program), "run", str(HERE / f"{scenario}.toml"), "--json"]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            said = "\n".join((ran.stdout + ran.stderr).splitlines()[:20])
            sys.exit(f"{scenario}: {' '.join(command)} ended with {ran.returncode}:\n{said}")
        total = re.search(r"^totals: (\d+)$", out.read_text(), re.MULTILINE)
    counted = int(total.group(1)) if total else 0
    if counted == 0:
        sys.exit(f"{scenario}: callgrind saw no call of Sequencer::handle; is {program} built with its symbols?")
    return counted, json.loads(ran.stdout)["deliveries"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--bless", action="store_true")
    parser.add_argument("--program", type=pathlib.Path, default=HERE.parents[1] / "target/release/squad-sim")
    options = parser.parse_args()
    if options.install and shutil.which("valgrind") is None:
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(["apt-get", "install", "-qy", "--no-install-recommends", "valgrind", "libc6-dbg"], check=True)
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not here: install it, or give --install on Debian")
    if not options.program.exists():
        sys.exit(f"{options.program} is not here: cargo build --release -p squad-simulations --bin squad-sim")

    found = {}
    for scenario in SCENARIOS:
        counted, deliveries = instructions(options.program, scenario)
        found[scenario] = round(counted / deliveries)
        print(f"{scenario}: {found[scenario]} instructions a delivery ({counted} for {deliveries})")
    if options.bless:
        EXPECTED.write_text(json.dumps(found, indent=2) + "\n")
        return
    expected = json.loads(EXPECTED.read_text())
    wrong = False
    for scenario, count in found.items():
        ratio = count / expected[scenario] - 1
        if abs(ratio) > BOUND:
            wrong = True
            word = "more" if ratio > 0 else "fewer"
            print(f"{scenario}: {abs(ratio):.1%} {word} than the {expected[scenario]} of expected.json", file=sys.stderr)
    if wrong:
        sys.exit("if that is meant, say why in the commit and write expected.json anew with --bless")


main()
