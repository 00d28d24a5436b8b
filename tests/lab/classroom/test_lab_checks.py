"""The checks of the lab: right answers, and a hint for each mistake that they know."""

import math

import numpy as np
import pytest
import torch

from mgcore import ThesisCNN
from mgcore.kernels import refine_classifier, refine_kernel
from mgcore.lab.classroom.checks import EXERCISES, PROBES, AnswerError, checks_of, collect, judge


def response(kernel, omega):
    a, b, c = kernel
    return abs(a * np.exp(-1j * omega) + b + c * np.exp(1j * omega))


def carried(coarse: ThesisCNN, kernels, scale: float = 0.25) -> ThesisCNN:
    weights = dict(coarse.state_dict())
    for name in ("conv1.weight", "conv2.weight"):
        weights[name] = kernels(weights[name])
    head = weights["classifier.weight"]
    weights["classifier.weight"] = refine_classifier(head, (4, 4), scale=scale)
    made = ThesisCNN(8)
    made.load_state_dict(weights)
    return made


torch.manual_seed(0)
COARSE = ThesisCNN(4)
COPIED, REFINED = carried(COARSE, lambda kernels: kernels), carried(COARSE, refine_kernel)
FIRST = COARSE.conv1.weight.detach()
RATIO = float(refine_kernel(FIRST).norm() / FIRST.norm())
GAINS = [41.0, 44.0, 39.0, 40.5, 42.0]
ERROR = np.std(GAINS, ddof=1) / math.sqrt(len(GAINS))
QUANTILE = 2.7764451  # of Student's t with four degrees of freedom, from a table
RIGHT = {
    1: {"restricted": [2, 6], "prolonged": [2, 3, 5, 6], "removed": torch.tensor([2.0, -3, 3, -2])},
    2: {"coarse_kernel": (1 / 8, 3 / 4, 1 / 8)},
    3: {"fine_kernel": [4, -8, 4], "response": response, "nyquist": [4, 16]},
    4: {"scale": 0.25},
    5: {"coarse": COARSE, "copied": COPIED, "refined": REFINED},
    6: {"coarse": COARSE, "norm_ratio": RATIO, "loses": " Galerkin"},
    7: {
        "gains": [torch.tensor(gain, requires_grad=True) for gain in GAINS],
        "interval": (np.mean(GAINS), QUANTILE * ERROR),
    },
    8: {"points_lost": [3, 40], "cause": "B"},
}
WRONG = [
    (1, {"restricted": [4, 12]}, "mean of two"),
    (1, {"prolonged": [2, 2, 6, 6]}, "nearer neighbour"),
    (1, {"prolonged": [2, 4, 6, 6]}, "three quarters"),
    (1, {"removed": [-2, 3, -3, 2]}, "wrong sign"),
    (2, {"coarse_kernel": [0.5, 0.75, 0.5]}, "is a row"),
    (2, {"coarse_kernel": [0.25, 0.25, 0.25]}, "same sum"),
    (2, {"coarse_kernel": [0, 1, 0]}, "not R K P"),
    (2, {"coarse_kernel": [1, 0]}, "not R K P"),
    (3, {"fine_kernel": [2, -4, 2]}, "too small by two"),
    (3, {"fine_kernel": [1, -2, 1]}, "eigenvalue"),
    (3, {"response": lambda k, w: k[1] + (k[0] + k[2]) * math.cos(w)}, "symmetric kernels only"),
    (3, {"response": lambda k, w: 0}, "for the kernel [a, b, c]"),
    (3, {"nyquist": [16, 4]}, "at ω = π"),
    (4, {"scale": 0.5}, "on a line"),
    (4, {"scale": 4}, "smaller weights"),
    (4, {"scale": 1}, "does not reproduce"),
    (5, {"refined": COPIED}, "copied kernels in conv1.weight"),
    (5, {"copied": REFINED}, "does not come from `coarse`"),
    (5, {"copied": carried(COARSE, lambda k: k, scale=1.0)}, "four times too large"),
    (5, {"copied": COARSE}, "use refine_classifier"),
    (6, {"norm_ratio": 1 / RATIO}, "upside down"),
    (6, {"norm_ratio": 2 * RATIO}, "before any training"),
    (6, {"loses": "copied"}, "larger gradients"),
    (6, {"loses": "both"}, "must be"),
    (7, {"gains": GAINS[:4]}, "at least 5 trials"),
    (7, {"gains": [40.0] * 5}, "other digits"),
    (7, {"interval": 41.3}, "two numbers"),
    (7, {"interval": (40, QUANTILE * ERROR)}, "mean of `gains`"),
    (7, {"interval": (np.mean(GAINS), 1.96 * ERROR)}, "t quantile is larger"),
    (7, {"interval": (np.mean(GAINS), QUANTILE * np.std(GAINS) / math.sqrt(5))}, "ddof=1"),
    (7, {"interval": (np.mean(GAINS), QUANTILE * np.std(GAINS, ddof=1))}, "root of the number"),
    (7, {"interval": (np.mean(GAINS), 1.0)}, "0.975 quantile"),
    (8, {"points_lost": [40, 3]}, "order"),
    (8, {"points_lost": [0.5, 2]}, "loses little"),
    (8, {"points_lost": [0, 4000]}, "percentage points"),
    (8, {"cause": "A"}, "two versions"),
    (8, {"cause": "C"}, "same epochs"),
    (8, {"cause": "D"}, "letters"),
]


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_right_answer_is_right(exercise) -> None:
    verdict = judge(exercise, collect(exercise, RIGHT[exercise]))
    assert verdict.right and verdict.sentence.startswith("Right: ")


