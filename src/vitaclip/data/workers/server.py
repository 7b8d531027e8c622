"""What the server that processes are forked from imports first (see `worker`). Nothing else does: it changes signals.

A cluster that wants a job to end sends SIGTERM to all of its processes, a terminal SIGINT for Ctrl-C and SIGHUP when
it is closed. Only the main process handles them. If the fork server handled them too, all workers would die and the
videos they were decoding would be marked as bad. Workers inherit this, so they are safe from their first moment on.
"""

import signal

for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
