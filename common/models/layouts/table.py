"""The table of layouts, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from common.errors import InputError
from common.models.layouts.detectors import DETECTRON2, TORCHVISION_DETECTION
from common.models.layouts.layout import Layout
from common.models.layouts.mobilenet_v1 import MOBILENET_V1
from common.models.layouts.moco import MOCO
from common.models.layouts.open_lth import NESTED, OPEN_LTH
from common.models.layouts.plain import NETWORK, PLAIN, SIMCLR_V1
from common.models.layouts.rigl import RIGL
from common.models.layouts.simclr_v2 import SIMCLR_V2

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        MOCO,
        SIMCLR_V2,
        DETECTRON2,
        TORCHVISION_DETECTION,
        RIGL,
        MOBILENET_V1,
        OPEN_LTH,
        NESTED,
        NETWORK,
        PLAIN,
        SIMCLR_V1,
    )
}


def find_layout(tensors: Mapping[str, Tensor], wanted: str, what: str) -> Layout:
    """Return the layout of a file's tensors: the one that is wanted, or for "auto" the first of the table that they are in.

    Raises:
        InputError: they are not in the layout that is wanted, or in none.
    """
    fitting = [layout for layout in LAYOUTS.values() if layout.recognises(tensors)]
    found = next((layout for layout in fitting if layout.automatic), None)
    if wanted == "auto" and found is not None:
        return found
    if wanted in LAYOUTS and LAYOUTS[wanted] in fitting:
        return LAYOUTS[wanted]
    first = ", ".join(sorted(tensors)[:3])
    if wanted != "auto":
        signs = f" (it has {LAYOUTS[wanted].signs})" if wanted in LAYOUTS else ""
        raise InputError(
            f"start.format: got {wanted}{signs}, but {what} is in the layout {found.name if found else 'of nothing known'}: "
            f"its names are {first} ..."
        )
    raise InputError(f"start.weights: {what} is in no known layout ({', '.join(LAYOUTS)}): its names are {first} ...")
