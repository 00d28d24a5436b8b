"""Published data sets: small files in their format, a server on this machine, no network."""

import gzip
import hashlib
import http.server
import os
import struct
import threading
from pathlib import Path

import pytest
import torch

from mgcore.data import published
from mgcore.data.images import load_digits
from mgcore.data.published import PUBLISHED, data_folder, import_torchvision

FILES = sorted(PUBLISHED["mnist"].digests)
ADVICE = (
    ". Put its four files there, raw or gzipped, let MGCORE_DATA name the folder that holds them, "
    "or choose dataset='strokes', which needs no file."
)


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch, tmp_path):
    """Forget pools, and look for no data of the user's."""
    load_digits.cache_clear()
    monkeypatch.delenv("MGCORE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("no_proxy", "*")
    yield
    load_digits.cache_clear()


def idx(values: torch.Tensor) -> bytes:
    """The format of MNIST's files: magic number, sizes, bytes."""
    head = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.to(torch.uint8).numpy().tobytes()


class Small:
    """A data set of 30 images in MNIST's format, whose checksums are taken for the published."""

    def __init__(self, key, rng, monkeypatch):
        self.source = PUBLISHED[key]
        self.images = torch.randint(256, (30, 28, 28), generator=rng).to(torch.uint8)
        self.labels = torch.randint(10, (30,), generator=rng)
        self.content = {
            "train-images-idx3-ubyte": idx(self.images),
            "train-labels-idx1-ubyte": idx(self.labels),
            "t10k-images-idx3-ubyte": idx(self.images[:5]),
            "t10k-labels-idx1-ubyte": idx(self.labels[:5]),
        }
        assert set(self.content) == set(self.source.digests)
        for name, content in self.content.items():
            digest = hashlib.new(self.source.algorithm, content).hexdigest()
            monkeypatch.setitem(self.source.digests, name, digest)
        self.torchvision = getattr(
            import_torchvision("torchvision.datasets"), self.source.torchvision_class
        )

    def write(self, root: Path, layout: str) -> Path:
        """Write the four files as one of the accepted layouts."""
        folder = root / self.source.torchvision_class / "raw" if "nested" in layout else root
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.content.items():
            if "gz" in layout:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
        return folder

    def check(self, pool) -> None:
        """See that a pool is this data set."""
        assert pool.name == self.source.key and pool.images.dtype == torch.float32
        assert torch.equal(pool.images, self.images.float() / 255)
        assert torch.equal(pool.labels, self.labels)
        both = "".join(
            hashlib.sha256(self.content[f"train-{kind}-ubyte"]).hexdigest()
            for kind in ("images-idx3", "labels-idx1")
        )
        assert pool.sha256 == hashlib.sha256(both.encode()).hexdigest()


@pytest.fixture(params=sorted(PUBLISHED))
def small(request, rng, monkeypatch):
    """Each published data set in turn, as four small files."""
    return Small(request.param, rng, monkeypatch)


@pytest.fixture
def mnist(rng, monkeypatch):
    """MNIST as four small files."""
    return Small("mnist", rng, monkeypatch)


@pytest.fixture
def server():
    """Return a starter of HTTP servers: from a function of the path to (type, content) or None."""
    started, waiting = [], threading.Event()

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answered = answer(self.path.rpartition("/")[2])
                if answered is None:
                    return self.send_error(404)
                if answered == "silence":
                    return waiting.wait(30)
                kind, content = answered
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        httpd.daemon_threads = True
        threading.Thread(target=httpd.serve_forever, args=[0.01], daemon=True).start()
        started.append(httpd)
        return f"http://127.0.0.1:{httpd.server_port}/"

    yield start
    waiting.set()
    for httpd in started:
        httpd.shutdown()
        httpd.server_close()


def good(small):
    """A server's answer: the published files."""
    return lambda name: (
        "application/gzip", gzip.compress(small.content[name.removesuffix(".gz")])
    )  # fmt: skip


def refusal(kind, **given) -> str:
    """The sentence with which MNIST is refused."""
    with pytest.raises(kind) as raised:
        load_digits("mnist", 20, **given)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("layout", ["nested", "nested gz", "flat", "flat gz"])
def test_a_named_folder_may_hold_raw_or_gzipped_files(small, layout, tmp_path, monkeypatch):
    small.write(tmp_path / "given", layout)
    before = sorted(tmp_path.rglob("*"))
    small.check(load_digits(small.source.key, 30, root=str(tmp_path / "given")))
    load_digits.cache_clear()
    monkeypatch.setenv("MGCORE_DATA", str(tmp_path / "given"))
    small.check(load_digits(small.source.key, 20))
    assert sorted(tmp_path.rglob("*")) == before  # a folder of the user's is only read
    with pytest.raises(ValueError) as raised:
        load_digits(small.source.key, 31)
    assert str(raised.value) == (
        f"count must be at most 30 with dataset={small.source.key!r}, got 31."
    )


def test_what_an_old_torchvision_left_is_not_preferred(mnist, tmp_path):
    """It would read processed/training.pt, which nothing verifies."""
    mnist.write(tmp_path, "nested")
    (tmp_path / "MNIST" / "processed").mkdir()
    for name in ("training.pt", "test.pt"):
        other = (1 + torch.zeros(30, 28, 28, dtype=torch.uint8), torch.zeros(30).long())
        torch.save(other, tmp_path / "MNIST" / "processed" / name)
    mnist.check(load_digits("mnist", 20, root=str(tmp_path)))


def test_the_folder_of_data_is_looked_for_in_order(tmp_path, monkeypatch):
    assert data_folder() == tmp_path / "xdg" / "mgcore" / "data"
    monkeypatch.setenv("MGCORE_DATA", "/some/where")
    assert str(data_folder()) == "/some/where"
    assert str(data_folder("/else/where")) == "/else/where"


@pytest.mark.parametrize("named", [None, "~/data"])
def test_without_a_home_folder_one_sentence_says_what_to_do(named, monkeypatch):
    """No HOME, and a user identifier without an entry, as in some containers."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    if named:
        monkeypatch.setenv("MGCORE_DATA", named)
    where = "in '~/data' " if named else ""
    assert refusal(ValueError) == (
        f"The home folder {where}cannot be determined. Let MGCORE_DATA name the folder that holds "
        "the data by its full path, or choose dataset='strokes', which needs no file."
    )


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fault", ["truncated", "altered", "truncated gz"])
def test_a_damaged_file_in_a_named_folder_is_refused(mnist, name, fault, tmp_path):
    folder = mnist.write(tmp_path, "nested gz" if "gz" in fault else "nested")
    file = folder / (f"{name}.gz" if "gz" in fault else name)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content[:-1] if "truncated" in fault else content))
    assert refusal(ValueError, root=str(tmp_path)) == (
        f"dataset='mnist': {file} is truncated, altered or of another data set (its SHA256 is not "
        "that of the published file). Replace it by the published file."
    )


@pytest.mark.parametrize("missing", [None, "train-labels-idx1-ubyte"])
def test_a_named_folder_without_mnist_gets_one_sentence(mnist, missing, tmp_path, monkeypatch):
    """A folder that somebody named is never downloaded into."""
    (tmp_path / "given").mkdir()
    if missing:
        (mnist.write(tmp_path / "given", "nested") / missing).unlink()
    monkeypatch.setenv("MGCORE_DATA", str(tmp_path / "given"))
    monkeypatch.setattr(published, "_fetch", lambda url: pytest.fail("a download"))
    lacking = f" (missing: {missing})" if missing else ""
    assert refusal(FileNotFoundError) == (
        f"dataset='mnist' is not in {tmp_path}/given/MNIST/raw and no download is tried into a "
        f"folder that was named{lacking}{ADVICE}"
    )


def test_a_download_passes_over_servers_that_do_not_send_the_file(
    small, server, monkeypatch, tmp_path, capsys
):
    """The first has nothing, the second answers a web page, the third another file."""
    page, other = b"<html>moved</html>", gzip.compress(b"another file")
    mirrors = [server(lambda _: None), server(lambda _: ("text/html", page)),
               server(lambda _: ("application/gzip", other)), server(good(small))]  # fmt: skip
    monkeypatch.setattr(small.torchvision, "mirrors", mirrors)
    small.check(load_digits(small.source.key, 20))
    raw = tmp_path / "xdg" / "mgcore" / "data" / small.source.torchvision_class / "raw"
    assert {f.name: f.read_bytes() for f in raw.iterdir()} == small.content
    said = capsys.readouterr().err
    assert said == f"mgcore: downloading {small.source.torchvision_class} into {raw} …\n"
    load_digits.cache_clear()
    monkeypatch.setattr(published, "_fetch", lambda url: pytest.fail("a second download"))
    small.check(load_digits(small.source.key, 20))


def test_each_servers_reason_is_given_in_full(mnist, server, monkeypatch, tmp_path):
    monkeypatch.setattr(published, "SILENCE_LIMIT", 0.2)
    mirrors = [server(lambda _: None), server(lambda _: ("text/html", b"<html>")),
               server(lambda _: "silence"), "http://127.0.0.1:1/"]  # fmt: skip
    monkeypatch.setattr(mnist.torchvision, "mirrors", mirrors)
    sentence = refusal(FileNotFoundError)
    host = [mirror.split("/")[2] for mirror in mirrors]
    raw = tmp_path / "xdg" / "mgcore" / "data" / "MNIST" / "raw"
    assert sentence.startswith(
        f"dataset='mnist' is not in {raw} and downloading failed ({host[0]}: HTTP Error 404: Not "
        f"Found; {host[1]}: the answer is not train-images-idx3-ubyte.gz; {host[2]}: no answer for "
        f"0.2 s, or no end after 600 s; {host[3]}: "
    )
    assert "refused" in sentence and sentence.endswith(")" + ADVICE)
    assert not raw.exists()


def test_a_download_that_never_ends_is_given_up(mnist, server, monkeypatch):
    monkeypatch.setattr(published, "DOWNLOAD_LIMIT", -1.0)
    monkeypatch.setattr(mnist.torchvision, "mirrors", [server(good(mnist))])
    assert "no end after -1 s" in refusal(FileNotFoundError)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_in_the_users_cache_is_fetched_again(mnist, server, name, monkeypatch):
    raw = mnist.write(data_folder(), "nested")
    (raw / name).write_bytes(mnist.content[name][:-3])
    asked = []

    def answer(file):
        asked.append(file)
        return good(mnist)(file)

    monkeypatch.setattr(mnist.torchvision, "mirrors", [server(answer)])
    mnist.check(load_digits("mnist", 20))
    assert asked == [f"{name}.gz"]
    assert {f.name: f.read_bytes() for f in raw.iterdir()} == mnist.content


def test_first_runs_at_once_never_see_half_a_file(mnist, server, monkeypatch):
    """Each of three downloads at its own pace; every file in the cache is always whole."""
    monkeypatch.setattr(mnist.torchvision, "mirrors", [server(good(mnist))])
    raw, seen, pools = data_folder() / "MNIST" / "raw", [], []
    write = published._replace

    def watched(path, content):
        write(path, content)
        seen.extend((f.name, f.read_bytes()) for f in raw.iterdir() if f.name[0] != ".")

    monkeypatch.setattr(published, "_replace", watched)
    runs = [
        threading.Thread(target=lambda: pools.append(PUBLISHED["mnist"].read())) for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(pools) == 3 and all(torch.equal(images, mnist.images) for images, *_ in pools)
    assert seen and all(content == mnist.content[name] for name, content in seen)
    assert {f.name for f in raw.iterdir()} == set(FILES)


def test_a_cache_that_cannot_be_written_gets_one_sentence(mnist, server, monkeypatch, tmp_path):
    monkeypatch.setattr(mnist.torchvision, "mirrors", [server(good(mnist))])
    (tmp_path / "xdg").write_text("a file where the cache should be")
    sentence = refusal(FileNotFoundError)
    assert "and cannot be written there (Not a directory)." in sentence
    assert sentence.endswith(ADVICE)


def test_without_torchvision_the_same_bytes_are_read(mnist, tmp_path, monkeypatch):
    """A machine that is lent for its GPU may have torch alone."""
    for name, content in mnist.content.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    expected = mnist.source.read(str(tmp_path))

    def absent(module):
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(published, "import_torchvision", absent)
    images, labels, sha256 = mnist.source.read(str(tmp_path))
    assert torch.equal(images, expected[0]) and images.dtype == torch.uint8
    assert torch.equal(labels, expected[1]) and sha256 == expected[2]
