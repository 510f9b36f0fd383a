"""Sets of images and label maps in the layouts that they are published in, and a folder of one's own.

Where a set's only public labelled split beside train is val, that tests, and a fixed tenth of train validates (`divided`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.data.annotated.cityscapes_labels import TRAIN_IDS
from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.division import divided, lines_of, set_of_files
from common.data.annotated.entries import root_folder
from common.data.annotated.label_files import Codes, LabelFiles, labelled_images
from common.data.annotated.segmentation_layouts import (
    ADE20K_LAYOUT,
    AUGMENTED_LAYOUT,
    CAMVID_LAYOUT,
    CITYSCAPES_LAYOUT,
    FOLDER_LAYOUT,
    VOC_LAYOUT,
)
from common.data.annotated.sets import IGNORE, AnnotatedImages, AnnotatedSet
from common.data.inputs import InputSpec
from common.errors import InputError
from common.files import sha256_bytes

POLYGONS = "python -m common.data.annotated.cityscapes_polygons"
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")

Pairs = dict[str, list[tuple[str, str]]]


def load_voc2012(config: AnnotatedDataConfig, classes: Sequence[str], input: InputSpec) -> AnnotatedSet:
    """Read PASCAL VOC 2012: train's 1,464 images train and validate, val's 1,449 test.

    Raises:
        InputError: a folder, list or file is missing, or a label map does not fit its image.
    """
    if config.download:
        _fetch(config)
    root, folder = _voc_folder(config, VOC_LAYOUT)
    pairs = {
        part: [(_jpeg(folder, name), f"{folder}/SegmentationClass/{name}.png") for name in _listed(root / folder, part)]
        for part in ("train", "val")
    }
    return _set(config, root, pairs, classes, input, Codes.plain(len(classes)))


def load_voc2012_augmented(config: AnnotatedDataConfig, classes: Sequence[str], input: InputSpec) -> AnnotatedSet:
    """Read PASCAL VOC 2012 with the annotations of the Semantic Boundaries Dataset (Hariharan et al. 2011): 10,582 train.

    They come as PNGs in SegmentationClassAug, listed in train_aug.txt or trainaug.txt, or as SBD's own .mat files, of which the
    images of VOC's val are left out. Where VOC has a label map of its own, and there are .mat files, VOC's is taken.

    Raises:
        InputError: as `load_voc2012`, or neither is there.
    """
    root, folder = _voc_folder(config, AUGMENTED_LAYOUT)
    test = _listed(root / folder, "val")
    listed = [name for name in ("train_aug", "trainaug") if (root / folder / f"ImageSets/Segmentation/{name}.txt").exists()]
    boundaries = next((p for p in ("benchmark_RELEASE/dataset", "sbd") if (root / p / "cls").is_dir()), None)
    if listed:
        train = [(name, f"{folder}/SegmentationClassAug/{name}.png") for name in _listed(root / folder, listed[0])]
    elif boundaries is not None:
        train = _boundary_pairs(root, boundaries, folder, set(test))
    else:
        raise InputError(f"{root} has no annotations of SBD; expected {AUGMENTED_LAYOUT}")
    pairs = {
        "train": [(_jpeg(folder, name), label) for name, label in train],
        "val": [(_jpeg(folder, name), f"{folder}/SegmentationClass/{name}.png") for name in test],
    }
    return _set(config, root, pairs, classes, input, Codes.plain(len(classes)))


def load_cityscapes(config: AnnotatedDataConfig, classes: Sequence[str], input: InputSpec) -> AnnotatedSet:
    """Read Cityscapes' fine annotations, ids as 19 training ids: train's 2,975 images train and validate, val's 500 test.

    Raises:
        InputError: as `load_voc2012`; label maps that are there as polygons alone are told how to make.
    """
    root = root_folder(config, CITYSCAPES_LAYOUT)
    pairs: Pairs = {}
    for part in ("train", "val"):
        images = sorted(path.relative_to(root).as_posix() for path in (root / "leftImg8bit" / part).glob("*/*_leftImg8bit.png"))
        pairs[part] = [(image, _city_label(image)) for image in images]
        missing = [label for _, label in pairs[part] if not (root / label).exists()]
        if missing:
            polygons = missing[0].replace("_labelIds.png", "_polygons.json")
            how = f"make it with {POLYGONS} {root}" if (root / polygons).exists() else f"expected {CITYSCAPES_LAYOUT}"
            raise InputError(f"{root / missing[0]}: there is no such label map ({len(missing):,} are missing); {how}")
    codes = Codes.of(TRAIN_IDS, [*(i for i in range(34) if i not in TRAIN_IDS), IGNORE], "Cityscapes' label ids, 0 to 33")
    return _set(config, root, pairs, classes, input, codes)


def load_ade20k(config: AnnotatedDataConfig, classes: Sequence[str], input: InputSpec) -> AnnotatedSet:
    """Read ADE20K's scene parsing challenge: label 0 is ignored and k is class k - 1; validation's 2,000 images test.

    Raises:
        InputError: as `load_voc2012`.
    """
    root = root_folder(config, ADE20K_LAYOUT)
    base = "ADEChallengeData2016/" if (root / "ADEChallengeData2016").is_dir() else ""
    pairs = {
        part: _paired(root, f"{base}images/{name}", f"{base}annotations/{name}", ADE20K_LAYOUT)
        for part, name in (("train", "training"), ("val", "validation"))
    }
    codes = Codes.of({label + 1: label for label in range(len(classes))}, [0], f"0 (ignored) to {len(classes)}")
    return _set(config, root, pairs, classes, input, codes)


def load_camvid(config: AnnotatedDataConfig, classes: Sequence[str], input: InputSpec) -> AnnotatedSet:
    """Read CamVid as SegNet's authors divided it; 11 is ignored.

    Raises:
        InputError: as `load_voc2012`.
    """
    root = root_folder(config, CAMVID_LAYOUT)
    pairs = {part: _camvid_pairs(root, part) for part in ("train", "val", "test")}
    return _set(config, root, pairs, classes, input, Codes.plain(len(classes), [len(classes)]))


def load_label_folder(config: AnnotatedDataConfig, input: InputSpec) -> AnnotatedSet:
    """Read a folder of one's own; classes are those of data.classes or classes.txt, and 255 is ignored.

    Raises:
        InputError: as `load_voc2012`, or the classes are not named.
    """
    root = root_folder(config, FOLDER_LAYOUT)
    classes = config.classes or tuple(lines_of(root / "classes.txt", needed=False))
    if not classes or len(set(classes)) != len(classes):
        raise InputError(f"{root}: the classes have no names, or two have the same; write classes.txt, or give data.classes")
    parts = [part for part in ("train", "val", "test") if (root / part).is_dir()]
    if "train" not in parts or len(parts) < 2:
        raise InputError(f"{root} has {', '.join(parts) or 'no part'}, expected train and at least one of val and test")
    pairs = {part: _paired(root, f"{part}/images", f"{part}/labels", FOLDER_LAYOUT) for part in parts}
    return _set(config, root, pairs, classes, input, Codes.plain(len(classes)))


def _set(
    config: AnnotatedDataConfig, root: Path, pairs: Pairs, classes: Sequence[str], input: InputSpec, codes: Codes
) -> AnnotatedSet:
    empty = next((part for part, found in pairs.items() if not found), None)
    if empty is not None:
        raise InputError(f"{root}: {empty} has no image; every part of {config.name} needs some")
    parts = {part: labelled_images(root, found, codes) for part, found in pairs.items()}
    dataset = set_of_files(config, root, classes, input, divided(parts), {})
    digests = "".join(f"{part}\0{_label_digest(images)}\n" for part, images in sorted(parts.items()))
    count, _, own = dataset.fingerprint.partition("-")
    both = sha256_bytes(f"{own} {digests}".encode())
    return replace(dataset, fingerprint=f"{count}-{both[:16]}")


def _label_digest(images: AnnotatedImages) -> str:
    assert isinstance(images.read_labels, LabelFiles)
    return images.read_labels.digest()


def _paired(root: Path, images: str, labels: str, layout: str) -> list[tuple[str, str]]:
    """Return the images of a folder and the label maps of another, by their names without ending.

    Raises:
        InputError: a folder is missing or empty, or a file has no counterpart or two.
    """
    found = {folder: _files(root, folder, layout) for folder in (images, labels)}
    for here, there in ((images, labels), (labels, images)):
        lonely = sorted(set(found[here]) - set(found[there]))
        if lonely:
            raise InputError(
                f"{root / here / found[here][lonely[0]]} has no counterpart in {root / there} ({len(lonely):,} of "
                f"{len(found[here]):,} have none); every image needs a label map of the same name, and no other may be there"
            )
    return [(f"{images}/{found[images][stem]}", f"{labels}/{found[labels][stem]}") for stem in sorted(found[images])]


def _files(root: Path, folder: str, layout: str) -> dict[str, str]:
    """Return the image files of a folder, by their names without ending."""
    path = root / folder
    if not path.is_dir():
        raise InputError(f"there is no folder {path}; expected in {root}: {layout}")
    names = sorted(file.name for file in path.iterdir() if file.suffix.lower() in _IMAGES and not file.name.startswith("."))
    if not names:
        raise InputError(f"{path} has no image; expected in {root}: {layout}")
    twice = next((stem for stem, count in Counter(Path(name).stem for name in names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{path} has two files named {twice}; which one is meant is not known: take one out")
    return {Path(name).stem: name for name in names}


def _camvid_pairs(root: Path, part: str) -> list[tuple[str, str]]:
    """Return the pairs of a list, whose paths may begin with SegNet's own folder (/SegNet/CamVid/train/...)."""
    pairs = []
    for line in lines_of(root / f"{part}.txt", needed=True):
        words = line.split()
        if len(words) != 2:
            raise InputError(f"{root / f'{part}.txt'}: the line {line!r} is not 'IMAGE LABEL'")
        image, label = ("/".join(Path(word).parts[-2:]) for word in words)
        pairs.append((image, label))
    return pairs