@pytest.mark.parametrize(("exercise", "change", "hint"), WRONG)
def test_a_wrong_answer_gets_its_hint_in_one_sentence(exercise, change, hint) -> None:
    verdict = judge(exercise, collect(exercise, RIGHT[exercise] | change))
    assert not verdict.right and hint in verdict.sentence
    assert verdict.sentence.startswith("Not yet: ") and verdict.sentence.endswith(".")
    assert verdict.sentence.count(". ") == 0


@pytest.mark.parametrize(
    ("exercise", "namespace", "sentence"),
    [
        (2, {}, "No answer: `coarse_kernel` is missing"),
        (8, {"points_lost": ..., "cause": ...}, "No answer yet: `points_lost` and `cause` are"),
        (4, {"scale": "a quarter"}, "`scale` must hold a number or a list of numbers, got str."),
        (4, {"scale": [[1], [1, 2]]}, "`scale` must hold a number"),
        (8, RIGHT[8] | {"cause": 2}, "`cause` must be text in quotation marks, got 2."),
        (5, RIGHT[5] | {"copied": [1]}, "`copied` must be a network, got list."),
        (3, RIGHT[3] | {"response": 4}, "`response` must be a function"),
        (3, RIGHT[3] | {"response": lambda k, w: k[3]}, "`response` stops with"),
    ],
)
def test_an_answer_that_cannot_be_read_says_why(exercise, namespace, sentence) -> None:
    with pytest.raises(AnswerError, match="^" + sentence.replace("(", r"\(")):
        collect(exercise, namespace)


def test_a_network_of_another_kind_is_no_crash() -> None:
    other = torch.nn.Linear(2, 2)
    verdict = judge(5, collect(5, RIGHT[5] | {"copied": other}))
    assert not verdict.right and "must be a ThesisCNN" in verdict.sentence


def test_a_check_reads_the_notebook_each_time_it_is_called(capsys) -> None:
    namespace = {"scale": ...}
    check = checks_of(namespace)[3]
    check()
    namespace["scale"] = 1 / 4
    check()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("No answer yet") and second.startswith("Right")
    assert len(checks_of({})) == len(EXERCISES) and len(PROBES) > 2
