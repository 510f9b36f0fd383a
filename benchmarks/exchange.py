"""What converting a legacy mask costs: `python -m benchmarks.exchange`.

The masks of a ResNet-50 as float32 (94 MB, as CV_LTH saves them) become a ticket; whole processes, the command line included, in
turn with one that only imports torch. The bound is 5 seconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import arguments, interleaved, report

BOUND_SECONDS = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("exchange", __doc__ or "", argv, repeats=5)
    with tempfile.TemporaryDirectory() as folder:
        masks, ticket = Path(folder, "masks.pt"), Path(folder, "ticket.safetensors")
        _write_masks(masks)
        seconds = interleaved({"torch": _process("-c", "import torch"), "import": _conversion(masks, ticket)}, options.repeats)
        sizes = {"legacy_mask_megabytes": masks.stat().st_size / 1e6, "ticket_megabytes": ticket.stat().st_size / 1e6}
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {"import_legacy_mask_of_bound": median["import"] / BOUND_SECONDS}
    report(
        ratios, {"import_legacy_mask_seconds": median["import"], "import_torch_seconds": median["torch"], **sizes}, options.json
    )
    return 0


def _write_masks(path: Path) -> None:
    import torch

    from common.models.backbones import build_backbone
    from common.randomness import generator
    from common.tickets.scope import find_scope

    scope = find_scope(backbone := build_backbone("resnet50")).parameters(backbone)
    draws = generator(0, "masks")
    masks = {f"{name}_mask": (torch.rand(weight.shape, generator=draws) < 0.2).float() for name, weight in scope.items()}
    torch.save(masks, path)


def _conversion(masks: Path, ticket: Path) -> Callable[[], object]:
    words = ("import", str(masks), "--arch", "resnet50", "--input", "imagenet", "-o", str(ticket))

    def convert() -> None:
        ticket.unlink(missing_ok=True)
        _process("-m", "common.exchange", *words)()

    return convert


def _process(*words: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
