"""Damaged, edited and hostile files: always one TicketError, never another exception, never a wrong mask."""

from __future__ import annotations

import copy
import json
import pickle
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from common.models.backbones import build_backbone
from common.tickets.errors import TicketError
from common.tickets.header import parse_ticket, read_header
from common.tickets.mask import Mask
from common.tickets.rewind import capture
from common.tickets.ticket import Ticket, load_ticket, save_ticket
from common.tickets.weights_file import NetworkState


@pytest.fixture
def ticket(tmp_path: Path, describe: Callable[..., Any], little_mask: Mask, little: torch.nn.Module) -> Ticket:
    state = {name: t for name, t in capture(little).items() if not name.startswith("fc.")}
    scores = {"file": "../scores.safetensors", "sha256": "0" * 64}
    embedded = NetworkState(state, {"fc.bias": torch.ones(2)})
    return save_ticket(tmp_path / "t.safetensors", little_mask, describe(scores=scores), weights=embedded)


def _refused(path: Path, content: bytes) -> str:
    """Write the bytes; check that every reader refuses them with one line; return it."""
    path.write_bytes(content)
    with pytest.raises(TicketError) as from_header:
        read_header(path)
    with pytest.raises(TicketError) as from_load:
        load_ticket(path)
    for error in (from_header, from_load):
        assert type(error.value) is TicketError
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)
    return str(from_load.value)


def _damaged(content: bytes, header_end: int, draws: random.Random) -> Iterator[bytes]:
    """Yield 2,000 damaged copies; half of the places lie in the header."""
    for case in range(2000):
        place = draws.randrange(header_end) if draws.random() < 0.5 else draws.randrange(len(content))
        kind = case % 6
        if kind == 0:
            yield content[:place]
        elif kind == 1:
            yield content[:place] + bytes([content[place] ^ (1 << draws.randrange(8))]) + content[place + 1 :]
        elif kind == 2:
            yield content[:place] + draws.randbytes(draws.randint(1, 9)) + content[place:]
        elif kind == 3:
            yield content[:place] + content[place + draws.randint(1, 9) :]
        elif kind == 4:  # a printable byte in the header, which JSON may well accept
            place = draws.randrange(8, header_end)
            yield content[:place] + draws.choice(b'0123456789abc{}[],:"\\ ').to_bytes(1, "little") + content[place + 1 :]
        else:
            other = draws.randrange(len(content))
            low, high = sorted((place, other))
            yield (
                content[:low] + content[high : high + 8] + content[low + 8 : high] + content[low : low + 8] + content[high + 8 :]
            )


def test_two_thousand_damaged_files(ticket: Ticket) -> None:
    content = ticket.path.read_bytes()
    header_end = 8 + struct.unpack("<Q", content[:8])[0]
    refused = 0
    for damaged in _damaged(content, header_end, random.Random(20)):
        if damaged == content:
            continue
        refused += 1
        with pytest.raises(TicketError) as error:
            parse_ticket(damaged, "FILE")
        assert "\n" not in str(error.value)
    assert refused > 1900
    for damaged in list(_damaged(content, header_end, random.Random(21)))[:60]:
        if damaged != content:
            _refused(ticket.path, damaged)


def test_bytes_after_the_end_and_before_the_start(ticket: Ticket) -> None:
    content = ticket.path.read_bytes()
    for damaged in (content + b"\0", b"\0" + content, content * 2, content[8:], content + b" " * 8):
        _refused(ticket.path, damaged)


def test_an_independent_writer_is_read(ticket: Ticket, forge: Any, little_mask: Mask) -> None:
    """Guards the tests below: an unedited copy by the forger's writer, signed anew, is a good ticket."""
    header, tensors = forge.read(ticket.path.read_bytes())
    ticket.path.write_bytes(forge.write(header, tensors))
    assert load_ticket(ticket.path).digest == ticket.digest
    assert load_ticket(ticket.path).mask == little_mask
    ticket.path.write_bytes(forge.write({**header, "parent": "b" * 64}, dict(reversed(tensors.items()))))
    assert load_ticket(ticket.path).mask == little_mask


