import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
import torch
from common.training.allocator import keep_freed_memory
taken = keep_freed_memory() if sys.argv[1] == "kept" else None
def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
before = held()
blocks = [torch.ones(1 << 22) for _ in range(8)]  # of 16 MiB
used = held() - before
del blocks
print(json.dumps([taken, used, held() - before]))
"""


def megabytes(how):
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="malloc's settings are glibc's")
def test_memory_of_a_step_stays_with_the_process():
    taken, used, kept = megabytes("kept")
    assert taken is True
    assert used > 120
    assert kept > 0.9 * used
    _, used, kept = megabytes("own")
    assert used > 120
    assert kept < 0.5 * used
