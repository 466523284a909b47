"""Programs of the program protocol: right verdicts, or one line that says what is wrong."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from backnorm.audit.conduct import conduct
from backnorm.audit.record import OTHER_FUNCTION
from backnorm.audit.specimens.plain import Plain
from backnorm.audit.subjects.request import AuditRequest
from backnorm.cli import main
from backnorm.cli._hosts import Host
from backnorm.cli._jobs import AuditJob, audit_jobs
from backnorm.cli._programs import Program
from backnorm.errors import SubjectError
from backnorm.host.lines import LineWire, OutOfStep, pack_line
from cli.processes import assert_gone, pids_in, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm.audit.record import Record

FILE = Path(__file__).with_name("speaking.py")
SHORT = 3.0
"""Seconds for a program that never answers: the others of its run answer at once."""


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After each test no child of this process is left; a browser of another test may have more."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    new = [one for one in psutil.Process().children(recursive=True) if one.pid not in before]
    assert [process for process in new if process.ppid() not in before] == []


def job(fault: str, *, quick: bool = False, target: str = "speaking") -> AuditJob:
    """Return the job of a program with a fault."""
    return AuditJob(target, program=(sys.executable, str(FILE), fault), quick=quick)


def audited(*faults: str, seconds: float = 60.0, quick: bool = False) -> list[Record]:
    """Audit programs with faults."""
    return list(audit_jobs([job(fault, quick=quick) for fault in faults], seconds=seconds))


def codes(record: Record) -> list[str]:
    """Codes of the findings of a record."""
    return [found.code for found in record.findings]


SOUND = {
    # what a program does that is no fault: what its record says of it
    "": "",
    "float32": "",
    "named": "Its version is 1.2.",
    "noise": "It wrote 2 lines to stdout before its first answer, skipped: Loading...",
    "binary noise": "It wrote 1 line to stdout before its first answer, skipped: ",
    "extra words": "Its answer to hello has words that mean nothing here: color=blue fast.",
    "groups": "",
    "no groups": "",
    "rows": "",
    "last": "Its channels were taken to be the last axis of x, since params is the last length",
    "words in the answer": "",
    "carriage return": "",
    "more arrays": "",
    "always float32": "It accepts float64 and computes in a narrower dtype.",
    "misread": (
        "y is not a normalization of kind batch: the gradient was judged as that of another "
        "function. If it should be one, check kind, sample and params in its answer to hello."
    ),
}


@pytest.fixture(scope="module")
def harmless() -> list[Record]:
    """Records of all of them, in one run."""
    return audited(*SOUND, quick=True)


@pytest.mark.parametrize("fault", SOUND)
def test_what_is_no_fault_is_no_finding(fault: str, harmless: list[Record]) -> None:
    """What libraries do and say, noise and words from elsewhere do not change a verdict."""
    record = harmless[list(SOUND).index(fault)]
    assert (record.sound, codes(record)) == (True, [])
    assert any(SOUND[fault] in note for note in ("", *record.notes))
    assert any(note.startswith(OTHER_FUNCTION) for note in record.notes) == (fault == "misread")


FAULTY = {
    # fault: (code, what was got)
    "cut variance": ("G02", "variance "),
    "NaN": ("G24", "1 value that is NaN or infinite"),
    "wrong shape": ("G23", "(5, 3, 1)"),
    "flat": ("G23", "(12,)"),
    "no y": ("G22", "no arrays"),
    "no dx": ("G22", "y, dgamma, dbeta"),
    "no dgamma": ("G13", "an error of 1.0e+00"),
    "integers": ("G23", "int64"),
    "half for float32": ("G23", "float16"),
    "bytes in another order": ("G16", "of the largest y between calls with and without a gradient"),
    "big endian": ("G23", "the highest byte first"),
    "error": ("G20", "error: no such thing"),
    "empty error": ("G20", "error: no words"),
    "crash": ("G25", "signal SIGABRT"),
    "crash now and then": ("G25", "signal SIGABRT"),
    "one shot": ("G25", "exit status 3"),
    "exits at once": ("G25", "exit status 1, last output: cannot open model.bin"),
    "refuses": ("G26", "no license"),
    "short once": ("G25", "where an answer begins with ok or error"),
    "blank line": ("G25", "an empty line, where an answer begins with ok or error"),
    "no shape": ("G25", "`y=float32`, which is not an array such as y=float64[4,3]"),
    "y twice": ("G25", "y twice in one answer"),
    "two kinds": ("G25", "kind twice in one answer"),
    "fixed n": ("G23", "(5, 3, 2)"),
    "hello for ever": ("G22", "no arrays"),
    "out of order": ("G25", "in place 1"),
    "says and exits": ("G25", "exit status 0, after 1 line that cannot be an answer"),
    "exits after an answer": ("G25", "exit status 0"),
    "huge line": ("G25", "a line of more than 65536 bytes"),
    "huge array": ("G25", "which announces more than 1 GiB"),
    "unknown dtype": ("G25", "y of the unknown dtype float99"),
    "bad word": ("G25", "`y=float32[5,,3,2]`, which is not an array such as y=float64[4,3]"),
    "prints": ("G25", "`step 1 of 10`, where an answer begins with ok or error"),
    "prints binary": ("G25", "where an answer begins with ok or error"),
    "noise without end": ("G25", "a line of more than 1048576 bytes"),
    "lines without end": ("G25", "more than 1 MiB before its first answer"),
    "other state": ("G23", "float64[4]"),
    "no sample": ("G26", "no sample"),
    "bad kind": ("G26", "kind=batchnorm"),
    "bad sample": ("G26", "sample=3,x"),
    "huge sample": ("G26", "sample=3,100000"),
    "bad params": ("G26", "params=5"),
    "bad dtypes": ("G26", "dtypes=float128"),
    "no dtypes": ("G26", "no dtypes"),
    "half only": ("G26", "dtypes=bfloat16"),
    "bad gamma": ("G26", "gamma=no"),
    "bad groups": ("G26", "groups=3"),
    "protocol 2": ("G26", "protocol=2"),
}


SURPLUS = ("long", "answers twice", "newline at the end", "text mode")
"""Programs that write more than an answer."""

SOUND_AFTER = 3


@pytest.fixture(scope="module")
def faulty() -> list[Record]:
    """Records of all of them, in one run, with a sound program after each third fault."""
    jobs = [job(fault, quick=True, target=fault) for fault in [*FAULTY, *SURPLUS]]
    places = range(len(jobs), 0, -SOUND_AFTER)
    for place in places:
        jobs.insert(place, job("", quick=True, target="last"))
    return list(audit_jobs(jobs, seconds=60.0))


@pytest.mark.parametrize("fault", FAULTY)
def test_a_fault_is_told_and_never_passed(fault: str, faulty: list[Record]) -> None:
    """With one finding that says what came."""
    code, got = FAULTY[fault]
    records = [one for one in faulty if one.target in (fault, f"{fault} (eval)")]
    assert records
    for record in records:
        assert codes(record) == [code]
        assert got in record.findings[0].got
        assert record.sound is not True


def test_the_program_after_a_faulty_one_is_audited(faulty: list[Record]) -> None:
    """Whatever the one before has done."""
    others = [record for record in faulty if record.target == "last"]
    assert len(others) > len(FAULTY) // SOUND_AFTER
    assert all(record.sound for record in others)


@pytest.mark.parametrize("fault", SURPLUS)
def test_what_comes_after_an_answer_is_told(fault: str, faulty: list[Record]) -> None:
    """It would be taken for the answer to the next request."""
    records = [one for one in faulty if one.target in (fault, f"{fault} (eval)")]
    assert records
    for record in records:
        assert (codes(record), record.audited) == (["G25"], False)
        assert "after its answer to `call " in record.findings[0].what


SLOW = {
    "hang": "no answer",
    "hangs later": "no answer, after ",
    "silent": "no answer",
    "indented": "1 line that cannot be an answer, at the end ` ok kind=batch sample=3,2 params=3",
    "not flushed": "no answer",
    "short": "256 of the 264 bytes after its line `ok y=float32[5,3,2] ",
    "half a line": "`ok y=float32[5,3,2] dx=float32[5,3,2`, without the end of the line",
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("fault", SLOW)
def test_one_that_does_not_answer_in_time_is_told_with_what_came(fault: str) -> None:
    """Of an answer that is too short, how much of it is there."""
    (record,) = audited(fault, seconds=SHORT, quick=True)
    assert (codes(record), record.audited) == (["G21"], False)
    assert record.findings[0].got.startswith(SLOW[fault])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("fault", ["closes stdout", "closes stdout later"])
def test_one_that_closes_stdout_is_told(fault: str) -> None:
    """It is ended, though it goes on, and though hundreds of requests are on their way to it."""
    (record,) = audited(fault, quick=True)
    assert codes(record) == ["G25"]
    assert "speaking went on with a closed stdout, in place of an answer" in record.findings[0].what


def test_a_death_is_the_answer_to_one_request() -> None:
    """A program that dies of an empty batch is started again; its other probes do not notice."""
    whole, dying = audited("", "crash on empty")
    assert (dying.sound, codes(dying)) == (True, [])
    told = {probe.code: probe.what for probe in dying.probes}
    assert "it returns no gradient for an empty batch: " in told.pop("P46")
    same = {probe.code: probe.what for probe in whole.probes if probe.code != "P46"}
    assert set(told) == set(same)
    (note,) = set(dying.notes) - set(whole.notes)
    assert note.startswith("It ended with signal SIGABRT in place of an answer to `call train x=fl")


def test_other_facts_after_a_death_are_a_finding() -> None:
    """A verdict is not made of two versions of a program."""
    (record,) = audited("other facts")
    (found,) = record.findings
    assert (record.sound, found.code) == (True, "C01")
    assert ": version=" in found.got


def test_what_cannot_be_executed_is_told(tmp_path: Path) -> None:
    """The system says that a script is not there where its interpreter is meant."""
    texts = {"dos": "#!/bin/sh\r\n", "bare": "echo ok\n"}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode())
        (tmp_path / name).chmod(0o755)
    jobs = [AuditJob(name, program=(str(tmp_path / name),), quick=True) for name in texts]
    dos, bare = audit_jobs(jobs)
    assert (codes(dos), codes(bare)) == (["G27"], ["G27"])
    assert "names an interpreter that is not there, '/bin/sh\\r'" in dos.findings[0].what
    assert "neither a program of this machine nor a script" in bare.findings[0].what


def test_a_death_in_a_probe_that_expects_an_answer_is_a_finding() -> None:
    """Where no probe takes it for a refusal."""
    (record,) = audited("crash on large")
    assert (record.sound, codes(record)) == (True, ["C01"])
    assert record.findings[0].got.startswith("precision, scales: signal SIGABRT")
    assert record.probes[-1].code == "P91"


def test_a_probe_that_hangs_costs_only_itself() -> None:
    """A new process is started for the next one."""
    (record,) = audited("hang on empty", seconds=SHORT)
    assert (record.sound, codes(record)) == (True, ["C02"])
    assert record.findings[0].got == "empty batch: no answer"
    assert record.probes[-1].code == "P91"


def test_a_process_that_is_left_is_ended_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for targets in Python."""
    pids = tmp_path / "pids"
    monkeypatch.setenv("BACKNORM_TEST_PIDS", str(pids))
    (record,) = audited("leaves a process", quick=True)
    assert record.sound
    assert "It left 1 process running, which the audit ended." in record.notes
    started = pids_in(pids)
    assert len(started) == 2
    assert_gone(started)


