"""uTP: reliable ordered streams over UDP (BEP 29) that yield to other traffic (LEDBAT, RFC 6817)."""
