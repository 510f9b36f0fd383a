"""Names of the formats that can be imported; needs no torch. Every one is a file of `common/exchange/importers`."""

from __future__ import annotations

FORMATS = {
    "torch-prune": "torch.nn.utils.prune: weight_orig and weight_mask (CV_LTH, LTH-T)",
    "wrapped": "layers wrapped with a mask: AC/DC, WoodFisher, GMP",
    "str-threshold": "STR's weights and thresholds",
    "rigl": "RigL's TensorFlow variables as .npz",
    "open_lth": "open_lth's mask.pth, with --weights",
    "turboprune": "TurboPrune: a mask beside each weight",
    "parametrize": "torch.nn.utils.parametrize with a mask",
    "distiller": "Distiller: compression_sched.masks_dict beside a state dict",
    "masks": "a mask dictionary (*.weight_mask, or tensors of 0 and 1), weights by --weights",
    "zeros": "a pruned checkpoint whose pruned weights are 0",
    "plain": "weights without a mask, taken as dense with --dense",
}
