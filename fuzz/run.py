"""Fuzz one target, or one after the other: ``python -m fuzz.run all --inputs 1000000``.

An input that breaks something is written to ``fuzz/regressions``, and ends the target's run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["django_smtpx"]):
    from fuzz.targets import CORPUS, HERE, REGRESSIONS, TARGETS

SHARES = {
    "parser": 22,
    "capabilities": 13,
    "sasl": 15,
    "redaction": 2,
    "content": 5,
    "protocol": 43,
}
"""Of the inputs, in percent: what is deepest gets the most."""
LENGTH = 2048
"""Bytes in one input, at most."""


def main() -> int:
    """Run what the command line asks for; return 0 when nothing was found."""
    options = _options()
    if options.target != "all":
        _fuzz(options.target, options.inputs, options.seed, options.found)
    failed = []
    for target, share in SHARES.items():
        started = time.monotonic()
        inputs = max(1, options.inputs * share // 100)
        command = [sys.executable, "-m", "fuzz.run", target, f"--inputs={inputs}"]
        command += [f"--seed={options.seed}"]
        command += [f"--found={options.found / target}"] if options.found else []
        if subprocess.run(command, check=False).returncode:
            failed.append(target)
        print(f"{target}: {inputs} inputs in {time.monotonic() - started:.0f} s", flush=True)
    print(f"Found something in: {' '.join(failed)}" if failed else "Nothing was found.")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many, over all targets")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the mutations; 0 for another each time"
    )
    parser.add_argument("--found", type=Path, help="a folder for the inputs that reach new code")
    return parser.parse_args()


def _fuzz(target: str, inputs: int, seed: int, found: Path | None) -> None:
    """Fuzz one target; it ends the process."""
    found = found or Path(tempfile.mkdtemp(prefix="fuzz-"))
    found.mkdir(parents=True, exist_ok=True)
    regressions = REGRESSIONS / target
    regressions.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        f"-runs={inputs}",
        f"-seed={seed}",
        f"-max_len={LENGTH}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        f"-artifact_prefix={regressions}/",
        f"-dict={HERE / 'smtp.dict'}",
        str(found),
        str(CORPUS / target),
        str(regressions),
    ]
    atheris.Setup(arguments, TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
