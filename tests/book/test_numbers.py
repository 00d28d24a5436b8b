"""Every number glued into a page, recomputed from the trial files by means of its own."""

import json
import re
from itertools import product
from pathlib import Path
from statistics import fmean

import notebooks
import numpy as np
import pytest
import yaml
from quoted import geometric, glued, rows, trials

from mgcore.lab.protocol import printed_tables as thesis

ROOT = Path(__file__).resolve().parents[2]
PREPARATIONS = ("original", "prolonged")
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
CELL = re.compile(
    r"([\w-]+?)-(coarse|(?:new|transfer|multigrid)(?:_classifier)?)-(0|1|last)"
    r"-(training|validation|gap)"
)


def record(chapter, place):
    """Return the folder of the record that a glued cell is of, by the first part of its key."""
    if chapter in ("optimizers", "gap", "conclusion"):  # whose keys begin with the study's name
        return f"{place}-paper"
    prefix, _, preparation = place.rpartition("_")
    study = {"": chapter, "calibrated": "baseline", "strong": "strong", "unpooled": "baseline"}
    return f"{study[prefix]}-{preparation}-paper"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_accuracies_quoted_in_prose_are_the_records(chapter):
    checked = 0
    for key, text in glued(chapter).items():
        match = CELL.fullmatch(key)
        if not match or match[1] == "thesis":
            continue
        place, arm, epoch, metric = match.groups()
        values = []
        for metrics in trials(record(chapter.stem, place)):
            row = rows(metrics[arm], epoch)
            seen = {k: row[f"{k}_accuracy"] for k in ("training", "validation")}
            gap = seen["training"] - seen["validation"]
            values.append(gap if metric == "gap" else seen[metric])
        assert float(text) == pytest.approx(fmean(values), abs=0.0501), key
        checked += 1
    if '"parameters"' in chapter.read_text(encoding="utf-8"):  # an experiment
        assert checked, f"{chapter.name} glues no cell of its tables"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_prose_types_no_measured_number(chapter):
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    prose = re.sub(r"\{glue:\w*\}`[^`]*`", "", prose)
    prose = re.sub(r"95 %|nominal 5 %|at 5 %", "", prose)  # levels are chosen, not measured
    typed = re.findall(r"\d+(?:\.\d+)?\s*(?:%|points|trials|epochs|seconds|minutes|images)", prose)
    assert not typed, f"{chapter.name} types {typed}"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_number_that_is_pasted_is_glued(chapter):
    pasted = re.findall(r"\{glue:\w*\}`([^`:]+)(?::[^`]*)?`", chapter.read_text(encoding="utf-8"))
    assert set(pasted) <= set(glued(chapter))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_glued_numbers_are_rounded(chapter):
    """The last digits of a sum differ between versions of Python, and nbval compares them."""
    long = {key: text for key, text in glued(chapter).items() if re.search(r"\.\d{7}", text)}
    assert long == {}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_name_is_glued_once(chapter):
    """The site is not built with two numbers of one name."""
    names = [
        output["metadata"]["scrapbook"]["name"]
        for cell in notebooks.read(chapter).cells
        for output in cell.get("outputs", [])
        if "scrapbook" in output.get("metadata", {})
    ]
    assert len(names) == len(set(names)), {name for name in names if names.count(name) > 1}


