"""The picture of docs/threads.md: every thread, what it blocks on, and what goes from one to another."""

from svg import Drawing


def draw() -> str:
    """The picture as SVG."""
    picture = Drawing(1120, 640, "The threads of a manager and the queues between them")
    picture.box(20, 30, 190, 580, "area", "your threads")
    user = picture.box(40, 70, 150, 60, "user", "any thread", ["send()"])
    asking = picture.box(40, 270, 150, 76, "user", "any thread", ["connect(), stop(),", "drop_node() ..."])
    reading = picture.box(40, 500, 150, 60, "user", "your event loop", ["events.get()"])

    picture.box(560, 30, 300, 250, "area", "two threads per connection")
    outbox = picture.box(290, 70, 170, 60, "queue", "send queue", ["full: SendQueueFull"])
    writer = picture.box(610, 70, 200, 60, "thread", "crust-writer", ["blocks: send queue, socket"])
    reader = picture.box(610, 190, 200, 60, "thread", "crust-reader", ["blocks: socket, pause"])

    picture.box(560, 300, 300, 310, "area", "threads that come and go")
    listener = picture.box(610, 336, 200, 60, "thread", "crust-listener", ["blocks: select"])
    handshake = picture.box(610, 420, 200, 60, "thread", "crust-handshake-N", ["blocks: socket, verdict"])
    dialer = picture.box(610, 530, 200, 60, "thread", "crust-dialer-N", ["blocks: DNS, socket, verdict"])

    inbox = picture.box(290, 278, 170, 60, "queue", "inbox", ["batches, notices"])
    manager = picture.box(290, 400, 170, 60, "thread", "crust-manager", ["blocks: inbox"])
    events = picture.box(290, 500, 170, 60, "queue", "events", ["your queue"])
    picture.box(940, 70, 140, 520, "network", "the network", ["TCP"])

    picture.arrow(user.at("right"), outbox.at("left"))
    picture.arrow(outbox.at("right"), writer.at("left"))
    picture.words(510, 92, "batches")
    picture.arrow(writer.at("right"), (940, 100))
    picture.words(870, 92, "records")
    picture.arrow((940, 220), reader.at("right"))
    picture.arrow(reader.at("left"), (420, 220), (420, 278))
    picture.words(510, 212, "batches of messages")
    picture.arrow(asking.at("right"), inbox.at("left"))
    picture.arrow(inbox.at("bottom"), manager.at("top"))
    picture.arrow(manager.at("bottom"), events.at("top"))
    picture.arrow(events.at("left"), reading.at("right"))
    picture.arrow((940, 366), listener.at("right"))
    picture.arrow(listener.at("bottom"), handshake.at("top"))
    picture.arrow((940, 450), handshake.at("right"), both=True)
    picture.arrow(dialer.at("right"), (940, 560), both=True)
    picture.arrow(handshake.at("left"), (510, 450), (510, 318), (460, 318), both=True)
    picture.arrow(dialer.at("left"), (535, 560), (535, 298), (460, 298), both=True)
    picture.lines(505, 480, ["ask, and", "be told"], anchor="end")
    picture.words(375, 590, "crust-events-watch waits here for a queue.Queue")
    return picture.text()
