"""COCO's annotation files: COCO 2017 itself, and sets of one's own in its format.

Boxes are x, y, width, height from the image's upper left corner, continuous. Category ids are sparse (1 .. 90 for 80 classes):
the classes are numbered by their ids' order, and `AnnotatedSet.category_ids` keeps the ids.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.data.annotated.coco_masks import masks_of
from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.division import divided, held_out, images_of, set_of_files
from common.data.annotated.entries import root_folder
from common.data.annotated.objects import counted, make_objects
from common.data.annotated.sets import AnnotatedImages, AnnotatedSet, Objects
from common.data.inputs import InputSpec
from common.errors import InputError
from common.files import read_json

COCO_LAYOUT = "train2017/, val2017/ and annotations/{kind}_{{train,val}}2017.json"
COCO_JSON_LAYOUT = (
    "annotations/{train,val,test}.json or annotations/instances_{train,val,test}.json, and images in a folder of the split's "
    "name, in images/, JPEGImages/, VOCdevkit/VOC*/JPEGImages/ or beside them"
)
_COCO_HELD_OUT = 0.05
_LONGEST = 1_000_000
_FOLDERS = ("{part}", "{part}2017", "images/{part}", "images", "JPEGImages", ".")


@dataclass(frozen=True)
class _Json:
    """A checked annotation file: images and annotations by their id's order, and names of the categories by id."""

    path: Path
    images: list[dict[str, Any]]
    annotations: dict[int, list[dict[str, Any]]]
    categories: dict[int, dict[str, Any]]


def load_coco(config: AnnotatedDataConfig, input: InputSpec, kind: str) -> AnnotatedSet:
    """Read COCO 2017: its validation images test, and a fixed twentieth of its training images validates.

    Args:
        config: where it lies.
        input: what a network expects of its pixels.
        kind: `instances`, or `person_keypoints`.

    Raises:
        InputError: a file is missing or damaged, or annotations contradict themselves.
    """
    root = root_folder(config, COCO_LAYOUT.format(kind=kind))
    files = {part: _read(root / "annotations" / f"{kind}_{part}2017.json") for part in ("train", "val")}
    folders = {"train": "train2017", "val": "val2017"}
    return _load(config, root, files, folders, input, published=True)


def load_coco_json(config: AnnotatedDataConfig, input: InputSpec) -> AnnotatedSet:
    """Read a set of one's own in COCO's format; errors as `load_coco`."""
    root = root_folder(config, COCO_JSON_LAYOUT)
    there = {part: path for part in ("train", "val", "test") if (path := _annotation_file(root, part)) is not None}
    if "train" not in there or len(there) == 1:
        missing = "train" if "train" not in there else "val and no test"
        raise InputError(f"{root}/annotations has no {missing} annotations; expected {COCO_JSON_LAYOUT}")
    files = {part: _read(path) for part, path in there.items()}
    folders = {part: _folder_of(root, part, file) for part, file in files.items()}
    return _load(config, root, files, folders, input, published=False)


def _load(
    config: AnnotatedDataConfig,
    root: Path,
    files: Mapping[str, _Json],
    folders: Mapping[str, str],
    input: InputSpec,
    *,
    published: bool,
) -> AnnotatedSet:
    if not files["train"].images:
        raise InputError(f"{files['train'].path}: there is no image, expected those that train")
    named = {category["name"]: id for id, category in sorted(files["train"].categories.items())}
    classes = tuple(config.classes or named)
    absent = next((name for name in classes if name not in named), None)
    if absent is not None:
        raise InputError(f"data.classes: {files['train'].path} has no category {absent!r}; it has {', '.join(named)}")
    number = {name: label for label, name in enumerate(classes)}
    mended: Counter[str] = Counter()
    parts = {part: _images(root, folders[part], file, number, mended) for part, file in files.items()}
    splits = {**held_out(parts["train"], _COCO_HELD_OUT), "test": parts["val"]} if published else divided(parts)
    dataset = set_of_files(config, root, classes, input, splits, counted(mended), _swaps(files["train"]))
    return replace(dataset, category_ids=tuple(named[name] for name in classes))


