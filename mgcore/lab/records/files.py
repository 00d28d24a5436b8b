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


def records_folder() -> Path:
    """Return the folder of committed records: ``MGCORE_RECORDS``, else book/records upwards.

    Raises
    ------
    RecordError
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
    raise RecordError(
        f"record: no book/records in {here} or above it; accepted: a working folder inside the "
        "project, or MGCORE_RECORDS naming the folder of records."
    )


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
    write_atomically(path, as_text(content).encode())


def as_text(content: Mapping[str, Any]) -> str:
    """Return the text of a file that holds `content` and its checksum."""
    return json.dumps({**content, "sha256": checksum(content)}, indent=1, ensure_ascii=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a file of the record, checked against its checksum.

    Its text has to be what :func:`write_json` makes of the content: a bit may flip in a space, or
    in a digit so late that the number stays the same.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        whole = isinstance(content, dict) and content.pop("sha256", None) is not None
        whole = whole and text == as_text(content)
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
