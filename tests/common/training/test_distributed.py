"""Two processes on gloo against one: the same loss, gradients and masks; a lost process ends all, and the run resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from common.tickets import load_ticket

REPOSITORY = Path(__file__).parents[3]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "TORCHELASTIC_ERROR_FILE": ""}


def on_two_ranks(folder: Path, script: str) -> list[dict]:
    """Run a script under torchrun; each rank saves what it calls `found`. Return what both saved."""
    file = folder / "script.py"
    file.write_text(script + f"\nimport torch\ntorch.save(found, {str(folder)!r} + f'/{{rank()}}.pt')\n")
    done = subprocess.run([*TORCHRUN, str(file)], env=ENVIRONMENT, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in (0, 1)]


OBJECTIVE = """
import torch
from common.training.distributed import process_group, rank, share, gather_rows, mean_over_ranks
from SimCLR.objective import nt_xent
draws = torch.Generator().manual_seed(0)
whole = [torch.randn(12, 5, generator=draws) for _ in range(2)]
with process_group(torch.device("cpu")):
    own = share(12)
    mine = [z[own.start:own.stop].clone().requires_grad_() for z in whole]
    loss = nt_xent(*mine, temperature=0.3)
    loss.backward()
    found = {"loss": mean_over_ranks(loss.detach()), "gradients": torch.stack([z.grad for z in mine]) / 2, "rank": rank()}
    number = rank()
rank = lambda: number
"""


def test_loss_and_gradient_at_the_projections_equal_one_process(tmp_path: Path) -> None:
    from SimCLR.objective import nt_xent

    draws = torch.Generator().manual_seed(0)
    whole = [torch.randn(12, 5, generator=draws).requires_grad_() for _ in range(2)]
    loss = nt_xent(*whole, temperature=0.3)
    loss.backward()
    parts = on_two_ranks(tmp_path, OBJECTIVE)
    for part in parts:
        torch.testing.assert_close(part["loss"], loss.detach())
    for view in (0, 1):
        torch.testing.assert_close(torch.cat([part["gradients"][view] for part in parts]), whole[view].grad)


END_TO_END = """
import torch
from torch import nn
from pathlib import Path
from common.cli import resolve
from common.models.heads import Network, projection_head
from common.tickets.hold import Hold
from common.tickets.mask import Mask
from common.training.distributed import process_group, rank
from common.training.logs import Log
from common.training.loop import Rules, Span, fit
from common.training.optim import build_optimizer, build_schedule
from common.training.pretraining import build_setting
from SimCLR.main import COMMAND
from SimCLR.task import SimCLRTask

def train(folder, optimizer="sgd", accumulate=1):
    words = ["--data.name=digits:0-2", "--train.batch_size=64", "--evaluation.retrieval_batch=32", f"--optim.name={optimizer}",
             "--optim.lr=0.05" if optimizer == "sgd" else "--optim.lr=0.002", f"--train.accumulate={accumulate}"]
    config = resolve(COMMAND, words).config
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()]
    backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = Network(backbone, projection_head(16, (16, 8), seed=0))
    setting = build_setting(config, torch.device("cpu"))
    task = SimCLRTask(config, network, setting.dataset, torch.device("cpu"), 0, views=2)
    task.prepare_(config.train)
    mask = Mask({"2.weight": torch.arange(16 * 8 * 9).reshape(16, 8, 3, 3) % 3 == 0})
    hold = Hold(backbone.named_parameters(), mask)
    hold.weights_()
    optimizer = build_optimizer(task.parameter_groups(), config.optim)
    log = Log(Path(folder), resumed_at=(0, 0), every=100, tensorboard=False)
    rules = Rules(accumulate=accumulate, clip=1.0)
    fit(task, optimizer, build_schedule(config.optim, 6, task.steps_per_epoch), Span(1, 0, 6), log=log, rules=rules, hold=hold)
    log.close()
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
"""


@pytest.mark.parametrize(("optimizer", "accumulate"), [("sgd", 1), ("lars", 1), ("adamw", 2)])
def test_training_without_batch_statistics_equals_one_process(tmp_path: Path, optimizer: str, accumulate: int) -> None:
    scope: dict = {}
    exec(END_TO_END, scope)
    alone = scope["train"](tmp_path, optimizer, accumulate)
    script = f"""{END_TO_END}
