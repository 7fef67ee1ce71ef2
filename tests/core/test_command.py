"""From a command and values to what a program sees: nothing a value holds is ever shell syntax."""

import os
import shutil
import string
import subprocess
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hpo_core as hpo
from hpo_core.command import PLACEHOLDERS, CommandLine, Template, argument, missing_program, misspelt

NASTY = [
    "", " ", "a b", "'", '"', "''", "\\", "\\'", "$HOME", "${HOME}", "$(touch pwned)", "`touch pwned`", "; touch pwned",
    "& touch pwned &", "| touch pwned", "> pwned", "\ntouch pwned\n", "*", "?", "[a-z]*", "~", "~root", "{a,b}",
    "!!", "#",
    "-n", "--", "=", "a=b", "\t", "\r\n", "é", "日本", "\x7f", "\x1b[31m", "%s", "$'\\n'", "@tag", "^", "\\n",
    "$$", "$((1+1))",
    "'; touch pwned; '", '"; touch pwned; "', "'\"'\"'", "a\\",
]  # fmt: skip

values = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12),
    st.text(alphabet="ab '\"\\$`;&|<>(){}[]*?~#!=\n\t", max_size=12),
)
shells = [path for path in map(shutil.which, ("sh", "bash", "dash", "ksh", "zsh")) if path]


@pytest.fixture(scope="module")
def args(tmp_path_factory) -> str:
    """A program that prints its arguments, each ended by NUL."""
    path = tmp_path_factory.mktemp("programs") / "args"
    path.write_text("#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done\n")
    path.chmod(0o755)
    return str(path)


def render(command: str, arguments: str, placeholders: dict[str, str]) -> CommandLine:
    return Template(command).render(arguments, {f"HPO_{name.upper()}": text for name, text in placeholders.items()})


def seen(command: str | list[str], shell: str = "/bin/sh") -> list[str]:
    words = [shell, "-c", command] if isinstance(command, str) else command
    done = subprocess.run(words, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


@given(st.lists(values, min_size=1, max_size=6))
@example(NASTY)
@settings(max_examples=60)
def test_every_value_arrives_as_it_is_through_every_shell(args, given_values):
    line = render(args, " ".join(argument(f"--x{i}", value) for i, value in enumerate(given_values)), {})
    for shell in shells:
        assert seen(line.text, shell) == [f"--x{i}={value}" for i, value in enumerate(given_values)]
    if line.argv is not None:
        assert seen(list(line.argv)) == seen(line.text)


@given(values)
@settings(max_examples=60)
def test_placeholders_arrive_as_they_are_wherever_they_stand(args, text):
    command = f"""{args} @tag 'a @tag b' "c $HOME @tag d" --x=@tag/y@tag 'it'\\''s @tag' "\\"@tag\\"" \\'@tag"""
    line = render(command, "", {"tag": text})
    home = os.environ["HOME"]
    assert seen(line.text) == [
        text, f"a {text} b", f"c {home} {text} d", f"--x={text}/y{text}", f"it's {text}", f'"{text}"', f"'{text}"
    ]  # fmt: skip


@given(st.text(alphabet=string.ascii_letters + string.digits + "_@%+=:,./^- \t", max_size=30))
@settings(max_examples=80)
@example("a  b\tc ")
@example("A=1 ./B --x=%a^")
def test_without_a_shell_a_command_means_what_it_means_with_one(args, rest):
    line = render(f"{args} {rest}", "--lr=0.5", {})
    assert line.argv is not None
    assert seen(list(line.argv)) == seen(line.text)


@pytest.mark.parametrize(
    "command",
    ["A=1 prog", "cd x", "exec prog", "prog $HOME", "prog ~", "prog *", "prog 'a'", 'prog "a"', "prog \\a", "a | b",
     "a; b", "a && b", "prog > file", "prog # no", "{ prog", "! prog", "prog\nother", "[ 1 ]", "time prog", "prog [a]"],
)  # fmt: skip
def test_what_only_a_shell_understands_goes_through_one(command):
    assert render(command, "", {}).argv is None


def test_a_blank_inside_a_flag_splits_words(args):
    line = render(args, f"{argument('--optimizer lr', '0.1')} {argument('--set k', 'a b')}", {})
    assert seen(line.text) == ["--optimizer", "lr=0.1", "--set", "k=a b"]


def test_arguments_come_after_the_whole_command():
    assert render("python t.py --own 3", "-b=1 -a=2", {}).text == "python t.py --own 3 -b=1 -a=2"


def test_placeholders_that_are_not_given_stay():
    assert render("prog @checkpoint @tag user@host @tags @unknown", "", {"tag": "t1"}).text == (
        "prog @checkpoint t1 user@host @tags @unknown"
    )
    assert set(PLACEHOLDERS) == {
        "checkpoint", "trial", "attempt", "tag", "directory", "nodelist", "fidelity", "python"
    }  # fmt: skip


def test_both_ways_in_a_study(here, program):
    """The same values through the launcher, with and without a shell, in workspaces and out of them."""
    program("source/args", '#!/bin/sh\nfor word; do printf \'%s\\0\' "$word"; done >>"$LOG"\necho FoM: 1\n')
    words = [word for word in NASTY if word.strip()] + ["plain", "a.b/c"]
    expected = sorted(f"--word={word}" for word in words)
    for number, (command, source) in enumerate(
        [("source/args", ""), ("true && source/args", ""), ("./args", "source"), ("true && ./args", "source")]
    ):
        os.environ["LOG"] = str(here / f"log{number}")
        try:
            places = {"src_path": source, "run_path": f"r{number}"} if source else {}
            with hpo.Evaluator(command, workload_manager="local", **places) as evaluator:
                study = hpo.Study(hpo.Params([["--word", words]]), evaluator, strategy="grid", evaluate_defaults=False)
                study.optimize()
                study.close()
        finally:
            del os.environ["LOG"]
        assert sorted((here / f"log{number}").read_bytes().decode().split("\0")[:-1]) == expected
    assert not list(here.rglob("pwned"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("./run @trail --out=@checkpiont/x", {"trail": "trial", "checkpiont": "checkpoint"}),
        ("./run @trial @python @tag", {}),
        ("mail me@trail.org user@directry @other a@b @file.txt @@trail", {}),
    ],
)
def test_words_that_are_nearly_placeholders(command, words):
    assert misspelt(command) == words
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        hpo.Evaluator(command)
    assert len(heard) == len(words)
    assert all("did you mean '@" in str(warning.message) for warning in heard)


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("sh train.sh", None),
        ("no-such-program --x", "there is no program 'no-such-program' on PATH"),
        ("./no-such-program", "there is no program './no-such-program' in HERE"),
        ("bin/there --x=1", None),
        (
            "bin/plain-file",
            "'bin/plain-file' is not executable: chmod +x bin/plain-file, or name its interpreter in front of it",
        ),
        ("./bin", "'./bin' is a directory"),
        ("@python train.py", None),
        ("no-such-program | true", None),
        ("'no-such-program'", None),
        ("NAME=1 no-such-program", None),
    ],
)
def test_missing_program(here, program, command, missing):
    program("bin/there", "#!/bin/sh\n")
    program("bin/plain-file", "").chmod(0o644)
    assert missing_program(command, None, str(here)) == (missing and missing.replace("HERE", str(here)))
