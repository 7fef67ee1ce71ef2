"""The built-in parsers, beyond what the contract says of all."""

import json
import math
import os

import pytest

import hpo_core as hpo
from hpo_core.allocation import Slot
from hpo_core.builtin.json_metrics import (
    MAX_FILE_BYTES,
    JsonFileMetrics,
    JsonFileOptions,
    JsonLineMetrics,
    JsonLineOptions,
)
from hpo_core.builtin.regex_metrics import RegexMetrics, RegexOptions
from hpo_core.builtin.text_metrics import TextMetrics, TextOptions
from hpo_core.exceptions import ConfigurationError
from hpo_core.interfaces import Reading
from hpo_core.metrics import Collector, MetricSpec
from hpo_core.trial import Evaluation, Failure


def readings(parser, *lines):
    reader = parser.reader()
    return [reading for line in lines for reading in reader.line(line)]


# text


@pytest.mark.parametrize(
    "line", ["FoM: 1", "FoM : 1", "FoM=1", "FoM =\t1", "INFO:root:FoM: 1", "...FoM: 1", "FoM:1,FoM2: 3"]
)
def test_a_name_is_followed_by_a_sign_and_a_number(line):
    assert readings(TextMetrics(["FoM"]), line) == [Reading({"FoM": 1.0})]


@pytest.mark.parametrize(
    "line", ["FoM 1", "FoM2: 1", "xFoM: 1", "x_FoM: 1", "x-FoM: 1", "x.FoM: 1", "x/FoM: 1", "fom: 1"]
)
def test_a_name_is_a_word_of_its_own(line):
    assert readings(TextMetrics(["FoM"]), line) == []


@pytest.mark.parametrize("name", ["top+1 (%)", "f1.score", "loss*", "größe"])
def test_names_are_no_expressions(name):
    assert readings(TextMetrics([name]), f"{name}: 1") == [Reading({name: 1.0})]
    assert readings(TextMetrics(["f1.score"]), "f1xscore: 1") == []


def test_a_literal_text_is_taken_as_it_is():
    assert readings(TextMetrics(["> "], literal=True), "result > 3 < 4") == [Reading({"> ": 3.0})]
    assert readings(TextMetrics(["FoM: "], literal=True), "xFoM: 3") == [Reading({"FoM: ": 3.0})]
    assert readings(TextMetrics(["FoM"], literal=True), "FoM 3", "FoM: 3") == [Reading({"FoM": 3.0})]


def test_a_literal_text_that_ends_in_a_word_does_not_take_a_part_of_a_longer_one():
    assert readings(TextMetrics(["top"], literal=True), "top5: 3") == []


def test_metrics_of_one_line_make_one_reading_until_a_name_comes_again():
    found = readings(TextMetrics(["a", "b"]), "a: 1 b: 2 a: 3")
    assert [dict(reading.metrics) for reading in found] == [{"a": 1.0, "b": 2.0}, {"a": 3.0}]


@pytest.mark.parametrize(
    "line", ["epoch: 3 FoM: 2", "FoM: 2 (epoch 3)", "epoch=3/10, FoM = 2", "[Epoch] epoch 3 - FoM: 2"]
)
def test_the_step_stands_on_the_same_line(line):
    assert readings(TextMetrics(["FoM"], options=TextOptions("epoch")), line) == [Reading({"FoM": 2.0}, 3.0)]


def test_without_its_name_there_is_no_step():
    assert readings(TextMetrics(["FoM"], options=TextOptions("epoch")), "FoM: 2") == [Reading({"FoM": 2.0})]


# regex


def regex(pattern, *metrics, literal=False):
    return RegexMetrics(metrics, literal=literal, options=RegexOptions(pattern))


def test_named_groups_are_metrics():
    parser = regex(r"(?P<val_loss>\S+)/(?P<acc>\S+) at (?P<step>\d+)", "val.loss", "acc")
    assert readings(parser, "0.5/1e-1 at 3") == [Reading({"val.loss": 0.5, "acc": 0.1}, 3.0)]


def test_one_plain_group_is_the_only_metric():
    assert readings(regex(r"got (\S+)", "FoM"), "got 1 got 2") == [Reading({"FoM": 1.0}), Reading({"FoM": 2.0})]


def test_a_literal_text_is_the_pattern_if_there_is_no_option():
    assert readings(RegexMetrics([r"f1 is (\S+)"], literal=True), "f1 is 0.5") == [Reading({r"f1 is (\S+)": 0.5})]