with process_group(torch.device("cpu")):
    found = train({str(tmp_path)!r}, {optimizer!r}, {accumulate})
    number = rank()
rank = lambda: number
"""
    first, second = on_two_ranks(tmp_path, script)
    for name, tensor in alone.items():
        assert torch.equal(first[name], second[name])
        # AdamW divides by the root of a squared gradient that may be next to nothing, which enlarges rounding.
        torch.testing.assert_close(first[name], tensor, rtol=2e-4, atol=1e-3 if optimizer == "adamw" else 2e-5)
    assert not first["backbone.2.weight"][torch.arange(16 * 8 * 9).reshape(16, 8, 3, 3) % 3 != 0].any()


MOCO = """
import torch
from pathlib import Path
from common.cli import resolve
from common.errors import InputError
from common.tickets.hold import Hold
from common.tickets.mask import Mask
from common.tickets.rewind import capture
from common.training.distributed import process_group, rank
from common.training.logs import Log
from common.training.loop import Rules, Span, fit
from common.training.optim import build_optimizer, build_schedule
from common.training.pretraining import build_setting
from MoCo.main import COMMAND
from MoCo.task import build_task

def task_of(*words):
    small = ["--data.name=digits:0-2", "--train.batch_size=48", "--evaluation.retrieval_batch=32", "--queue.size=70"]
    config = resolve(COMMAND, [*small, *words]).config
    return build_task(build_setting(config, torch.device("cpu")))

def train(folder):
    words = ["--norm.splits=4", "--objective.symmetric=true", "--objective.key_momentum=0.9", "--optim.lr=0.005"]
    task = task_of(*words, "--train.accumulate=2")
    task.prepare_(task.config.train)
    mask = Mask({"layer2.0.conv1.weight": torch.arange(24 * 16 * 9).reshape(24, 16, 3, 3) % 3 == 0})
    optim = task.config.optim
    log = Log(Path(folder), resumed_at=(0, 0), every=100, tensorboard=False)
    for round in (0, 1):
        hold = Hold(task.backbone.named_parameters(), mask) if round else None
        if hold is not None:
            hold.weights_()
            task.rewound()
        schedule = build_schedule(optim, 2, task.steps_per_epoch)
        optimizer = build_optimizer(task.parameter_groups(), optim)
        fit(task, optimizer, schedule, Span(round, 0, 2), log=log, rules=Rules(accumulate=2, clip=1.0), hold=hold)
    log.close()
    found = capture(task.network)
    found.update({"key/" + name: tensor for name, tensor in capture(task.key_encoder).items()})
    return {**found, "queue": task.queue.keys_KD.clone(), "next": torch.tensor(task.queue.next)}
"""


def test_moco_on_two_processes_equals_one_norm_statistics_and_queue_included(tmp_path: Path) -> None:
    scope: dict = {}
    exec(MOCO, scope)
    alone = scope["train"](tmp_path)
    script = f"""{MOCO}
with process_group(torch.device("cpu")):
    found = train({str(tmp_path)!r})
    try:
        task_of("--norm.splits=3")
        error = ""
    except InputError as said:
        error = str(said)
    number = rank()
found = {{"state": found, "error": error}}
rank = lambda: number
"""
    first, second = on_two_ranks(tmp_path, script)
    assert first["error"] == "norm.splits: got 3, expected a multiple of the 2 processes"
    for name, tensor in alone.items():
        assert torch.equal(first["state"][name], second["state"][name]), name
        torch.testing.assert_close(
            first["state"][name], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def search(out: Path, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "log", "ab") as log:
        command = [*TORCHRUN, "-m", "SimCLR", *words, "--train.checkpoint_every=1it", f"--out={out}"]
        return subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=log, stderr=log)


def digests(out: Path) -> list[str]:
    return [load_ticket(path).digest for path in sorted(out.glob("SimCLR/*/*/round_*/ticket.safetensors"))]


def process_of_rank(number: int, parent: int) -> int:
    """Find the worker of a rank among torchrun's children, by its environment."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            child_of = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            named = f"RANK={number}".encode() in (entry / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if child_of == parent and named:
            return int(entry.name)
    raise AssertionError(f"rank {number} is not running")


