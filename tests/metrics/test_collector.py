"""From lines to reports, outcome and message."""

import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core.builtin.text_metrics import TextMetrics, TextOptions
from hpo_core.metrics import Collector, LineSplitter, MetricSpec
from hpo_core.trial import Failure, Report

HERE = None
"""The text parser reads no files."""


def collector(metric="FoM: ", *, step="", **options):
    spec = MetricSpec.parse(metric, **options)
    return Collector(spec, TextMetrics(spec.names, literal=spec.literal, options=TextOptions(step)))


def outcome(output, metric="FoM: ", **options):
    made, splitter = collector(metric, **options), LineSplitter()
    data = output if isinstance(output, bytes) else output.encode()
    for line in splitter.feed(data) + splitter.flush():
        made.feed(line)
    return made.finish(HERE)


# Rules over repeats


@pytest.mark.parametrize(("rule", "fom"), [("last", 2.0), ("first", 3.0), ("min", 1.0), ("max", 5.0)])
def test_of_several_values_the_rule_chooses(rule, fom):
    assert outcome("FoM: 3\nFoM: 1\nFoM: 5\nFoM: 2\n", rule=rule).fom == fom


@pytest.mark.parametrize("rule", ["last", "first", "min", "max"])
def test_of_one_value_every_rule_chooses_it(rule):
    result = outcome("FoM: 0.25\n", rule=rule)
    assert (result.fom, result.metrics, result.failure, result.message, result.steps) == (
        0.25,
        {"FoM": 0.25},
        None,
        "",
        1,
    )


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1), st.sampled_from(["min", "max"]))
def test_min_and_max_are_of_the_finite_values_if_there_are_any(values, rule):
    result = outcome("".join(f"FoM: {value!r}\n" for value in values), rule=rule)
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        assert result.fom == {"min": min, "max": max}[rule](finite)
    else:
        assert result.failure is Failure.NAN_METRIC


def test_last_takes_the_last_value_of_each_metric():
    assert outcome("a: 1 b: 10\na: 2\n", {"a": 1, "b": 1}).metrics == {"a": 2.0, "b": 10.0}


def test_first_takes_the_first_value_of_each_metric():
    assert outcome("a: 1\na: 2 b: 10\nb: 20\n", {"a": 1, "b": 1}, rule="first").metrics == {"a": 1.0, "b": 10.0}


def test_min_keeps_metrics_of_one_report_together():
    result = outcome("a: 1 b: 5\na: 3 b: 2\n", {"a": 1, "b": 1}, rule="min")
    assert (result.fom, result.metrics) == (5.0, {"a": 3.0, "b": 2.0})


def test_the_figure_of_merit_is_the_weighted_sum_in_the_users_sign():
    assert outcome("a = 2, b = 10", {"a": 0.5, "b": -0.25}, maximize=True).fom == -1.5


def test_the_full_double_is_kept():
    assert outcome("FoM: 1.2522231845855714").fom == 1.2522231845855714
    assert outcome("FoM: 5.977443e+02").fom == 597.7443


# Reports


def test_a_report_is_complete_when_every_metric_was_renewed():
    made = collector({"a": 1, "b": 1})
    assert list(made.feed("a: 1")) == []
    assert list(made.feed("a: 2")) == []
    assert list(made.feed("b: 3")) == [Report(1.0, {"a": 2.0, "b": 3.0}, 5.0)]
    assert list(made.feed("b: 4")) == []
    assert list(made.feed("nothing")) == []
    assert list(made.feed("a: 5")) == [Report(2.0, {"a": 5.0, "b": 4.0}, 9.0)]


def test_several_reports_on_one_line_come_in_order():
    assert [report.fom for report in collector().feed("FoM: 1 FoM: 2 FoM: 3")] == [1.0, 2.0, 3.0]


def test_the_programs_own_step_is_taken_even_if_another_line_of_the_report_holds_it():
    made = collector({"loss": 1, "acc": 0}, step="epoch")
    made.feed("epoch: 7/10 loss: 0.5")
    assert [report.step for report in made.feed("acc: 0.5")] == [7.0]
    assert [report.step for report in made.feed("loss: 0.5 acc: 0.5")] == [2.0]


def test_colours_of_a_terminal_are_ignored():
    assert outcome("\x1b[32mFoM:\x1b[0m \x1b[1m0.5\x1b[0m", {"FoM": 1}).fom == 0.5


# Bad input


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("rule", ["last", "first", "min", "max"])
def test_a_value_that_is_not_finite_is_a_failure_that_quotes_it(text, rule):
    result = outcome(f"FoM: {text}\n", rule=rule)
    assert result.failure is Failure.NAN_METRIC
    assert f"FoM = {float(text)!r}" in result.message


def test_a_weighted_sum_that_overflows_is_a_failure():
    assert outcome("a: 1e308 b: 1e308", {"a": 1, "b": 1}).failure is Failure.NAN_METRIC