EDITS: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("density", lambda h: h.update(density=0.5)),
    ("density int", lambda h: h.update(density=1)),
    ("density text", lambda h: h.update(density="0.5")),
    ("kept one more", lambda h: h["kept"].update({"body.weight": h["kept"]["body.weight"] + 1})),
    ("kept moved", lambda h: h["kept"].update({n: h["kept"][n] + d for n, d in (("body.weight", 1), ("point.weight", -1))})),
    ("kept bool", lambda h: h["kept"].update({"point.weight": True})),
    ("kept float", lambda h: h["kept"].update({"point.weight": float(h["kept"]["point.weight"])})),
    ("kept missing", lambda h: h["kept"].pop("point.weight")),
    ("kept list", lambda h: h.update(kept=[1, 2])),
    ("shape of another size", lambda h: h["shapes"].update({"body.weight": [4, 2, 3, 4]})),
    ("shape turned", lambda h: h["shapes"].update({"body.weight": [2, 4, 3, 3]})),
    ("shape flat", lambda h: h["shapes"].update({"body.weight": [72]})),
    ("shape with ones", lambda h: h["shapes"].update({"body.weight": [4, 2, 3, 3, 1]})),
    ("shape of many dimensions", lambda h: h["shapes"].update({"body.weight": [4, 2, 3, 3] + [1] * 80})),
    ("shape negative", lambda h: h["shapes"].update({"body.weight": [-4, -2, 3, 3]})),
    ("shape zero", lambda h: h["shapes"].update({"body.weight": [0]})),
    ("shape huge", lambda h: h["shapes"].update({"body.weight": [10**400, 10**400]})),
    ("shape of bools", lambda h: h["shapes"].update({"point.weight": [True, 4, True, True]})),
    ("shape of floats", lambda h: h["shapes"].update({"point.weight": [1.0, 4.0, 1.0, 1.0]})),
    ("shape null", lambda h: h["shapes"].update({"body.weight": None})),
    ("shape of another name", lambda h: h["shapes"].update({"other": h["shapes"].pop("body.weight")})),
    ("shapes empty", lambda h: h.update(shapes={})),
    ("format 2", lambda h: h.update(format=2)),
    ("format text", lambda h: h.update(format="1")),
    ("format missing", lambda h: h.pop("format")),
    ("format list", lambda h: h.update(format=[1])),
    ("unknown field", lambda h: h.update(extra=1)),
    ("field missing", lambda h: h.pop("rewind")),
    ("field null", lambda h: h.update(arch=None)),
    ("part missing", lambda h: h["arch"].pop("stem")),
    ("part more", lambda h: h["origin"].update(host="x")),
    ("seed negative", lambda h: h["origin"].update(seed=-1)),
    ("seed bool", lambda h: h["origin"].update(seed=True)),
    ("round text", lambda h: h["origin"].update(round="2")),
    ("announced, not embedded", lambda h: h["weights"].update(embedded=False)),
    ("embedded 1", lambda h: h["weights"].update(embedded=1)),
    ("embedded and in a file", lambda h: h["weights"].update(file="w.safetensors", sha256="0")),
    ("hash without file", lambda h: h["weights"].update(sha256="0")),
    ("scores without file", lambda h: h.update(scores={"file": None, "sha256": None})),
    ("scores without hash", lambda h: h["scores"].update(sha256=None)),
    ("scores text", lambda h: h.update(scores="scores.safetensors")),
    ("parent number", lambda h: h.update(parent=3)),
    ("digest number", lambda h: h.update(mask_digest=3)),
]