def test_a_group_that_took_no_part_gives_no_metric():
    assert readings(regex("a=(?P<a>[0-9]+)|b=(?P<b>[0-9]+)", "a", "b"), "b=2") == [Reading({"b": 2.0})]


def test_a_group_without_a_number_is_a_near_miss():
    reader = regex(r"got (\S+)", "FoM").reader()
    assert list(reader.line("we got 1,5 today")) == []
    assert reader.near_miss == "got 1,5"


def test_another_case_is_a_near_miss():
    reader = regex(r"got (\S+)", "FoM").reader()
    assert list(reader.line("Got 3")) == []
    assert reader.near_miss == "Got 3"


@pytest.mark.parametrize(
    ("pattern", "metrics", "message"),
    [
        ("a(b", ("FoM",), r"missing \), unterminated subpattern at position 1"),
        ("a**", ("FoM",), "multiple repeat at position 2"),
        ("", ("FoM",), "needs the option 'pattern'"),
        ("abc", ("FoM",), "no group for 'FoM': it has no named group"),
        ("(?P<loss>.)", ("FoM",), "no group for 'FoM': it has loss"),
        ("(.)(.)", ("a", "b"), "no group for 'a'"),
        ("(?P<a>.)(?P<step>.)", ("a", "val.b"), r"write \(\?P<val_b>...\)"),
    ],
)
def test_a_wrong_pattern_is_refused_with_the_reason(pattern, metrics, message):
    with pytest.raises(ConfigurationError, match=message):
        regex(pattern, *metrics)


# JSON


def json_line(*metrics, step=""):
    return JsonLineMetrics(metrics, options=JsonLineOptions(step))


def test_dotted_names_are_keys_or_ways_into_nested_objects():
    parser = json_line("val.loss", step="at.epoch")
    for line in ('{"val.loss": 1, "at": {"epoch": 2}}', ' {"val": {"loss": 1}, "at.epoch": 2}\t'):
        assert readings(parser, line) == [Reading({"val.loss": 1.0}, 2.0)]
    assert readings(json_line("a.b.c"), '{"a.b": {"c": 1}}', '{"a": {"b.c": 2}}') == [
        Reading({"a.b.c": 1.0}),
        Reading({"a.b.c": 2.0}),
    ]


def test_a_line_may_hold_some_metrics():
    assert readings(json_line("a", "b"), '{"a": 1, "c": 2}') == [Reading({"a": 1.0})]


def test_a_literal_text_names_the_key():
    assert readings(JsonLineMetrics(["loss: "], literal=True), '{"loss": 1}') == [Reading({"loss: ": 1.0})]


@pytest.mark.parametrize(("text", "value"), [("NaN", math.nan), ("-Infinity", -math.inf), ("1e999", math.inf)])
def test_numbers_that_are_not_finite_are_read(text, value):
    assert readings(json_line("a"), f'{{"a": {text}}}')[0].metrics["a"] == pytest.approx(value, nan_ok=True)


def test_a_huge_integer_is_infinite():
    assert readings(json_line("a"), '{"a": -1' + "0" * 400 + "}") == [Reading({"a": -math.inf})]


@pytest.mark.parametrize(
    "line",
    [
        *('{"a": "1"}', '{"a": null}', '{"a": true}', '{"a": [1]}', "{'a': 1}", '{"a": 1', '[{"a": 1}]', '{"b": "a"}'),
        *('{"a": ' * 20_000, '{"a": ' + "1" * 5000 + "}", '{"a": ' * 5000 + "1" + "}" * 5000),
    ],
)
def test_what_is_not_a_number_in_an_object_is_a_near_miss(line):
    reader = json_line("a").reader()
    assert list(reader.line(line)) == []
    assert reader.near_miss == line[:200]


def file_outcome(directory, path="metrics.json", metric=None):
    spec = MetricSpec.parse(metric or {"loss": 1})
    parser = JsonFileMetrics(spec.names, literal=spec.literal, options=JsonFileOptions(path))
    return Collector(spec, parser).finish(directory)


