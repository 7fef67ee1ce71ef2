"""What a user may ask to be measured."""

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core.exceptions import ConfigurationError
from hpo_core.metrics import RULES, MetricSpec

weights = st.floats(allow_nan=False, allow_infinity=False)
names = st.text("abcdefghXYZ_.-/ ", min_size=1).filter(str.strip)
metrics = names | st.dictionaries(names.map(str.strip), weights, min_size=1).filter(lambda d: any(d.values()))


def test_the_default_is_the_seeds():
    spec = MetricSpec.parse()
    assert (spec.names, spec.weights, spec.literal, spec.labels) == (("FoM",), (1.0,), False, ("FoM",))
    assert (spec.rule, spec.maximize, spec.parser) == ("last", False, "text")


def test_a_text_is_one_literal_metric_with_weight_1():
    spec = MetricSpec.parse("f1: ")
    assert (spec.names, spec.weights, spec.literal, spec.labels) == (("f1: ",), (1.0,), True, ("f1",))


def test_a_dicts_weights_need_not_sum_to_1_and_may_be_any_real_number():
    spec = MetricSpec.parse({"loss: ": 2, "acc": Fraction(-1, 2)})
    assert (spec.names, spec.weights) == (("loss", "acc"), (2.0, -0.5))
    assert spec.fom({"loss": 3.0, "acc": 4.0}) == 4.0


def test_a_metric_of_weight_0_has_no_influence():
    assert MetricSpec.parse({"a": 1, "b": 0}).fom({"a": 2.0, "b": math.nan}) == 2.0


def test_loss_is_what_is_minimised():
    assert MetricSpec.parse().loss(2.0) == 2.0
    assert MetricSpec.parse(maximize=True).loss(2.0) == -2.0
    for fom in (math.nan, math.inf, -math.inf):
        assert MetricSpec.parse(maximize=True).loss(fom) == math.inf


@given(metrics, st.sampled_from(RULES), st.booleans(), st.sampled_from(["text", "regex"]))
def test_json_undoes_json(metric, rule, maximize, parser):
    spec = MetricSpec.parse(metric, rule=rule, maximize=maximize, parser=parser)
    assert MetricSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({"acc": "high"}, "weight of 'acc' is 'high'; it must be a finite number"),
        ({"acc": True}, "weight of 'acc' is True"),
        ({"acc": None}, "weight of 'acc' is None"),
        ({"acc": math.nan}, "weight of 'acc' is nan"),
        ({"acc": math.inf}, "weight of 'acc' is inf"),
        ({"acc": 10**400}, "it must be a finite number"),
        ({"a": 0, "b": 0.0}, "all weights are zero"),
        ({}, "the dict is empty"),
        ({1: 1.0}, "key 1 is no text"),
        ({"a": 1, "a: ": 1}, "names 'a' twice"),
        ({" ": 1}, "is empty"),
        ("", "is empty"),
        ("  ", "is empty"),
        ("a\nb", "line break"),
        (["loss"], "neither text nor a dict"),
        (None, "neither text nor a dict"),
    ],
)
def test_what_is_wrong_with_a_metric_is_said(metric, message):
    with pytest.raises(ConfigurationError, match="metric: ") as error:
        MetricSpec.parse(metric)
    assert message in str(error.value)


def test_an_unknown_rule_gives_close_matches_and_all_rules():
    with pytest.raises(ConfigurationError, match=r"'lsat' is unknown \(did you mean 'last'\?\).*last, first, min, max"):
        MetricSpec.parse(rule="lsat")


@pytest.mark.parametrize("wrong", [{"maximize": "yes"}, {"parser": ""}, {"rule": None}])
def test_other_arguments_are_checked(wrong):
    with pytest.raises(ConfigurationError):
        MetricSpec.parse(**wrong)


def test_unknown_keys_of_the_json_form_are_refused():
    with pytest.raises(ConfigurationError, match="unknown key 'weight'"):
        MetricSpec.from_json({"metric": "a", "weight": 1})
