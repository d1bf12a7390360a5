"""The picture of the README: your program, a manager, and the peers."""

from svg import Drawing


def draw() -> str:
    """The picture as SVG."""
    picture = Drawing(1000, 400, "Your program calls a ConnectionManager and reads events; the manager talks to peers")
    you = picture.box(20, 130, 190, 180, "user", "your program", ["any number of threads"])
    picture.box(340, 20, 420, 360, "area", "ConnectionManager")
    manager = picture.box(360, 60, 380, 60, "thread", "manager thread", ["owns the table of connections"])
    events = picture.box(360, 150, 180, 60, "queue", "events", ["the queue you passed in"])
    reader = picture.box(570, 150, 170, 60, "thread", "reader thread", ["one per connection"])
    outbox = picture.box(360, 240, 180, 60, "queue", "send queue", ["one per connection"])
    writer = picture.box(570, 240, 170, 60, "thread", "writer thread", ["one per connection"])
    others = picture.box(360, 326, 380, 40, "thread", "", ["listener, handshakes and dialers: threads of their own"])
    peer = picture.box(850, 150, 130, 150, "network", "a peer", ["any number", "of them"])

    picture.arrow(you.at("top"), (115, 90), manager.at("left"))
    picture.lines(115, 62, ["connect(), bootstrap(),", "drop_node(), stop()"], anchor="start")
    picture.arrow(events.at("left"), (210, 180))
    picture.words(284, 172, "events.get()")
    picture.arrow((210, 270), outbox.at("left"))
    picture.words(284, 262, "send()")
    picture.arrow(reader.at("top"), (655, 120))
    picture.arrow((450, 120), events.at("top"))
    picture.arrow(outbox.at("right"), writer.at("left"))
    picture.arrow((850, 180), reader.at("right"))
    picture.arrow(writer.at("right"), (850, 270))
    picture.lines(806, 216, ["encrypted", "TCP or", "uTP"])
    picture.arrow(others.at("right"), (915, 346), peer.at("bottom"), both=True)
    return picture.text()
