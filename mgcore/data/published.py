"""Published data sets of images: found on this machine and verified, or downloaded.

torchvision names the servers and reads the files; this module looks for the files, raw or gzipped,
verifies each against its published checksum, and downloads the missing ones with a time limit.
To add a data set in MNIST's file format, add an entry to :data:`PUBLISHED`.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

# A download is given up after this many seconds without an answer, and after this many altogether.
SILENCE_LIMIT = 20.0
DOWNLOAD_LIMIT = 600.0
# The files of the training images, from which trials draw.
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@dataclass(frozen=True)
class Published:
    """A data set of four files in MNIST's format (IDX), as torchvision knows it.

    Attributes
    ----------
    key : str
        The name by which studies select the data set.
    torchvision_class : str
        The name of its class in ``torchvision.datasets``, which is also that of its folder.
    algorithm : str
        The hash function of `digests`, as :func:`hashlib.new` names it.
    digests : dict of str to str
        Checksums of the four decompressed files.
    count : int
        Training images, from which trials draw.
    resolution : int
        Pixels along a side.
    """

    key: str
    torchvision_class: str
    algorithm: str
    digests: dict[str, str]
    count: int = 60_000
    resolution: int = 28

    def read(self, root: str | None = None) -> tuple[Tensor, Tensor, str]:
        """Return the training images, their labels and the SHA-256 of both.

        Parameters
        ----------
        root : str, optional
            The folder that holds the files, as for :func:`data_folder`.  Each may be raw or
            gzipped, in the folder itself or in torchvision's subfolder ``MNIST/raw``.

        Returns
        -------
        images : Tensor of uint8, shape (count, n, n)
        labels : Tensor of int64, shape (count,)
        sha256 : str
            Of the SHA-256 of the decompressed files of images and labels, in this order.

        Raises
        ------
        ValueError
            If a file in a folder that was named by the user is altered or cannot be read.
        FileNotFoundError
            If a file is missing, and cannot be downloaded.
        """
        folder = data_folder(root)
        raw = folder / self.torchvision_class / "raw"
        named = bool(root or os.environ.get("MGCORE_DATA"))
        contents: dict[str, bytes] = {}
        for name in self.digests:
            path = _find(name, raw, folder)
            if path is None:
                continue
            try:
                content = _decompressed(path.read_bytes(), path.suffix == ".gz")
            except OSError as error:
                if named:
                    raise ValueError(
                        f"dataset={self.key!r}: {path} cannot be read ({error.strerror}). "
                        "Make it readable, or let MGCORE_DATA name another folder."
                    ) from None
                continue
            if self.verifies(name, content):
                contents[name] = content
            elif named:
                raise ValueError(
                    f"dataset={self.key!r}: {path} is truncated, altered or of another "
                    f"data set (its {self.algorithm.upper()} is not that of the published file). "
                    "Replace it by the published file."
                )
        missing = [name for name in self.digests if name not in contents]
        if missing and named:
            some = f" (missing: {', '.join(missing)})" if contents else ""
            raise self._absent(raw, f"no download is tried into a folder that was named{some}")
        if missing:
            contents |= self._download(missing, raw)
        images, labels = self._parse(folder, contents)
        both = "".join(hashlib.sha256(contents[name]).hexdigest() for name in (IMAGES, LABELS))
        return images, labels, hashlib.sha256(both.encode()).hexdigest()

    def verifies(self, name: str, content: bytes) -> bool:
        """Return whether `content` is the published, decompressed file `name`."""
        found = hashlib.new(self.algorithm, content, usedforsecurity=False)
        return found.hexdigest() == self.digests[name]

    def _absent(self, raw: Path, reason: str) -> FileNotFoundError:
        return FileNotFoundError(
            f"dataset={self.key!r} is not in {raw} and {reason}. Put its four files there, raw or "
            "gzipped, let MGCORE_DATA name the folder that holds them, or choose "
            "dataset='strokes', which needs no file."
        )

    def _class(self) -> Any:
        return getattr(import_torchvision("torchvision.datasets"), self.torchvision_class)

    def _parse(self, folder: Path, contents: dict[str, bytes]) -> tuple[Tensor, Tensor]:
        """Let torchvision read the files where they are, or decompressed in a temporary folder.

        Without torchvision the verified bytes are read here: both files are a header and bytes.
        """
        try:
            dataset = self._class()
        except ImportError:
            images, labels = (
                torch.frombuffer(bytearray(contents[name]), dtype=torch.uint8, offset=header)
                for name, header in ((IMAGES, 16), (LABELS, 8))
            )
            return images.view(-1, self.resolution, self.resolution), labels.long()
        raw, processed = (folder / self.torchvision_class / part for part in ("raw", "processed"))
        # torchvision prefers what an old version of it left in "processed", which nothing verifies.
        if not processed.exists() and all((raw / name).is_file() for name in contents):
            read = dataset(str(folder), train=True, download=False)
        else:
            with tempfile.TemporaryDirectory(prefix="mgcore-") as place:
                raw = Path(place) / self.torchvision_class / "raw"
                raw.mkdir(parents=True)
                for name, content in contents.items():
                    (raw / name).write_bytes(content)
                read = dataset(place, train=True, download=False)
        return read.data, read.targets

    def _download(self, names: list[str], raw: Path) -> dict[str, bytes]:
        """Download files into the user's cache, each replaced atomically once it is verified.

        Several processes may do so at once: each file is always absent or whole.
        """
        title = self.torchvision_class
        print(f"mgcore: downloading {title} into {raw} …", file=sys.stderr, flush=True)
        contents = {}
        for name in names:
            causes = []
            for mirror in self._class().mirrors:
                try:
                    content = _decompressed(_fetch(f"{mirror}{name}.gz"), True)
                except (OSError, HTTPException) as error:
                    causes.append(f"{urlsplit(mirror).netloc}: {_cause(error)}")
                    continue
                if self.verifies(name, content):
                    contents[name] = content
                    break
                causes.append(f"{urlsplit(mirror).netloc}: the answer is not {name}.gz")
            else:
                raise self._absent(raw, f"downloading failed ({'; '.join(causes)})")
            try:
                raw.mkdir(parents=True, exist_ok=True)
                _replace(raw / name, contents[name])
            except OSError as error:
                reason = f"cannot be written there ({error.strerror})"
                raise self._absent(raw, reason) from None
        return contents


PUBLISHED = {
    # Y. LeCun, C. Cortes and C. J. C. Burges.
    "mnist": Published(
        "mnist",
        "MNIST",
        "sha256",
        {
            "train-images-idx3-ubyte": (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
            ),
            "train-labels-idx1-ubyte": (
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
            ),
            "t10k-images-idx3-ubyte": (
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
            ),
            "t10k-labels-idx1-ubyte": (
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
            ),
        },
    ),
    # H. Xiao, K. Rasul and R. Vollgraf, licence MIT.
    "fashion-mnist": Published(
        "fashion-mnist",
        "FashionMNIST",
        "md5",
        {
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
    ),
}


def data_folder(root: str | None = None) -> Path:
    """Return the folder of published data sets: `root`, ``MGCORE_DATA``, or the user's cache.

    Raises
    ------
    ValueError
        If the folder depends on a home folder and none is known.
    """
    named = root or os.environ.get("MGCORE_DATA")
    try:
        if named:
            return Path(named).expanduser()
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # no HOME, and a user identifier without an entry
        raise ValueError(
            f"The home folder {f'in {named!r} ' if named else ''}cannot be determined. Let "
            "MGCORE_DATA name the folder that holds the data by its full path, or choose "
            "dataset='strokes', which needs no file."
        ) from None
    return Path(cache) / "mgcore" / "data"


def _find(name: str, *folders: Path) -> Path | None:
    """Return the first of the places where a file may lie, raw or gzipped, that exists."""
    places = (folder / f"{name}{suffix}" for folder in folders for suffix in ("", ".gz"))
    return next((place for place in places if place.is_file()), None)


def _decompressed(content: bytes, gzipped: bool) -> bytes:
    """Return the decompressed content, or nothing where it is not whole."""
    if not gzipped:
        return content
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return b""


def _fetch(url: str) -> bytes:
    """Return what a server answers, or raise TimeoutError at one of the two limits."""
    end = time.monotonic() + DOWNLOAD_LIMIT
    request = urllib.request.Request(url, headers={"User-Agent": "mgcore"})
    parts = []
    with urllib.request.urlopen(request, timeout=SILENCE_LIMIT) as response:
        while part := response.read1(1 << 16):  # read would wait for all of it
            parts.append(part)
            if time.monotonic() > end:
                raise TimeoutError
    return b"".join(parts)


def _cause(error: Exception) -> str:
    """Return on one line why a server gave no file."""
    reason = getattr(error, "reason", error) if type(error) is urllib.error.URLError else error
    if isinstance(reason, TimeoutError):
        return f"no answer for {SILENCE_LIMIT:g} s, or no end after {DOWNLOAD_LIMIT:g} s"
    return " ".join(str(reason).split()) or type(reason).__name__


def _replace(path: Path, content: bytes) -> None:
    """Write a file beside `path` and rename it, so that `path` is never half written."""
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def import_torchvision(module: str) -> ModuleType:
    """Import a part of torchvision, also beside a CPU build of torch.

    torchvision 0.28.0 on the package index is built for CUDA.  Beside torch's CPU build its import
    fails because its compiled operators are absent.  Data sets and networks for classification need
    none of them, so that it is enough to declare the two operators that the import asks for.
    Nothing is declared where torchvision can be imported as it is.

    Parameters
    ----------
    module : str
        As ``"torchvision.datasets"`` or ``"torchvision.models"``.

    Examples
    --------
    >>> import_torchvision("torchvision.models").resnet18.__name__
    'resnet18'
    """
    try:
        return importlib.import_module(module)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", schema)
        return importlib.import_module(module)
