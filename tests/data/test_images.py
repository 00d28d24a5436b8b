"""Pools of labelled images, and how they are split, scaled and prepared."""

import hashlib
import math

import pytest
import torch

from mgcore.data.images import DATASETS, Digits, load_digits, normalise, prepare, split
from mgcore.data.strokes import stroke_digits
from mgcore.grids import prolong, restrict


@pytest.mark.parametrize(
    ("dataset", "resolution", "sentence"),
    [
        ("postcards", 28, f"dataset must be one of {', '.join(map(repr, DATASETS))}, got "
         "'postcards'."),
        ("mnist", 14, "resolution must be 28 with dataset='mnist', got 14."),
    ],
)  # fmt: skip
def test_unknown_data_get_one_sentence(dataset, resolution, sentence):
    with pytest.raises(ValueError) as raised:
        load_digits(dataset, 10, resolution)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("normalisation", ["unit", "standardised"])
def test_bytes_and_floats_become_the_same_images_in_the_unit_interval(dtype, normalisation, rng):
    """Bytes are divided in the precision of the study, not rounded to float32 before."""
    raw = torch.arange(256, dtype=torch.uint8)[torch.randperm(256, generator=rng)].view(4, 8, 8)
    labels, index = torch.arange(4), torch.tensor([2, 0])
    pool = Digits("bytes", raw, labels, "")
    assert pool.images.dtype == torch.float32 and len(pool) == 4
    assert torch.equal(pool.images, raw.float() / 255)
    assert (pool.images.min(), pool.images.max()) == (0, 1)
    exact = raw.to(dtype) / 255
    assert torch.equal(pool.select(index, dtype), exact[index])
    seen = normalise(pool.select(index, dtype), normalisation, dtype)
    floats = Digits("floats", exact, labels, "")
    assert floats.images is exact
    assert torch.equal(seen, normalise(floats.select(index, dtype), normalisation, dtype))


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (torch.tensor([[[0.0, 255.0]]]), "images must be in [0, 1], got values from 0 to 255. "
         "Divide them by the largest possible value."),
        (torch.tensor([[[-0.5, 1.0]]]), "images must be in [0, 1], got values from -0.5 to 1. "
         "Divide them by the largest possible value."),
        (torch.tensor([[[3]]]), "images must be bytes or floating point in [0, 1], got "
         "torch.int64."),
    ],
)  # fmt: skip
def test_a_pool_of_another_scale_is_refused(pixels, sentence):
    with pytest.raises(ValueError) as raised:
        Digits("mine", pixels, torch.zeros(1, dtype=torch.int64), "")
    assert str(raised.value) == sentence
    with pytest.raises(ValueError, match="nan"):
        Digits("mine", torch.tensor([[[math.nan]]]), torch.zeros(1, dtype=torch.int64), "")


def test_digits_that_were_loaded_in_inference_mode_can_be_trained_on():
    load_digits.cache_clear()
    with torch.inference_mode():
        load_digits("strokes", 8, 8)
    images = load_digits("strokes", 8, 8).images
    weight = torch.zeros(1, 1, 3, 3, requires_grad=True)
    torch.nn.functional.conv2d(images[:, None], weight).sum().backward()
    assert not images.is_inference()


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
        f"sizes must be positive and add up to at most the 50 images, got {sizes}."
    )


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
         "normalisation must be one of 'unit', 'standardised', got 'whitened'."),
        (lambda: normalise(torch.zeros(1, 4, 4, dtype=torch.uint8), "unit"),
         "images must be floating point in [0, 1], got torch.uint8. Divide bytes by 255."),
        (lambda: prepare(torch.zeros(1, 4, 4), "blurred"),
         "preparation must be one of 'original', 'prolonged', got 'blurred'."),
        (lambda: prepare(torch.zeros(1, 1, 27, 27), "prolonged"),
         "x must have grid axes of even size, two fine cells to a coarse one, got (27, 27)."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == sentence
