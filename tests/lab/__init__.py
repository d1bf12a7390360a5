"""A network in one process's pocket: namespaces with hosts, routers, NATs and bad links, and what is measured there."""
