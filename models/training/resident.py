"""A training run that is always going: started, continued, watched and brought to an end by name.

A resident run is a folder::

    RUN/code/          clone of the repository at the commit the run was started with
    RUN/run.json       images, cores, options: as given to the first `start`
    RUN/constant/      the run itself at a constant rate: checkpoints, log.csv, validation.txt
    RUN/decay-STEP/    a branch of it whose rate falls to zero: weights that can be shipped
    RUN/pid, RUN/log.txt

The clone keeps work on the code from disturbing the run. Low priority and cores of its own keep the
run from disturbing the work. The constant phase never ends: decays branch off and it goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

#: Steps of a run that has no end of its own.
ENDLESS = 100_000_000
#: Seconds that a run is given to write its checkpoint when it is stopped.
PATIENCE = 180.0
_LOADING = 5.0
#: What must not be said twice: these the resident run sets itself.
_OWN = ("--out", "--steps", "--decay-steps", "--init", "--validation")
_EXAMPLES = """examples:
  python -m models.training.resident start runs/long photos/ --validation held-out/ --cores 0 \\
      -- --init models/weights/ssvae.safetensors --batch 24 --pages 180
  python -m models.training.resident start runs/long        (again: continues)
  python -m models.training.resident status runs/long
  python -m models.training.resident decay runs/long --steps 6000 -- --crop 256
  python -m models.training.resident stop runs/long
