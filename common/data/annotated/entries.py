"""What the catalogue of annotated sets says of one of them. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.sets import AnnotatedSet
from common.data.inputs import InputSpec
from common.errors import InputError


@dataclass(frozen=True)
class AnnotatedEntry:
    """One set of annotated images.

    Attributes:
        description: what `--list` says of it.
        source: where it comes from, as `--list` says it.
        classes: their names in the order of the labels; None where they are known once it is read.
        input: what a network expects of its pixels.
        size: height and width in pixels that a network sees where none is asked for.
        load: what reads it; sizes, normalisation and unreadable images are seen to by `open_annotated`.
        annotated: what is annotated: boxes, masks, keypoints, label maps.
        splits: how it is split, as `--list` says it.
        layout: what data.root holds; "" where nothing is read from there.
        takes_subset: whether its name takes a class subset, such as digit_scenes:0-5.
        own_images: whether its name does not say which images it has, so that data.root does.
        can_be_fetched: data.download fetches it.
    """

    description: str
    source: str
    classes: tuple[str, ...] | None
    input: InputSpec
    size: tuple[int, int]
    load: Callable[[AnnotatedDataConfig], AnnotatedSet]
    annotated: tuple[str, ...]
    splits: str
    layout: str = ""
    takes_subset: bool = False
    own_images: bool = False
    can_be_fetched: bool = False

    def check(self, config: AnnotatedDataConfig) -> None:
        """Refuse options that do not apply to this set.

        Raises:
            InputError: names the option, what was got, and how to mend it.
        """
        name = config.name
        if ":" in name and not self.takes_subset:
            raise InputError(f"data.name: {name} takes no class subset; got {name!r}, expected {name.partition(':')[0]}")
        if config.classes and not self.own_images:
            raise InputError(f"data.classes: {name} has classes of its own, got {list(config.classes)}; leave data.classes out")
        if config.download and not self.can_be_fetched:
            raise InputError(f"data.download: {name} cannot be fetched; it is {self.source}")
        if config.skip_unreadable and not self.layout:
            raise InputError(f"data.skip_unreadable: {name} is kept in memory, got true; leave it out")


def root_folder(config: AnnotatedDataConfig, layout: str) -> Path:
    """Return data.root as a folder that exists.

    Raises:
        InputError: it is not given, or there is no such folder.
    """
    if config.root is None:
        raise InputError(f"{config.name} is read from a folder; name it with --data.root DIR, expected there: {layout}")
    path = Path(config.root).expanduser()
    if not path.is_dir():
        raise InputError(
            f"data.root {config.root}: there is no such folder; name the one that holds {config.name} with --data.root DIR, "
            f"expected there: {layout}"
        )
    return path
