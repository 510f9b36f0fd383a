"""The small sets, read from tiny copies of the real files' layout; torchvision's sums are replaced by those of the copies."""

from __future__ import annotations

import gzip
import hashlib
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision import datasets

from common.data import small
from common.data.catalogue import CATALOGUE
from common.data.datasets import load_data, require_labels
from common.errors import InputError

TAIL = 5_000
SMALL = ("cifar10", "cifar100", "svhn", "svhn_extra", "fashion_mnist", "stl10", "stl10_unlabelled")


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def pixels(count: int, *shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """5,020 + 10 images as pickled batches of planes."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: dict) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, md5(folder / name)]

    batches = [
        write(f"data_batch_{i}", {"data": pixels(n, 3072, seed=i), "labels": [j % 10 for j in range(n)]})
        for i, n in enumerate((2_010, 3_010), start=1)
    ]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", batches)
    test = write("test_batch", {"data": pixels(10, 3072, seed=9), "labels": list(range(10))})
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [test])
    name, sum_ = write("batches.meta", {"label_names": list(CATALOGUE["cifar10"].classes or ())})
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": sum_})
    return tmp_path


@pytest.fixture
def svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """5,030 + 20 + 40 images as MATLAB writes them, (32, 32, 3, N), the digit 0 under the label 10."""
    sums = {}
    for part, count, seed in (("train", 5_030, 0), ("test", 20, 1), ("extra", 40, 2)):
        file = tmp_path / f"{part}_32x32.mat"
        labels = np.arange(count) % 10 + 1
        savemat(file, {"X": pixels(count, 32, 32, 3, seed=seed).transpose(1, 2, 3, 0), "y": labels[:, None].astype(np.uint8)})
        sums[part] = ["http://nowhere.invalid", file.name, md5(file)]
    monkeypatch.setattr(datasets.SVHN, "split_list", sums)
    return tmp_path


def idx(data: np.ndarray) -> bytes:
    """The IDX format: two zero bytes, the type (8: uint8), the number of axes, their lengths in big-endian order, the data."""
    return bytes([0, 0, 8, data.ndim]) + b"".join(n.to_bytes(4, "big") for n in data.shape) + data.tobytes()


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    """5,020 + 10 gray images of 28 px in IDX files."""
    raw = tmp_path / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for part, count, seed in (("train", 5_020, 3), ("t10k", 10, 4)):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(pixels(count, 28, 28, seed=seed)))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))
    return tmp_path


@pytest.fixture
def stl10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """200 labelled, 20 test and 30 unlabelled images of 96 px, planes in column-major order, labels from 1."""
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    sums: dict[str, str] = {}

    def write(name: str, data: np.ndarray) -> None:
        (folder / name).write_bytes(data.tobytes())
        sums[name] = md5(folder / name)

    for part, count, seed in (("train", 200, 5), ("test", 20, 6), ("unlabeled", 30, 7)):
        write(f"{part}_X.bin", pixels(count, 3, 96, 96, seed=seed))
        if part != "unlabeled":
            write(f"{part}_y.bin", (np.arange(count) % 10 + 1).astype(np.uint8))
    for table in ("train_list", "test_list"):
        monkeypatch.setattr(datasets.STL10, table, [[name, sums[name]] for name, _ in getattr(datasets.STL10, table)])
    return tmp_path


def assert_is(part: object, expected: np.ndarray, labels: list[int]) -> None:
    assert part.images.is_contiguous()  # type: ignore[attr-defined]
    assert torch.equal(part.images, torch.from_numpy(np.ascontiguousarray(expected)))  # type: ignore[attr-defined]
    assert part.labels.tolist() == labels  # type: ignore[attr-defined]


def test_cifar(cifar10: Path) -> None:
    data = load_data("cifar10", root=str(cifar10))
    whole = np.concatenate([pixels(2_010, 3072, seed=1), pixels(3_010, 3072, seed=2)]).reshape(-1, 3, 32, 32)
    labels = [*(j % 10 for j in range(2_010)), *(j % 10 for j in range(3_010))]
    assert_is(data.train, whole[:20], labels[:20])
    assert_is(data.validation, whole[20:], labels[20:])
    assert_is(data.test, pixels(10, 3072, seed=9).reshape(-1, 3, 32, 32), list(range(10)))


def test_svhn_validates_on_its_last_5000_images(svhn: Path) -> None:
    data = load_data("svhn", root=str(svhn))
    whole = pixels(5_030, 32, 32, 3, seed=0).transpose(0, 3, 1, 2)
    labels = [(i + 1) % 10 for i in range(5_030)]
    assert_is(data.train, whole[:30], labels[:30])
    assert_is(data.validation, whole[30:], labels[30:])
    assert_is(data.test, pixels(20, 32, 32, 3, seed=1).transpose(0, 3, 1, 2), labels[:20])
    assert data.classes == tuple("0123456789")


def test_svhn_extra_joins_the_training_images_alone(svhn: Path) -> None:
    plain, extra = load_data("svhn", root=str(svhn)), load_data("svhn_extra", root=str(svhn))
    added = pixels(40, 32, 32, 3, seed=2).transpose(0, 3, 1, 2)
    assert_is(
        extra.train,
        np.concatenate([plain.train.images.numpy(), added]),
        [*plain.train.labels.tolist(), *((i + 1) % 10 for i in range(40))],
    )
    for split in ("validation", "test"):
        assert torch.equal(extra.split(split).images, plain.split(split).images)
    assert extra.split_hash != plain.split_hash
    few = load_data("svhn_extra:0,3-4", root=str(svhn))
    assert len(few.train) == 9 + 12
    assert few.train.labels.bincount().tolist() == [7, 7, 7]
    assert few.name == "svhn_extra:0,3-4"


def test_fashion_mnist_has_three_equal_channels(fashion: Path) -> None:
    data = load_data("fashion_mnist", root=str(fashion))
    gray = np.repeat(pixels(5_020, 28, 28, seed=3)[:, None], 3, axis=1)
    assert_is(data.train, gray[:20], [i % 10 for i in range(20)])
    assert_is(data.validation, gray[20:], [i % 10 for i in range(20, 5_020)])
    assert data.classes[-1] == "Ankle boot"


def test_stl10_holds_out_a_tenth_of_every_class(stl10: Path) -> None:
    data = load_data("stl10", root=str(stl10))
    rows = {tuple(image.flatten()[:50]): i for i, image in enumerate(pixels(200, 3, 96, 96, seed=5).transpose(0, 1, 3, 2))}
    found = {}
    for split in ("train", "validation"):
        part = data.split(split)
        found[split] = [rows[tuple(image.flatten()[:50].tolist())] for image in part.images]
        assert part.labels.tolist() == [index % 10 for index in found[split]]
    assert sorted(found["train"] + found["validation"]) == list(range(200))
    assert data.validation.labels.bincount().tolist() == [2] * 10
    assert_is(data.test, pixels(20, 3, 96, 96, seed=6).transpose(0, 1, 3, 2), [i % 10 for i in range(20)])


def test_stl10_unlabelled_keeps_the_labels_for_probes(stl10: Path) -> None:
    labelled, data = load_data("stl10", root=str(stl10)), load_data("stl10_unlabelled", root=str(stl10))
    assert_is(data.train, pixels(30, 3, 96, 96, seed=7).transpose(0, 1, 3, 2), [-1] * 30)
    for split, same in (("bank", "train"), ("validation", "validation"), ("test", "test")):
        assert torch.equal(data.split(split).images, labelled.split(same).images)
        assert torch.equal(data.split(split).labels, labelled.split(same).labels)
    with pytest.raises(InputError, match=r"takes no class subset, since its training images have no labels.* stl10:0-4"):
        load_data("stl10_unlabelled:0-4", root=str(stl10))
    with pytest.raises(InputError, match=r"training images of stl10_unlabelled have no labels.* such as stl10"):
        require_labels(data)
    require_labels(labelled)


@pytest.mark.parametrize(
    ("fixture", "name", "sizes"),
    [
        ("cifar10", "cifar10:6-9", [8, 2000, 4]),
        ("svhn", "svhn:0-4", [15, 2500, 10]),
        ("fashion", "fashion_mnist:2,7", [4, 1000, 2]),
        ("stl10", "stl10:9", [18, 2, 2]),
    ],
)
def test_class_subsets(fixture: str, name: str, sizes: list[int], request: pytest.FixtureRequest) -> None:
    root = str(request.getfixturevalue(fixture))
    data, whole = load_data(name, root=root), load_data(name.partition(":")[0], root=root)
    wanted = [whole.classes.index(label) for label in data.classes]
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == sizes
    for split in ("train", "validation", "test"):
        kept = torch.isin(whole.split(split).labels, torch.tensor(wanted))
        assert torch.equal(data.split(split).images, whole.split(split).images[kept])
        assert [wanted[label] for label in data.split(split).labels] == whole.split(split).labels[kept].tolist()


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("fixture", "name", "file"),
    [
        ("svhn", "svhn", "train_32x32.mat"),
        ("svhn", "svhn_extra", "extra_32x32.mat"),
        ("stl10", "stl10", "stl10_binary/test_X.bin"),
        ("fashion", "fashion_mnist", "FashionMNIST/raw/train-images-idx3-ubyte"),
        ("fashion", "fashion_mnist", "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
        ("cifar10", "cifar10", "cifar-10-batches-py/data_batch_2"),
    ],
)
@pytest.mark.parametrize("damage", [spoil, Path.unlink, lambda path: path.write_bytes(b"")], ids=["cut", "missing", "empty"])
def test_damaged_files_are_refused_in_one_line(
    fixture: str, name: str, file: str, damage: Callable[[Path], None], request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(fixture)
    damage(root / file)
    with pytest.raises(InputError, match=rf"does not hold {name} intact.*--data.download true") as error:
        load_data(name, root=str(root))
    assert "\n" not in str(error.value)


def test_too_few_images_to_hold_5000_out(tmp_path: Path, fashion: Path) -> None:
    raw = fashion / "FashionMNIST/raw"
    (raw / "train-images-idx3-ubyte").write_bytes(idx(pixels(TAIL, 28, 28, seed=0)))
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(TAIL, dtype=np.uint8)))
    with pytest.raises(InputError, match=r"does not hold fashion_mnist intact: .* 5,000 images, expected more than the 5,000"):
        load_data("fashion_mnist", root=str(fashion))


def test_a_download_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"file://{tmp_path}/absent/"])
    with pytest.raises(
        InputError, match=r"fashion_mnist cannot be read from or fetched into data.root .*Error downloading"
    ) as error:
        load_data("fashion_mnist", root=str(tmp_path / "new"), download=True)
    assert "\n" not in str(error.value)


def test_a_download_is_read(
    tmp_path: Path,
    fashion: Path,
    served: Callable[[Path], AbstractContextManager[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fetched from this machine, against the sums that torchvision checks."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    resources = []
    for file in sorted((fashion / "FashionMNIST/raw").iterdir(), reverse=True):
        (mirror / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 1))
        resources.append((f"{file.name}.gz", md5(mirror / f"{file.name}.gz")))
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    with served(mirror) as address:
        monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [address])
        fetched = load_data("fashion_mnist", root=str(tmp_path / "new"), download=True)
    assert fetched.fingerprint == load_data("fashion_mnist", root=str(fashion)).fingerprint


@pytest.mark.parametrize("name", SMALL)
def test_no_test_image_trains_or_chooses(name: str) -> None:
    """Which images of which published part every split is made of."""
    counts = {"train": 6_000, "test": 900, "extra": 700, "unlabelled": 800}
    table = small._SETS[name]
    pieces = table.split({part: torch.arange(counts[part]) % 10 for part in table.parts})
    taken = {split: {(part, i) for part, index in found for i in index.tolist()} for split, found in pieces.items()}
    assert taken["test"] == {("test", i) for i in range(900)}
    others = set().union(*(images for split, images in taken.items() if split != "test"))
    assert not any(part == "test" for part, _ in others)
    assert not taken["validation"] & (taken["train"] | taken.get("bank", set()))
    assert others == {(part, i) for part in table.parts if part != "test" for i in range(counts[part])}


def test_what_the_catalogue_says_of_the_small_sets() -> None:
    for name in SMALL:
        entry = CATALOGUE[name]
        assert entry.needs_root
        assert "--data.download true" in entry.source
        assert entry.input.size in (28, 32, 96)
        assert entry.classes is None or len(entry.classes) == 10
    assert CATALOGUE["fashion_mnist"].input.mean == (0.286,) * 3
    assert not {CATALOGUE[name].views.flip for name in ("svhn", "svhn_extra")} - {0.0}