def test_a_decimal_comma_is_no_number_and_is_named():
    result = outcome("FoM: 1,5\n")
    assert result.failure is Failure.NO_METRIC
    assert math.isnan(result.fom)
    assert result.message == (
        "no metric in the output: found 'FoM: 1,5' (a decimal comma: print a point) on line 1, "
        "expected 'FoM: ' and a number"
    )


@pytest.mark.parametrize(("text", "fom"), [("1e-3", 1e-3), ("-2.5E-07", -2.5e-7), ("1.5D-03", 1.5e-3)])
def test_negative_exponents(text, fom):
    assert outcome(f"FoM: {text}\n").fom == fom


def test_crlf():
    assert outcome(b"hello\r\nFoM: 0.5\r\nbye\r\n").fom == 0.5


def test_binary_and_invalid_utf8_around_the_metric():
    assert outcome(b"\x00\xff\xfe\n\x80FoM: 0.5\x00\xff\n\xc3").fom == 0.5


def test_a_metric_after_gigabytes_on_one_line_is_found():
    assert outcome(b"." * 3_000_000 + b"FoM: 0.5").fom == 0.5


def test_state_is_bounded_over_many_lines():
    made = collector({"a": 1, "b": 1, "c": 1}, rule="min")
    tracemalloc.start()
    try:
        for number in range(500):
            made.feed(f"a: {number} b: {number}")
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            made.feed(f"a: {number} b: {number} C: {number}")
            made.stderr_line(f"c {number}")
        assert tracemalloc.get_traced_memory()[0] - before < 16_384
    finally:
        tracemalloc.stop()


# The message when there is none


def test_the_near_miss_is_named_with_its_line():
    output = "x\n" * 11 + "fom = 3.1\n"
    expected = "no metric in the output: found 'fom = 3.1' on line 12, expected 'FoM: ' and a number"
    assert outcome(output).message == outcome(output, {"FoM": 1}).message == expected


@pytest.mark.parametrize(
    ("metric", "line", "near_miss"),
    [
        ("FoM: ", "the FoM:0.5 is here", "FoM:0.5"),
        ("FoM", "FoM: 0.5", "FoM: 0.5"),
        ({"loss": 1}, "val_loss: 0.5", "val_loss: 0.5"),
        ({"loss": 1}, "[1/3] val/loss: 0.5", "val/loss: 0.5"),
        ({"loss": 1}, "loss 0.5", "loss 0.5"),
        ({"loss": 1}, "{'loss': 0.5}", "loss': 0.5}"),
        ({"loss": 1}, "Loss: 0.5", "Loss: 0.5"),
        ({"loss": 1}, "loss: \u22120.5", "loss: \u22120.5"),
        ({"loss": 1}, "computing the loss", "loss"),
    ],
)
def test_near_misses(metric, line, near_miss):
    result = outcome(f"{line}\n", metric)
    assert result.failure is Failure.NO_METRIC
    assert f"found '{near_miss}' on line 1" in result.message


def test_a_name_with_a_number_outdoes_a_name_alone():
    assert "'fom 3.1' on line 2" in outcome("the FoM is computed\nfom 3.1\nfom 4.1\n").message


def test_a_program_that_prints_nothing_is_said_to():
    assert outcome("").message == "no metric in the output: nothing was printed, expected 'FoM: ' and a number"


def test_without_a_near_miss_the_lines_are_counted():
    assert "none in 2 lines, expected 'FoM: '" in outcome("a\nb\n").message


def test_a_metric_on_stderr_does_not_count_and_is_named():
    made = collector()
    made.stderr_line("hello")
    made.stderr_line("12:30 FoM: 0.5")
    result = made.finish(HERE)
    assert result.failure is Failure.NO_METRIC
    assert "found '12:30 FoM: 0.5' on line 2 of stderr" in result.message


def test_a_near_miss_on_stderr_is_named():
    made = collector()
    made.stderr_line("fom = 0.5")
    assert "found 'fom = 0.5' on line 1 of stderr, expected" in made.finish(HERE).message


def test_a_metric_on_stdout_makes_stderr_uninteresting():
    made = collector()
    made.feed("FoM: 1")
    made.stderr_line("FoM: 2")
    assert made.finish(HERE).fom == 1.0


def test_when_only_some_metrics_are_found_both_kinds_are_named():
    result = outcome("Acc: 0.5\nloss: 1\nLOSS: 1\n", {"loss": 1, "acc": 1, "f1": 1})
    assert result.failure is Failure.NO_METRIC
    assert result.metrics == {"loss": 1.0}
    assert result.message.startswith("no value for 'acc', 'f1' in the output (found 'loss'): ")


def test_a_near_miss_of_what_was_found_later_is_forgotten():
    assert "LOSS" not in outcome("LOSS: 1\nloss: 1\n", {"loss": 1, "acc": 1}).message


def test_what_cannot_be_printed_is_not_in_the_message():
    assert "\x07" not in outcome("fom \x07 = 3\x07").message
