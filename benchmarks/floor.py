"""What a search must beat: the probe's metrics of the untrained network, and of raw pixels.

`python -m benchmarks.floor FOLDER [flags of the folder]`, for example
`python -m benchmarks.floor SimCLR --recipe cifar10_cpu --data.root DATA --seed.ticket 1`. Nothing is trained and nothing written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from common.cli import resolve
from common.errors import InputError

FOLDERS = ("SimCLR", "MoCo", "Supervised")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0, or 2 for bad input."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if not words or words[0] not in FOLDERS:
            raise InputError(f"got {words[:1]}, expected one of {', '.join(FOLDERS)} and then its flags")
        for name, metrics in floors(words[0], words[1:]):
            print(f"{name:<12}" + "  ".join(f"{metric} {value:.4f}" for metric, value in sorted(metrics.items())), flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def floors(folder: str, words: Sequence[str]) -> list[tuple[str, dict[str, float]]]:
    """Return the validation metrics of the untrained network and of raw pixels.

    Raises:
        InputError: as the folder's own command line.
    """
    from common.models.backbones import build_backbone
    from common.training.device import choose_device, threads
    from common.training.pretraining import build_setting
    from common.training.probe import Probe

    config = resolve(import_module(f"{folder}.main").COMMAND, words).config
    with threads(config.train.threads):
        setting = build_setting(config, choose_device(config.train.device))
        task = import_module(f"{folder}.task").build_task(setting)
        probe: Probe = task.probe
        pixels = build_backbone("pixels", size=task.images["train"].size).to(setting.device)
        return [("untrained", probe.measure(task.backbone, "validation")), ("raw pixels", probe.measure(pixels, "validation"))]


if __name__ == "__main__":
    sys.exit(main())
