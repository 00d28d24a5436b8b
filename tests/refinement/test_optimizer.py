"""Optimizers and averages of weights that go on after a change of the image size."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mgcore import coarsen, refine
from mgcore.kernels import refine_kernel
from mgcore.refinement.optimizer import transfer_optimizer

SHAPE = (1, 8, 8)


def small():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.Flatten(),
        nn.Linear(3 * 64, 4),
    )  # fmt: skip


def trained(make, model, steps=3):
    optimizer = make(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.rand(5, *SHAPE)).square().sum().backward()
        optimizer.step()
    return optimizer


SGD = partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True)


@pytest.mark.parametrize("stencils", ["galerkin", "copy"])
def test_momentum_changes_as_its_weight(stencils):
    """A step of the momentum alone before the change is the same step after it."""
    model = small()
    optimizer = trained(SGD, model)
    change = partial(refine, input_shape=SHAPE, stencils=stencils)
    fine = change(model)
    other = transfer_optimizer(optimizer, model, fine, change)
    with torch.no_grad():
        for net, its in ((model, optimizer), (fine, other)):
            for parameter in net.parameters():
                parameter -= 0.01 * its.state[parameter]["momentum_buffer"]
    for expected, found in zip(change(model).parameters(), fine.parameters(), strict=True):
        assert torch.allclose(expected, found, atol=1e-6)


def test_settings_and_groups_stay_and_the_old_optimizer_is_left_as_it_is():
    model = small()
    groups = [{"params": [model[0].weight], "lr": 0.3}, {"params": model[4].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.5, weight_decay=1e-3)
    model(torch.rand(2, *SHAPE)).sum().backward()
    optimizer.step()
    change = partial(refine, input_shape=SHAPE)
    fine = change(model)
    other = transfer_optimizer(optimizer, model, fine, change)
    assert type(other) is torch.optim.SGD
    rates = [(g["lr"], g["momentum"], g["weight_decay"]) for g in other.param_groups]
    assert rates == [(0.3, 0.5, 1e-3), (0.01, 0.5, 1e-3)]
    held = [p for group in other.param_groups for p in group["params"]]
    assert [id(p) for p in held] == [id(fine[0].weight), id(fine[4].weight), id(fine[4].bias)]
    before = optimizer.state[model[4].bias]["momentum_buffer"].clone()
    fine(torch.rand(2, 1, 16, 16)).sum().backward()
    other.step()
    assert torch.equal(optimizer.state[model[4].bias]["momentum_buffer"], before)
    assert optimizer.param_groups[0]["params"][0] is model[0].weight


def test_second_moments_start_anew_where_the_weight_changed_and_stay_elsewhere():
    model = small()
    optimizer = trained(torch.optim.Adam, model)
    change = partial(coarsen, input_shape=SHAPE)
    coarse = change(model)
    other = transfer_optimizer(optimizer, model, coarse, change)
    assert coarse[0].weight not in other.state and coarse[4].weight not in other.state
    kept = other.state[coarse[2].weight]
    assert kept["step"] == 3
    assert torch.equal(kept["exp_avg_sq"], optimizer.state[model[2].weight]["exp_avg_sq"])
    coarse(torch.rand(2, 1, 4, 4)).sum().backward()
    other.step()
    assert other.state[coarse[0].weight]["step"] == 1 and kept["step"] == 4


def test_an_optimizer_before_its_first_step_has_no_state():
    model = small()
    fine = refine(model, SHAPE)
    other = transfer_optimizer(SGD(model.parameters()), model, fine, lambda net: None)
    assert not other.state


def test_another_network_is_refused():
    model = small()
    fine, change = refine(model, SHAPE), partial(refine, input_shape=SHAPE)
    with pytest.raises(ValueError, match=r"^optimizer holds a parameter of shape \(3, 1, 3, 3\)"):
        transfer_optimizer(SGD(small().parameters()), model, fine, change)
    with pytest.raises(ValueError, match=r"^model and result hold weights of other names"):
        transfer_optimizer(SGD(model.parameters()), model, nn.Linear(2, 2), change)
    optimizer = trained(SGD, model)
    with pytest.raises(ValueError, match=r"^change does not give 4\.weight the shape \(4, 768\)"):
        transfer_optimizer(optimizer, model, fine, partial(change, to=(12, 12)))
    with pytest.raises(TypeError, match=r"^change returns a tuple"):
        transfer_optimizer(optimizer, model, fine, partial(change, return_report=True))


def test_an_optimizer_that_keeps_parameters_elsewhere_is_refused():
    model = small()
    with pytest.raises(ValueError, match=r"^LBFGS keeps parameters in _params"):
        transfer_optimizer(torch.optim.LBFGS(model.parameters()), model, refine(model, SHAPE), None)


def test_a_weight_of_zeros_changes_its_momentum_all_the_same():
    model = small()
    nn.init.zeros_(model[0].weight)
    optimizer = trained(partial(torch.optim.SGD, lr=0.0, momentum=0.9), model)
    change = partial(refine, input_shape=SHAPE)
    fine = change(model)
    found = transfer_optimizer(optimizer, model, fine, change).state[fine[0].weight]
    old = optimizer.state[model[0].weight]["momentum_buffer"]
    assert torch.allclose(found["momentum_buffer"], refine_kernel(old), atol=1e-6)


def test_a_subclass_keeps_its_attributes_and_hooks_and_its_own_learning_rate():
    class Clipped(torch.optim.SGD):
        def __init__(self, *arguments, clip, **options):
            super().__init__(*arguments, **options)
            self.clip = clip

    calls = []
    model = small()
    optimizer = trained(partial(Clipped, lr=torch.tensor(0.1), momentum=0.9, clip=2.0), model)
    optimizer.register_step_pre_hook(lambda *_: calls.append(1))
    change = partial(refine, input_shape=SHAPE)
    fine = change(model)
    other = transfer_optimizer(optimizer, model, fine, change)
    assert other.clip == 2.0
    other.param_groups[0]["lr"].mul_(0.5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    fine(torch.rand(2, 1, 16, 16)).sum().backward()
    other.step()
    assert calls == [1]


def test_an_average_of_weights_is_refined_like_its_network():
    model = small()
    average = AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    trained(SGD, model)
    average.update_parameters(model)
    average.update_parameters(model)
    fine = refine(average, SHAPE)
    assert isinstance(fine, AveragedModel) and fine.n_averaged == 2
    expected = refine(average.module, SHAPE)
    assert all(map(torch.equal, fine.module.parameters(), expected.parameters()))
    fine.update_parameters(refine(model, SHAPE))
    assert fine.n_averaged == 3
