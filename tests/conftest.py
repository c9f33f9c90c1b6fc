"""Settings that every test shares."""

import os

from hypothesis import HealthCheck, settings

# Machines that run the tests differ widely in speed: a slow draw or example is no failure.
settings.register_profile("airtune", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("airtune")

# Tiny models are fastest on one thread, and tests run side by side. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
