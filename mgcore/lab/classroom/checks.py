"""The checks of the lab's exercises: each answers in one sentence, right or a hint.

An answer is what a student's cells leave in variables.  :func:`collect` turns it into plain arrays,
and :func:`judge` compares these with what mgcore computes.  A notebook does both in one process.
The grader collects in a process of the submission and judges in its own, so that no code of a
submission runs where the score is decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Answers = Mapping[str, NDArray[Any]]
Reader = Callable[[str, Any], dict[str, NDArray[Any]]]

# What the exercises give; the text of the lab prints the same values.
FINE_VALUES = (4.0, 0.0, 8.0, 4.0)
DELTA = (0.0, 1.0, 0.0)
SECOND_DIFFERENCE = (1.0, -2.0, 1.0)
# Where a function `response(kernel, omega)` is evaluated.
PROBES = (
    ((1.0, 2.0, 1.0), 0.0),
    ((1.0, -2.0, 1.0), math.pi),
    ((-1.0, 0.0, 1.0), math.pi / 2),
    ((0.3, -0.2, 0.7), 1.1),
)
LEAST_TRIALS = 5


class AnswerError(ValueError):
    """An answer is missing, empty or of the wrong kind; the message is the sentence to show."""


@dataclass(frozen=True)
class Verdict:
    """What a check says of one exercise.

    Attributes
    ----------
    exercise : int
    right : bool
    sentence : str
        One sentence: why the answer is right, or what is wrong, with a hint.
    """

    exercise: int
    right: bool
    sentence: str


@dataclass(frozen=True)
class Exercise:
    """What an answer consists of, and how it is judged.

    Attributes
    ----------
    readers : dict of callable
        By variable name, the function that turns its value into arrays.
    hint : callable
        Takes the arrays; returns what is wrong, or an empty string.
    right : str
        The sentence for a right answer.
    """

    readers: dict[str, Reader]
    hint: Callable[[Answers], str]
    right: str


def numbers(name: str, value: Any) -> dict[str, NDArray[Any]]:
    """Return a number, a list of numbers or a tensor as one array."""
    try:
        return {name: np.array(_plain(value), dtype=float)}
    except (TypeError, ValueError):
        raise AnswerError(
            f"`{name}` must hold a number or a list of numbers, got {type(value).__name__}."
        ) from None


def _plain(value: Any) -> Any:
    """Return a value with lists in place of its tensors."""
    if hasattr(value, "detach"):
        return value.detach().tolist()
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def word(name: str, value: Any) -> dict[str, NDArray[Any]]:
    """Return a string as an array, in lower case and without blanks around it."""
    if not isinstance(value, str):
        raise AnswerError(f"`{name}` must be text in quotation marks, got {value!r}.")
    return {name: np.array(value.strip().lower())}


def network(name: str, value: Any) -> dict[str, NDArray[Any]]:
    """Return the weights of a network under ``name/WEIGHT``."""
    if not hasattr(value, "state_dict"):
        raise AnswerError(f"`{name}` must be a network, got {type(value).__name__}.")
    return {
        f"{name}/{key}": weight.detach().cpu().numpy().copy()
        for key, weight in value.state_dict().items()
    }


def responses(name: str, value: Any) -> dict[str, NDArray[Any]]:
    """Return the values of a function of a kernel and a frequency at `PROBES`."""
    if not callable(value):
        raise AnswerError(f"`{name}` must be a function of a kernel and a frequency.")
    try:
        return numbers(name, [float(value(np.array(kernel), omega)) for kernel, omega in PROBES])
    except AnswerError:
        raise
    except Exception as error:
        raise AnswerError(
            f"`{name}` stops with {type(error).__name__}: {' '.join(str(error).split())}. It "
            "must return one real number."
        ) from None


def same(found: NDArray[Any], expected: Any) -> bool:
    """Return whether two arrays have one shape and equal numbers up to rounding."""
    expected = np.asarray(expected, dtype=float)
    return found.shape == expected.shape and np.allclose(found, expected, rtol=1e-4, atol=1e-6)


def _map() -> NDArray[Any]:
    """Return the 3×3 matrix of the Galerkin map on a line."""
    from mgcore.kernels import galerkin_map

    return galerkin_map("bilinear", ndim=1).numpy()


def _grids(given: Answers) -> str:
    import torch

    from mgcore.grids import prolong, restrict

    fine = torch.tensor(FINE_VALUES, dtype=torch.float64)
    coarse = restrict(fine, ndim=1)
    smoothed = prolong(coarse, ndim=1)
    if not same(given["restricted"], coarse):
        return "`restricted` is not R x: each coarse value is the mean of two fine values"
    if same(given["prolonged"], prolong(coarse, "constant", ndim=1)):
        return "`prolonged` is constant: bilinear prolongation also uses the nearer neighbour"
    if not same(given["prolonged"], smoothed):
        return (
            "`prolonged` is not P R x: a fine value takes three quarters of its own coarse cell "
            "and one quarter of the nearer neighbour, and at the boundary the coarse value itself"
        )
    if same(given["removed"], smoothed - fine):
        return "`removed` has the wrong sign: subtract P R x from x"
    if not same(given["removed"], fine - smoothed):
        return "`removed` is not x − P R x: subtract value by value"
    return ""


def _kernel(given: Answers) -> str:
    found, mapping = given["coarse_kernel"], _map()
    if same(found, mapping @ np.array(DELTA)):
        return ""
    if same(found, mapping.T @ np.array(DELTA)):
        return (
            "`coarse_kernel` is a row of the matrix: multiply the matrix by the kernel as a column"
        )
    if found.shape == (3,) and not math.isclose(found.sum(), 1, rel_tol=1e-6):
        return (
            "the entries of `coarse_kernel` must have the same sum as those of the fine kernel, "
            "because P and R keep a constant"
        )
    return (
        "`coarse_kernel` is not R K P: apply prolongation, kernel and restriction to a coarse grid "
        "with one value of one"
    )


def _response(given: Answers) -> str:
    expected = [
        abs(a * np.exp(-1j * omega) + b + c * np.exp(1j * omega)) for (a, b, c), omega in PROBES
    ]
    fine = np.linalg.solve(_map(), np.array(SECOND_DIFFERENCE))
    if same(given["fine_kernel"], fine / 2):
        return (
            "`fine_kernel` is too small by two: halving the cells divides a second derivative by h²"
        )
    if not same(given["fine_kernel"], fine):
        return (
            "coarsening `fine_kernel` does not give [1, −2, 1]: this kernel is an eigenvector of "
            "the map, so look for its eigenvalue"
        )
    if not same(given["response"], expected):
        real = np.array([b + (a + c) * math.cos(omega) for (a, b, c), omega in PROBES])
        if same(given["response"], real) or same(given["response"], abs(real)):
            return (
                "`response` is right for symmetric kernels only: take the absolute value of the "
                "complex sum"
            )
        return "`response` is not |a exp(−iω) + b + c exp(iω)| for the kernel [a, b, c]"
    if not same(given["nyquist"], [4, np.abs(fine).sum()]):
        return "`nyquist` must hold the responses of [1, −2, 1] and of `fine_kernel` at ω = π"
    return ""


def _factor(given: Answers) -> str:
    scale = given["scale"]
    if same(scale, 1 / 4):
        return ""
    if same(scale, 1 / 2):
        return (
            "`scale` is the factor on a line: count the fine cells in one coarse cell of an image"
        )
    if same(scale, 4):
        return "`scale` multiplies the weights: four times as many terms need smaller weights"
    return "`scale` does not reproduce the coarse logits: count the fine cells in one coarse cell"


def _carry(given: Answers) -> str:
    import torch

    from mgcore.kernels import refine_classifier, refine_kernel

    def weight(name: str) -> torch.Tensor:
        return torch.from_numpy(given[name]).double()

    layers = ("conv1.weight", "conv2.weight", "classifier.weight", "classifier.bias")
    for name in ("coarse", "copied", "refined"):
        if any(f"{name}/{layer}" not in given for layer in layers):
            return f"`{name}` must be a ThesisCNN without pooling"
    cells = weight("coarse/classifier.weight").shape[1] // weight("coarse/conv2.weight").shape[0]
    side = math.isqrt(cells)
    classifier = refine_classifier(weight("coarse/classifier.weight"), (side, side))
    for name in ("copied", "refined"):
        for layer in ("conv1.weight", "conv2.weight"):
            kernels = weight(f"coarse/{layer}")
            expected = refine_kernel(kernels) if name == "refined" else kernels
            if same(given[f"{name}/{layer}"], expected):
                continue
            if name == "refined" and same(given[f"{name}/{layer}"], kernels):
                return (
                    f"`refined` has the copied kernels in {layer}: refine them with refine_kernel"
                )
            return (
                f"{layer} of `{name}` does not come from `coarse`: assign the transferred kernels, "
                "and do not train the network in this cell"
            )
        found = given[f"{name}/classifier.weight"]
        if found.shape == tuple(classifier.shape) and same(found, 4 * classifier):
            return f"the classifier of `{name}` is four times too large: see the exercise before"
        if not same(found, classifier):
            return f"the classifier of `{name}` is not the prolonged one: use refine_classifier"
        if not same(given[f"{name}/classifier.bias"], weight("coarse/classifier.bias")):
            return (
                f"the biases of `{name}` must be those of `coarse`: a bias is added once, not once "
                "for each cell"
            )
    return ""


def _rate(given: Answers) -> str:
    import torch

    from mgcore.kernels import refine_kernel

    if "coarse/conv1.weight" not in given:
        return "`coarse` must be a ThesisCNN"
    kernels = torch.from_numpy(given["coarse/conv1.weight"]).double()
    ratio = float(refine_kernel(kernels).norm() / kernels.norm())
    if same(given["norm_ratio"], 1 / ratio):
        return "`norm_ratio` is upside down: divide the refined norm by the copied norm"
    if not same(given["norm_ratio"], ratio):
        return (
            "`norm_ratio` is not the norm of conv1.weight in `refined` over that in `copied`: "
            "compute both norms before any training"
        )
    if str(given["loses"]) not in ("copied", "galerkin"):
        return "`loses` must be 'copied' or 'Galerkin'"
    if str(given["loses"]) == "copied":
        return "`loses` names the other network: larger kernels have larger gradients"
    return ""


def _interval(given: Answers) -> str:
    from scipy import stats

    gains, interval = given["gains"], given["interval"]
    if gains.ndim != 1 or len(gains) < LEAST_TRIALS:
        return f"`gains` must hold one difference a trial, from at least {LEAST_TRIALS} trials"
    if not np.isfinite(gains).all() or np.ptp(gains) == 0:
        return "`gains` must differ from trial to trial: use other digits in each trial"
    if interval.shape != (2,):
        return "`interval` must hold two numbers, the mean and the half-width"
    count, deviation = len(gains), gains.std(ddof=1)
    if not same(interval[0], gains.mean()):
        return "the first number of `interval` must be the mean of `gains`"
    quantile, error = stats.t.ppf(0.975, count - 1), deviation / math.sqrt(count)
    if same(interval[1], quantile * error):
        return ""
    if same(interval[1], quantile * gains.std() / math.sqrt(count)):
        return "the half-width uses the deviation with 1/n: divide by n − 1 (ddof=1)"
    if any(math.isclose(interval[1], z * error, rel_tol=1e-3) for z in (1.96, 2.0)):
        return "the half-width uses the normal quantile: with few trials the t quantile is larger"
    if same(interval[1], quantile * deviation):
        return "the half-width is that of single trials: divide by the root of the number of trials"
    return "the half-width is not t · s / √n with the 0.975 quantile of Student's t for n − 1"


def _gap(given: Answers) -> str:
    lost = given["points_lost"]
    if lost.shape != (2,):
        return "`points_lost` must hold two numbers, for the copied and for the refined network"
    if not np.isfinite(lost).all() or np.abs(lost).max() > 100:
        return "`points_lost` must hold percentage points: accuracies lie between 0 and 100"
    if lost[0] > lost[1]:
        return "the copied network loses more in `points_lost`: check the order of the two networks"
    if lost[1] < LEAST_LOSS:
        return (
            "the refined network loses little in `points_lost`: train on smoothed images, and "
            "subtract the accuracy on original held-out images from that on smoothed ones"
        )
    answer = str(given["cause"])
    if answer not in CAUSES:
        return "`cause` must be one of the letters 'A', 'B' and 'C'"
    return CAUSES[answer]


LEAST_LOSS = 10  # percentage points; the refined network of the lab loses several times as many
CAUSES = {
    "a": (
        "`cause` is not A: overfitting can lower the accuracy on all held-out digits, but "
        "`points_lost` compares two versions of the same held-out digits"
    ),
    "b": "",
    "c": (
        "`cause` is not C: after the same epochs the network classifies the smoothed versions of "
        "the same digits better"
    ),
}

EXERCISES: dict[int, Exercise] = {
    1: Exercise(
        {"restricted": numbers, "prolonged": numbers, "removed": numbers}, _grids,
        "P R x is smoother than x, and x − P R x is the part that it lacks",
    ),
    2: Exercise(
        {"coarse_kernel": numbers}, _kernel,
        "the Galerkin condition turns the identity into a slight blur",
    ),
    3: Exercise(
        {"fine_kernel": numbers, "response": responses, "nyquist": numbers}, _response,
        "refining multiplies the response of the second difference at the Nyquist frequency by "
        "four; other kernels have other factors",
    ),
    4: Exercise(
        {"scale": numbers}, _factor,
        "an image has four fine cells in a coarse cell, so each weight counts a quarter",
    ),
    5: Exercise(
        {"coarse": network, "copied": network, "refined": network}, _carry,
        "both networks have the coarse classifier, and they differ in the kernels alone",
    ),
    6: Exercise(
        {"coarse": network, "norm_ratio": numbers, "loses": word}, _rate,
        "larger kernels need a smaller rate, so compare conditions at rates that suit each",
    ),
    7: Exercise(
        {"gains": numbers, "interval": numbers}, _interval,
        "differences within a trial, then the t interval of their mean",
    ),
    8: Exercise(
        {"points_lost": numbers, "cause": word}, _gap,
        "training hardly constrained the response to frequencies that smoothed images lack",
    ),
}  # fmt: skip


def collect(exercise: int, namespace: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the answer to one exercise as arrays.

    Parameters
    ----------
    exercise : int
        A key of `EXERCISES`.
    namespace : mapping
        The variables of a notebook.

    Raises
    ------
    AnswerError
        If a variable is missing, still ``...`` or of the wrong kind.
    """
    readers = EXERCISES[exercise].readers
    if missing := [name for name in readers if name not in namespace]:
        raise AnswerError(f"No answer: {_listed(missing)} missing, run the answer cell first.")
    if empty := [name for name in readers if namespace[name] is ...]:
        raise AnswerError(f"No answer yet: {_listed(empty)} still empty.")
    arrays: dict[str, NDArray[Any]] = {}
    for name, read in readers.items():
        arrays |= read(name, namespace[name])
    return arrays


