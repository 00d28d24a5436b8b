"""Main effects, on universes whose numbers are made of known ones."""

import numpy as np
import pytest

from mgcore.lab.choices.main_effects import (
    Effect,
    diverged,
    interaction,
    lack_of_fit,
    main_effects,
)
from mgcore.lab.choices.multiverse import (
    BETWEEN,
    WITHIN,
    coarse_choices,
    distance_of,
    fine_choices,
    gap_of,
)
from mgcore.lab.protocol import printed_tables as thesis

TRUE = {name: value for value, name in enumerate((*BETWEEN, *WITHIN), 1)}


def universes(noise=0.0, seeds=2, **more):
    """Rows whose gap is 20 plus half of each effect, by its sign."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for run, between in enumerate(coarse_choices()):
            shared = noise * rng.normal()
            for within in fine_choices():
                choices = between | within
                gap = 20 + shared + more.get("seed", 0) * seed
                for name, pair in (BETWEEN | WITHIN).items():
                    gap += TRUE[name] / 2 * (1 if choices[name] == pair[1] else -1)
                arm = {"training": [50.0, 90.0], "validation": [40.0, 90.0 - gap]}
                rows.append({"run": run, "seed": seed, "choices": choices, "multigrid": arm})
    return rows


def test_effects_without_noise_are_found_exactly():
    found = main_effects(universes())
    assert [e.choice for e in found] == [*BETWEEN, *WITHIN]
    for effect in found:
        assert isinstance(effect, Effect) and effect.networks == 32
        assert effect.estimate == pytest.approx(TRUE[effect.choice])
        assert effect.half == pytest.approx(0, abs=1e-9)
        assert effect.levels == (BETWEEN | WITHIN)[effect.choice]


def test_what_a_coarse_network_shares_widens_the_choices_between_alone():
    found = {e.choice: e for e in main_effects(universes(noise=3.0))}
    for name in BETWEEN:
        assert 0.5 < found[name].half < 6
        assert abs(found[name].estimate - TRUE[name]) < 2 * found[name].half
    for name in WITHIN:
        assert found[name].half == pytest.approx(0, abs=1e-9)
        assert found[name].estimate == pytest.approx(TRUE[name])


def test_a_universe_that_diverged_is_left_out_and_counted():
    rows = universes()
    lost = [r for r in rows if r["choices"]["factor"] == 4.0 and r["choices"]["loss"] == "sum"]
    for row in lost:
        row["multigrid"] = None
    assert gap_of(lost[0]) is None
    counts = diverged(rows)
    assert counts["factor"] == (0, len(lost)) and counts["loss"] == (0, len(lost))
    assert counts["momentum"] == (len(lost) // 2, len(lost) // 2)
    found = {e.choice: e for e in main_effects(rows)}
    assert found["factor"].networks == 16 and found["images"].networks == 32
    assert found["factor"].estimate == pytest.approx(TRUE["factor"])
    assert found["images"].estimate == pytest.approx(TRUE["images"])


def test_too_few_networks_are_refused():
    rows = [row for row in universes() if row["run"] < 4]
    with pytest.raises(ValueError, match="need more than 8 coarse networks .* got 8 networks"):
        main_effects(rows)


@pytest.mark.parametrize("pooling", [False, True])
def test_the_distance_is_to_the_table_of_the_network(pooling):
    table = thesis.TABLE_4_2 if pooling else thesis.TABLE_4_1
    row = {"choices": {"pooling": pooling}} | {
        arm: {part: list(values) for part, values in parts.items()} for arm, parts in table.items()
    }
    assert distance_of(row) == pytest.approx(0, abs=1e-12)
    row["new"]["training"][1] += 12
    assert distance_of(row) == pytest.approx(12 / 12**0.5)
    row["transfer"] = None
    assert distance_of(row) is None


def test_an_interaction_within_coarse_networks_is_found_at_both_levels():
    rows = universes()
    for row in rows:
        if (row["choices"]["images"], row["choices"]["prolongation"]) == ("prolonged", "bilinear"):
            row["multigrid"]["validation"][-1] -= 6
    lost = next(row for row in rows if row["choices"]["prolongation"] == "bilinear")
    lost["multigrid"] = None
    first, second, difference = interaction(rows, "images", "prolongation")
    assert first.estimate == pytest.approx(TRUE["images"])
    assert second.estimate == pytest.approx(TRUE["images"] + 6)
    assert difference.estimate == pytest.approx(6) and difference.networks == 32
    assert difference.half == pytest.approx(0, abs=1e-9)


def test_lack_of_fit_is_small_for_main_effects_and_large_for_a_product():
    rows = universes(noise=1.0)
    fits = lack_of_fit(rows)
    assert (fits.free, fits.error_free) == (8, 16) and fits.p > 0.01
    for row in rows:
        signs = [row["choices"][name] == BETWEEN[name][1] for name in ("momentum", "penalties")]
        row["multigrid"]["validation"][-1] -= 8 * (signs[0] == signs[1])
    bent = lack_of_fit(rows)
    assert bent.statistic > 5 * fits.statistic and bent.p < 0.01
