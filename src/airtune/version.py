"""The version of this package, as events and `airtune version` name it."""

__version__ = "0.1.0"
