"""What all tests need of the process they run in."""

from __future__ import annotations

import signal

from hypothesis import settings

# Every run draws the same examples, so that a change is judged by what it changes; --hypothesis-profile=explore draws
# new ones. No deadlines: a busy machine is no defect.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeatable")

# A shell that starts a job in the background lets it ignore SIGINT, and every process the tests start would inherit
# that: the tests that press Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
