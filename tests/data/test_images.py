"""Where digits come from, and how they are drawn and prepared; MNIST's files are imitations."""

import hashlib
import math
import struct
import urllib.error
import urllib.request

import pytest
import torch

from mgcore.data import images as data
from mgcore.data.images import load_digits, mnist_root, normalise, prepare, split
from mgcore.data.strokes import stroke_digits
from mgcore.grids import prolong, restrict

ADVICE = (
    "accepted: the four decompressed files there, or MGCORE_DATA naming the folder above "
    "MNIST/raw, or dataset='strokes', which needs no file."
)


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch, tmp_path):
    """Forget pools, and look for no data of the user's."""
    load_digits.cache_clear()
    monkeypatch.delenv("MGCORE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    yield
    load_digits.cache_clear()


def idx(values: torch.Tensor) -> bytes:
    """The format of MNIST's files: magic number, sizes, bytes."""
    head = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.to(torch.uint8).numpy().tobytes()


@pytest.fixture
def mnist(tmp_path, monkeypatch, rng):
    """A folder with four small files in MNIST's format, whose SHA-256 are taken for the real."""
    raw = tmp_path / "given" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 30), ("t10k", 5)):
        images = torch.randint(256, (count, 28, 28), generator=rng)
        labels = torch.randint(10, (count,), generator=rng)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
        if part == "train":
            kept = images, labels
    digests = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in raw.iterdir()}
    assert set(digests) == set(data.MNIST_SHA256)
    monkeypatch.setattr(data, "MNIST_SHA256", digests)
    return tmp_path / "given", *kept


def test_mnist_is_read_from_an_argument_or_the_environment(mnist, monkeypatch):
    root, images, labels = mnist
    pool = load_digits("mnist", 30, root=str(root))
    assert pool.name == "mnist" and pool.images.dtype == torch.uint8
    assert torch.equal(pool.images.long(), images) and torch.equal(pool.labels, labels)
    monkeypatch.setenv("MGCORE_DATA", str(root))
    again = load_digits("mnist", 20)
    assert torch.equal(again.images, pool.images) and again.sha256 == pool.sha256
    with pytest.raises(ValueError) as raised:
        load_digits("mnist", 31)
    assert str(raised.value) == "count=31 images of dataset='mnist'; accepted: up to 30."


def test_mnist_is_looked_for_in_order(tmp_path, monkeypatch):
    assert mnist_root() == tmp_path / "xdg" / "mgcore" / "data"
    monkeypatch.setenv("MGCORE_DATA", "/some/where")
    assert str(mnist_root()) == "/some/where"
    assert str(mnist_root("/else/where")) == "/else/where"


@pytest.mark.parametrize("name", sorted(data.MNIST_SHA256))
@pytest.mark.parametrize("fault", ["truncated", "altered"])
def test_a_damaged_mnist_file_is_named(mnist, name, fault):
    root, *_ = mnist
    file = root / "MNIST" / "raw" / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content[:-1] if fault == "truncated" else content))
    with pytest.raises(FileNotFoundError) as raised:
        load_digits("mnist", 20, root=str(root))
    assert str(raised.value) == (
        f"dataset='mnist': {file} is truncated or altered (its SHA-256 is not that of the "
        "published file); accepted: the published file, put in its place."
    )