def test_a_program_ends_when_the_command_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it has started, though it hangs and reads nothing."""
    pids = tmp_path / "pids"
    monkeypatch.setenv("BACKNORM_TEST_PIDS", str(pids))
    words = ["-m", "backnorm", "audit", "--quick", "--program", command("leaves and hangs")]
    audit = subprocess.Popen([sys.executable, *words])
    assert wait_until(lambda: len(pids_in(pids)) == 2)
    children = [process.pid for process in psutil.Process(audit.pid).children(recursive=True)]
    audit.send_signal(signal.SIGKILL)
    audit.wait()
    assert set(pids_in(pids)) <= set(children)
    assert_gone(children)


def test_a_state_that_changes_in_evaluation_is_found() -> None:
    """The state goes with each request and comes back with each answer."""
    (record,) = audited("state")
    assert codes(record) == ["S04", "S06"]


def test_half_precision_is_measured_where_it_is_offered() -> None:
    """bfloat16, which NumPy does not have, goes and comes as its bytes."""
    (record,) = audited("half")
    told = {probe.code: probe.what for probe in record.probes}
    assert "float16" in told["P62"]
    assert "bfloat16" in told["P62"]
    assert {"bfloat16", "float16"} <= {point.dtype for point in record.precision}


ROUND_TRIP = 0.020
MOST_SECONDS = 30.0


class FarAway:
    """A child whose answers come one round trip after their requests, by a clock of its own."""

    def __init__(self) -> None:
        self.wire = LineWire()
        self.seconds = 0.0
        self.calls = 0
        self.coming: list[tuple[float, Mapping[str, Any]]] = []
        self.ahead = ""

    def post(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Send requests, one after the other at once."""
        self.calls += len(messages)
        self.coming += [(self.seconds + ROUND_TRIP, message) for message in messages]

    def answer(self, _: float) -> dict[str, Any]:
        """Wait for the next answer."""
        arrival, message = self.coming.pop(0)
        self.seconds = max(self.seconds, arrival)
        if message["line"].startswith("hello"):
            words = {"kind": "batch", "sample": "3,2,2", "params": "3", "dtypes": "float32,float64"}
            return {"words": words, "arrays": {}}
        pair = {name: np.array(value) for name, value in message["arrays"].items()}
        y, cache = Plain().forward(pair["x"], pair["gamma"], pair["beta"])
        arrays = {"y": y}
        if "dy" in pair:
            arrays |= dict(
                zip(("dx", "dgamma", "dbeta"), Plain().backward(pair["dy"], cache), strict=True)
            )
        return {"words": {}, "arrays": arrays}


