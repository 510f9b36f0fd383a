"""What kept memory gives a training step on the CPU: `python -m benchmarks.allocator`.

Steps of SimCLR's digits recipe as every run makes them, over the same steps with malloc's own settings (see
`common.training.allocator`), whole processes in turn. Seconds of the process and of the system are printed apart.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from benchmarks.measure import arguments, report

EPOCHS = 12
_PROGRAM = """
import contextlib, io, resource, sys
if sys.argv[1] == "own":
    import common.training.allocator
    common.training.allocator.keep_freed_memory = lambda: False
import SimCLR.main
words = ["--prune.rounds=0", f"--train.epochs={sys.argv[2]}", f"--out={sys.argv[3]}", "--train.threads=1", "--log.progress=false"]
with contextlib.redirect_stdout(io.StringIO()):
    code = SimCLR.main.main(words)
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime, used.ru_stime)
sys.exit(code)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("allocator", __doc__ or "", argv, repeats=5)
    seconds: dict[str, list[tuple[float, float]]] = {"kept": [], "own": []}
    for _ in range(options.repeats):
        for name, found in seconds.items():
            found.append(_run(name))
    total = {name: statistics.median(user + system for user, system in found) for name, found in seconds.items()}
    other = {f"system_seconds_{name}": statistics.median(system for _, system in found) for name, found in seconds.items()}
    other |= {f"seconds_{name}": value for name, value in total.items()}
    report({"allocator": total["kept"] / total["own"]}, other, options.json)
    return 0


def _run(name: str) -> tuple[float, float]:
    """Train in a process of its own; return its seconds of user and system time."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", _PROGRAM, name, str(EPOCHS), folder]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        printed = subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout
    user, system = map(float, printed.split())
    return user, system


if __name__ == "__main__":
    sys.exit(main())
