"""Every error that Polyzoo raises on purpose, in one tree.

    ZooError                      exit 1
    ├── UsageError                exit 2: what was asked for cannot be
    │   ├── UnknownModel  UnknownFramework  UnknownOutput
    │   ├── MissingFramework      it is known, and not installed
    │   ├── BadInput              an image, a text, a folder, an option
    │   └── EntryError            a catalog's mistake: file, line, entry, field
    ├── FileError                 exit 2: a file's content
    │   ├── UnknownFormat
    │   ├── Malformed             not what its format says: path, offset
    │   └── Refused               well-formed, and nothing that we will read: path, what
    ├── FetchError                exit 1: bytes that did not arrive
    │   ├── Offline  NotFound  LoginNeeded  LicenseNotAccepted  TokenTooWeak
    │   ├── DigestMismatch        they arrived, and are others
    │   └── Exhausted             every source was tried
    ├── StoreError                exit 1: the store on disk
    │   └── DiskFull  ReadOnly  Damaged
    └── HubError                  exit 1: graphs and weights
        └── BindError  UnsupportedOps  Disagreement

A message says what happened, with names and numbers; `hint` is the next step. The command prints both and no traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike


def nearest(word: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The `n` members of `known` that look most like `word`, best first.

    >>> nearest("resnt50", ["resnet50", "resnet18", "vit-b-16"], 1)
    ['resnet50']
    """
    import difflib  # 6 ms that only a mistake has to pay

    return difflib.get_close_matches(word, list(known), n=n, cutoff=0.5)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'a', 'b'?`, or an empty string when nothing is near."""
    names = ", ".join(repr(name) for name in nearest(word, known))
    return f"Did you mean {names}?" if names else ""


class ZooError(Exception):
    """The root. `exit_code` is the command's; `hint` the next step, or an empty string."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}  {self.hint}" if self.hint else self.message


class UsageError(ZooError):
    """What was asked for cannot be: the caller has to ask differently."""

    exit_code = 2


class UnknownModel(UsageError):
    """No entry, variant, file or object of that name.

    UnknownModel: 'resnt50'. Did you mean 'resnet50', 'resnest50d'?
    """

    def __init__(self, name: str, known: Iterable[str] = (), *, what: str = "model", hint: str = "") -> None:
        super().__init__(f"unknown {what} {name!r}", hint=" ".join(filter(None, (did_you_mean(name, known), hint))))
        self.name = name


class UnknownFramework(UsageError):
    """A framework that the table in converters/frameworks.py does not have."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        known = list(known)
        super().__init__(f"unknown framework {name!r}", hint=did_you_mean(name, known) or f"Known: {', '.join(known)}.")


class UnknownOutput(UsageError):
    """An inner output that no node or module of the graph has."""


class MissingFramework(UsageError):
    """A framework that is known and not installed here."""

    def __init__(self, name: str, extra: str, *, why: str = "") -> None:
        super().__init__(
            f"{name} is not installed here" + (f" ({why})" if why else ""), hint=f"pip install 'polyzoo[{extra}]'"
        )


class BadInput(UsageError):
    """An image, text, folder or option that cannot be used; names it."""


class EntryError(UsageError):
    """A mistake in a catalog: which file, line, entry and field, and what was expected there."""

    def __init__(
        self, message: str, *, file: str | PathLike[str], line: int | None = None, entry: str = "", field: str = ""
    ) -> None:
        place = f"{file}:{line}" if line is not None else f"{file}"
        where = ": ".join(
            filter(None, (place, f"entry {entry!r}" if entry else "", f"field {field!r}" if field else ""))
        )
        super().__init__(f"{where}: {message}")
        self.file, self.line, self.entry, self.field = str(file), line, entry, field


class FileError(ZooError):
    """A file's content: it is the file that has to change."""

    exit_code = 2


class UnknownFormat(FileError):
    """No reader recognises the bytes of this file."""

    def __init__(self, path: str | PathLike[str], *, hint: str = "`zoo formats` lists what can be read.") -> None:
        super().__init__(f"{path}: not a model or weights file of a format that is known here", hint=hint)


class Malformed(FileError):
    """The bytes are not what their format says; `offset` is where, in bytes."""

    def __init__(self, path: str | PathLike[str], what: str, *, offset: int | None = None, hint: str = "") -> None:
        super().__init__(f"{path}: {what}" + (f" (at byte {offset:,})" if offset is not None else ""), hint=hint)
        self.path, self.offset = str(path), offset


class Refused(FileError):
    """Well-formed, and holding something that is never read: code, foreign classes, paths outside its folder."""

    def __init__(self, path: str | PathLike[str], what: str, *, offset: int | None = None, hint: str = "") -> None:
        super().__init__(
            f"{path}: refused: {what}" + (f" (at byte {offset:,})" if offset is not None else ""), hint=hint
        )
        self.path, self.what, self.offset = str(path), what, offset


class FetchError(ZooError):
    """Bytes that did not arrive."""


class Offline(FetchError):
    """ZOO_OFFLINE is set and the bytes are not in the store."""


class NotFound(FetchError):
    """The source answered, and has no such file."""


class LoginNeeded(FetchError):
    """The source wants to know who asks (HTTP 401)."""


class LicenseNotAccepted(FetchError):
    """The source knows who asks, and wants its licence accepted first (a gated repository)."""


class TokenTooWeak(FetchError):
    """The token is known and lacks the scope for this file (HTTP 403)."""


class DigestMismatch(FetchError):
    """All bytes arrived and they are not the ones that the catalog pins. They are discarded."""


class Exhausted(FetchError):
    """Every source of a file was tried; the message lists them with what each said."""


class StoreError(ZooError):
    """The store on disk."""


class DiskFull(StoreError):
    """Not enough room; says how much is needed and how much is free."""


class ReadOnly(StoreError):
    """The store's folder can't be written."""


class Damaged(StoreError):
    """A blob's bytes are no longer what their digest says."""


class HubError(ZooError):
    """Graphs and weights."""


class BindError(HubError):
    """Graph and weights don't fit: what is missing, left over, or of another shape, with the nearest names."""


class UnsupportedOps(HubError):
    """Operators that a writer has no lowering for: all of them, with node names, before any work."""


class Disagreement(HubError):
    """The written model does not compute what the graph computes."""
