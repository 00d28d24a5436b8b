"""The plain script trains the same network on the same objective as this project."""

import pytest
import torch

from mgcore.lab.cost.plain_script import Net, accuracy, train
from mgcore.thesis.network import initial_weights
from mgcore.thesis.objective import Objective, evaluate
from mgcore.thesis.sgd import learning_rate, train_epoch


@pytest.mark.parametrize("pooling", [False, True])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, True)])
def test_it_does_the_same_work(pooling, momentum, nesterov):
    """With one minibatch an epoch the order of images is of no account."""
    draw = torch.Generator().manual_seed(2)
    images, labels = torch.rand(24, 1, 8, 8, generator=draw), torch.arange(24) % 10
    start = {k: w.float() for k, w in initial_weights(8, pooling, draw).items()}
    options = {
        "seed": 1, "pooling": pooling, "alpha_theta": 0.125, "alpha_w": 0.03, "rate": 0.05,
        "momentum": momentum, "nesterov": nesterov, "batch": 16, "epochs": 3,
    }  # fmt: skip
    net = train(images, labels, 16, start, options)
    objective = Objective(8, pooling, alpha_theta=0.125, alpha_w=0.03)
    weights = {k: w.clone() for k, w in start.items()}
    velocity = {k: torch.zeros_like(w) for k, w in start.items()}
    for epoch in range(1, 4):
        train_epoch(
            objective, weights, velocity, images, labels, torch.arange(16), batch=16,
            rate=learning_rate(epoch, 0.05), momentum=momentum, nesterov=nesterov,
        )  # fmt: skip
    for name, w in net.state_dict().items():
        torch.testing.assert_close(w, weights[name], rtol=1e-4, atol=1e-6)
        assert not torch.equal(w, start[name])
    mine = evaluate(objective, weights, images[16:], labels[16:])["accuracy"]
    assert accuracy(net, images[16:], labels[16:]) == pytest.approx(mine)


def test_it_knows_nothing_of_this_project():
    import mgcore.lab.cost.plain_script as script

    source = open(script.__file__, encoding="utf-8").read()
    assert "import mgcore" not in source and "from mgcore" not in source
    assert isinstance(Net(8, False), torch.nn.Module)
