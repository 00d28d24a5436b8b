"""A plain PyTorch script, as a user would write it: the reference for this project's speed.

It trains the thesis's network on one grid, trial after trial, with ``nn.Module``, ``DataLoader``,
``torch.optim.SGD`` and torch's own number of threads.  It shares no code with :mod:`mgcore`: it
reads images, labels and initial weights from a file and prints times and accuracies.

Run as ``python plain_script.py FILE.npz '{"epochs": 2, …}'``.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """Two convolutions, a ReLU after each, an optional 2×2 mean between them, and a classifier."""

    def __init__(self, resolution: int, pooling: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.pool = nn.AvgPool2d(2) if pooling else nn.Identity()
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.side = resolution // 2 if pooling else resolution
        self.classifier = nn.Linear(64 * self.side**2, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 10) of images (batch, 1, n, n)."""
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(self.pool(x)))
        return self.classifier(x.flatten(1))

    def roughness(self) -> torch.Tensor:
        """Return the sum of squared differences between neighbouring weights of the classifier."""
        maps = self.classifier.weight.view(10, 64, self.side, self.side)
        return maps.diff(dim=2).square().sum() + maps.diff(dim=3).square().sum()


def train(
    images: torch.Tensor, labels: torch.Tensor, count: int, start: dict, options: dict
) -> Net:
    """Return a network trained on the first `count` images."""
    torch.manual_seed(options["seed"])
    net = Net(images.shape[-1], options["pooling"])
    net.load_state_dict(start)
    device = options.get("device", "cpu")
    net.to(device)
    kernels = [net.conv1.weight, net.conv2.weight]
    optimizer = torch.optim.SGD(
        [
            {"params": kernels, "weight_decay": options["alpha_theta"]},
            {"params": net.classifier.parameters()},
        ],
        lr=options["rate"], momentum=options["momentum"], nesterov=options["nesterov"],
    )  # fmt: skip
    data = TensorDataset(images[:count], labels[:count])
    loader = DataLoader(data, batch_size=options["batch"], shuffle=True, drop_last=True)
    loss = nn.CrossEntropyLoss()
    for epoch in range(1, options["epochs"] + 1):
        for group in optimizer.param_groups:
            group["lr"] = options["rate"] / (0.5 * epoch) ** 0.5
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            value = loss(net(x), y) + 0.5 * options["alpha_w"] * net.roughness()
            value.backward()
            optimizer.step()
    return net


@torch.no_grad()
def accuracy(net: Net, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the accuracy of a network on images, in percent."""
    right = 0
    for x, y in DataLoader(TensorDataset(images, labels), batch_size=500):
        right += int((net(x).argmax(dim=1) == y).sum())
    return 100 * right / len(images)


def main() -> None:
    """Run the trials that the command line requests; print seconds, accuracies and threads."""
    with np.load(sys.argv[1], allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    images, labels = arrays.pop("images"), arrays.pop("labels")
    options = json.loads(sys.argv[2])
    began = time.perf_counter()
    count, accuracies = options["count"], []
    for seed in range(options["trials"]):
        net = train(images, labels, count, arrays, options | {"seed": seed})
        accuracies.append(accuracy(net, images[count:], labels[count:]))
    seconds = time.perf_counter() - began
    result = {"seconds": seconds, "accuracies": accuracies, "threads": torch.get_num_threads()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
