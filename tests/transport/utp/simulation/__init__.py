"""A network that exists only in numbers, and uTP multiplexers that talk over it.

Nothing here opens a socket, starts a thread or reads a clock: time is a number that jumps from event to event, and
everything that is left to chance comes from one seed, so a run that fails can be had again exactly::

    python -m tests.transport.utp.simulation --seed 1234 --trace

From the bottom to the top: ``clockwork`` (virtual time), ``link`` (one direction of a path, and what it does to
packets), ``node`` (a multiplexer with its clock and its kernel), ``network`` (nodes and the links between them),
``application`` (what writes, reads and closes), ``scenario`` (a seed turned into all of these, run and judged).
``pair`` is two nodes for tests that say themselves what happens, ``scripted`` a peer whose every packet a test writes,
``mesh`` many nodes that all connect to each other; the tests are beside them. Many seeds at once, in two processes::

    python -m tests.transport.utp.simulation --seed 0 --count 20000 --processes 2
"""
