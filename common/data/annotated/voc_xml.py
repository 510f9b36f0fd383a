"""Detection annotations as PASCAL VOC writes them: VOCdevkit/VOC*/{JPEGImages,Annotations,ImageSets/Main}.

VOC counts pixels from 1 and its maxima are the last pixels inside. A box xmin, ymin, xmax, ymax becomes xmin - 1, ymin - 1,
xmax, ymax here, in continuous coordinates. Sets in this layout that count from 0 (BCCD, whose JSON has xmin, ymin, xmax, ymax)
are read by the same rule, so that their boxes begin a pixel further to the upper left; at the border they are clipped, which is
counted. A box whose maximum does not exceed its minimum has no area and is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.division import divided, images_of, lines_of, set_of_files
from common.data.annotated.entries import root_folder
from common.data.annotated.objects import WITHOUT_AREA, counted, make_objects
from common.data.annotated.sets import AnnotatedImages, AnnotatedSet
from common.data.inputs import InputSpec
from common.errors import InputError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOC_LAYOUT = "VOCdevkit/VOC*/ with JPEGImages, Annotations and ImageSets/Main/{train,val,test}.txt"
VOC0712_LAYOUT = "VOCdevkit/VOC2007 (trainval and test) and VOCdevkit/VOC2012 (trainval)"


@dataclass(frozen=True)
class _Annotation:
    """What one XML file says: height and width, and of each object its class, box as VOC counts it, and difficult flag."""

    size: tuple[int, int]
    names: tuple[str, ...]
    boxes: tuple[tuple[float, ...], ...]
    difficult: tuple[bool, ...]


def load_voc(config: AnnotatedDataConfig, input: InputSpec) -> AnnotatedSet:
    """Read any VOC-like folder.

    Raises:
        InputError: a folder, list, image or annotation is missing or damaged, or an object's class is not in the list.
    """
    root = root_folder(config, VOC_LAYOUT)
    years = _years(root)
    lists = {
        part: [f"{year}/{name}" for year in years for name in _listed(root / year, part, needed=False)]
        for part in ("train", "val", "test")
    }
    if not lists["train"]:
        raise InputError(f"{root}: ImageSets/Main/train.txt names no image, expected those that train")
    if not lists["val"] and not lists["test"]:
        raise InputError(f"{root}: neither ImageSets/Main/val.txt nor test.txt names an image, expected at least one of them")
    return _load(config, root, {part: names for part, names in lists.items() if names}, config.classes or None, input)


def load_voc0712(config: AnnotatedDataConfig, input: InputSpec) -> AnnotatedSet:
    """Read VOC2007 and VOC2012: a fixed tenth of both trainvals validates, VOC2007's test images test.

    Raises:
        InputError: as `load_voc`, or the download failed.
    """
    if config.download:
        _fetch(config)
    root = root_folder(config, VOC0712_LAYOUT)
    years = {year: _find(root, year) for year in ("VOC2007", "VOC2012")}
    lists = {
        "train": [f"{folder}/{name}" for folder in years.values() for name in _listed(root / folder, "trainval", needed=True)],
        "test": [f"{years['VOC2007']}/{name}" for name in _listed(root / years["VOC2007"], "test", needed=True)],
    }
    return _load(config, root, lists, VOC_CLASSES, input)


def _load(
    config: AnnotatedDataConfig, root: Path, lists: dict[str, list[str]], classes: Sequence[str] | None, input: InputSpec
) -> AnnotatedSet:
    read = {part: [_annotation(root, name) for name in names] for part, names in lists.items()}
    if classes is None:
        classes = sorted({name for part in read.values() for one in part for name in one.names})
    number = {name: label for label, name in enumerate(classes)}
    mended: Counter[str] = Counter()
    parts = {part: _images(root, lists[part], read[part], number, mended) for part in lists}
    return set_of_files(config, root, classes, input, divided(parts), counted(mended))


def _images(
    root: Path, names: Sequence[str], annotations: Sequence[_Annotation], number: dict[str, int], mended: Counter[str]
) -> AnnotatedImages:
    objects = []
    for name, one in zip(names, annotations, strict=True):
        unknown = next((label for label in one.names if label not in number), None)
        if unknown is not None:
            raise InputError(
                f"{_xml(root, name)}: an object of class {unknown!r}, which is not in the list; "
                f"expected one of {', '.join(number)}"
            )
        has_area = [box[2] > box[0] and box[3] > box[1] for box in one.boxes]
        mended[WITHOUT_AREA] += has_area.count(False)
        kept = [place for place, has in enumerate(has_area) if has]
        boxes = [(xmin - 1, ymin - 1, xmax, ymax) for xmin, ymin, xmax, ymax in (one.boxes[place] for place in kept)]
        labels = [number[one.names[place]] for place in kept]
        objects.append(make_objects(boxes, labels, one.size, mended, difficult=[one.difficult[place] for place in kept]))
    return images_of(root, [_jpeg(name) for name in names], [one.size for one in annotations], objects=tuple(objects))


def _annotation(root: Path, name: str) -> _Annotation:
    path = _xml(root, name)
    try:
        tree = ElementTree.parse(path).getroot()
    except OSError as error:
        raise InputError(f"cannot read the annotation {path}: {error.strerror}") from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: an encoding that the parser lacks
        raise InputError(f"{path} is not an XML file: {error}; bring it whole, in UTF-8") from error
    height, width = (int(_number(path, tree, f"size/{side}")) for side in ("height", "width"))
    if height < 1 or width < 1:
        raise InputError(f"{path}: the image's size is {width} x {height}, expected pixels >= 1")
    names, boxes, difficult = [], [], []
    for item in tree.iterfind("object"):
        names.append(_text(path, item, "name"))
        boxes.append(tuple(_number(path, item, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")))
        difficult.append(item.findtext("difficult", "0").strip() == "1")
    return _Annotation((height, width), tuple(names), tuple(boxes), tuple(difficult))


def _text(path: Path, element: ElementTree.Element, key: str) -> str:
    text = element.findtext(key)
    if text is None or not text.strip():
        raise InputError(f"{path}: <{element.tag}> has no <{key.replace('/', '><')}>, which every one needs")
    return text.strip()


def _number(path: Path, element: ElementTree.Element, key: str) -> float:
    text = _text(path, element, key)
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e9:
        raise InputError(f"{path}: <{key.replace('/', '><')}> is {text!r}, expected a number of pixels")
    return number


def _xml(root: Path, name: str) -> Path:
    year, _, image = name.rpartition("/")
    return root / year / "Annotations" / f"{image}.xml"


def _jpeg(name: str) -> str:
    year, _, image = name.rpartition("/")
    return f"{year}/JPEGImages/{image}.jpg"


def _listed(folder: Path, part: str, *, needed: bool) -> list[str]:
    """Return the names that a list has, in its order; none where there is no list."""
    path = folder / "ImageSets" / "Main" / f"{part}.txt"
    names = [line.split()[0] for line in lines_of(path, needed=needed)]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{path} lists {twice} twice; list every image once")
    return names


def _years(root: Path) -> list[str]:
    """Return the VOC folders below the root, relative to it."""
    found = sorted(path.relative_to(root).as_posix() for pattern in ("VOCdevkit/VOC*", "VOC*") for path in root.glob(pattern))
    years = [year for year in found if (root / year / "Annotations").is_dir()]
    if not years and (root / "Annotations").is_dir():
        return ["."]
    if not years:
        raise InputError(f"{root} holds no VOC folder; expected {VOC_LAYOUT}")
    return years


def _find(root: Path, year: str) -> str:
    for folder in (f"VOCdevkit/{year}", year):
        if (root / folder).is_dir():
            return folder
    raise InputError(f"{root} holds no {year}; expected {VOC0712_LAYOUT}, or data.download true")


def _fetch(config: AnnotatedDataConfig) -> None:
    from torchvision.datasets import VOCDetection

    if config.root is None:
        raise InputError(f"data.download: {config.name} needs a folder to be fetched into; name it with --data.root DIR")
    root = Path(config.root).expanduser()
    try:
        for year, part in (("2007", "trainval"), ("2007", "test"), ("2012", "trainval")):
            if not (root / f"VOCdevkit/VOC{year}/ImageSets/Main/{part}.txt").is_file():
                VOCDetection(str(root), year=year, image_set=part, download=True)
    except (OSError, RuntimeError, ValueError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{config.name} cannot be fetched into data.root {config.root}: {why}") from error
