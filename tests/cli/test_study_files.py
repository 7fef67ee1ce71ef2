"""Study files: what they say is built; their mistakes are told with file, line and key."""

import inspect

import attrs
import pytest

from hpo_core.cli._build import build
from hpo_core.cli._description import Description
from hpo_core.cli._keys import KEYS
from hpo_core.evaluator import Evaluator
from hpo_core.exceptions import ConfigurationError, StudyFileError
from hpo_core.space import Integer, Real, Values
from hpo_core.study import Study

GOOD = """\
command = "true"
n_trials = 7
metric = { loss = 0.5, error = 0.5 }
timeout = "1h30m"
constraints = ["--low <= --high"]
forbidden = ["--a == 1 and --c == 'x'"]

[params]
"--lr" = { range = [1e-5, 1.0], log = true, default = 1e-3 }
--a = { range = [1, 9], step = 2 }
--b = { range = [1, 9], type = "real" }
--c = { values = ["x", "y"], ordered = false, default = "y" }
--low = "0.0:1.0"
--high = "0.5:1.0"

[[conditions]]
flag = "--b"
when = "--a > 2"
range = [2.0, 3.0]
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        (tmp_path / "study.toml").write_text(text)
        return "study.toml"

    return write


def test_the_keys_are_the_arguments_of_study_and_evaluator():
    study = set(inspect.signature(Study.__init__).parameters) - {"self", "params", "evaluator", "maximize"}
    evaluator = {item.name for item in attrs.fields(Evaluator) if item.init}
    assert {key.name for key in KEYS.values() if key.owner == "study"} == study
    assert {key.name for key in KEYS.values() if key.owner == "evaluator"} == evaluator


def test_a_file_says_the_same_as_python(file):
    parts = build(Description.from_file(file(GOOD)))
    domains = parts.params.domains
    assert isinstance(domains["--lr"], Real)
    assert domains["--lr"].log
    assert domains["--a"] == Integer(1, 9, step=2)
    assert isinstance(domains["--b"], Real)
    assert domains["--c"] == Values(["x", "y"], ordered=False)
    assert dict(parts.params.defaults) == {"--lr": 1e-3, "--c": "y"}
    assert parts.params.constraints == ("--low <= --high",)
    assert len(parts.params.conditions) == len(parts.params.forbidden) == 1
    assert parts.evaluator.timeout_s == 5400
    assert parts.evaluator.metric == {"loss": 0.5, "error": 0.5}
    assert dict(parts.description.given("study")) == {"n_trials": 7}


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "message"),
    [
        ("n_trials = 7", "n_trails = 7", 2, "n_trails", "did you mean 'n_trials'"),
        ("n_trials = 7", "trials = 7", 2, "trials", "did you mean 'n_trials'"),
        ("n_trials = 7", "n_trials = 'x'", 2, "n_trials", "must be a whole number, not 'x'"),
        ("n_trials = 7", "maximize = 1", 2, "maximize", "must be true or false"),
        ("n_trials = 7", "n_trials = ", 2, None, "no valid TOML"),
        ("n_trials = 7", "cmd = 'true'", 2, "cmd", "mean the same"),
        ("1h30m", "1x", 4, "timeout", "no duration"),
        ("error = 0.5", "error = 'x'", 3, "metric", "must be a finite number"),
        ("n_trials = 7", "metric_rule = 'best'", 2, "metric_rule", "unknown"),
        ("[1e-5, 1.0]", "[1.0, 1e-5]", 9, "params.--lr.range", "reversed"),
        ("[1e-5, 1.0]", "[1.0]", 9, "params.--lr.range", "must be [low, high]"),
        ("[1e-5, 1.0]", "[0.0, 1.0]", 9, "params.--lr.log", "above 0"),
        ("default = 1e-3", "default = 2.0", 9, "params.--lr.default", "outside"),
        ("step = 2", "stop = 2", 10, "params.--a.stop", "did you mean 'step'"),
        ("step = 2", "step = 20", 10, "params.--a.step", "larger than the range"),
        ('type = "real"', 'type = "reel"', 11, "params.--b.type", "did you mean 'real'"),
        ('["x", "y"], ordered = false', '["x", "x"]', 12, "params.--c.values", "duplicate"),
        ("ordered = false", "log = true", 12, "params.--c.log", "goes with range"),
        ('"0.0:1.0"', '"0.0:x"', 13, "params.--low", "no number"),
        ('"0.0:1.0"', "1.0", 13, "params.--low", "must be a table"),
        ("'x'\"]", "'z'\"]", 6, "forbidden[1]", "never is 'z'"),
        ('"--low <= --high"', '"--low <= --hihg"', 5, "constraints[1]", "--hihg"),
        ('flag = "--b"', 'flag = "--bb"', 17, "conditions[1].flag", "unknown flag"),
        ("--a > 2", "--aa > 2", 18, "conditions[1].when", "--aa"),
        ("[2.0, 3.0]", "[2.0, 30.0]", 19, "conditions[1].range", "does not fit"),
        ('when = "--a > 2"', "", 16, "conditions[1]", "needs when"),
        ('command = "true"', "", None, None, "there is no command"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(file, old, new, line, key, message):
    assert GOOD.count(old) == 1
    with pytest.raises(StudyFileError) as caught:
        build(Description.from_file(file(GOOD.replace(old, new))))
    error = caught.value
    assert (error.path, error.line, error.key) == ("study.toml", line, key)
    assert message in str(error)
    assert str(error).startswith("study.toml:")


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        ("strategy = 'gird'", 1, "strategy", "did you mean 'grid'"),
        ("strategy = 'grid'\n[strategy_options]\ngrid_sise = 3", 3, "strategy_options.grid_sise", "grid_size"),
        ("workload_manager = 'local'\nnodes = 3", 2, "nodes", "num_parallel_evals"),
        ("seed = -1", 1, "seed", "0 (random) or more"),
        ("observers = ['progres']", 1, "observers", "did you mean 'progress'"),
    ],
)
def test_what_only_the_study_can_refuse_is_told_of_its_key(file, text, line, key, message):
    path = file(f"{text}\n")
    description = Description.from_file(path)
    description.set(("cmd",), "true", "--cmd")
    description.set(("params", "--x"), {"range": [1, 2]}, "--param")
    parts = build(description)
    with pytest.raises(StudyFileError) as caught:
        parts.study(directory="made-by-mistake")
    assert (caught.value.line, caught.value.key) == (line, key)
    assert message in str(caught.value)


def test_a_circle_of_conditions_is_told_of_a_condition_in_it(file):
    text = GOOD + '[[conditions]]\nflag = "--a"\nwhen = "--b > 2"\n'
    with pytest.raises(StudyFileError, match=r"study\.toml:16: conditions\[1\]: .*--a"):
        build(Description.from_file(file(text)))


def test_a_mistake_of_an_option_is_told_of_the_option(file):
    description = Description.from_file(file(GOOD))
    description.set(("params", "--lr", "default"), 7.0, "--set params.--lr.default=7.0")
    with pytest.raises(ConfigurationError, match=r"^--set params.--lr.default=7.0: the default does not fit") as caught:
        build(description)
    assert not isinstance(caught.value, StudyFileError)


def test_options_win_over_the_file_and_add_to_its_lists(file):
    description = Description.from_file(file(GOOD))
    description.set(("params", "--lr"), {"range": [1, 2]}, "--param")
    description.append("constraints", "--low < 0.9", "--constraint")
    parts = build(description)
    assert parts.params.domains["--lr"] == Integer(1, 2)
    assert len(parts.params.constraints) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"a = '\xff'\n", "study.toml:1: is no UTF-8 text"), (b"x = [1\n\n", "study.toml:2: no valid TOML")],
)
def test_bytes_that_are_no_text_and_text_that_ends_too_early(tmp_path, monkeypatch, data, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_bytes(data)
    with pytest.raises(StudyFileError) as caught:
        Description.from_file("study.toml")
    assert str(caught.value).startswith(message)


def test_windows_line_ends_and_a_byte_order_mark_are_fine(tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert build(Description.from_file(str(path))).evaluator.cmd == "true"