def test_a_program_far_away_waits_for_few_round_trips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick audit with 20 ms a round trip: requests that do not depend on each other go on."""
    child = FarAway()
    monkeypatch.setattr(Program, "start", lambda _, __: child)
    host = Host(Program(("ssh", "box", "./norm"), AuditRequest(modes="both")), "far away", 60.0)
    (both,) = host.subjects(lambda _: None)
    record = conduct(both, None, 0, quick=True, at_work=lambda _: None)
    assert record.sound
    assert child.calls * ROUND_TRIP > MOST_SECONDS
    # Two modes that differ are audited one after the other.
    assert 2 * child.seconds < MOST_SECONDS / 2


def test_a_whole_audit_waits_for_few_round_trips_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probes of inputs send all points of an input together."""
    child = FarAway()
    monkeypatch.setattr(Program, "start", lambda _, __: child)
    host = Host(Program(("ssh", "box", "./norm"), AuditRequest(modes="both")), "far away", 60.0)
    (both,) = host.subjects(lambda _: None)
    assert conduct(both, None, 0, quick=False, at_work=lambda _: None).sound
    assert child.seconds < MOST_SECONDS / 3
    assert child.calls * ROUND_TRIP > MOST_SECONDS


def test_the_answers_of_many_requests_are_read_while_they_are_written() -> None:
    """More than both pipes hold, from a program that reads on only when its answer is taken."""
    program = Program((sys.executable, str(FILE)), AuditRequest(modes="both"))
    host = Host(program, "speaking", 60.0)
    rng = np.random.default_rng(0)
    x, one = rng.standard_normal((500, 3, 2)), np.ones(3)
    try:
        subject = host.subjects(lambda _: None)[0]
        host.begin()
        outputs = list(subject.forwards([(x + k, one, one) for k in range(100)]))
    finally:
        host.kill()
    assert len(outputs) == 100
    assert all(y.shape == x.shape for y in outputs)


