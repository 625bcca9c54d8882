"""`python app.py` as its users meet it: options, signals, exit codes, exact resume, real kills."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from quadra import TrainingConfig, TrainingState
from quadra.cli.serve_options import parse
from quadra.storage.pending_save import TIMEOUT
from tests.helpers.server import ROOT, Client, Server, refused_start, warm_server
from tests.helpers.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--port", "none"], "--port"),
        (["--port", "70000"], "--port"),
        (["--save-every", "-1"], "--save-every"),
        (["--pace", "0"], "--pace"),
        (["--pace", "nan"], "--pace"),
        (["--field-size", "1"], "field_size"),
        (["--seed", "-4"], "seed"),
        (["--threads", "0"], "threads"),
        (["--device", "tpu"], "device"),
        (["--corpus", "/no/such/file"], "/no/such/file"),
        (["--log-format", "xml"], "--log-format"),
        (["--log-file", "/no/such/folder/server.log"], "--log-file"),
        (["--no-such-option"], "--no-such-option"),
        (["--host", "256.1.1.1"], "256.1.1.1"),
        (["--token", "short"], "--token"),
        (["--allow-host", "http://lab.example"], "--allow-host"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_two(tmp_path: Path, options: list[str], named: str) -> None:
    assert named in refused_start(tmp_path, *options)


def test_a_bad_environment_variable_is_refused_too(tmp_path: Path) -> None:
    assert "QUADRA_PACE" in refused_start(tmp_path, environment={"QUADRA_PACE": "slow"})
    assert "QUADRA_RESUME" in refused_start(tmp_path, environment={"QUADRA_RESUME": "perhaps"})


def test_who_may_come_in_is_named_by_options_or_the_environment() -> None:
    environment = {
        "QUADRA_TOKEN": "from the environment",
        "QUADRA_ALLOW_HOST": "a.example, b.example",
        "QUADRA_PROXY": "1",
    }
    told = parse([], environment)
    assert (told.token, told.allow_host, told.proxy) == ("from the environment", ["a.example, b.example"], True)
    told = parse(["--token", "given", "--allow-host", "c.example", "--allow-host", "d.example"], environment)
    assert (told.token, told.allow_host) == ("given", ["c.example", "d.example"])
    told = parse([], {})
    assert (told.token, told.watch_token, told.proxy) == (None, None, False)


def test_a_server_that_others_can_reach_asks_for_the_token_that_its_terminal_shows(tmp_path: Path) -> None:
    with warm_server(tmp_path / "state", "--host", "0.0.0.0") as server:
        link = server.wait_for("127.0.0.1").split()[-1]
        assert link.startswith(server.url.replace("0.0.0.0", "127.0.0.1") + "/?token=")
        assert server.get("/api/status")["error"]["code"] == "token_required"
        sent = {"Authorization": f"Bearer {link.partition('=')[2]}"}
        with urllib.request.urlopen(urllib.request.Request(f"{server.url}/api/status", headers=sent)) as answer:
            assert json.load(answer)["role"] == "operator"


def test_a_corpus_without_a_line_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n  \n")
    assert "no line" in refused_start(tmp_path, "--corpus", str(empty))


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "in use" in refused_start(tmp_path, "--port", str(taken.getsockname()[1]))


def test_a_folder_that_another_server_holds_is_refused_with_its_process_number(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with warm_server(folder) as server:
        second = subprocess.run(
            [sys.executable, str(ROOT / "app.py"), "--port", "0", "--state-dir", str(folder)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert second.returncode == 2
        assert f"process {server.process.pid}" in second.stderr


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    result = subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "--port", "0", "--state-dir", str(file)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert file.read_text() == "mine"


def test_the_command_line_wins_over_the_environment(tmp_path: Path) -> None:
    environment = {"QUADRA_FIELD_SIZE": "12", "QUADRA_SEED": "5"}
    with warm_server(tmp_path / "state", "--seed", "6", environment=environment) as server:
        status = server.get("/api/status")
    assert (status["field_size"], status["seed"]) == (12, 6)


@contextmanager
def training_unsaved(folder: Path) -> Iterator[Server]:
    """A server that trains at full speed and has saved nothing yet."""
    with warm_server(folder, "--pace", "max", "--save-every", "0", "--field-size", "8") as server:
        with Client(server.url) as client:
            client.ask("initialize_system")
            client.ask("start_training")
            client.wait_for("metrics_update")
        yield server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_finishes_saves_and_exits_zero(tmp_path: Path, number: int) -> None:
    with warm_server(tmp_path / "state", "--pace", "max", "--save-every", "0", "--field-size", "8") as server:
        with Client(server.url) as client:
            client.ask("initialize_system")
            client.ask("start_training")
            shown = client.wait_for("metrics_update", lambda payload: payload["iteration"] >= 20)["iteration"]
        assert server.end(number) == 0
    saved = [line for line in server.lines if "State saved" in line]
    assert len(saved) == 1
    with TrainingState(tmp_path / "state") as state:
        assert state.load_state()
        assert f"✓ State saved: {state.iteration_count} iterations" in saved
        assert state.iteration_count >= shown


def commands_of_children(server: Server) -> dict[int, str]:
    """What the processes beside a server were told to do, by their numbers."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == server.process.pid:
                found[int(stat.parent.name)] = command_of(int(stat.parent.name))
    return found


