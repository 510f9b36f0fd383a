"""A folder that speaks the protocol of studies and needs nothing but Python: what the tests of plan and scheduler run.

Recipes are `toy` and `odd`; `--behave WHAT[:SEED]` makes runs die_once, die, fail, vanish (no result), sleep or sleep_once.
"""

import hashlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.name


def described(argv):
    given = dict(zip(argv[::2], argv[1::2]))
    recipe, ticket = given["--recipe"], given.get("--ticket.file")
    if recipe not in ("toy", "odd"):
        raise ValueError(f"unknown recipe {recipe!r}; known recipes are odd, toy")
    config = {key[2:]: value for key, value in given.items() if not key.startswith(("--seed", "--out"))}
    found = None
    if ticket is not None:
        match = re.search(r"([^/]+/[^/]+)/seed(\d+)-\d+/round_(\d+)/ticket\.safetensors$", ticket)
        config["ticket.file"], found = f"{match[1]}@{int(match[3])}", int(match[2])
    config_hash = hashlib.sha256(json.dumps([FOLDER, config], sort_keys=True).encode()).hexdigest()[:12]
    seeds = {"ticket": int(given.get("--seed.ticket", found or 0)), "task": int(given.get("--seed.task", 0))}
    run = Path(given["--out"]) / FOLDER / f"{recipe}-{config_hash}" / f"seed{seeds['ticket']}-{seeds['task']}"
    record = run / "run.json"
    status = json.loads(record.read_text())["status"] if record.exists() else "new"
    return {"run": str(run), "status": status, "recipe": recipe, "config": {"data": {"labels": 40}, **config}}, seeds


def work(argv):
    about, seeds = described(argv)
    run, out = Path(about["run"]), Path(argv[argv.index("--out") + 1])
    run.mkdir(parents=True, exist_ok=True)
    with (out / "order.txt").open("a") as order:
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        order.write(f"{FOLDER} {os.getpid()} {os.environ.get('OMP_NUM_THREADS')} {run} {gpus}\n")
    print("a line that is no report", flush=True)
    print("a line for the log", file=sys.stderr)
    behave, _, which = about["config"].get("behave", "").partition(":")
    if not which or int(which) in seeds.values():
        misbehave(behave, run)
    if behave != "vanish":
        (run / "result.json").write_text(json.dumps({"seconds": 2.0}))
    (run / "run.json").write_text(json.dumps({"status": "done"}))
    return about["run"]


def misbehave(behave, run):
    first = not (run / "began").exists()
    (run / "began").touch()
    if behave == "die" or (behave == "die_once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if behave == "fail":
        (run / "run.json").write_text(json.dumps({"status": "failed", "error": "the loss is not finite"}))
        raise ValueError("the loss is\nnot finite")
    if behave == "sleep" or (behave == "sleep_once" and first):
        time.sleep(60)


def answer(number, argv, dry):
    try:
        if dry:
            return {"job": number, **described(argv)[0]}
        return {"job": number, "code": 0, "seconds": 0.1, "run": work(argv), "error": None}
    except ValueError as error:
        return {"job": number, "code": 2 if dry else 1, "error": str(error)}


def main():
    if "--jobs" not in sys.argv:  # started by torchrun, in several processes
        if os.environ["RANK"] == "0":
            work(sys.argv[1:])
        return
    source = sys.argv[sys.argv.index("--jobs") + 1]
    lines = sys.stdin if source == "-" else Path(source).read_text().splitlines()
    for number, line in enumerate(lines):
        print(json.dumps(answer(number, json.loads(line), "--dry_run" in sys.argv)), flush=True)


if __name__ == "__main__":
    main()
