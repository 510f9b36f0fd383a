"""What the flags of results mean: one sentence each, for whoever prints them. Imports nothing."""

from __future__ import annotations

FLAGS: dict[str, str] = {
    "layer_collapsed": "a prunable tensor has no weight left, so nothing passes through it",
    "at_chance": "the features are no better than chance, or have collapsed to a point",
    "source_saw_target": "the source was trained on labels of the target's classes; nothing is concluded",
    "source_saw_images": "the source was trained on images of the target's classes, without labels",
    "input_mismatch": "the weights expect another input than they were given, which was accepted",
    "absent_classes": "some of the target's classes have no image among those measured; the mean per class is over the others",
    "control_less_trained": "the control's weights were trained for less than the ticket's, so it may lose by that alone",
    "control_not_pretrained": "the control starts from random weights, the ticket from trained ones; it may lose by that alone",
    "dense_less_trained": "the round had more training behind it than the dense round 0, so no verdict is given between them",
}
