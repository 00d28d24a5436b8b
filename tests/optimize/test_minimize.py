"""The interface of scipy.optimize.minimize: known problems, derivatives, counts and endings."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, rosen, rosen_der, rosen_hess_prod

import mgcore
from mgcore import optimize
from mgcore.optimize import minimize_trust_region


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


STARTS = [(-1.2, 1.0), (2.0, 2.0), tuple(np.linspace(-1, 1, 10))]


@pytest.mark.parametrize("start", STARTS)
def test_rosenbrock_by_automatic_differentiation_takes_scipys_iterations(start):
    seen = []
    result = minimize_trust_region(
        rosenbrock, torch.tensor(start, dtype=torch.float64), gtol=1e-8, callback=seen.append
    )
    scipys = minimize(
        rosen, np.array(start), jac=rosen_der, hessp=rosen_hess_prod, method="trust-ncg",
        options={"gtol": 1e-8},
    )  # fmt: skip
    assert result.success and result.status == 0 and result.nit == scipys.nit == len(seen)
    np.testing.assert_allclose(result.x, scipys.x, rtol=1e-7)
    assert result.fun == pytest.approx(0, abs=1e-12) and result.jac.norm() <= 1e-8
    assert torch.equal(seen[-1], result.x)


@pytest.mark.parametrize("start", STARTS)
def test_counts_are_those_of_the_calls_and_rejected_steps_cost_no_products(start):
    calls = {"fun": 0, "jac": 0, "hessp": 0}

    def counted(name, function):
        def call(*arguments):
            calls[name] += 1
            return function(*(np.asarray(a) for a in arguments))

        return call

    result = minimize_trust_region(
        counted("fun", rosen), start, jac=counted("jac", rosen_der),
        hessp=counted("hessp", rosen_hess_prod), gtol=1e-8,
    )  # fmt: skip
    assert (result.nfev, result.njev, result.nhev) == tuple(calls.values())
    scipys = minimize(
        rosen, np.array(start), jac=rosen_der, hessp=rosen_hess_prod, method="trust-ncg",
        options={"gtol": 1e-8},
    )  # fmt: skip
    assert result.nit == scipys.nit and result.nhev <= scipys.nhev
    assert result.nfev <= scipys.nit + 1 and result.njev <= result.nit


def test_derivatives_may_be_given_in_every_way():
    start = torch.tensor([-1.2, 1.0], dtype=torch.float64)

    def gradient(x):
        return torch.autograd.functional.jacobian(rosenbrock, x, create_graph=True)

    def product(x, p):
        return torch.autograd.functional.hvp(rosenbrock, x, p)[1]

    ways = [
        {}, {"jac": gradient}, {"hessp": product}, {"jac": gradient, "hessp": product},
        {"fun": lambda x: (rosenbrock(x), gradient(x)), "jac": True},
    ]  # fmt: skip
    results = [minimize_trust_region(way.pop("fun", rosenbrock), start, **way) for way in ways]
    for result in results[1:]:
        assert result.nit == results[0].nit
        torch.testing.assert_close(result.x, results[0].x, rtol=1e-9, atol=0)
    assert torch.equal(start, torch.tensor([-1.2, 1.0], dtype=torch.float64))


def test_x_keeps_shape_and_type_and_inference_mode_does_not_matter():
    target = torch.arange(6.0).reshape(2, 3)
    with torch.inference_mode():
        result = minimize_trust_region(lambda x: ((x - target.clone()) ** 2).sum(), 0 * target)
    assert result.success and result.x.shape == result.jac.shape == (2, 3)
    torch.testing.assert_close(result.x, target)
    assert minimize_trust_region(lambda x: (x**2).sum(), [3, 4]).x.dtype == torch.float64
    assert mgcore.minimize_trust_region is minimize_trust_region


@pytest.mark.parametrize(
    ("fun", "start", "minimum"),
    [
        (lambda x: (x**4 - x**2).sum(), [0.0], -0.25),  # a maximum between two minima
        (lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4, [1.0, 0.0], -0.25),  # a path to a saddle
    ],
)
def test_a_stationary_point_that_is_no_minimum_is_left(fun, start, minimum):
    result = minimize_trust_region(fun, start)
    assert result.success and result.fun == pytest.approx(minimum, abs=1e-6)


def test_a_stationary_point_that_cannot_be_left_is_no_success():
    """The Hessian promises a descent that the values do not show."""
    result = minimize_trust_region(
        lambda x: 0 * x.sum(), torch.zeros(3), jac=torch.zeros_like, hessp=lambda x, p: -p
    )
    assert not result.success and result.status == 5 and "no minimum" in result.message
    assert result.nhev == 1


@pytest.mark.parametrize(
    "fun", [lambda x: -(x**2).sum(), lambda x: x.sum(), lambda x: -(x**4 + x).sum()]
)
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_an_unbounded_function_is_reported(fun, start):
    result = minimize_trust_region(fun, torch.full((2,), start, dtype=torch.float64))
    assert not result.success and result.nit < 40
    assert result.status == 3 and "unbounded" in result.message


@pytest.mark.parametrize(
    ("fun", "status"),
    [(lambda x: (x * math.nan).sum(), 4), (lambda x: (x * math.inf).sum(), 4)],
)
def test_a_value_that_is_not_finite_ends_the_run(fun, status):
    result = minimize_trust_region(fun, [1.0, 2.0])
    assert (result.success, result.status, result.nit) == (False, status, 0)


def test_a_product_that_is_not_finite_is_rejected_and_the_run_goes_on():
    """The second product of the first subproblem fails; a smaller radius ends before it."""
    calls = []

    def product(x, p):
        calls.append(1)
        return p * scale * (math.nan if len(calls) == 2 else 1)

    scale = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    start = 0.1 / scale
    points = []
    result = minimize_trust_region(
        lambda x: 0.5 * (scale * x**2).sum(), start, hessp=product,
        initial_trust_radius=100.0, gtol=1e-5, callback=points.append,
    )  # fmt: skip
    assert result.success and result.x.abs().max() < 1e-5 and result.nhev == len(calls)
    assert torch.equal(points[0], start)  # the first step was rejected
    never = minimize_trust_region(lambda x: (x**2).sum(), [1.0], hessp=lambda x, p: p * math.inf)
    assert abs(float(never.x)) < 1e-3  # down the gradient
    assert not never.success and never.status == 4  # a minimum it may be, or not


def test_limits_and_the_callback_end_the_run():
    def stop(x):
        raise StopIteration

    start = [-1.2, 1.0]
    stopped = minimize_trust_region(rosenbrock, start, callback=stop)
    assert (stopped.nit, stopped.status, stopped.success) == (1, 99, False)
    assert stopped.fun == float(rosenbrock(stopped.x))
    few = minimize_trust_region(rosenbrock, start, maxiter=3)
    assert (few.nit, few.status) == (3, 1)
    assert minimize_trust_region(rosenbrock, start, max_nhev=4).nhev == 4
    assert minimize_trust_region(rosenbrock, start, maxiter=0).nit == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: minimize_trust_region(lambda x: x, [1.0, 2.0]), r"one number, .* shape .2"),
        (lambda: minimize_trust_region(lambda x: 1.0, [1.0]), "Compute it from x with torch"),
        (lambda: minimize_trust_region(rosenbrock, [1.0, 3.0], jac=lambda x: [1.0, 1.0]),
         "Pass hessp"),
        (lambda: minimize_trust_region(rosenbrock, [1.0, 3.0], jac=lambda x: [1.0], hessp=max),
         "2 numbers"),
        (lambda: minimize_trust_region(rosenbrock, [1.0, 3.0], eta=0.3), "eta"),
        (lambda: minimize_trust_region(lambda x: np.ones(2), [1.0], jac=max, hessp=max),
         r"one number, got a ndarray of shape .2"),
        (lambda: minimize_trust_region(rosenbrock, [1.0, 3.0], jac=True),
         r"fun must return the pair .*, got a Tensor\. Return a pair"),
        (lambda: minimize_trust_region(lambda x: 1.0, [1.0, 3.0], jac=True, hessp=max),
         "fun must return the pair .*, got a float"),
        (lambda: minimize_trust_region(lambda x: (1.0, [1.0]), [1.0, 3.0], jac=True, hessp=max),
         "gradient from fun must have 2 numbers, .* got 1"),
        (lambda: minimize_trust_region(rosenbrock, [0.0, 3.0], hessp=lambda x, p: p[:1]),
         "product from hessp must have 2 numbers, .* got 1"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"initial_trust_radius": -1.0},
         "initial_trust_radius must be positive and at most max_trust_radius=1000.0, got -1.0."),
        ({"max_trust_radius": math.inf}, "max_trust_radius must be positive and finite, got inf."),
        ({"cg_iterations": -1}, "cg_iterations must be an integer, 0 or more, got -1."),
        ({"maxiter": -1}, "maxiter must be an integer, 0 or more, got -1."),
        ({"maxiter": 2.5}, "maxiter must be an integer, 0 or more, got 2.5."),
        ({"max_nhev": -3}, "max_nhev must be an integer, 0 or more, got -3."),
        ({"gtol": -1e-3}, "gtol must be 0 or more, got -0.001."),
        ({"gtol": math.nan}, "gtol must be 0 or more, got nan."),
    ],
)  # fmt: skip
def test_an_option_out_of_range_is_named_as_the_caller_named_it(options, sentence):
    with pytest.raises(ValueError) as raised:
        minimize_trust_region(rosenbrock, [-1.2, 1.0], **options)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: minimize_trust_region(lambda x: x.abs().sum(), [1 + 2j]), "x0 is complex"),
        (lambda: minimize_trust_region(lambda x: x.sum() * 1j, [1.0]), "value of fun is complex"),
        (lambda: minimize_trust_region(lambda x: 1j, [1.0], jac=max, hessp=max), "fun is complex"),
        (lambda: minimize_trust_region(rosenbrock, [0.0, 3.0], jac=lambda x: [1j, 0], hessp=max),
         "gradient from jac is complex"),
        (lambda: minimize_trust_region(rosenbrock, [0.0, 3.0], hessp=lambda x, p: 1j * p),
         "product from hessp is complex"),
    ],
)  # fmt: skip
def test_complex_numbers_are_refused(call, name):
    with pytest.raises(TypeError, match=name):
        call()


def test_a_callback_that_writes_into_its_argument_changes_nothing():
    plain = minimize_trust_region(rosenbrock, [-1.2, 1.0])
    written = minimize_trust_region(rosenbrock, [-1.2, 1.0], callback=lambda x: x.zero_())
    assert torch.equal(plain.x, written.x) and plain.nit == written.nit


def test_no_number_of_iterations_means_scipys():
    options = {"initial_trust_radius": 1e-6, "max_trust_radius": 1e-6}  # far from the minimum
    result = minimize_trust_region(
        lambda x: (1 + x**2).sqrt().sum(), [1.0], maxiter=None, **options
    )
    assert (result.nit, result.status) == (200, 1)


def test_results_are_read_by_name_and_exported():
    result = minimize_trust_region(rosenbrock, np.array([-1.2, 1.0]))
    assert isinstance(result, optimize.OptimizeResult)
    assert result["x"] is result.x and dict(result)["nit"] == result.nit
    with pytest.raises(KeyError, match="no field of the result. It has x, fun, jac"):
        result["y"]
    with pytest.raises(optimize.NotFiniteError):
        optimize.steihaug(lambda d: math.nan * d, torch.ones(2), 1.0)
    assert isinstance(optimize.steihaug(lambda d: d, torch.ones(2), 1.0), optimize.Step)