def _images(root: Path, folder: str, file: _Json, number: Mapping[str, int], mended: Counter[str]) -> AnnotatedImages:
    label_of = {}
    for id, category in file.categories.items():
        if category["name"] in number:
            label_of[id] = number[category["name"]]
    everything = [one for of_image in file.annotations.values() for one in of_image]
    unknown = next((one for one in everything if one["category_id"] not in label_of), None)
    if unknown is not None:
        name = file.categories[unknown["category_id"]]["name"]
        raise InputError(
            f"{file.path}: annotation {unknown['id']} is of class {name!r}, which is not in the list; "
            f"expected one of {', '.join(number)}"
        )
    has_masks = _have(everything, "segmentation", mended)
    points = max((len(one["keypoints"]) // 3 for one in everything), default=0) if _have(everything, "keypoints", mended) else 0
    objects = [
        _objects(file, image, file.annotations.get(image["id"], []), label_of, mended, has_masks=has_masks, points=points)
        for image in file.images
    ]
    return images_of(
        root,
        [image["file_name"] if folder == "." else f"{folder}/{image['file_name']}" for image in file.images],
        [(image["height"], image["width"]) for image in file.images],
        ids=[image["id"] for image in file.images],
        objects=tuple(objects),
    )


def _objects(
    file: _Json,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    label_of: Mapping[int, int],
    mended: Counter[str],
    *,
    has_masks: bool,
    points: int,
) -> Objects:
    size = (image["height"], image["width"])
    corners = np.array([one["bbox"] for one in annotations], dtype=np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    keypoints = None
    if points:
        try:
            keypoints = np.array([one["keypoints"] for one in annotations], dtype=np.float32).reshape(-1, points, 3)
        except (TypeError, ValueError) as error:
            raise InputError(f"{file.path}: image {image['id']}: objects have different numbers of keypoints") from error
    return make_objects(
        corners,
        [label_of[one["category_id"]] for one in annotations],
        size,
        mended,
        crowd=[bool(one.get("iscrowd", 0)) for one in annotations],
        areas=[_area(one) for one in annotations],
        masks=masks_of(file.path, annotations, size) if has_masks else None,
        keypoints=keypoints,
    )


def _area(annotation: Mapping[str, Any]) -> float:
    """Return the area that is annotated; the box's where none is."""
    area = annotation.get("area")
    return float(area) if isinstance(area, int | float) else annotation["bbox"][2] * annotation["bbox"][3]


def _have(annotations: Sequence[Mapping[str, Any]], key: str, mended: Counter[str]) -> bool:
    """Say whether every annotation has something; if only some have it, it is left out, and they are counted."""
    count = sum(bool(one.get(key)) for one in annotations)
    if 0 < count < len(annotations):
        mended[f"{key}_left_out"] += count
    return 0 < count == len(annotations)


def _swaps(file: _Json) -> tuple[tuple[int, int], ...]:
    """Return the pairs of keypoints named left_* and right_*."""
    names: list[str] = next((category["keypoints"] for category in file.categories.values() if category.get("keypoints")), [])
    pairs = ((names.index(name), name.replace("left", "right")) for name in names if "left" in name)
    return tuple((left, names.index(right)) for left, right in pairs if right in names)


def _read(path: Path) -> _Json:
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise InputError(f"{path}: {key!r} is missing or no list; expected COCO's images, annotations and categories")
    images = _by_id(path, "image", content["images"], {"file_name": str, "height": int, "width": int})
    categories = _by_id(path, "category", content["categories"], {"name": str})
    names = Counter(category["name"] for category in categories.values())
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{path}: two categories are called {twice!r}; expected different names")
    wanted = {"image_id": int, "category_id": int, "bbox": list}
    for id, image in images.items():
        if not (0 < image["height"] <= _LONGEST and 0 < image["width"] <= _LONGEST):
            raise InputError(f"{path}: image {id} is {image['width']} x {image['height']}, expected pixels >= 1")
    for id, category in categories.items():
        names_of = category.get("keypoints") or []
        if not isinstance(names_of, list) or not all(isinstance(name, str) for name in names_of):
            raise InputError(f"{path}: category {id} has the keypoints {names_of!r}, expected a list of names")
    annotations: dict[int, list[dict[str, Any]]] = {}
    for id, one in _by_id(path, "annotation", content["annotations"], wanted).items():
        for key, known in (("image_id", images), ("category_id", categories)):
            if one[key] not in known:
                raise InputError(f"{path}: annotation {id} has the {key} {one[key]}, which is not in the file")
        if len(one["bbox"]) != 4 or not all(isinstance(x, int | float) and abs(x) < 1e9 for x in one["bbox"]):
            raise InputError(f"{path}: annotation {id} has the bbox {one['bbox']}, expected [x, y, width, height] in pixels")
        if isinstance(one.get("area"), int | float) and not 0 <= one["area"] < math.inf:
            raise InputError(f"{path}: annotation {id} has the area {one['area']}, expected pixels >= 0")
        if one.get("keypoints") and not isinstance(one["keypoints"], list):
            raise InputError(f"{path}: annotation {id} has the keypoints {one['keypoints']!r}, expected a list of numbers")
        annotations.setdefault(one["image_id"], []).append(one)
    return _Json(path, [images[id] for id in sorted(images)], annotations, categories)


def _by_id(path: Path, what: str, items: Sequence[Any], wanted: Mapping[str, type]) -> dict[int, dict[str, Any]]:
    """Return items by their id, each of which must have some keys of some types.

    Raises:
        InputError: an id is missing or there twice, or a key is missing or of another type.
    """
    found: dict[int, dict[str, Any]] = {}
    for item in items:
        id = item.get("id") if isinstance(item, dict) else None
        if not isinstance(id, int):
            raise InputError(f"{path}: the id of one {what} is {id!r}, expected an integer")
        if id in found:
            raise InputError(f"{path}: two items have the {what} id {id}; every id must be there once")
        for key, kind in wanted.items():
            if not isinstance(item.get(key), kind):
                raise InputError(f"{path}: {what} {id} has the {key} {item.get(key)!r}, expected {_KINDS[kind]}")
        found[id] = item
    return found


_KINDS: dict[type, str] = {str: "text", int: "an integer", list: "a list"}


def _annotation_file(root: Path, part: str) -> Path | None:
    for name in (f"{part}.json", f"instances_{part}.json"):
        if (root / "annotations" / name).is_file():
            return root / "annotations" / name
    return None


def _folder_of(root: Path, part: str, file: _Json) -> str:
    """Return the folder, relative to the root, that holds the images of a file."""
    if not file.images:
        return "."
    first = file.images[0]["file_name"]
    voc = sorted(path.relative_to(root).as_posix() for path in root.glob("VOCdevkit/VOC*/JPEGImages"))
    for folder in (*(pattern.format(part=part) for pattern in _FOLDERS), *voc):
        if (root / folder / first).is_file():
            return folder
    raise InputError(f"{root}: there is no image {first}, which {file.path} names; expected {COCO_JSON_LAYOUT}")
