"""Nodes started by hand: what is refused, what is started, what comes back, and that they end with us."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flwr.common.config import parse_config_args
from superlink import marked

from airtune.cli import main
from airtune.federation import commands, node
from airtune.federation.warm_node import search_path, write_warm_start

TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"
KEY = "--auth-supernode-private-key"
START = ["node", str(TINY), "--client", "fast-0", "--superlink", "127.0.0.1:9"]


@pytest.fixture
def airtune(monkeypatch, capfd):
    """`airtune("node", …)`: (exit status, standard output, standard error)."""
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["airtune", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capfd.readouterr()

    return call


def new_key(file: Path, kind: str, passphrase: str) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", file], check=True)


@pytest.fixture(scope="module")
def wrong_files(tmp_path_factory):
    """A folder of files that are none of those asked for: a key of another kind, one with a passphrase."""
    folder = tmp_path_factory.mktemp("wrong")
    for kind, passphrase in (("ed25519", ""), ("ecdsa", "secret")):
        new_key(folder / kind, kind, passphrase)
    (folder / "text").write_text("name: nano\n")
    return folder


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--client fast", "--client: found 'fast', expected one of slow-0, slow-1, fast-0, fast-1"),
        ("--superlink http://x:1", "--superlink: found 'http://x:1', expected HOST:PORT"),
        ("--superlink 9092", "--superlink: found '9092', expected HOST:PORT"),
        ("--superlink -x:90", "--superlink: found '-x:90', expected HOST:PORT"),
        ("--superlink x:0", "--superlink: found 'x:0', expected HOST:PORT"),
        ("--root-certificates gone", "gone: found No such file or directory, expected certificates"),
        ("--root-certificates text", "text: found something else, expected certificates"),
        (f"{KEY} gone", "gone: found No such file or directory, expected a private key"),
        (f"{KEY} text", "text: found something else, expected a private key"),
        (f"{KEY} ed25519", "ed25519: found a key of another kind, expected a private key"),
        (f"{KEY} ecdsa", "ecdsa: found something else, expected a private key"),
        ("--insecure --root-certificates text", "--insecure: found --insecure beside a certificate or key"),
        (f"--insecure {KEY} text", "--insecure: found --insecure beside"),
        ("--insecure --data gone", "gone: found nothing, expected a folder with train.jsonl and test.jsonl"),
        ("--insecure --profile gone", "gone: found No such file or directory, expected a device profile"),
        ("--insecure --profile text", "text: throughput: found nothing, expected a value"),
        ("--insecure --noise-key text", "text: found 11 bytes, expected a secret of 32 bytes or more"),
    ],
)
def test_mistakes_are_one_line_and_start_nothing(options, complaint, airtune, wrong_files, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.chdir(wrong_files)
    status, out, err = airtune(*START, *options.split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"airtune: {complaint}")


@pytest.fixture
def supernode(tmp_path):
    """A command in the SuperNode's place: says where it looks for others and how it was called, and ends."""
    file = tmp_path / "supernode"
    file.write_text('#!/bin/sh\necho "$PATH"\nprintf "<%s>" "$@"\nexit ${STATUS:-7}\n')
    file.chmod(0o700)
    return str(file)


@pytest.mark.parametrize("status", [0, 7])
def test_what_is_started_and_what_its_end_is(status, supernode, airtune, tmp_path, monkeypatch, request):
    monkeypatch.setenv("STATUS", str(status))
    temporary, secret = tmp_path / "temporary", tmp_path / "a 'noise' \"key\""
    temporary.mkdir()
    secret.write_bytes(bytes(32))
    monkeypatch.setattr(commands, "flower_command", lambda name: supernode)
    monkeypatch.setattr(node, "warm", lambda folder, command: command)  # which takes seconds to load
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = signal.getsignal(signal.SIGTERM)
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, before))
    found, out, err = airtune(*START, "--insecure", "--noise-key", secret)
    assert found == status
    assert ("clock right?" in err) == (status == 0)  # Flower gives no reason then
    assert list(temporary.iterdir()) == []
    *_, last = out.splitlines()
    options = last.strip("<>").split("><")
    assert options[:3] == ["--insecure", "--superlink", "127.0.0.1:9"]
    config = parse_config_args([options[options.index("--node-config") + 1]])
    assert config == {"partition-id": 2, "num-partitions": 4, "noise-key": str(secret)}


def test_with_a_gpu_a_node_is_a_plain_one(supernode, tmp_path):
    """Flower has to find its own command for clients then."""
    write_warm_start(tmp_path, TINY.read_text())
    code = (
        "import torch; torch.cuda.is_available = lambda: True\n"
        "from airtune.federation.warm_node import main; main()"
    )
    command = [sys.executable, "-c", code, str(tmp_path), supernode, "one option"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    first, path, called = done.stdout.splitlines()
    assert first.startswith("a plain node, ")
    assert str(search_path(tmp_path)) not in path.split(os.pathsep)
    assert called == "<one option>"


def test_a_registered_node_that_believes_the_systems_authorities(tmp_path):
    new_key(tmp_path / "key", "ecdsa", "")
    found = node.Connection("[::1]:9092", private_key=tmp_path / "key").options()
    assert found == [KEY, str(tmp_path / "key")]


# -- Real SuperNodes, which look for their SuperLink ----------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_node_that_is_stopped(stop, tmp_path, request):
    mark = f"airtune-test-{os.getpid()}-{stop}"
    command = [sys.executable, "-m", "airtune.cli", *START, "--insecure"]
    own = {"AIRTUNE_TEST": mark, "TMPDIR": str(tmp_path)}
    # Shells have jobs in the background ignore SIGINT, and so would all that these start.
    default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    started = subprocess.Popen(command, env=os.environ | own, preexec_fn=default)
    request.addfinalizer(started.kill)
    while len(marked(mark)) < 5 and started.poll() is None:  # itself, keeper, warm node, SuperNode, SuperExec
        time.sleep(0.2)
    started.send_signal(stop)
    assert started.wait(timeout=30) == (-stop if stop == signal.SIGKILL else 128 + stop)
    latest = time.monotonic() + (20 if stop == signal.SIGKILL else 0)
    while (marked(mark) or any(tmp_path.iterdir())) and time.monotonic() < latest:
        time.sleep(0.2)
    assert marked(mark) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_warm_node_that_has_no_data_ends_in_one_line(tmp_path):
    wrong = tmp_path / "scenario.yaml"
    wrong.write_text(TINY.read_text().replace("tiny.jsonl", "gone.jsonl"))
    command = [sys.executable, "-m", "airtune.cli", "node", str(wrong), *START[2:], "--insecure"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("airtune: "))
    assert "gone.jsonl" in line
    assert "Traceback" not in done.stderr