def test_of_requests_that_fail_the_first_raises_and_the_next_is_answered() -> None:
    """A program keeps its order: what was asked beyond the error is read too."""
    program = Program((sys.executable, str(FILE)), AuditRequest(modes="both"))
    host = Host(program, "speaking", 60.0)
    x, one = np.random.default_rng(0).standard_normal((4, 3, 2)), np.ones(3)
    try:
        subject = host.subjects(lambda _: None)[0]
        host.begin()
        calls = [(x, one, one), (x[:, :, 0], one, one), (x, one, one)]
        with pytest.raises(SubjectError, match="x must have three axes"):
            list(subject.forwards(calls))
        assert subject.forward(x, one, one).shape == x.shape
    finally:
        host.kill()


def run(*arguments: str) -> tuple[int, str, str]:
    """Run backnorm audit."""
    result = CliRunner().invoke(main, ["audit", *arguments])
    return result.exit_code, result.stdout, result.stderr


def command(fault: str) -> str:
    """Return the command of a program with a fault."""
    return f"{sys.executable} {FILE} '{fault}'"


def test_the_command_takes_programs() -> None:
    """Status 0, 1 and 2 as for other targets; a name and a version of their own are shown."""
    assert run("--quick", "--program", command("named"))[0] == 0
    status, out, _ = run(
        "--quick", "--program", command("named"), "--program", command("cut variance")
    )
    assert status == 1
    assert "their.norm" in out
    status, out, _ = run("--quick", "--program", command("crash"), "--program", command("named"))
    assert status == 2
    assert "1 layer audited: 1 sound. 1 layer could not be audited." in out