@pytest.mark.parametrize("name", [name for name, _ in EDITS])
@pytest.mark.parametrize("sign", [True, False])
def test_edited_headers(name: str, sign: bool, ticket: Ticket, forge: Any) -> None:
    """Every edit is written in canonical form; with `sign` the forger also recomputes both digests."""
    header, tensors = forge.read(ticket.path.read_bytes())
    edited = copy.deepcopy(header)
    dict(EDITS)[name](edited)
    content = forge.write(edited, tensors, sign=sign)
    if name == "digest number":
        edited["digest"] = forge.digest(edited, tensors)
        content = forge.write(edited, tensors, sign=False)
    _refused(ticket.path, content)


def test_the_masks_own_digest_is_checked_beside_the_tickets(ticket: Ticket, forge: Any) -> None:
    header, tensors = forge.read(ticket.path.read_bytes())
    header["mask_digest"] = "0" * 64
    header["digest"] = forge.digest(header, tensors)
    assert "mask does not match its digest" in _refused(ticket.path, forge.write(header, tensors, sign=False))


def test_edited_shapes_of_a_ticket_whose_weights_lie_elsewhere(run: Any, forge: Any) -> None:
    """Nothing in the file contradicts a shape of equal size, so the model has to."""
    path, name = run.ticket().path, "layer2.0.conv1.weight"
    header, tensors = forge.read(path.read_bytes())
    shape = header["shapes"][name]
    header["shapes"][name] = [*shape, *[1] * 80]
    _refused(path, forge.write(header, tensors))
    header["shapes"][name] = shape[::-1]
    path.write_bytes(forge.write(header, tensors))
    with pytest.raises(TicketError, match=name):
        load_ticket(path).apply_to(build_backbone("resnet_digits"))


@pytest.mark.parametrize("key", ["weights", "scores"])
@pytest.mark.parametrize(
    "file",
    [
        "/etc/passwd", "../../x", "a/../../x", "../..", "..", ".", "", "a/..", "../a/../../x", "..\\x", "a\0b", "a\nb", "\x1b[2J",
        "//x", 7,
    ],
)  # fmt: skip
def test_references_that_leave_the_run_directory(key: str, file: Any, run: Any, forge: Any) -> None:
    path = run.ticket().path
    header, tensors = forge.read(path.read_bytes())
    header[key]["file"] = file
    message = _refused(path, forge.write(header, tensors))
    assert "reference" in message


@pytest.mark.parametrize("file", ["w.safetensors", "../w.safetensors", "a/b/w.safetensors", "./w", "x" * 300, "é"])
def test_references_inside_the_run_directory_are_only_looked_up(file: str, run: Any, forge: Any) -> None:
    path = run.ticket().path
    header, tensors = forge.read(path.read_bytes())
    header["weights"]["file"] = file
    path.write_bytes(forge.write(header, tensors))
    ticket = load_ticket(path)
    with pytest.raises(TicketError, match="cannot read") as error:
        ticket.rewind_point()
    assert "\n" not in str(error.value)


def _moved(content: bytes) -> bytes:
    """Clear the lowest bit that is set and set the highest, which is padding: the count stays what it was."""
    return bytes([(content[0] & (content[0] - 1)) | 0x80])


def _other_bits(content: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in content)