"""


class ResidentError(Exception):
    """The run cannot do what it is asked to; the message says what would help."""


@dataclass
class Plan:
    """What a run was started with; kept in ``run.json``."""

    data: str
    validation: str | None
    cores: list[int]
    init: str | None
    options: list[str]
    """Further options of ``python -m models.training``."""
    commit: str


class Resident:
    """One resident run.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.constant = self.folder / "constant"
        self._plan_path, self._pid_path = self.folder / "run.json", self.folder / "pid"

    # -- what is known -------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """Raises ResidentError where nothing has been started yet."""
        if not self._plan_path.exists():
            raise ResidentError(f"{self.folder} is no run yet: `start` it with a folder of images")
        return Plan(**json.loads(self._plan_path.read_text()))

    def process(self) -> int | None:
        """Id of the training process, or None."""
        if not self._pid_path.exists():
            return None
        number = int(self._pid_path.read_text())
        # After a restart of the machine the number may be another process'.
        return number if not _ended(number) and str(self.folder) in _command(number) else None

    def branch(self) -> Path:
        """The folder of the newest decay, or the constant phase where there is none younger."""
        branches = [p for p in self.folder.glob("decay-*") if (p / "log.csv").exists()]
        known = [p for p in [self.constant, *branches] if (p / "log.csv").exists()]
        return max(known, key=lambda p: (p / "log.csv").stat().st_mtime, default=self.constant)

    def status(self) -> str:
        """One line on steps, hours, loss and how to continue, then the last validation table."""
        plan, running, branch = self.plan, self.process(), self.branch()
        row = last_row(branch / "log.csv")
        name = str(self.folder)
        if row is None:
            state = "has logged no step yet"
        else:
            hours = float(row["seconds"]) / 3600
            state = (
                f"{branch.name}: step {int(row['step']):,}, {hours:.2f} h on {len(plan.cores)} "
                f"core(s), loss {float(row['loss']):.4g}"
            )
        command = f"python -m models.training.resident {'stop' if running else 'start'} {name}"
        doing = f"running as process {running}" if running else "not running"
        line = f"{state}; {doing}, commit {plan.commit[:8]}; {command}"
        table = branch / "validation.txt"
        return line + ("\n" + table.read_text().rstrip() if table.exists() else "")

    # -- what is done --------------------------------------------------------------------------

    def start(self, wanted: Plan | None, repository: Path) -> int:
        """Start the run, or continue it; the id of its process.

        Args:
            wanted: needed the first time; later the kept plan holds, but for the cores.
            repository: what is cloned the first time.

        Raises:
            ResidentError: it is running, it has no images yet, or git fails.
        """
        if (running := self.process()) is not None:
            raise ResidentError(f"{self.folder} is running already, as process {running}")
        if not self._plan_path.exists():
            if wanted is None:
                raise ResidentError(f"{self.folder} is new: name the folder of training images")
            self._create(wanted, repository)
        elif wanted is not None and wanted.cores != self.plan.cores:
            self._write(Plan(**asdict(self.plan) | {"cores": wanted.cores}))
        plan = self.plan
        options = ["--steps", str(ENDLESS), "--decay-steps", "1", *plan.options]
        if plan.init:
            options += ["--init", plan.init]
        return self._launch(self.constant, options)

    def decay(self, steps: int, options: list[str], *, wait: bool = True) -> Path:
        """Branch off the constant phase: ``steps`` more, whose rate falls to zero.

        A running constant phase is stopped first, with a checkpoint, and stays stopped. A decay
        from the same step that was interrupted goes on.

        Raises:
            ResidentError: there is no checkpoint yet, or there is another decay from its step.
        """
        self.stop()
        checkpoint = self.constant / "latest.pt"
        if not checkpoint.exists():
            raise ResidentError(f"{checkpoint} is not there yet: nothing to branch off")
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        reached = int(saved["step"])
        branch = self.folder / f"decay-{reached}"
        self._refuse_another(branch, reached + steps)
        # What the constant phase began from is behind it: a checkpoint is of the same network.
        begun = ("--no-init-grow", "--no-init-partly")
        options = [
            *("--init", str(checkpoint), "--steps", str(reached + steps)),
            *("--decay-steps", str(steps), *self.plan.options, *begun, *options),
        ]
        number = self._launch(branch, options)
        while wait and not _ended(number):
            time.sleep(1.0)
        return branch

    def _refuse_another(self, branch: Path, end: int) -> None:
        """Raises ResidentError where a branch is there that would not go on to this step."""
        if not (branch / "latest.pt").exists():
            return
        saved = torch.load(branch / "latest.pt", map_location="cpu", weights_only=True, mmap=True)
        if int(saved["step"]) < int(saved["config"]["steps"]) == end:
            return
        planned = saved["config"]["steps"]
        raise ResidentError(f"{branch} is there already, to step {planned}; move it away")

    def stop(self) -> bool:
        """Ask the process for a checkpoint and its end; whether there was one.

        Raises:
            ResidentError: it does not end.
        """
        number = self.process()
        if number is None:
            return False
        os.kill(number, signal.SIGCONT)  # a paused process receives no other signal
        os.kill(number, signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while not _ended(number):
            if time.monotonic() > until:
                raise ResidentError(f"process {number} does not end; its log is in {self.folder}")
            time.sleep(0.2)
        self._pid_path.unlink(missing_ok=True)
        return True

    def _create(self, plan: Plan, repository: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        code = self.folder / "code"
        shutil.rmtree(code, ignore_errors=True)  # of a start that was interrupted
        _git("clone", "--quiet", "--no-hardlinks", str(repository), str(code))
        plan.commit = _git("-C", str(code), "rev-parse", "HEAD")
        self._write(plan)

    def _write(self, plan: Plan) -> None:
        beside = self._plan_path.with_suffix(".partial")
        beside.write_text(json.dumps(asdict(plan), indent=1) + "\n")
        os.replace(beside, self._plan_path)

    def _launch(self, out: Path, options: list[str]) -> int:
        plan = self.plan
        command = [sys.executable, "-m", "models.training", plan.data, "--out", str(out), *options]
        if plan.validation:
            command += ["--validation", plan.validation]
        threads = str(max(1, len(plan.cores)))
        with (self.folder / "log.txt").open("a") as log:
            child = subprocess.Popen(
                command,
                cwd=self.folder / "code",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            )
        os.setpriority(os.PRIO_PROCESS, child.pid, 19)
        if plan.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(child.pid, plan.cores)
        self._pid_path.write_text(f"{child.pid}\n")
        return child.pid


def last_row(log: Path) -> dict[str, Any] | None:
    """The last row of a run's log, or None."""
    if not log.exists():
        return None
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows[-1] if rows else None


def _ended(number: int) -> bool:
    """Whether a process has ended; one of our own that has is taken off the system's list."""
    try:
        return os.waitpid(number, os.WNOHANG)[0] != 0
    except ChildProcessError:  # started by another process
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def _command(number: int) -> str:
    """The command line of a process; empty where there is none."""
    listed = Path(f"/proc/{number}/cmdline")
    # While a program is being loaded it has none yet, on a busy core for seconds.
    until = time.monotonic() + _LOADING
    while listed.exists():
        command = listed.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        if command or time.monotonic() > until:
            return command
        time.sleep(0.02)
    done = subprocess.run(
        ["ps", "-p", str(number), "-o", "command="], capture_output=True, text=True, check=False
    )
    return done.stdout


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise ResidentError("git is needed to keep the code of a run apart") from error
    except subprocess.CalledProcessError as error:
        raise ResidentError(f"git {arguments[0]}: {error.stderr.strip()}") from error
    return done.stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.training.resident",
        description="A training run that is always going: a folder with its own copy of the code.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="start a run, or continue it")
    start.add_argument("run", type=Path)
    start.add_argument("data", type=Path, nargs="?", help="training images; needed the first time")
    start.add_argument("--validation", type=Path, help="images for the table printed now and then")
    start.add_argument("--init", type=Path, help="weights or a checkpoint to begin from")
    start.add_argument("--cores", type=int, nargs="+", help="processor cores; default: all")
    status = commands.add_parser("status", help="steps, hours, loss, last table, how to continue")
    status.add_argument("run", type=Path)
    decay = commands.add_parser("decay", help="branch off weights whose rate falls to zero")
    decay.add_argument("run", type=Path)
    decay.add_argument("--steps", type=int, required=True, help="of the decay")
    commands.add_parser("stop", help="end it, with a checkpoint").add_argument("run", type=Path)
    return parser


def _plan(options: argparse.Namespace, further: list[str]) -> Plan | None:
    if options.data is None and options.cores is None:
        return None
    cores = options.cores or sorted(_allowed())
    known = Plan("", None, cores, None, further, "")
    if options.data is None:
        return known
    if not options.data.is_dir():
        raise ResidentError(f"{options.data}: no such folder of images")
    known.data = str(options.data.resolve())
    known.validation = None if options.validation is None else str(options.validation.resolve())
    known.init = None if options.init is None else str(options.init.resolve())
    return known


def _allowed() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def main(arguments: list[str] | None = None) -> None:
    given = sys.argv[1:] if arguments is None else list(arguments)
    cut = given.index("--") if "--" in given else len(given)
    parser = _parser()
    options, further = parser.parse_args(given[:cut]), given[cut + 1 :]
    for option in further:
        if option.split("=")[0] in _OWN:
            parser.error(f"{option} is for the resident run to say; see --help")
    run = Resident(options.run)
    try:
        if options.command == "start":
            repository = Path(__file__).resolve().parents[2]
            plan = _plan(options, further)
            if plan is not None and not plan.data and not (run.folder / "run.json").exists():
                plan = None
            number = run.start(plan, repository)
            print(f"{run.folder}: process {number}; log in {run.folder / 'log.txt'}")
        elif options.command == "decay":
            branch = run.decay(options.steps, further)
            print(f"{branch}: judge and adopt it with python -m benchmarks.adopt {branch} IMAGES")
        elif options.command == "stop":
            run.plan  # noqa: B018 - says so where there is no run
            print("stopped, with a checkpoint" if run.stop() else "was not running")
        else:
            print(run.status())
    except (ResidentError, OSError) as error:
        sys.exit(f"resident: {error}")


if __name__ == "__main__":
    main()
