"""Studies and tables made by hand, for tests of what pages show."""

from types import SimpleNamespace

from mgcore.lab.records.study import Study


def rows(*pairs):
    """Return epochs with these training and validation accuracies."""
    return [
        {"epoch": n, "training_accuracy": a, "validation_accuracy": b, "products": 2 * (n > 0)}
        for n, (a, b) in enumerate(pairs)
    ]


def trial(number, off=0.0):
    """Return a trial with round numbers in every place that a table reads."""
    metrics = {"coarse": rows((9, 9), (70, 60))}
    for arm in ("new", "transfer", "multigrid"):
        metrics[arm] = rows((10, 10), (80 + off, 70), (90 + off, 75))
        metrics[f"{arm}_classifier"] = rows((5, 5), (40 + off, 30), (50, 35))
        metrics[f"{arm}_classifier"][-1]["work"] = 300.0
    measures = {
        "landscape": {
            name: {"radius": [0.5, 2.0], "curvature": [1.0, 3.0], "length": 10.0, "loss": 0.25}
            for name in ("coarse", "transfer", "multigrid")
        },
        "survival": {
            arm: {"conv2": {"mean": 0.5, "best": 0.9, "silent": 0.125}}
            for arm in ("new", "transfer", "multigrid")
        },
        "preparation": {
            arm: {"original": 60.0 + off, "prolonged": 97.0}
            for arm in ("new", "transfer", "multigrid")
        },
    }
    seconds = {run: {"training": 120.0, "evaluation": 5.0} for run in metrics} | {"whole": 900.0}
    return {
        "trial": number, "metrics": metrics, "measures": measures,
        "circumstances": {"seconds": seconds},
    }  # fmt: skip


def study(name="pooling-original", offs=(0.0, 2.0)):
    """Return a study of trials that differ by these points in training accuracy."""
    record = SimpleNamespace(
        protocol=SimpleNamespace(n_coarse=400, n_fine=100, resolution=28, pooling=True),
        criteria={"first": "abc", "second": "old"},
    )
    trials = [trial(k, off) for k, off in enumerate(offs)]
    return Study(name, record, trials, recorded=True)


def body(table):
    """Return the cells of a table's rows by the first of them."""
    return {row[0]: list(row[1:]) for row in table.rows}
