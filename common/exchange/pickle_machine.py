"""A reader of pickles that runs nothing: it interprets the opcodes itself, imports nothing and calls nothing that a file names.

Python's own unpickler calls whatever a file names. This one knows a closed table of builders (`common.exchange.pickle_builders`
has torch's and numpy's); every other class or function becomes an `Inert` placeholder that only remembers its name, and what the
file wants done with it (call it, give it state, put items into it) is left undone. Format: the pickle module's documentation and
PEP 307, 3154 and 574; opcodes are decoded by the standard library's `pickletools.genops`, which executes nothing either.
"""

from __future__ import annotations

import pickletools
import struct
import warnings
from collections.abc import Callable, Mapping
from typing import IO, Any

from torch import Tensor

MAX_OPCODES = 500_000
MAX_GROWTH = 8
_SLACK = 2**26
_ITEM_BYTES = 100
_MARK = object()
_PLAIN = (str, bytes, int, float, bool, type(None))


class PickleError(ValueError):
    """A pickle that is damaged, or asks for what this reader does not do; one line without the file's name."""


class Allowance:
    """How much work and memory one file may cost, pickles inside of pickles included.

    Args:
        size: the file's bytes; what is built from them may take 8 times as much, and 64 MiB.
    """

    def __init__(self, size: int) -> None:
        self._bytes = MAX_GROWTH * size + _SLACK
        self._opcodes = MAX_OPCODES

    def spend_bytes(self, count: int) -> None:
        """Take bytes off.

        Raises:
            PickleError: none are left.
        """
        self._bytes -= count
        if self._bytes < 0:
            raise PickleError(f"what it builds takes more than {MAX_GROWTH} times the file's size")

    def spend_items(self, count: int) -> None:
        """Take the bytes of a container's items off; errors as `spend_bytes`."""
        self.spend_bytes(count * _ITEM_BYTES)

    def spend_opcode(self) -> None:
        """Take one opcode off.

        Raises:
            PickleError: none are left.
        """
        self._opcodes -= 1
        if self._opcodes < 0:
            raise PickleError(f"it has more than {MAX_OPCODES:,} pickle opcodes")