def command_of(process: int) -> str:
    """The command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""


def writer_process_of(server: Server) -> int:
    """The process that writes saves for a server."""
    return next(pid for pid, command in commands_of_children(server).items() if "writer_process" in command)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told apart by /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, 1)])
def test_a_signal_to_the_process_that_writes_saves_ends_the_server_saved_and_the_folder_free(
    tmp_path: Path, number: int, code: int
) -> None:
    with warm_server(tmp_path / "state", "--pace", "max", "--field-size", "8") as server:
        with Client(server.url) as client:
            client.ask("initialize_system")
            client.ask("start_training")
            shown = client.wait_for("metrics_update", lambda payload: payload["iteration"] >= 50)["iteration"]
        os.kill(writer_process_of(server), number)
        assert server.process.wait(PATIENCE) == code, server.lines
    with TrainingState(tmp_path / "state") as state:
        assert state.load_state()
        assert state.iteration_count >= shown


@pytest.mark.all
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told apart by /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_proof_ends_with_its_server_and_the_next_start_clears_away_what_it_left(tmp_path: Path, number: int) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    options, environment = ("--field-size", "8"), {"TMPDIR": str(scratch)}
    with warm_server(tmp_path / "state", *options, environment=environment) as server, Client(server.url) as client:
        client.ask("initialize_system")
        client.ask("start_training", {"until": 5})
        client.wait_for("training_status", lambda payload: payload["iteration_count"] == 5 and not payload["running"])
        client.tell("prove_state", {"id": server.get("/api/status")["run"], "iterations": 1000})
        wait_until(lambda: any("prove" in command for command in commands_of_children(server).values()))
        proof = next(pid for pid, command in commands_of_children(server).items() if "prove" in command)
        server.end(number)
    wait_until(lambda: "prove" not in command_of(proof))
    assert list(scratch.iterdir()) != []
    with warm_server(tmp_path / "state", *options, environment=environment):
        wait_until(lambda: list(scratch.iterdir()) == [])


@pytest.mark.all
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told apart by /proc")
def test_a_server_that_was_stopped_for_longer_than_a_disk_may_take_does_not_blame_the_disk(tmp_path: Path) -> None:
    with warm_server(tmp_path / "state", "--pace", "max", "--field-size", "8", "--resume") as server:
        server.wait_for("State saved")
        writer = writer_process_of(server)
        os.kill(writer, signal.SIGSTOP)
        wait_until(lambda: server.get("/api/status")["save_health"]["waiting"])
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(TIMEOUT)
        server.process.send_signal(signal.SIGCONT)
        server.get("/api/status")
        os.kill(writer, signal.SIGCONT)
        for _ in range(3):
            server.wait_for("State saved")
        assert server.end() == 0
    assert [line for line in server.lines if "Failed" in line] == []


def test_a_signal_whose_save_fails_exits_one_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with training_unsaved(folder) as server:
        (folder / ".metrics_history.pkl.tmp").mkdir()  # root may write anywhere, but not a file where a folder stands
        assert server.end() == 1
    assert any(line.startswith("✗ Failed to save state: ") for line in server.lines)
    assert any("could not be saved" in line for line in server.lines)


def test_a_second_ctrl_c_ends_at_once_even_while_the_disk_hangs(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with training_unsaved(folder) as server:
        os.mkfifo(folder / ".metrics_history.pkl.tmp")  # opening it waits for a reader that never comes
        server.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1.0)
        assert server.end(signal.SIGINT) == 130


def test_every_saved_line_is_true_at_that_instant(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with (
        warm_server(folder, "--pace", "40", "--field-size", "8", "--seed", "3") as server,
        Client(server.url) as client,
    ):
        client.ask("initialize_system")
        client.ask("start_training", {"until": 60})
        for _ in range(3):
            said = int(server.wait_for("State saved").split()[3])
            weights = torch.load(folder / "oscillator_weights.pth", weights_only=True)
            assert weights["iteration_count"] >= said


def test_a_killed_server_loses_at_most_ten_iterations_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    options = ("--pace", "max", "--field-size", "8", "--seed", "3")
    with warm_server(tmp_path / "killed", *options) as server, Client(server.url) as client:
        client.ask("initialize_system")
        client.ask("start_training")
        client.wait_for("metrics_update", lambda payload: payload["iteration"] > 30)
        server.process.kill()
        server.process.wait(PATIENCE)
        shown = max(payload["iteration"] for payload in client.payloads("metrics_update"))
    with warm_server(tmp_path / "killed", *options) as server, Client(server.url) as client:
        restored = client.ask("load_state")["iteration_count"]
        assert restored >= shown - 10
        goal = restored + 50
        client.ask("start_training", {"until": goal})
        client.wait_for(
            "training_status", lambda payload: payload["iteration_count"] == goal and not payload["running"]
        )
        assert server.end() == 0
    assert_same_state(tmp_path / "killed", plain_run(tmp_path / "whole", goal))


@pytest.mark.long
def test_exact_resume_through_the_command_line(tmp_path: Path) -> None:
    options = ("--pace", "max", "--seed", "11", "--field-size", "30")
    for start, goal in (("initialize_system", 100), ("load_state", 200)):
        with Server(tmp_path / "parts", *options) as server, Client(server.url) as client:
            assert client.ask(start)["ok"]
            client.ask("start_training", {"until": goal})
            client.wait_for("training_status", lambda p, goal=goal: p["iteration_count"] == goal and not p["running"])
            assert server.end() == 0
    assert_same_state(tmp_path / "parts", plain_run(tmp_path / "whole", 200, field_size=30, seed=11))


def test_resume_goes_on_by_itself_after_a_kill(tmp_path: Path) -> None:
    options = ("--pace", "max", "--field-size", "8", "--resume")
    with warm_server(tmp_path / "state", *options) as server:
        server.wait_for("State saved: ")
        server.wait_for("State saved: ")
        server.process.kill()
        server.process.wait(PATIENCE)
    last = max(int(line.split()[3]) for line in server.lines if "State saved" in line)
    with warm_server(tmp_path / "state", *options) as server:
        assert int(server.wait_for("State loaded").split()[3]) >= last
        server.wait_for("Training started")
        assert server.end() == 0


def test_a_number_of_hundreds_of_digits_is_refused_by_its_name(tmp_path: Path) -> None:
    with warm_server(tmp_path / "state") as server, Client(server.url) as client:
        for event, field in (("set_pace", "iterations_per_second"), ("initialize_system", "seed")):
            answer = client.ask(event, {field: 10**400})
            assert answer["error"]["code"] == "invalid_value"
            assert field in answer["error"]["message"]
        assert server.end() == 0
    assert not any("Traceback" in line for line in server.lines)


def test_training_goes_on_when_the_browser_is_closed(tmp_path: Path) -> None:
    with warm_server(tmp_path / "state", "--pace", "max", "--field-size", "8") as server:
        with Client(server.url) as client:
            client.ask("initialize_system")
            client.ask("start_training")
        before = server.get("/api/status")["iteration_count"]
        wait_until(lambda: server.get("/api/status")["iteration_count"] > before)
        assert server.get("/health")["running"] is True


def test_a_foreign_text_is_learned(tmp_path: Path) -> None:
    """A text that nobody here wrote: a licence, found at run time."""
    found = [*Path("/usr/share/common-licenses").glob("*"), *Path(sys.prefix).glob("lib/**/LICENSE*")]
    texts = [path for path in found if path.is_file() and path.stat().st_size > 5000]
    if not texts:
        pytest.skip("no licence text of a useful size is installed on this machine")
    with warm_server(tmp_path / "state", "--corpus", str(texts[0]), "--pace", "max", "--seed", "1") as server:
        with Client(server.url) as client:
            client.ask("initialize_system")
            client.ask("start_training", {"until": 300})
            client.wait_for(
                "training_status", lambda payload: payload["iteration_count"] == 300 and not payload["running"]
            )
        loss = server.get("/api/history")["loss"]
    assert 0.4 < loss[0] < 0.6
    assert sorted(loss[200:])[50] < 0.1


def plain_run(folder: Path, goal: int, field_size: int = 8, seed: int = 3) -> Path:
    """The same run in one go, without a server."""
    with TrainingState(folder, TrainingConfig(field_size=field_size, seed=seed)) as state:
        state.initialize()
        for _ in range(goal):
            state.step()
        state.save("stopped")
    return folder


def assert_same_state(one: Path, other: Path) -> None:
    """Weights, optimizer, Q-table, fields, generators and all four histories, to the bit."""
    with TrainingState(one) as first, TrainingState(other) as second:
        assert first.load_state()
        assert second.load_state()
        assert first.history.checksum() == second.history.checksum()
        assert_same(first.engine.state_dict(), second.engine.state_dict(), "state")


def assert_same(one: object, other: object, name: str) -> None:
    if isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor)
        assert torch.equal(one, other), name
    elif isinstance(one, dict):
        assert isinstance(other, dict)
        assert one.keys() == other.keys(), name
        for key in one:
            assert_same(one[key], other[key], f"{name}/{key}")
    else:
        assert one == other, name


NO_FOLDER_SYNC = """
import errno, os, stat