TENSOR_EDITS: list[tuple[str, Callable[[dict[str, tuple[str, list[int], bytes]]], Any]]] = [
    ("padding bit set", lambda t: t.update({"mask/point.weight": ("U8", [1], bytes([t["mask/point.weight"][2][0] | 0x80]))})),
    (
        "a kept bit moved to the padding",
        lambda t: t.update({"mask/point.weight": ("U8", [1], _moved(t["mask/point.weight"][2]))}),
    ),
    ("mask inverted", lambda t: t.update({"mask/body.weight": ("U8", [9], _other_bits(t["mask/body.weight"][2]))})),
    ("a byte more", lambda t: t.update({"mask/body.weight": ("U8", [10], t["mask/body.weight"][2] + b"\0")})),
    ("a byte less", lambda t: t.update({"mask/body.weight": ("U8", [8], t["mask/body.weight"][2][:8])})),
    ("another type", lambda t: t.update({"mask/body.weight": ("BOOL", [9], t["mask/body.weight"][2])})),
    ("another shape", lambda t: t.update({"mask/body.weight": ("U8", [3, 3], t["mask/body.weight"][2])})),
    ("unknown type", lambda t: t.update({"weight/conv1.weight": ("F4", *t["weight/conv1.weight"][1:])})),
    ("type list", lambda t: t.update({"weight/conv1.weight": (["F32"], *t["weight/conv1.weight"][1:])})),  # type: ignore[dict-item]
    ("mask missing", lambda t: t.pop("mask/point.weight")),
    ("mask more", lambda t: t.update({"mask/more": ("U8", [1], b"\1")})),
    ("a stranger", lambda t: t.update({"stranger": ("U8", [1], b"\1")})),
    ("a name with a zero", lambda t: t.update({"weight/a\0b": ("U8", [1], b"\1")})),
    ("no weights", lambda t: [t.pop(n) for n in list(t) if not n.startswith("mask/")]),
    ("masked weight missing", lambda t: t.pop("weight/body.weight")),
    ("masked weight turned", lambda t: t.update({"weight/body.weight": ("F32", [2, 4, 3, 3], t["weight/body.weight"][2])})),
    ("overflowing shape", lambda t: t.update({"weight/x": ("F32", [2**62, 2**62, 0], b"")})),
    ("shape beyond 64 bits", lambda t: t.update({"weight/x": ("F32", [0, 2**70], b"")})),
    ("overflowing strides", lambda t: t.update({"weight/x": ("F32", [0, 2**62, 2**62], b"")})),
]


@pytest.mark.parametrize("name", [name for name, _ in TENSOR_EDITS])
def test_edited_tensors_with_recomputed_digests(name: str, ticket: Ticket, forge: Any) -> None:
    header, tensors = forge.read(ticket.path.read_bytes())
    dict(TENSOR_EDITS)[name](tensors)
    try:
        content = forge.write(header, tensors)
    except AttributeError:  # a type that is a list has no digest
        content = forge.write(header, tensors, sign=False)
    _refused(ticket.path, content)


