"""Our own metric parsers keep the contract that everybody's must."""

import pytest

from hpo_core.builtin.json_metrics import JsonFileMetrics, JsonFileOptions, JsonLineMetrics, JsonLineOptions
from hpo_core.builtin.regex_metrics import RegexMetrics, RegexOptions
from hpo_core.builtin.text_metrics import TextMetrics, TextOptions
from hpo_core.testing.metrics import MetricParserContract


class TestLiteralText(MetricParserContract):
    @pytest.fixture
    def parser(self):
        return TextMetrics(["FoM: "], literal=True)

    @pytest.fixture
    def example(self):
        return "training\nFoM: 0.75\nrank 1 FoM: 0.25 done\n", {"FoM: ": 0.25}

    @pytest.fixture
    def history(self):
        return "FoM: 3\nFoM: 2 FoM: 1\n", [{"FoM: ": 3.0}, {"FoM: ": 2.0}, {"FoM: ": 1.0}]


class TestNames(MetricParserContract):
    @pytest.fixture
    def parser(self):
        return TextMetrics(["loss", "acc"], options=TextOptions(step="epoch"))

    @pytest.fixture
    def example(self):
        return "epoch: 1 loss: 0.75\nacc = 0.5\nepoch: 2/10 loss=0.5 acc=0.75\n", {"loss": 0.5, "acc": 0.75}

    @pytest.fixture
    def history(self):
        return "loss: 3 acc: 0\nacc: 1\nloss: 2\n", [{"loss": 3.0, "acc": 0.0}, {"acc": 1.0}, {"loss": 2.0}]


class TestRegex(MetricParserContract):
    @pytest.fixture
    def parser(self):
        return RegexMetrics(["loss"], options=RegexOptions(r"step (?P<step>\d+).*loss is (?P<loss>\S+)"))

    @pytest.fixture
    def example(self):
        return "step 1: loss is 0.5\nstep 2: loss is 0.25\n", {"loss": 0.25}

    @pytest.fixture
    def history(self):
        return "step 1: loss is 2\nstep 2: loss is 1e0\n", [{"loss": 2.0}, {"loss": 1.0}]


class TestJsonLine(MetricParserContract):
    @pytest.fixture
    def parser(self):
        return JsonLineMetrics(["val.loss", "acc"], options=JsonLineOptions(step="epoch"))

    @pytest.fixture
    def example(self):
        return 'hello\n{"epoch": 1, "val": {"loss": 2}, "acc": 0.5}\nbye\n', {"val.loss": 2.0, "acc": 0.5}

    @pytest.fixture
    def history(self):
        return '{"acc": 1}\n{"acc": 2}\n{"val.loss": 1}\n', [{"acc": 1.0}, {"acc": 2.0}, {"val.loss": 1.0}]


class TestJsonFile(MetricParserContract):
    streams = False

    @pytest.fixture
    def parser(self):
        return JsonFileMetrics(["loss"], options=JsonFileOptions("out/metrics.json"))

    @pytest.fixture
    def directory(self, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "metrics.json").write_text('[{"loss": 2}, {"other": 1}, {"loss": 0.5}]')
        return tmp_path

    @pytest.fixture
    def example(self):
        return "no metric here\n", {"loss": 0.5}

    @pytest.fixture
    def history(self):
        return "", [{"loss": 2.0}, {"loss": 0.5}]