def _voc_folder(config: AnnotatedDataConfig, layout: str) -> tuple[Path, str]:
    """Return the root, and the folder of VOC2012 relative to it."""
    root = root_folder(config, layout)
    for folder in ("VOCdevkit/VOC2012", "VOC2012", "."):
        if (root / folder / "ImageSets/Segmentation").is_dir():
            return root, folder
    raise InputError(f"{root} holds no VOC2012; expected {layout}")


def _fetch(config: AnnotatedDataConfig) -> None:
    from torchvision.datasets import VOCSegmentation

    if config.root is None:
        raise InputError(f"data.download: {config.name} needs a folder to be fetched into; name it with --data.root DIR")
    root = Path(config.root).expanduser()
    if (root / "VOCdevkit/VOC2012/SegmentationClass").is_dir():
        return
    try:
        VOCSegmentation(str(root), year="2012", image_set="train", download=True)
    except (OSError, RuntimeError, ValueError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{config.name} cannot be fetched into data.root {config.root}: {why}") from error


def _listed(folder: Path, name: str) -> list[str]:
    """Return the names in a list of VOC's segmentation, in its order."""
    path = folder / "ImageSets" / "Segmentation" / f"{name}.txt"
    names = [Path(line.split()[0]).stem for line in lines_of(path, needed=True)]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{path} lists {twice} twice; list every image once")
    return names


def _boundary_pairs(root: Path, boundaries: str, folder: str, test: set[str]) -> list[tuple[str, str]]:
    """Return what trains of VOC and SBD together: names of images, and their label files."""
    own = {name: f"{folder}/SegmentationClass/{name}.png" for name in _listed(root / folder, "train")}
    theirs = {path.stem: f"{boundaries}/cls/{path.name}" for path in (root / boundaries / "cls").glob("*.mat")}
    return [(name, label) for name, label in sorted({**theirs, **own}.items()) if name not in test]


def _jpeg(folder: str, name: str) -> str:
    return f"{folder}/JPEGImages/{name}.jpg"


def _city_label(image: str) -> str:
    return image.replace("leftImg8bit/", "gtFine/", 1).replace("_leftImg8bit.png", "_gtFine_labelIds.png")