def test_every_other_glued_number_of_the_baseline_is_its_files():
    """The protocol, the calibration and the thesis's gaps; no key is left unchecked."""
    found = glued(ROOT / "book" / "baseline.ipynb")
    folder = ROOT / "book" / "records" / "baseline-original-paper"
    protocol = json.loads((folder / "protocol.json").read_text(encoding="utf-8"))["protocol"]
    runs = json.loads((ROOT / "book/records/calibration/runs.json").read_text(encoding="utf-8"))
    expected = {
        key: protocol[key]
        for key in ("n_coarse", "n_fine", "n_validation", "coarse_epochs", "fine_epochs", "batch")
    }
    expected |= {"fine": protocol["resolution"], "coarse": protocol["resolution"] // 2}
    expected["trials"] = len(list(folder.glob("trial-*.json")))

    first = [run for run in runs if run["trial"] == 0]
    later = [json.dumps(run["candidate"]) for run in runs if run["trial"] == 1]
    expected["calibration-candidates"] = sum(run["pooling"] for run in first)
    expected["calibration-seeds"] = 1 + max(run["trial"] for run in runs)
    chosen = {key: protocol[key] for key in runs[0]["candidate"]}
    targets = {"unpooled": thesis.TABLE_4_1, "pooled": thesis.TABLE_4_2}
    for which, table in targets.items():
        mine = [
            run["training_accuracy"]
            for run in runs
            if run["candidate"] == chosen and run["pooling"] == (which == "pooled")
        ]
        for place, epoch in enumerate(("1", "last")):
            expected[f"calibrated-{which}-{epoch}"] = fmean(pair[place] for pair in mine)
            expected[f"target-{which}-{epoch}"] = table["new"]["training"][place]
    for arm, pairs in thesis.TABLE_4_1.items():
        for place, epoch in enumerate(("1", "last")):
            gap = pairs["training"][place] - pairs["validation"][place]
            expected[f"thesis-{arm}-{epoch}-gap"] = gap
            expected[f"thesis-{arm}-{epoch}-training"] = pairs["training"][place]
    for key, value in expected.items():
        assert float(found[key].strip("'").replace(",", "")) == pytest.approx(value, abs=0.0501)

    # The two sizes of the calibration's stages bound what was run, since later stages add to it.
    assert float(found["calibration-shortlist"]) <= sum(not run["pooling"] for run in first)
    assert float(found["calibration-finalists"]) <= len(set(later))
    rest = {"calibration-shortlist", "calibration-finalists", "calibration-choice"}
    for name in ("strong", "medium", "baseline"):
        distance = 0.0
        for arm in ("transfer", "multigrid"):
            for place, epoch in enumerate((1, -1)):
                mean = fmean(
                    m[arm][epoch]["training_accuracy"] for m in trials(f"{name}-original-paper")
                )
                distance += (mean - thesis.TABLE_4_1[arm]["training"][place]) ** 2
        key = f"carried-{name.replace('baseline', 'calibrated')}"
        assert float(found[key]) == pytest.approx(distance, abs=0.0501), key
        rest.add(key)
    with np.load(folder / "figures.npz", allow_pickle=False) as arrays:
        stencils = arrays["stencils/transfer/conv2"]
        coarse = arrays["stencils/coarse/conv2"].astype(float)
        ends = {arm: arrays[f"stencils/{arm}/conv2"] for arm in ("transfer", "multigrid")}
    lengths = [float(np.linalg.norm(stencil)) for stencil in stencils]
    assert float(found["silent-channels"]) == sum(n < max(lengths) / 1000 for n in lengths)
    assert float(found["all-channels"]) == len(lengths)
    rest |= {"silent-channels", "all-channels"}
    back = np.array([[2.5, -0.5, 0.5], [-2, 2, -2], [0.5, -0.5, 2.5]])  # M₁⁻¹, bilinear
    norms = {f"{arm}-end": ends[arm] for arm in ends} | {"transfer-start": coarse}
    norms["multigrid-start"] = np.einsum("ij,abjk,lk->abil", back, coarse, back)
    for name, array in norms.items():
        assert float(found[f"norm-{name}"]) == pytest.approx(np.linalg.norm(array), abs=0.0501)
        rest.add(f"norm-{name}")
    rest.add("prolonged-rest")  # below, with the other intervals
    kinds = ("claims", "reproduced", "radius-ratio", "reach-ratio")
    kinds += tuple(f"{arm}-on-{how}" for arm in ("transfer", "multigrid") for how in PREPARATIONS)
    rest |= {f"{p}-{k}" for p in ("original", "prolonged") for k in kinds}
    assert {key for key in found if not CELL.fullmatch(key)} <= set(expected) | rest


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_measures_quoted_in_the_baseline_are_the_records(preparation):
    found = glued(ROOT / "book" / "baseline.ipynb")
    measures = trials(f"baseline-{preparation}-paper", "measures")
    for arm, how in product(("transfer", "multigrid"), PREPARATIONS):
        mean = fmean(m["preparation"][arm][how] for m in measures)
        assert float(found[f"{preparation}-{arm}-on-{how}"]) == pytest.approx(mean, abs=0.0501)
    for what in ("radius", "reach"):
        ratios = []
        for m in measures:
            size = {
                k: geometric(v["radius"]) * (v["length"] if what == "reach" else 1)
                for k, v in m["landscape"].items()
            }
            ratios.append(size["transfer"] / size["multigrid"])
        assert float(found[f"{preparation}-{what}-ratio"]) == pytest.approx(
            fmean(ratios), abs=0.0501
        )


def test_what_the_baseline_concludes_in_words_is_what_its_numbers_say():
    """A head start; a gap with prolonged images that vanishes on images prepared alike."""
    everything = glued(ROOT / "book" / "baseline.ipynb")
    found = {key: float(text) for key, text in everything.items() if re.fullmatch(r"[-\d.]+", text)}
    for preparation in ("original", "prolonged"):
        for epoch in ("1", "last"):
            new, transfer, multigrid = (
                found[f"{preparation}-{arm}-{epoch}-training"]
                for arm in ("new", "transfer", "multigrid")
            )
            assert min(transfer, multigrid) > new + 1
        assert found[f"{preparation}-multigrid-last-training"] > 99
    gap = found["prolonged-multigrid-last-gap"]
    assert gap > 20 and gap > 2 * found["original-multigrid-last-gap"]
    assert found["prolonged-multigrid-on-prolonged"] > 95
    assert found["prolonged-multigrid-on-original"] < 80
    # The front page gives one rounded number for both networks on smoothed digits.
    both = [found[f"prolonged-{arm}-on-prolonged"] for arm in ("transfer", "multigrid")]
    assert round(both[0]) == round(both[1])
    assert found["prolonged-transfer-on-original"] > 90
    assert max(found[f"strong_{p}-multigrid-last-gap"] for p in ("original", "prolonged")) < 5
    assert found["norm-multigrid-end"] > 0.8 * found["norm-multigrid-start"]
    assert max(found["carried-calibrated"], found["carried-medium"]) < found["carried-strong"] / 2
    assert found["prolonged-radius-ratio"] > 1.5
    assert max(found[f"{p}-reach-ratio"] for p in ("original", "prolonged")) < 1


@pytest.mark.parametrize("chapter", ["baseline", "pooling"])
def test_the_number_of_statements_reproduced_is_what_the_trials_give(chapter):
    found = glued(ROOT / "book" / f"{chapter}.ipynb")
    claims = yaml.safe_load((ROOT / "book" / "claims.yml").read_text(encoding="utf-8"))
    for preparation in ("original", "prolonged"):
        study = f"{chapter}-{preparation}"
        mine = [c for c in claims if study in c.get("studies", [])]
        assert float(found[f"{preparation}-claims"]) == len(mine)
        # A claim is reproduced only if its whole interval is, so means alone bound the number.
        clear = sum(by_means(claim, study) for claim in mine)
        assert float(found[f"{preparation}-reproduced"]) <= clear


def by_means(claim, study):
    """Whether the mean alone lies on the claim's side; measures count as if they did."""
    if "ratio" in claim or not all("last" in c or ".1." in c for c in claim["difference"]):
        return True
    sides = []
    for name in claim["difference"]:
        place = study
        if name.startswith("against:"):
            place, name = claim["against"][study], name.removeprefix("against:")
        arm, epoch, metric = name.split(".")
        values = []
        for metrics in trials(f"{place}-paper"):
            row = rows(metrics[arm], epoch)
            seen = {k: row[f"{k}_accuracy"] for k in ("training", "validation")}
            seen["gap"] = seen["training"] - seen["validation"]
            values.append(seen[metric])
        sides.append(values)
    paired = [a - b for a, b in zip(*sides, strict=False)]
    return fmean(paired) > claim["least"]