class Inert:
    """Stands for an object of a class, or for a function, that is not in the table; it can do nothing.

    Attributes:
        name: "module.name" as the file spells it.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}, not loaded>"


class Known(Inert):
    """A name of the table: what REDUCE and NEWOBJ on it call is our own function.

    Attributes:
        build: takes the arguments' tuple; returns the object, or raises PickleError.
    """

    __slots__ = ("build",)

    def __init__(self, name: str, build: Callable[[tuple[Any, ...]], Any]) -> None:
        super().__init__(name)
        self.build = build


class Unfinished(Inert):
    """An object of the table that a BUILD opcode completes, such as a numpy array.

    Attributes:
        finish: takes the state; returns the object that takes this one's place.
        places: where the memo holds this one.
    """

    __slots__ = ("finish", "places")

    def __init__(self, name: str, finish: Callable[[Any], Any]) -> None:
        super().__init__(name)
        self.finish = finish
        self.places: list[int] = []


class Machine:
    """Interprets one pickle.

    Args:
        table: "module.name" -> builder, for the names that are known.
        allowance: what the file may cost.
        persistent: turns a persistent id (torch's references to storages) into an object; None: there are none.
    """

    def __init__(
        self,
        table: Mapping[str, Callable[[tuple[Any, ...]], Any]],
        allowance: Allowance,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._table = table
        self._allowance = allowance
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, file: IO[bytes]) -> Any:
        """Read the pickle that begins at the file's position; leave the position behind its STOP.

        Returns:
            Plain objects (numbers, text, lists, dicts, tuples, sets), what the table's builders return, and placeholders.

        Raises:
            PickleError: the pickle is damaged, too long, or asks for what is not done here.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of text with odd escapes, in damaged files
                return self._run(file)
        except PickleError:
            raise
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError, struct.error) as error:
            raise PickleError(f"its pickle is damaged ({' '.join(str(error).split())[:80] or type(error).__name__})") from error

    def _run(self, file: IO[bytes]) -> Any:
        for opcode, argument, _ in pickletools.genops(file):
            self._allowance.spend_opcode()
            if opcode.name == "STOP":
                return self._finish()
            self._step(opcode.name, argument)
        raise PickleError("its pickle has no end")

    def _finish(self) -> Any:
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            raise PickleError("its pickle is damaged (it ends with several objects)")
        return self._stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        if name in _IGNORED:
            return
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _VALUES:
            self._stack.append(argument)
        else:
            action = _ACTIONS.get(name)
            if action is None:
                raise PickleError(f"its pickle has the opcode {name}, which no checkpoint needs")
            action(self, argument)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise PickleError("its pickle is damaged (a mark where a value belongs)")
        return value

    def _top(self) -> Any:
        if self._stack[-1] is _MARK:
            raise PickleError("its pickle is damaged (a mark where a value belongs)")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            items.append(value)
        return items[::-1]

    def _tuple(self, length: int) -> None:
        self._stack.append(tuple([self._pop() for _ in range(length)][::-1]))

    def _pop_one(self) -> None:
        self._stack.pop()

    def _drop_to_mark(self) -> None:
        self._pop_to_mark()

    def _remember(self, place: int) -> None:
        value = self._top()
        if isinstance(value, Unfinished):
            value.places.append(place)
        self._memo[place] = value

    def _recall(self, place: int) -> None:
        self._stack.append(self._memo[place])

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Inert):
            raise PickleError(f"its pickle appends to a {type(target).__name__}")

    def _add(self, items: list[Any]) -> None:
        target = self._top()
        if isinstance(target, set):
            target.update(checked_key(item) for item in items)
        elif not isinstance(target, Inert):
            raise PickleError(f"its pickle adds to a {type(target).__name__}")

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        if isinstance(target, dict):
            fill(target, items)
        elif not isinstance(target, Inert):
            raise PickleError(f"its pickle sets items of a {type(target).__name__}")

    def _dict(self) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set(items)

    def _set_one(self) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _append_one(self) -> None:
        value = self._pop()
        self._append([value])

    def _global(self, name: str) -> None:
        self._stack.append(Known(name, self._table[name]) if name in self._table else Inert(name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("its pickle names a class by something that is no text")
        self._global(f"{module}.{name}")

    def _call(self, what: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise PickleError("its pickle calls with something that is no tuple")
        if isinstance(what, Known):
            self._stack.append(what.build(arguments))
        elif isinstance(what, Inert):
            self._stack.append(Inert(what.name))
        else:
            raise PickleError(f"its pickle calls a {type(what).__name__}")

    def _reduce(self) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def _new_ex(self) -> None:
        self._pop()  # keyword arguments, which no builder of the table takes
        self._reduce()

    def _obj(self) -> None:
        what, *arguments = self._pop_to_mark()
        self._call(what, tuple(arguments))

    def _inst(self, name: str) -> None:
        arguments = self._pop_to_mark()
        self._global(name.replace(" ", ".", 1))
        self._call(self._pop(), tuple(arguments))

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Unfinished):
            built = target.finish(state)
            self._stack[-1] = built
            for place in target.places:
                self._memo[place] = built
        elif not isinstance(target, (Inert, dict, Tensor)):  # dicts' and tensors' extra attributes are not kept
            raise PickleError(f"its pickle gives state to a {type(target).__name__}")

    def _persistent_id(self) -> None:
        if self._persistent is None:
            raise PickleError("its pickle refers to objects outside of it")
        self._stack.append(self._persistent(self._pop()))


def fill(target: dict[Any, Any], items: list[Any]) -> None:
    """Put alternating keys and values into a dict; a key that comes twice would hide a value, and no writer writes one.

    Raises:
        PickleError: a key without a value, twice, or of a kind that is no key.
    """
    if len(items) % 2:
        raise PickleError("its pickle is damaged (a key without a value)")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if checked_key(key) in target:
            raise PickleError(f"its pickle holds the key {str(key)[:60]!r} twice")
        target[key] = value


def checked_key(key: Any) -> Any:
    """Return a key that can be hashed without harm: to hash nested tuples of a hostile file takes exponential time.

    Raises:
        PickleError: it is of another kind.
    """
    if isinstance(key, (*_PLAIN, Inert, Tensor)) or (isinstance(key, tuple) and all(isinstance(item, _PLAIN) for item in key)):
        return key
    raise PickleError(f"its pickle uses a {type(key).__name__} as a key")


def are_counts(values: Any) -> bool:
    """Say whether something is a tuple or list of integers that can be sizes."""
    return isinstance(values, (tuple, list)) and all(type(value) is int and 0 <= value < 2**48 for value in values)


_IGNORED = {"PROTO", "FRAME"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_ACTIONS: dict[str, Callable[[Machine, Any], None]] = {
    "POP": lambda machine, _: machine._pop_one(),
    "POP_MARK": lambda machine, _: machine._drop_to_mark(),
    "DUP": lambda machine, _: machine._stack.append(machine._top()),
    "TUPLE": lambda machine, _: machine._stack.append(tuple(machine._pop_to_mark())),
    "TUPLE1": lambda machine, _: machine._tuple(1),
    "TUPLE2": lambda machine, _: machine._tuple(2),
    "TUPLE3": lambda machine, _: machine._tuple(3),
    "LIST": lambda machine, _: machine._stack.append(machine._pop_to_mark()),
    "DICT": lambda machine, _: machine._dict(),
    "FROZENSET": lambda machine, _: machine._stack.append({checked_key(item) for item in machine._pop_to_mark()}),
    "APPEND": lambda machine, _: machine._append_one(),
    "APPENDS": lambda machine, _: machine._append(machine._pop_to_mark()),
    "ADDITEMS": lambda machine, _: machine._add(machine._pop_to_mark()),
    "SETITEM": lambda machine, _: machine._set_one(),
    "SETITEMS": lambda machine, _: machine._set(machine._pop_to_mark()),
    "PUT": lambda machine, place: machine._remember(place),
    "BINPUT": lambda machine, place: machine._remember(place),
    "LONG_BINPUT": lambda machine, place: machine._remember(place),
    "MEMOIZE": lambda machine, _: machine._remember(len(machine._memo)),
    "GET": lambda machine, place: machine._recall(place),
    "BINGET": lambda machine, place: machine._recall(place),
    "LONG_BINGET": lambda machine, place: machine._recall(place),
    "GLOBAL": lambda machine, name: machine._global(name.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda machine, _: machine._stack_global(),
    "EXT1": lambda machine, code: machine._global(f"extension {code}"),
    "EXT2": lambda machine, code: machine._global(f"extension {code}"),
    "EXT4": lambda machine, code: machine._global(f"extension {code}"),
    "REDUCE": lambda machine, _: machine._reduce(),
    "NEWOBJ": lambda machine, _: machine._reduce(),
    "NEWOBJ_EX": lambda machine, _: machine._new_ex(),
    "OBJ": lambda machine, _: machine._obj(),
    "INST": lambda machine, name: machine._inst(name),
    "BUILD": lambda machine, _: machine._build(),
    "BINPERSID": lambda machine, _: machine._persistent_id(),
}
