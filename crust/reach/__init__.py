"""How a manager is reached, and reaches peers that cannot simply be dialled (docs/nat.md).

The parts of this package belong to the manager thread; what they know of NATs, routers and hole punching is in
`crust.nat`.
"""
