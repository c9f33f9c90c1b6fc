"""What one process tells another about its run arrives in order, each thing once."""

from airtune.federation.progress import ProgressReader, ProgressWriter
from airtune.observer import Observer


class Listener(Observer):
    def __init__(self) -> None:
        self.heard: list[tuple] = []

    def on_start(self, event, rounds_done) -> None:
        self.heard.append(("start", event, rounds_done))

    def on_plan(self, number, rates) -> None:
        self.heard.append(("plan", number, rates))

    def on_client(self, number, client, loss) -> None:
        self.heard.append(("client", number, client, loss))

    def on_round(self, event) -> None:
        self.heard.append(("round", event))


def test_all_that_is_told_is_heard_once(tmp_path):
    file, listener = tmp_path / "progress", Listener()
    writer, reader = ProgressWriter(file), ProgressReader(file, listener)
    reader.read()  # nothing there yet
    writer.on_start({"loss": 5.5}, 2)
    writer.on_client(3, "ü\n", 0.1)
    reader.read()
    reader.read()
    assert listener.heard == [("start", {"loss": 5.5}, 2), ("client", 3, "ü\n", 0.1)]
    writer.on_plan(4, {"a": (1e6, 2e6)})
    writer.on_round({"round": 3})
    assert not reader.over
    writer.finished()
    reader.read()
    assert listener.heard[2:] == [("plan", 4, {"a": [1e6, 2e6]}), ("round", {"round": 3})]
    assert reader.over
    assert reader.failure is None


def test_half_a_line_waits_for_its_end(tmp_path):
    file, listener = tmp_path / "progress", Listener()
    reader = ProgressReader(file, listener)
    file.write_bytes(b'["on_client", 1, "a", 0.5]\n["on_cli')
    reader.read()
    with file.open("ab") as opened:
        opened.write(b'ent", 1, "b", 0.25]\n')
    reader.read()
    assert listener.heard == [("client", 1, "a", 0.5), ("client", 1, "b", 0.25)]


def test_a_failure_tells_its_reason(tmp_path):
    file = tmp_path / "progress"
    reader = ProgressReader(file, Observer())
    ProgressWriter(file).failed("no data")
    reader.read()
    assert (reader.over, reader.failure) == (True, "no data")