def test_a_killed_rank_ends_all_and_the_run_resumes_to_the_same_tickets(tmp_path: Path, small_words: tuple[str, ...]) -> None:
    undisturbed = search(tmp_path / "whole", small_words)
    assert undisturbed.wait() == 0, (tmp_path / "whole/log").read_text()[-3000:]
    expected = digests(tmp_path / "whole")
    assert len(expected) == 4
    (file,) = (tmp_path / "whole").glob("SimCLR/*/*/run.json")
    assert [attempt["world_size"] for attempt in json.loads(file.read_text())["attempts"]] == [2]

    out = tmp_path / "killed"
    process = search(out, small_words)

    def position() -> tuple[int, int]:
        found = list(out.glob("SimCLR/*/*/run.json"))
        record = json.loads(found[0].read_text()) if found else {"round": 0, "step": 0}
        return record["round"], record["step"]

    while position() < (1, 1):
        assert process.poll() is None, (out / "log").read_text()[-3000:]
        time.sleep(0.002)
    os.kill(process_of_rank(1, process.pid), signal.SIGKILL)
    assert process.wait(timeout=120) != 0
    assert not list(out.glob("SimCLR/*/*/result.json"))
    again = search(out, small_words)
    assert again.wait() == 0, (out / "log").read_text()[-3000:]
    assert digests(out) == expected


def test_ranks_that_disagree_stop(tmp_path: Path) -> None:
    script = """
import torch
from common.errors import RunError
from common.training.distributed import process_group, rank, require_agreement
with process_group(torch.device("cpu")):
    require_agreement("the mask of round 3", "same")
    try:
        require_agreement("the mask of round 3", str(rank()))
        found = {"error": ""}
    except RunError as error:
        found = {"error": str(error)}
    number = rank()
rank = lambda: number
"""
    for part in on_two_ranks(tmp_path, script):
        assert "the ranks disagree on the mask of round 3" in part["error"]


def test_bad_input_is_said_once(tmp_path: Path, small_words: tuple[str, ...]) -> None:
    command = [*TORCHRUN, "-m", "SimCLR", *small_words, "--train.batch_size=63", f"--out={tmp_path / 'runs'}"]
    done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith("SimCLR: error:")]
    assert said == ["SimCLR: error: train.batch_size: got 63, expected a multiple of the 2 processes"]
    assert not (tmp_path / "runs").exists()


def test_a_transfer_on_two_processes_writes_one_result(tmp_path: Path, small_search: Path) -> None:
    words = ["--recipe=digits_full", "--train.epochs=4", "--train.threads=1", "--train.device=cpu", f"--out={tmp_path / 'runs'}"]
    ticket = f"--ticket.file={small_search}/round_02/ticket.safetensors"
    command = [*TORCHRUN, "-m", "Downstream", *words, ticket, "--log.progress=false", "--log.tensorboard=false"]
    done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = (tmp_path / "runs").glob("Downstream/*/*")
    assert json.loads((run / "run.json").read_text())["status"] == "done"
    mask = load_ticket(small_search / "round_02/ticket.safetensors").mask
    from safetensors.torch import load_file

    kept = load_file(run / "trained.safetensors")
    assert not any(kept[f"weight/{name}"][~part].any() for name, part in mask.items())


def test_the_digest_of_weights_does_not_depend_on_their_layout() -> None:
    """A 1x1 convolution in channels last counts as contiguous although its last stride is not 1."""
    from common.training.distributed import state_digest

    plain = torch.nn.Conv2d(3, 4, 1)
    other = torch.nn.Conv2d(3, 4, 1)
    other.load_state_dict(plain.state_dict())
    assert state_digest(other.to(memory_format=torch.channels_last)) == state_digest(plain)
    with torch.no_grad():
        other.weight[0, 0] += 1
    assert state_digest(other) != state_digest(plain)
