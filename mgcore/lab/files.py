"""Files that are whole or not there: replaced atomically, read against a checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class RecordError(ValueError):
    """A record that cannot be used as it is; the message names the file and what to do."""


def checksum(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `content`."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def unwritable(kind: str, path: Path, error: OSError) -> RecordError:
    """Return the complaint that a file of the ``"record"`` or ``"cache"`` cannot be written."""
    other = " (MGCORE_CACHE names another)" if kind == "cache" else ""
    return RecordError(
        f"{kind}: {path} cannot be written ({error.strerror}); accepted: a folder with room that "
        f"you may write to{other}; everything written before is kept."
    )


def write_atomically(path: Path, content: bytes, kind: str = "record") -> None:
    """Replace `path` by `content`, or leave it as it was and raise RecordError.

    A full disk, a kill or a power cut leaves the file that was there.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise unwritable(kind, path, error) from None
    finally:
        try:
            unfinished.unlink(missing_ok=True)
        except OSError:
            pass  # a folder in which nothing can be written has nothing to unlink


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object with its checksum beside its own fields."""
    text = json.dumps({**content, "sha256": checksum(content)}, indent=1, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a file of the record, checked against its checksum."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(content, dict) and content.pop("sha256", None) == checksum(content)
    except FileNotFoundError:
        raise RecordError(f"record: {path} is missing; accepted: a complete record.") from None
    except (OSError, ValueError, RecursionError):
        whole = False
    if not whole:
        raise RecordError(
            f"record: {path} is truncated or altered; accepted: the file as it was written (a "
            "trial's may be deleted: the study then runs that trial again)."
        )
    return content