@pytest.mark.parametrize("missing", [None, "train-labels-idx1-ubyte"])
def test_a_named_folder_without_mnist_gets_one_sentence(mnist, missing, tmp_path, monkeypatch):
    """A folder that somebody named is never downloaded into."""
    root = tmp_path / "empty"
    if missing:
        root = mnist[0]
        (root / "MNIST" / "raw" / missing).unlink()
    monkeypatch.setenv("MGCORE_DATA", str(root))
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("a download"))
    with pytest.raises(FileNotFoundError) as raised:
        load_digits("mnist", 20)
    assert str(raised.value) == (
        f"dataset='mnist' is not in {root}/MNIST/raw and no download is tried into a folder that "
        f"was named; {ADVICE}"
    )


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("Name or service not known"), TimeoutError()]
)
def test_without_network_one_sentence_says_where_to_put_mnist(error, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(FileNotFoundError) as raised:
        load_digits("mnist", 20)
    sentence = str(raised.value)
    raw = tmp_path / "xdg" / "mgcore" / "data" / "MNIST" / "raw"
    assert sentence.startswith(f"dataset='mnist' is not in {raw} and downloading failed (")
    assert sentence.endswith(f"); {ADVICE}") and "\n" not in sentence


@pytest.mark.parametrize(
    ("dataset", "resolution", "sentence"),
    [
        ("postcards", 28, "dataset='postcards'; accepted: 'mnist' or 'strokes'."),
        ("mnist", 14, "resolution=14 with dataset='mnist'; accepted: 28."),
    ],
)
def test_unknown_data_get_one_sentence(dataset, resolution, sentence):
    with pytest.raises(ValueError) as raised:
        load_digits(dataset, 10, resolution)
    assert str(raised.value) == sentence


def test_stroke_digits_are_named_and_hashed():
    pool = load_digits("strokes", 20, 12)
    images, labels = stroke_digits(20, 12)
    assert pool.name == "strokes"
    assert torch.equal(pool.images, images) and torch.equal(pool.labels, labels)
    rounded = bytes(round(255 * value) for value in images.flatten().tolist())
    assert pool.sha256 == hashlib.sha256(rounded).hexdigest()
    assert load_digits("strokes", 21, 12).sha256 != pool.sha256


def test_split_is_disjoint_of_the_right_sizes_and_drawn_by_its_generator():
    parts = split(50, (20, 15, 10), torch.Generator().manual_seed(3))
    assert [len(part) for part in parts] == [20, 15, 10]
    together = torch.cat(parts)
    assert len(together.unique()) == 45 and together.min() >= 0 and together.max() < 50
    same = split(50, (20, 15, 10), torch.Generator().manual_seed(3))
    other = split(50, (20, 15, 10), torch.Generator().manual_seed(4))
    assert all(torch.equal(a, b) for a, b in zip(parts, same, strict=True))
    assert not torch.equal(parts[0], other[0])
    seen = torch.zeros(50)
    for seed in range(200):  # every image has the same chance: 40 % to be in the first part
        seen[split(50, (20, 15, 10), torch.Generator().manual_seed(seed))[0]] += 1 / 200
    assert (seen - 0.4).abs().max() < 5 * math.sqrt(0.24 / 200)


@pytest.mark.parametrize("sizes", [(40, 11), (50, 0), (-1, 5)])
def test_impossible_splits_get_one_sentence(sizes):
    with pytest.raises(ValueError) as raised:
        split(50, sizes, torch.Generator())
    assert str(raised.value) == (
        f"sizes={sizes} of 50 images; accepted: at least 1 each, disjoint."
    )


def test_pixels_are_divided_by_255_or_left(rng):
    raw = torch.randint(256, (3, 4, 4), generator=rng).to(torch.uint8)
    unit = normalise(raw, "unit", torch.float64)
    assert unit.shape == (3, 1, 4, 4)
    assert torch.equal(unit[:, 0] * 255, raw.double())
    real = torch.rand(3, 4, 4, generator=rng)
    assert torch.equal(normalise(real, "unit")[:, 0], real)
    assert normalise(raw, "unit").dtype == torch.float32


def test_standardised_images_have_mean_zero_and_deviation_one(rng):
    raw = torch.rand(3, 6, 6, generator=rng).double()
    raw[1] = 0.5 + 1e-3 * raw[1]  # nearly blank: divided by 1/sqrt(36), not by its deviation
    raw[2] = 0.25
    x = normalise(raw, "standardised", torch.float64)
    assert x.mean((1, 2, 3)).abs().max() < 1e-14
    n = 36
    deviation = math.sqrt(((raw[0] - raw[0].mean()) ** 2).sum().item() / n)
    assert (x[0, 0] - (raw[0] - raw[0].mean()) / deviation).abs().max() < 1e-12
    assert (x[1, 0] - (raw[1] - raw[1].mean()) * 6).abs().max() < 1e-12
    assert x[2].abs().max() == 0


@pytest.mark.parametrize("kind", ["bilinear", "constant"])
def test_prolonged_images_went_to_the_coarse_grid_and_back(kind, rng):
    x = torch.rand(2, 1, 8, 8, generator=rng, dtype=torch.float64)
    assert prepare(x, "original", kind) is x
    assert torch.equal(prepare(x, "prolonged", kind), prolong(restrict(x), kind))
    assert (prepare(x, "prolonged", kind) - x).abs().max() > 0.1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: normalise(torch.zeros(1, 4, 4), "whitened"),
         "normalisation='whitened'; accepted: 'unit' or 'standardised'."),
        (lambda: prepare(torch.zeros(1, 4, 4), "blurred"),
         "preparation='blurred'; accepted: 'original' or 'prolonged'."),
        (lambda: prepare(torch.zeros(1, 1, 27, 27), "prolonged"),
         "x must have grid axes of even size, two fine cells to a coarse one, got (27, 27)."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == sentence
