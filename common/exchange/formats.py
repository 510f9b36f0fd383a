"""Names of the formats that can be imported; needs no torch. Every one is a file of `common/exchange/importers`."""

from __future__ import annotations

FORMATS = {
    "torch-prune": "torch.nn.utils.prune: weight_orig and weight_mask (CV_LTH, LTH-T)",
    "distiller": "Distiller: compression_sched.masks_dict beside a state dict",
    "masks": "a mask dictionary (*.weight_mask, or tensors of 0 and 1), weights by --weights",
    "zeros": "a pruned checkpoint whose pruned weights are 0",
    "plain": "weights without a mask, taken as dense with --dense",
}