def test_a_file_is_read_at_the_end(tmp_path):
    (tmp_path / "metrics.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"loss": 0.5}).encode())
    assert file_outcome(tmp_path).fom == 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no valid JSON"),
        (b'{"loss": 0.5', "is no valid JSON"),
        (b"\xff\xfe", "is no valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{}", "holds an empty object"),
        (b'{"Loss": 1}', "no number there; its keys are 'Loss'"),
        (b"3", "holds int"),
        (b"[1, null]", "holds a list without such objects"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, message):
    (tmp_path / "metrics.json").write_bytes(content)
    result = file_outcome(tmp_path)
    assert result.failure is Failure.NO_METRIC
    assert message in result.message
    assert """expected {"loss": <number>} in the file 'metrics.json'""" in result.message


def test_a_missing_file_is_named_with_its_directory(tmp_path):
    assert f"the file 'metrics.json' in {tmp_path} cannot be read" in file_outcome(tmp_path).message


def test_a_pipe_or_directory_is_no_file_and_stalls_nothing(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "no ordinary file" in file_outcome(tmp_path, "pipe").message
    assert "no ordinary file" in file_outcome(tmp_path, ".").message


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "metrics.json").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert "larger than 16 MiB" in file_outcome(tmp_path).message


def file_reader(path="metrics.json"):
    return JsonFileMetrics(["loss"], options=JsonFileOptions(path)).reader()


def evaluation_in(directory, trial=1):
    environment = {"HPO_TRIAL": str(trial), "HPO_TAG": f"point{trial}"}
    return Evaluation(trial, 1, "true", None, str(directory), environment, (Slot("here"),), f"hpo-s-{trial}-1")


def test_a_file_that_was_there_before_does_not_count(tmp_path):
    (tmp_path / "metrics.json").write_text('{"loss": 1}')
    reader = file_reader()
    reader.begin(evaluation_in(tmp_path))
    assert reader.finish(tmp_path) == ()
    assert "'metrics.json'" in reader.near_miss
    assert "was there before, and was not written" in reader.near_miss


@pytest.mark.parametrize("adopted", [False, True])
def test_a_file_that_was_written_anew_counts(tmp_path, adopted):
    (tmp_path / "metrics.json").write_text('{"loss": 1}')
    reader = file_reader()
    if adopted:
        (tmp_path / "metrics.json").write_text('{"loss": 2}')
    reader.begin(evaluation_in(tmp_path), adopted=adopted)
    if not adopted:
        (tmp_path / "metrics.json").write_text('{"loss": 2}')
    assert [reading.metrics for reading in reader.finish(tmp_path)] == [{"loss": 2.0}]


def test_each_evaluation_may_have_a_file_of_its_own(tmp_path):
    readers = {trial: file_reader("out-@trial-@tag.json") for trial in (1, 2)}
    for trial, reader in readers.items():
        reader.begin(evaluation_in(tmp_path, trial))
        (tmp_path / f"out-{trial}-point{trial}.json").write_text(json.dumps({"loss": trial}))
    for trial, reader in readers.items():
        assert [reading.metrics for reading in reader.finish(tmp_path)] == [{"loss": float(trial)}]


@pytest.mark.parametrize(
    ("path", "settings", "refused"),
    [
        ("m.json", {"num_parallel_evals": 2}, True),
        ("m.json", {"nodes": 4, "nodes_per_eval": 2}, True),
        ("m.json", {"nodes": 2, "nodes_per_eval": 2}, False),
        ("m.json", {}, False),
        ("m-@tag.json", {"num_parallel_evals": 2}, False),
        ("m.json", {"num_parallel_evals": 2, "src_path": "src"}, False),
        ("/tmp/m.json", {"num_parallel_evals": 2, "src_path": "src"}, True),
    ],
)
def test_one_file_for_many_evaluations_is_refused(path, settings, refused):
    parser = JsonFileMetrics(["loss"], options=JsonFileOptions(path))
    evaluator = hpo.Evaluator("true", **settings)
    if refused:
        with pytest.raises(ConfigurationError, match=r"2 evaluations at the same time.*-@trial\.json"):
            parser.check(evaluator)
    else:
        parser.check(evaluator)


def test_a_word_as_literal_text_says_how_to_find_it_with_a_colon():
    assert TextMetrics(["loss"], literal=True).expected() == (
        "'loss' and then a number (a text is taken as it is: metric='loss: ' finds 'loss: 0.5')"
    )
    assert TextMetrics(["loss: "], literal=True).expected() == "'loss: ' and a number"


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_must_be_one(path):
    with pytest.raises(ConfigurationError, match="is no file name"):
        JsonFileOptions(path)


# all


def test_the_parsers_are_registered():
    from hpo_core.builtin import json_metrics, regex_metrics, text_metrics

    modules = (text_metrics, regex_metrics, json_metrics)
    classes = [module.hpo_register_metric_parser() for module in modules]
    assert classes == [TextMetrics, RegexMetrics, [JsonLineMetrics, JsonFileMetrics]]