def _outer(content: bytes) -> tuple[dict[str, Any], bytes]:
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _joined(text: str, data: bytes) -> bytes:
    raw = text.encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + data


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_edited_containers(ticket: Ticket) -> None:
    content = ticket.path.read_bytes()
    outer, data = _outer(content)
    text = _compact(outer)
    assert _joined(text, data) == content
    masks = ["mask/body.weight", "mask/point.weight"]
    swapped = copy.deepcopy(outer)
    for name, other in (masks, masks[::-1]):
        swapped[name]["data_offsets"] = outer[other]["data_offsets"]
    overlapping = copy.deepcopy(outer)
    overlapping["mask/point.weight"]["data_offsets"] = [0, 1]
    reordered = {n: dict(reversed(e.items())) if n != "__metadata__" else e for n, e in outer.items()}
    bools = copy.deepcopy(outer)
    bools["mask/point.weight"]["shape"] = [True]
    more = {**outer, "__metadata__": {**outer["__metadata__"], "more": "x"}}
    first = text.index('"mask/')
    cases = [
        _joined(_compact(swapped), data),
        _joined(_compact(overlapping), data),
        _joined(_compact(reordered), data),
        _joined(_compact(bools), data),
        _joined(_compact(more), data),
        _joined(_compact({**outer, "__metadata__": None}), data),
        _joined(_compact({**outer, "__metadata__": {"ticket": 1}}), data),
        _joined(_compact({n: e for n, e in outer.items() if n != "__metadata__"}), data),
        _joined(text[:-1] + "," + text[first : text.index("}", first) + 1] + "}", data),  # a key twice
        _joined(json.dumps(outer, ensure_ascii=False), data),  # spaces
        _joined(json.dumps(outer, separators=(",", ":"), sort_keys=True, indent=0), data),
        _joined(text + " " * 8, data),
        _joined(" " + text, data),
        _joined("[" + text + "]", data),
        _joined("[]", b""),
        _joined("{}", b""),
        _joined("null", b""),
        _joined('{"__metadata__":{"ticket":"{}"}}', b""),
        _joined('{"__metadata__":{"ticket":"[]"}}', b""),
        _joined('{"__metadata__":{"ticket":"NaN"}}', b""),
        _joined('{"__metadata__":{"ticket":"{\\"format\\":NaN}"}}', b""),
        _joined('{"__metadata__":{"ticket":"{\\"a\\":\\"\\\\ud800\\"}"}}', b""),
        _joined('{"__metadata__":{"ticket":' + _compact("[" * 100_000 + "]" * 100_000) + "}}", b""),
        _joined('{"a":' * 50_000 + "1" + "}" * 50_000, b""),
        _joined("[" * 200_000, b""),
        _joined('{"x":' + "9" * 10_000 + "}", b""),
        struct.pack("<Q", 4) + b'{"a\xff',
        struct.pack("<Q", 2**63) + content[8:],
        struct.pack("<Q", 2**64 - 1) + content[8:],
        struct.pack("<Q", 99_000_000) + content[8:],
        struct.pack(">Q", 100) + content[8:],
        b"",
        b"\0" * 8,
        b"\0" * 7,
        pickle.dumps({"mask": [1, 2, 3]}),
        b"PK\3\4" + bytes(200),
    ]
    for case in cases:
        _refused(ticket.path, case)


def test_descriptions_with_doubled_or_reordered_keys(ticket: Ticket, forge: Any) -> None:
    header, tensors = forge.read(ticket.path.read_bytes())
    text = forge.canonical(header)
    for edited in (
        text[:-1] + ',"density":1.0}',
        '{"density":1.0,' + text[1:],
        text.replace('"density":', '"density": '),
        text.replace("0-5", "0\\u002d5"),
        json.dumps(dict(reversed(header.items())), separators=(",", ":")),
        text.replace('"round":2', '"round":2.0e0'),
        text.replace('"density":0.', '"density":0.0000000000000000000000'),
        text + " ",
        text.replace("null", "NaN", 1),
        text.replace("null", "Infinity", 1),
    ):
        assert edited != text
        _refused(ticket.path, forge.container(tensors, {"ticket": edited}))


def test_what_is_no_ticket_at_all(tmp_path: Path) -> None:
    plain = tmp_path / "plain.safetensors"
    save_file({"conv1.weight": torch.zeros(2, 2)}, plain)
    assert "no ticket" in _refused(plain, plain.read_bytes())
    save_file({"conv1.weight": torch.zeros(2, 2)}, plain, metadata={"format": "pt"})
    assert "no ticket" in _refused(plain, plain.read_bytes())
    torch.save({"a": torch.zeros(1)}, tmp_path / "t.pt")
    _refused(tmp_path / "t.pt", (tmp_path / "t.pt").read_bytes())
    for path in (tmp_path, tmp_path / "absent", tmp_path / "a\0b", tmp_path / "t.pt" / "x"):
        for reader in (read_header, load_ticket):
            with pytest.raises(TicketError) as error:
                reader(path)
            assert "\n" not in str(error.value)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    path = tmp_path / "t.safetensors"
    for content in (pickle.dumps(Trap()), pickle.dumps({"mask": Trap()}, protocol=0)):
        _refused(path, content)
    torch.save({"mask": Trap()}, path)
    _refused(path, path.read_bytes())
    assert not (tmp_path / "executed").exists()


def test_a_header_of_90_megabytes_costs_no_more_than_its_size(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(8 + 100_000_001)
    with pytest.raises(TicketError):
        read_header(path)