def _listed(names: list[str]) -> str:
    words = " and ".join(f"`{name}`" for name in names)
    return f"{words} {'is' if len(names) == 1 else 'are'}"


def judge(exercise: int, given: Answers) -> Verdict:
    """Return the verdict on an answer that :func:`collect` returned."""
    try:
        hint = EXERCISES[exercise].hint(given)
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError):
        hint = "the answer has another form than the exercise asks for: compare with its text"
    if hint:
        return Verdict(exercise, False, f"Not yet: {hint}.")
    return Verdict(exercise, True, f"Right: {EXERCISES[exercise].right}.")


def checks_of(namespace: Mapping[str, Any]) -> list[Callable[[], None]]:
    """Return ``check_1`` to ``check_8`` for a notebook whose variables are `namespace`.

    Examples
    --------
    >>> check_1, check_2, *others = checks_of({"coarse_kernel": [1 / 8, 3 / 4, 1 / 8]})
    >>> check_1()
    No answer: `restricted` and `prolonged` and `removed` are missing, run the answer cell first.
    >>> check_2()
    Right: the Galerkin condition turns the identity into a slight blur.
    """

    def check(exercise: int) -> Callable[[], None]:
        def run() -> None:
            try:
                print(judge(exercise, collect(exercise, namespace)).sentence)
            except AnswerError as error:
                print(error)

        run.__name__ = f"check_{exercise}"
        return run

    return [check(exercise) for exercise in EXERCISES]
