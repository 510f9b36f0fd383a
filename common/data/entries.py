"""What the catalogue says of a data set (`Entry`), and what a loading function is asked for (`Request`). Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from common.data.augment_config import AugmentConfig
from common.data.inputs import InputSpec
from common.data.reading import Crop, Framing, Metric, Reading, Storage, Validation
from common.errors import InputError

if TYPE_CHECKING:
    from common.data.datasets import Dataset


@dataclass(frozen=True)
class Request:
    """What a loading function is asked for.

    Attributes:
        name: as written, with its class subset.
        classes: the entry's.
        input: the entry's.
        root: folder that holds the set, or receives it.
        download: fetch it.
        size: side in pixels that images are read at, where the entry fixes none.
        storage: whether decoded images stay in memory, or are read from their files again and again.
        reading: how files are read in training.
        framing: how images are cut and resized.
        validation: whether the set's own validation images validate, or a tenth of every class of them and the training images.
        domains: the source's and the target's folder, for a pair of domains.
        cache: folder of decoded images; None: none are kept.
        skip_unreadable: leave images out that cannot be read.
        layout: what the root must hold, for messages.
    """

    name: str
    classes: tuple[str, ...] | None
    input: InputSpec
    root: str | None
    download: bool
    size: int | None
    storage: Storage = "auto"
    reading: Reading = field(default_factory=Reading)
    framing: Framing = field(default_factory=Framing)
    validation: Validation = "own"
    domains: tuple[str, str] | None = None
    cache: str | None = None
    skip_unreadable: bool = False
    layout: str = ""

    def folder(self) -> Path:
        """Return the root as a folder that exists.

        Raises:
            InputError: it is not given, or there is no such folder.
        """
        if self.root is None:
            raise InputError(f"{self.name} is read from a folder; name it with --data.root DIR")
        path = Path(self.root).expanduser()
        if not path.is_dir():
            raise InputError(
                f"data.root {self.root}: there is no such folder; name the one that holds {self.name} with --data.root DIR"
                + (f", expected there: {self.layout}" if self.layout else "")
            )
        return path

    def not_as_expected(self, found: str) -> InputError:
        """Return the one-line error of a root that does not hold the set as its layout says."""
        return InputError(f"data.root {self.root} does not hold {self.name}: {found}; expected {self.layout}")


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        description: what `--list` says of it.
        source: where it comes from, as `--list` says it.
        classes: their names; None where they are known once it is read.
        needs_root: whether data.root must be given.
        input: what a network expects of its pixels.
        views: SimCLR's views of it, for the retrieval accuracy of every paradigm.
        load: what reads it.
        count: number of classes where they are not named here; None: known once it is read.
        size: side in pixels that files are read at where none is asked for; None: one must be asked for.
        storage: where the images of files are kept where that is not asked for; auto: their size on disk decides.
        fingerprint: finds the images' fingerprint without opening one, where a folder says which images there are.
        metric: what a classifier of it is judged and chosen by.
        layout: what data.root holds; "" where nothing is read from there.
        crop: how its images are framed where that is not asked for; auto: where they are kept decides.
        splits: how it is split, as `--list` says it.
        validates: its own images that validate, which may be joined to those that train (data.validation); a tenth of every class
            of those that train; or images chosen in a way that is fixed.
        can_be_fetched: data.download fetches it.
    """

    description: str
    source: str
    classes: tuple[str, ...] | None
    needs_root: bool
    input: InputSpec
    views: AugmentConfig
    load: Callable[[Request], Dataset]
    count: int | None = None
    size: int | None = None
    storage: Storage = "auto"
    fingerprint: Callable[[Request], str] | None = None
    metric: Metric = "top1"
    layout: str = ""
    crop: Crop = "auto"
    splits: str = ""
    validates: Literal["own", "tenth", "fixed"] = "fixed"
    can_be_fetched: bool = False

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None where it is known once the set is read."""
        return self.count if self.classes is None else len(self.classes)

    def check(self, request: Request) -> None:
        """Refuse options that do not apply to this data set.

        Raises:
            InputError: names the option, what was got, and how to mend it.
        """
        name = request.name
        if self.input.size is not None:
            if request.size not in (None, self.input.size) and not self.needs_root:
                raise InputError(f"data.size: {name} has images of {self.input.size} px, got {request.size}; leave data.size out")
            given = {"storage": request.storage == "files" and "files", "cache": request.cache}
            given["skip_unreadable"] = request.skip_unreadable and "true"
            for option, value in given.items():
                if value:
                    raise InputError(f"data.{option}: {name} is kept in memory, got {value}; leave data.{option} out")
        if request.validation == "tenth" and self.validates == "fixed":
            raise InputError(f"data.validation: {name} is split in one way ({self.splits}), got tenth; leave data.validation out")
        if request.domains is not None and name.partition(":")[0] != "domains":
            raise InputError(f"data.source and data.target: {name} has no domains; leave them out, or set data.name domains")
        if request.download and self.needs_root and not self.can_be_fetched:
            raise InputError(f"data.download: {name} cannot be fetched; it is {self.source}")
