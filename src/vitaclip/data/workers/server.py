"""What the server that processes are forked from imports first (see `worker`). Nothing else does: it changes signals.

A cluster that wants a job to end sends SIGTERM to all of its processes, and a terminal that is closed SIGHUP. Only the
main process handles them. If the fork server handled them too, all workers would die and the videos they were decoding
would be marked as bad.
"""

import signal

for name in ("SIGTERM", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
