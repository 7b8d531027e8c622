"""What the server that processes are forked from imports first (`starting`). Nothing else does: it changes the process.

A cluster that wants a job to end sends SIGTERM to all of its processes. The main process alone answers it; would the
server, every worker would end with it, and the videos that they were reading be blamed.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
