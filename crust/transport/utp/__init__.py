"""uTP: reliable ordered streams over UDP (BEP 29) that yield to other traffic (LEDBAT, RFC 6817).

::

    with UtpSocket(("127.0.0.1", 0)) as sock:
        stream = sock.connect(("127.0.0.1", port), timeout=5.0)  # or sock.accept(timeout=...)
        stream.sendall(b"hello")
        stream.shutdown()
        answer = stream.recv(65536)  # b"" after the peer's FIN
        stream.close()
"""

from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.stats import UtpStats
from crust.transport.utp.stream import UtpStream
from crust.transport.utp.utp_socket import UtpSocket

__all__ = ["UtpSettings", "UtpSocket", "UtpStats", "UtpStream"]
