"""The labels of Cityscapes (Cordts et al. 2016, arXiv:1604.01685): ids, names, and which of them train."""

from __future__ import annotations

LABEL_IDS = {
    name: number
    for number, name in enumerate(
        (
            *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground"),
            *("road", "sidewalk", "parking", "rail track"),
            *("building", "wall", "fence", "guard rail", "bridge", "tunnel"),
            *("pole", "polegroup", "traffic light", "traffic sign"),
            *("vegetation", "terrain", "sky", "person", "rider"),
            *("car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
        )
    )
}
"""Name -> id, 0 to 33."""

NOT_DRAWN = ("license plate",)
"""Names whose id is negative: what lies under them keeps its label."""

CITYSCAPES_CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain", "sky"),
    *("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
"""The 19 that train and are judged, in the order of the training ids."""

TRAIN_IDS = {LABEL_IDS[name]: train_id for train_id, name in enumerate(CITYSCAPES_CLASSES)}
"""Label id -> training id; all others are ignored."""
