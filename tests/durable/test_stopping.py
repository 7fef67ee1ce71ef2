"""However a driver ends, no process of the study remains, and the journal is whole."""

import signal
import time
from collections.abc import Callable

import pytest

import hpo_core as hpo
from driving import Driver, gone_within, left_of

Drive = Callable[..., Driver]
Program = Callable[[str], str]

STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-S", "-c", "import signal,time;signal.signal(15,signal.SIG_IGN);time.sleep(60)"])
subprocess.Popen(["sleep", "60"], start_new_session=True)
time.sleep(60)
"""
SLEEPS = "time.sleep(60)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_in_order_and_says_how_to_go_on(drive: Drive, program: Program, number: int) -> None:
    driver = drive(cmd=program(SLEEPS), num_parallel_evals=3, stop_wait=0.2, grace=0.5)
    driver.wait_for_processes(3)
    driver.signal(number)
    out, err = driver.end()
    assert "stopped:" in out, err
    assert not left_of(driver.study_id)
    assert [record["state"] for record in driver.records("attempt")] == ["cancelled"] * 3
    assert driver.records("finished") == []
    assert driver.records("stopped")


def test_after_one_signal_what_runs_may_end_and_is_recorded(drive: Drive, program: Program) -> None:
    driver = drive(cmd=program("time.sleep(0.5); print('FoM: 1')"), num_parallel_evals=2, stop_wait=20)
    driver.wait_for_processes(2)
    driver.signal(signal.SIGINT)
    out, err = driver.end()
    assert "stopped: Ctrl-C" in out, err
    assert len(driver.records("finished")) == len(driver.records("asked")) == 2


def test_two_signals_kill_at_once_even_what_ignores_term(drive: Drive, program: Program) -> None:
    driver = drive(cmd=program(STUBBORN), num_parallel_evals=2, stop_wait=60, grace=60)
    driver.wait_for_processes(6)
    driver.signal(signal.SIGINT)
    time.sleep(0.5)  # two at once would be one
    driver.signal(signal.SIGINT)
    out, err = driver.end(limit_s=10)
    assert "stopped:" in out, err
    assert not left_of(driver.study_id)


def test_kill_9_of_the_driver_ends_all_its_evaluations(drive: Drive, program: Program) -> None:
    driver = drive(cmd=program(STUBBORN), num_parallel_evals=2)
    driver.wait_for_processes(6)
    driver.signal(signal.SIGKILL)
    driver.end()
    assert gone_within(driver.study_id, 8.0)


def test_nohup_is_respected(drive: Drive, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = program("time.sleep(0.3); print('FoM: 1')")
        driver = drive(cmd=command, study={"n_trials": 3})
    finally:
        signal.signal(signal.SIGHUP, before)
    driver.wait_for_processes(1)
    driver.signal(signal.SIGHUP)
    out, err = driver.end()
    assert "all trials of the budget" in out, err
    assert len(driver.records("finished")) == 3


def test_the_total_timeout_ends_the_study_on_time_even_when_evaluations_hang(drive: Drive, program: Program) -> None:
    driver = drive(cmd=program(STUBBORN), num_parallel_evals=2, timeout="1s", grace=0.3)
    out, err = driver.end(limit_s=15)
    assert "the total time is over" in out, err
    assert not left_of(driver.study_id)
    stopped = driver.records("stopped")[0]
    assert 1.0 <= stopped["elapsed_s"] < 5.0


def test_two_drivers_on_one_directory_the_second_is_refused(drive: Drive, program: Program) -> None:
    first = drive(cmd=program(SLEEPS))
    first.wait_for_processes(1)
    second = drive(cmd=program(SLEEPS))
    _, err = second.end()
    assert f"in use by process {first.process.pid}" in err
    assert second.process.returncode != 0
    assert first.process.poll() is None


def test_in_a_thread_no_signal_handler_is_touched(tmp_path, program: Program) -> None:
    import threading

    before = signal.getsignal(signal.SIGINT)
    seen = []
    study = hpo.Study(
        hpo.Params([["--x", 0.5, (0.0, 1.0)]]),
        hpo.Evaluator(program("print('FoM: 1')"), workload_manager="local"),
        n_trials=2,
        directory=tmp_path / "s",
    )

    def work() -> None:
        study.optimize()
        seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    study.close()
    assert seen == [before]
    assert study.best_fom == 1
