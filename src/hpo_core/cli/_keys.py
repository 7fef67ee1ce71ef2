"""The keys of a study file: one table for the file, the options and what is built from them.

Names are those of the arguments of `Study` and `Evaluator`; a test holds the table to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen


@frozen
class Kind:
    """What a key's value may be.

    Attributes:
        words: for messages.
        fits: whether a TOML value is of this kind.
    """

    words: str
    fits: Callable[[Any], bool]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


TEXT = Kind("text", lambda value: isinstance(value, str))
WHOLE = Kind("a whole number", _is_whole)
NUMBER = Kind("a number", _is_number)
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
DURATION = Kind("a number, or text such as '90s', '1h30m'", lambda value: isinstance(value, str) or _is_number(value))
SIZE = Kind("a number of bytes, or text such as '4G'", lambda value: isinstance(value, str) or _is_whole(value))
TABLE = Kind("a table", lambda value: isinstance(value, dict))
TEXTS = Kind("a list of texts", _is_texts)
LIST = Kind("a list of tables or texts", lambda value: isinstance(value, list))
METRIC = Kind("text, or a table of names and weights", lambda value: isinstance(value, (str, dict)))


@frozen
class Key:
    """A key of a study file.

    Attributes:
        name: as in Python and in the file.
        owner: ``study``, ``evaluator`` or ``space``: what it is an argument of.
        kind: what its value may be.
        help: of its option; empty: it has none of its own, and `--set` reaches it.
        options: spellings of its option beside ``--`` and the name.
        section: where its option stands in the help.
    """

    name: str
    owner: str
    kind: Kind
    help: str = ""
    options: tuple[str, ...] = ()
    section: str = ""


SEARCH, RUN, NODES, FOM = "Search", "Evaluations", "Nodes", "Figure of merit"

KEYS: Mapping[str, Key] = {
    key.name: key
    for key in (
        Key("params", "space", TABLE),
        Key("conditions", "space", LIST),
        Key("constraints", "space", TEXTS),
        Key("forbidden", "space", TEXTS),
        Key("strategy", "study", TEXT, "Name of a strategy (random).", (), SEARCH),
        Key("strategy_options", "study", TABLE),
        Key("n_trials", "study", WHOLE, "Trials to run, the defaults among them.", ("--trials",), SEARCH),
        Key("seed", "study", WHOLE, "Of all random numbers; 0: a random one.", (), SEARCH),
        Key("directory", "study", TEXT, "Where the study is kept (hpo-study-N).", ("-d",), SEARCH),
        Key("name", "study", TEXT, "For people.", (), SEARCH),
        Key("target", "study", NUMBER, "Stop when the figure of merit is this good.", (), SEARCH),
        Key("patience", "study", WHOLE, "Stop after this many trials without improvement.", (), SEARCH),
        Key("max_failures", "study", WHOLE, "Stop after this many failed trials in a row.", (), SEARCH),
        Key("timeout", "evaluator", DURATION, "Total time, in minutes or as 2h.", (), SEARCH),
        Key("evaluate_defaults", "study", TRUTH, "Run the default values first (yes).", (), SEARCH),
        Key("sync", "study", TEXT, "driver: records survive its death; durable: the host's.", (), SEARCH),
        Key("observers", "study", TEXTS, "Name of an observer.", ("--observer",), SEARCH),
        Key("resume_if_exists", "study", TRUTH, "Go on with the study if there is one.", (), SEARCH),
        Key("allow_changes", "study", TRUTH, "Go on even if command or sources changed.", (), SEARCH),
        Key("cmd", "evaluator", TEXT, "The command; or put it last, behind --.", ("--command",), RUN),
        Key("num_parallel_evals", "evaluator", WHOLE, "Evaluations at the same time.", ("--parallel",), RUN),
        Key("eval_timeout", "evaluator", DURATION, "Longest time of one evaluation, in s or as 15m.", (), RUN),
        Key("memory_limit", "evaluator", SIZE, "Most memory of one evaluation, such as 4G.", (), RUN),
        Key("num_retries", "evaluator", WHOLE, "Times that a failed evaluation is tried again.", ("--retries",), RUN),
        Key("retry_delay", "evaluator", DURATION, "Time before that, in s or as 1m.", (), RUN),
        Key("src_path", "evaluator", TEXT, "Sources, copied into a workspace each.", (), RUN),
        Key("run_path", "evaluator", TEXT, "Where workspaces are made (run).", (), RUN),
        Key("checkpoint", "evaluator", TEXT, "Checkpoint directory of a workspace.", (), RUN),
        Key("checkpoint_budget", "evaluator", SIZE, "Most bytes of continued checkpoints, such as 50G.", (), RUN),
        Key("keep_output", "evaluator", TEXT, "Whole output files of: failed, all.", (), RUN),
        Key("max_output", "evaluator", SIZE, "Most bytes kept of an output file.", (), RUN),
        Key("grace", "evaluator", DURATION, "Time between TERM and KILL, in s.", (), RUN),
        Key("stop_wait", "evaluator", DURATION, "Time that runs have to end after Ctrl-C, in s.", (), RUN),
        Key("flag", "evaluator", TABLE),
        Key("verbose", "evaluator", TRUTH, "Tell of each evaluation on stdout.", (), RUN),
        Key("metric", "evaluator", METRIC, "Text before the number, such as 'loss: ' (FoM: ).", (), FOM),
        Key("metric_parser", "evaluator", TEXT, "Name of a metric parser (text).", (), FOM),
        Key("metric_rule", "evaluator", TEXT, "Of repeated values: last, first, min, max.", (), FOM),
        Key("metric_options", "evaluator", TABLE),
        Key("maximize", "evaluator", TRUTH, "Larger is better.", (), FOM),
        Key("workload_manager", "evaluator", TEXT, "Name of a workload manager (auto).", (), NODES),
        Key("manager_options", "evaluator", TABLE),
        Key("launcher", "evaluator", TEXT, "Name of a launcher (auto).", (), NODES),
        Key("launcher_options", "evaluator", TABLE),
        Key("nodes", "evaluator", WHOLE, "Nodes to allocate.", (), NODES),
        Key("nodes_per_eval", "evaluator", WHOLE, "Nodes of one evaluation.", (), NODES),
        Key("workload_image", "evaluator", TEXT, "Container image; Kubernetes only.", (), NODES),
        Key("launch_args", "evaluator", TEXT, "Text for the launch command.", (), NODES),
        Key("alloc_jobid", "evaluator", WHOLE, "An allocation that is there already.", (), NODES),
        Key("alloc_timeout", "evaluator", DURATION, "Time to ask for, in minutes or as 2h.", (), NODES),
        Key("alloc_args", "evaluator", TEXT, "Text for the allocation command.", (), NODES),
        Key("urika_args", "evaluator", TEXT),
    )
}

SECTIONS = (SEARCH, RUN, FOM, NODES)

ALIASES: Mapping[str, str] = {"command": "cmd"}
"""Other names that a study file may use."""

OTHER_NAMES: Mapping[str, str] = {
    "trials": "n_trials",
    "parallel": "num_parallel_evals",
    "retries": "num_retries",
    "observer": "observers",
    "param": "params",
    "parameters": "params",
    "condition": "conditions",
    "constraint": "constraints",
    "forbid": "forbidden",
    "options": "strategy_options",
    "maximise": "maximize",
}
"""What people may write instead: named in messages only."""