def test_the_command_makes_controls_of_programs() -> None:
    """The audit finds a program's own gradient where it is cut."""
    status, out, _ = run("--control", "--program", command("named"))
    assert status == 0
    assert "D + M" in out


REFUSED = {
    ("--program", "./no-such-program"): "Cannot start ./no-such-program: there is no such program",
    ("--program", ""): "The command '' cannot be read: nothing.",
    ("--program", "norm 'half"): "The command norm 'half cannot be read: No closing quotation.",
    ("--library", "libnorm.so"): "libnorm.so must be FILE:FUNCTION",
    ("--library", "./none.so:norm"): "./none.so:norm must be FILE:FUNCTION",
    ("--program", "true", "--python", sys.executable): "--python cannot be used with --program",
    ("--program", "true", "--args", "[4]"): "--args cannot be used with --program",
    ("--program", "true", "x.py:Y", "--model"): "--model cannot be used with --program",
    ("--program", "true", "engine"): "engine cannot be used with --program and --library",
}


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_a_wrong_command_is_refused_at_once(words: tuple[str, ...]) -> None:
    """In one line, with status 2."""
    status, out, said = run(*words)
    assert (status, out) == (2, "")
    assert REFUSED[words] in said
    assert "Traceback" not in said


def test_a_program_that_says_nothing_and_exits_is_told() -> None:
    """Such as a command that is no program of the protocol."""
    status, out, _ = run("--quick", "--program", "true")
    assert status == 2
    assert "true ended with exit status 0, in place of an answer to `hello 1`" in " ".join(
        out.split()
    )


DTYPES = ("float64", "float32", "int64", "bool")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)], ids=str)
def test_arrays_come_back_as_they_were_sent(dtype: str, shape: tuple[int, ...]) -> None:
    """Also without axes, and without values."""
    sent = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    answer = LineWire().read(io.BufferedReader(io.BytesIO(pack_line("ok a=1", {"y": sent}))))
    assert answer["words"] == {"a": "1"}
    assert answer["arrays"]["y"].dtype == dtype
    np.testing.assert_array_equal(answer["arrays"]["y"], sent)


def test_bfloat16_is_rounded_to_even() -> None:
    """Its bytes are the upper half of float32: 1 + 2**-8 lies in the middle, and 1 is even."""
    values = np.array([1.0, 1 + 2.0**-8, 1 + 3 * 2.0**-8, -2.5], np.float32)
    pipe = io.BytesIO(pack_line("ok", {"y": (values, "bfloat16")}))
    read = LineWire().read(io.BufferedReader(pipe))["arrays"]["y"]
    np.testing.assert_array_equal(read, np.array([1.0, 1.0, 1 + 2.0**-6, -2.5], np.float32))


def test_a_line_that_is_no_answer_is_out_of_step() -> None:
    """After the first answer nothing is skipped."""
    wire, pipe = LineWire(), io.BufferedReader(io.BytesIO(b"noise\nok a=1\nnoise\n"))
    assert wire.read(pipe) == {"words": {"a": "1"}, "arrays": {}}
    assert wire.noise == ["noise"]
    with pytest.raises(OutOfStep, match="`noise`, where an answer begins with ok or error"):
        wire.read(pipe)
