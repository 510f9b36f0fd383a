import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
import torch
from common.training.allocator import keep_freed_memory
taken = keep_freed_memory() if sys.argv[1] == "kept" else None
torch.set_num_threads(1)
def step():
    return [torch.ones(1 << 22) for _ in range(8)]  # blocks of 16 MiB, all freed together
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(json.dumps([taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


def faults(how):
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="malloc's settings are glibc's")
def test_blocks_freed_by_a_step_serve_the_next_one():
    taken, kept = faults("kept")
    assert taken is True
    _, own = faults("own")
    assert kept < own / 10  # pages asked of the system again
