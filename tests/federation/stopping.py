"""An observer that stops a run, as tests of going on need it."""

from airtune.observer import Observer


class Stop(Observer):
    """Stops the run as Ctrl-C does, after a round."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_round(self, event) -> None:
        if event["round"] == self.after:
            raise KeyboardInterrupt
