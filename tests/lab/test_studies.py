"""The named studies: their protocols, and what is refused."""

import pytest

from mgcore.lab import STUDIES, Protocol, study_protocol


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_a_named_protocol_and_what_its_name_says(study):
    p = study_protocol(study)
    assert p.pooling == study.startswith("pooling")
    assert p.fine_training == study.split("-")[1]
    assert p.fine_validation == "original"
    changes = {"pooling": p.pooling, "fine_training": p.fine_training}
    if study.startswith("second"):  # test_calibration holds these against the record
        for name in ("penalty_scale", "momentum", "stencil_scale", "normalisation"):
            changes[name] = getattr(p, name)
        assert p != Protocol.calibrated(fine_training=p.fine_training)
    assert p == Protocol.calibrated(**changes)
    assert study_protocol(study, protocol="printed") == Protocol.printed(**changes)
    small = study_protocol(study, "smoke", "strokes", 3)
    assert small == Protocol.calibrated("smoke", dataset="strokes", seed=3, **changes)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"study": "everything"}, "study='everything'; accepted: 'baseline-original', "
         "'baseline-prolonged', 'second-original', 'second-prolonged', 'pooling-original', "
         "'pooling-prolonged'."),
        ({"tier": "colossal"}, "tier='colossal'; accepted: 'smoke', 'class', 'paper'."),
        ({"dataset": "postcards"}, "dataset='postcards'; accepted: 'mnist', 'strokes'."),
        ({"protocol": "guessed"}, "protocol='guessed'; accepted: 'calibrated' or 'printed'."),
        ({"seed": -1}, "seed=-1; accepted: a number, at least 0."),
        ({"seed": "many"}, "seed='many'; accepted: a value of type int."),
        ({"tier": "smoke", "dataset": "mnist"}, "resolution="
         f"{Protocol.printed('smoke', dataset='strokes').resolution} with dataset='mnist'; "
         "accepted: 28."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(arguments, sentence):
    with pytest.raises(ValueError) as raised:
        study_protocol(**({"study": "baseline-original"} | arguments))
    assert str(raised.value) == sentence
