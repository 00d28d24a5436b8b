"""The arrays that a record keeps, against the networks and images they are of."""

import numpy as np
import pytest
import torch

from mgcore.data.images import load_digits
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.trial.figure_arrays import SIDE, SURFACE_IMAGES, collect
from mgcore.lab.trial.trial import run_trial
from mgcore.thesis.network import feature_maps
from mgcore.thesis.objective import evaluate


@pytest.fixture(scope="module", params=[False, True], ids=["unpooled", "pooled"])
def kept(request, tiny):
    protocol = tiny(pooling=request.param)
    result = run_trial(protocol, 0)
    kept = result["kept"]
    return protocol, kept, collect(protocol, kept)


def test_stencils_are_those_of_every_network(kept):
    _, there, arrays = kept
    for name in ("coarse", *CONDITIONS):
        for layer in ("conv1", "conv2"):
            weights = there.phases[name].weights[f"{layer}.weight"].float().numpy()
            assert np.array_equal(arrays[f"stencils/{name}/{layer}"], weights)


def test_blocks_are_maps_of_the_coarse_classifier(kept):
    protocol, there, arrays = kept
    side = protocol.coarse_side
    maps = there.phases["coarse"].weights["classifier.weight"].reshape(10, 64, side, side)
    assert arrays["blocks"].shape == (100, side, side)
    assert len({tuple(row) for row in arrays["blocks_of"].tolist()}) == 100
    for block, (digit, channel) in zip(arrays["blocks"], arrays["blocks_of"], strict=True):
        assert np.array_equal(block, maps[digit, channel].float().numpy())


def test_digits_are_validation_images_of_two_classes_and_their_maps_pass_through(kept):
    protocol, there, arrays = kept
    pool = load_digits("strokes", 52, 8)
    index = torch.from_numpy(arrays["digits/indices"])
    assert np.array_equal(arrays["digits/images"], pool.images[index].numpy())
    assert arrays["digits/labels"].tolist() == pool.labels[index].tolist()
    assert len(set(arrays["digits/labels"].tolist())) == 2
    assert set(index.tolist()) <= set(there.indices[2].tolist())
    x = pool.images[index].double()[:, None]
    layers = ("conv1", "pooled", "conv2") if protocol.pooling else ("conv1", "conv2")
    for arm in CONDITIONS:
        seen = feature_maps(there.phases[arm].weights, x, protocol.pooling)
        for layer, maps in zip(layers, seen, strict=True):
            expected = maps[:, arrays[f"channels/{layer}"]].numpy()
            assert np.allclose(arrays[f"maps/{arm}/{layer}"], expected, rtol=1e-3, atol=1e-4)


def test_surfaces_are_centred_on_the_coarse_network_and_the_two_starts(kept):
    protocol, there, arrays = kept
    steps, side = arrays["surface_steps"], SIDE["smoke"]
    assert len(steps) == side and steps[side // 2] == 0 and steps[0] == -steps[-1] == -1
    assert {n for n in arrays if n.startswith("surface/")} == {
        "surface/coarse", "surface/transfer", "surface/multigrid"
    }  # fmt: skip
    count = SURFACE_IMAGES["smoke"]
    for name in ("coarse", "transfer", "multigrid"):
        grid = "coarse" if name == "coarse" else "fine"
        images = there.images(grid)
        weights = there.phases["coarse"].weights if grid == "coarse" else there.starts[name]
        centre = evaluate(
            protocol.objective(grid), weights, images.training[:count],
            images.training_labels[:count],
        )["objective"]  # fmt: skip
        values = arrays[f"surface/{name}"]
        assert values.shape == (side, side)
        assert values[side // 2, side // 2] == pytest.approx(centre, rel=1e-12)


def test_arrays_are_the_same_each_time_and_need_no_pickle(kept):
    protocol, there, arrays = kept
    again = collect(protocol, there)
    assert again.keys() == arrays.keys()
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)
    assert all(array.dtype != object for array in arrays.values())
