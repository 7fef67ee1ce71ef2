"""What counts as a number in a program's output."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core.builtin.text_metrics import TextMetrics
from hpo_core.metrics import NUMBER, read_number, to_number

finite = st.floats(allow_nan=False, allow_infinity=False)
layouts = st.sampled_from(
    ["FoM: {}", "x FoM: {}, done", "FoM: {} %", "(FoM: {})", "FoM: {};", "FoM:   {}.", "FoM: {}\0"]
)


def fom(line):
    """The number that the seed's rule finds in a line, or None."""
    readings = TextMetrics(["FoM: "], literal=True).reader().line(line)
    return readings[0].metrics["FoM: "] if readings else None


@given(finite, layouts)
def test_parse_undoes_repr(value, layout):
    assert fom(layout.format(repr(value))) == value


@given(finite, st.sampled_from(["%e", "%E", "%g", "%G", "%f", "%.17g", "%+.8e", "%12.4f", "%.3g"]), layouts)
def test_parse_undoes_c_formats(value, form, layout):
    text = form % value
    assert fom(layout.format(text)) == float(text)


@given(finite)
def test_parse_undoes_fortrans_double_exponent(value):
    text = f"{value:.16e}"
    assert fom("FoM: " + text.replace("e", "D")) == fom("FoM: " + text.replace("e", "d")) == float(text)


@given(st.integers(-(10**30), 10**30))
def test_integers_are_read(value):
    assert fom(f"FoM: {value}") == float(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("-1.5", -1.5),
        ("+2", 2.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("5.e1", 50.0),
        ("1e-3", 1e-3),
        ("5.977443e+02", 597.7443),
        ("1.5E+02", 150.0),
        ("1.5D-03", 1.5e-3),
        ("1e-400", 0.0),
        ("1e400", math.inf),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("Infinity", math.inf),
        ("-INFINITY", -math.inf),
        ("0.5,", 0.5),
        ("0.5, 3", 0.5),
        ("0.5;", 0.5),
        ("0.5)", 0.5),
        ("0.5]", 0.5),
        ("0.5%", 0.5),
        ("0.5.", 0.5),
        ("0.5 +/- 0.1", 0.5),
        ("0.5(3)", 0.5),
        ("0.5: done", 0.5),
        ("np.float64(0.5)", 0.5),
        ("numpy.float32(-1e-3)", -1e-3),
        ("np.int64(3)", 3.0),
        ("tensor(0.5, device='cuda:0')", 0.5),
    ],
)
def test_these_are_numbers(text, value):
    assert fom("FoM: " + text) == value


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "NAN", "nan(0x8000)", "-nan(ind)", "np.float64(nan)"])
def test_nan_is_read_in_all_its_spellings(text):
    assert math.isnan(fom("FoM: " + text))


@pytest.mark.parametrize(
    "text",
    [
        *("1,5", "1,234.5", "1.2.3", "3abc", "1e", "1e5x", "12:30", "2024-01-01", "1_000", "1'000", "0x1F", "1.#INF"),
        *("3/10", "0.5j", "2ms", "nano", "info", "--1", "", "-", ".", "e5", "[0.5]", '"0.5"', "1.\ufffd5", "10^-3"),
        *("1.5*10^-3", "0.15-102", "\u0663", "1.5\u00d710"),
    ],
)
def test_these_are_no_numbers(text):
    assert fom("FoM: " + text) is None


@pytest.mark.parametrize(("text", "value"), [(" 0.5 ", 0.5), ("0.5%", 0.5), ("np.float64(2)", 2.0), ("0.5,", 0.5)])
def test_a_text_may_be_a_whole_number(text, value):
    assert read_number(text) == value


@pytest.mark.parametrize("text", ["", "x", "0.5 0.6", "1,5", "a 0.5"])
def test_other_texts_are_no_whole_number(text):
    assert read_number(text) is None


@pytest.mark.parametrize("text", ["1" * 60_000 + "x", "." * 60_000, "1." * 30_000, "float" * 12_000, "-" * 60_000])
def test_matching_takes_linear_time(text):
    match = re.search(NUMBER, text)
    assert match is None or to_number(match[1]) >= 0
