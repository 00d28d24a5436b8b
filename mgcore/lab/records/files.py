"""Read and write the files of a record: replaced atomically, checked against a checksum."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class RecordError(ValueError):
    """A record that cannot be used as it is; the message names the file and what to do."""


class NotRecordedError(RecordError):
    """Something that no record holds yet, as opposed to a record that is damaged."""


def records_folder() -> Path:
    """Return the folder of committed records: ``MGCORE_RECORDS``, else book/records upwards.

    Raises
    ------
    NotRecordedError
        If none of the folders above the working folder has one.
    """
    named = os.environ.get("MGCORE_RECORDS")
    if named:
        return Path(named)
    here = Path.cwd()
    for folder in (here, *here.parents):
        for candidate in (folder / "book" / "records", folder / "records"):
            if candidate.is_dir():
                return candidate
    raise NotRecordedError(
        f"record: no book/records in {here} or above it. Work in a folder of the project, or set "
        "MGCORE_RECORDS to the folder of records."
    )


def checksum(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `content`."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def unwritable(kind: str, path: Path, error: OSError) -> RecordError:
    """Return the error for a file of the ``"record"`` or the ``"cache"`` that cannot be written."""
    choice = "set MGCORE_CACHE to" if kind == "cache" else "choose"
    return RecordError(
        f"{kind}: {path} cannot be written ({error.strerror}). Free some space or {choice} a "
        "folder that you may write to; everything written before is kept."
    )


def write_atomically(path: Path, content: bytes, kind: str = "record") -> None:
    """Replace `path` by `content`, or leave it as it was and raise RecordError.

    After a full disk, a kill or a power cut the old file is still whole.
    """
    unfinished = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
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
            pass  # where nothing can be written, nothing was left behind


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object with its checksum beside its own fields."""
    write_atomically(path, as_text(content).encode())


def as_text(content: Mapping[str, Any]) -> str:
    """Return the text of a file that holds `content` and its checksum."""
    return json.dumps({**content, "sha256": checksum(content)}, indent=1, ensure_ascii=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a file of the record, checked against its checksum.

    The text must be exactly what :func:`write_json` makes of the content, because a bit may flip
    in a space, or in a digit so late that the number stays the same.

    Raises
    ------
    NotRecordedError
        If the file does not exist.
    RecordError
        If it cannot be read, or was truncated or altered.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        whole = isinstance(content, dict) and content.pop("sha256", None) is not None
        whole = whole and text == as_text(content)
    except FileNotFoundError:
        raise NotRecordedError(
            f"record: {path} is missing. Run the study again to complete its record."
        ) from None
    except (OSError, ValueError, RecursionError):
        whole = False
    if not whole:
        raise RecordError(
            f"record: {path} is truncated or altered. Restore the file as it was written; the file "
            "of a trial may also be deleted, and the study then runs that trial again."
        )
    return content
