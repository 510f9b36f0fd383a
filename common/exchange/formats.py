"""Names of the formats that can be imported; needs no torch. Every one is a file of `common/exchange/importers`."""

from __future__ import annotations

FORMATS = {
    "torch-prune": "torch.nn.utils.prune: weight_orig and weight_mask (CV_LTH, LTH-T)",
}