sync = os.fsync

def refuse_folders(descriptor):
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "Invalid argument")
    sync(descriptor)

os.fsync = refuse_folders
"""


def test_a_disk_that_cannot_sync_folders_is_told_once_at_the_start_and_by_the_status(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_FOLDER_SYNC)
    with warm_server(tmp_path / "state", "--seed", "1", environment={"PYTHONPATH": str(tmp_path)}) as server:
        with Client(server.url) as client:
            assert client.ask("initialize_system", {"field_size": 8})["ok"]
            assert client.ask("start_training", {"until": 20})["ok"]
        server.wait_for("State saved: 20")
        assert server.get("/api/status")["keeps_names"] is False
        assert server.end() == 0
        assert sum("cannot promise that names" in line for line in server.lines) == 1


# The system's own places for temporary files cannot be written.
NO_TEMPORARY_FOLDER = """
import os, tempfile

tempfile.tempdir = None
tempfile._candidate_tempdir_list = lambda: [os.environ.get("TMPDIR", "/proc/nothing")]
"""


def test_a_server_that_can_write_nothing_but_its_state_directory_trains_saves_and_sends_states(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_TEMPORARY_FOLDER)
    environment = {"PYTHONPATH": str(tmp_path), "TMPDIR": "/proc/nothing"}
    with warm_server(tmp_path / "state", "--seed", "1", environment=environment) as server:
        with Client(server.url) as client:
            assert client.ask("initialize_system", {"field_size": 8})["ok"]
            assert client.ask("start_training", {"until": 20})["ok"]
        server.wait_for("State saved: 20")
        run = server.get("/api/status")["run"]
        with urllib.request.urlopen(f"{server.url}/api/states/{run}/archive", timeout=PATIENCE) as answer:
            assert answer.read().startswith(b"PK")
        assert server.end() == 0
        assert not [line for line in server.lines if "Traceback" in line]
